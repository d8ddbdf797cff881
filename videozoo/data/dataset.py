"""Data sets of video clips for a DataLoader."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from videozoo.ranges import check_count
from videozoo.video.errors import VideoError

from .clip_transform import ClipTransform, draws_from, find_clip_transform
from .list_errors import SourceError
from .pairs import Pair, is_pairs
from .read_sampled import read_record
from .read_views import read_views
from .records import VideoRecord
from .sample import SAMPLINGS, sample_clips
from .sources import load_source
from .transforms import Label

ON_BROKEN = ("raise", "replace", "report")
# Videos tried in place of a broken one.
MAX_REPLACEMENTS = 10


@dataclass(eq=False, repr=False)
class VideoDataset(Dataset[dict[str, Any]]):
    """Data set of clips of listed videos: sampled, decoded and transformed.

    Random draws depend on (seed, epoch, index) alone. They are the same with any number of workers and do not change
    the global random state. ``set_epoch`` also reaches workers that stay alive (``persistent_workers``). Index ``r *
    len(records) + i`` is the r-th further draw of video ``i``.

    Args:
        records: ``load_source(...).records``.
        transform: from ``create_transform``, for training or for testing as ``is_training`` says, or any function of a
            clip, such as a ``torchvision.transforms.v2.Compose`` (see ``ClipTransform``), which also draws from the
            seed. A function of frames and label gets any number of frames in testing, and must treat each by itself.
        num_frames: frames of a clip, T.
        sampling: ``segment``, ``dense`` or ``uniform``, see ``sample_clips``.
        frame_stride: frames of the video from one sampled frame to the next, for ``dense``.
        frames_per_segment: consecutive frames at each sampled place.
        num_clips: clips of a test video. 1 in training.
        is_training: random clips and one view, or fixed clips and every view.
        seed: seed of all draws.
        num_classes: K, for records of a multi-label source, whose labels are then multi-hot. Without it they are -1.
        on_broken: what to do with a video that cannot be read. ``raise``: raise a VideoError. ``replace``: take another
            video, drawn from the seed, the epoch and the index. After ten broken ones in a row video is None.
            ``report``: video is None.
    Shape:
        item: dict(video, label=int, index=int, broken=list, note=str). video is (3, T, H, W) in training, else (V, 3,
            T, H, W), clip by clip, V = num_clips * num_crops, in the type of the transform. label is that of the
            mirrored class if the transform flipped a one-sided class. For a multi-label record it is float32 (K,) of
            zeros and ones. index is the place of the video in ``records``. broken has (index, problem) of each video
            that could not be read. note is the reader's note on the video.
    Raises:
        TypeError: ``records`` are not of a source.
        ValueError: no records, a number out of range, an unknown sampling, or several clips in training.
        VideoError: (from an item) the video cannot be read. The message has the file and the list that names it.
    Example:
        >>> from torch.utils.data import DataLoader
        >>> from videozoo import VideoDataset, create_transform, load_source
        >>> source = load_source("videos")
        >>> transform = create_transform(input_size=(3, 48, 48), is_training=True)
        >>> dataset = VideoDataset(source.records, transform, num_frames=8, is_training=True)
        >>> batch = next(iter(DataLoader(dataset, batch_size=4, shuffle=True)))
        >>> batch["video"].shape, batch["label"].shape
        (torch.Size([4, 3, 8, 48, 48]), torch.Size([4]))
    """

    records: Sequence[VideoRecord]
    transform: Callable[..., Any]
    _: KW_ONLY
    num_frames: int
    sampling: str = "segment"
    frame_stride: int = 1
    frames_per_segment: int = 1
    num_clips: int = 1
    is_training: bool = False
    seed: int = 0
    num_classes: int | None = None
    on_broken: str = "raise"
    class_names: tuple[str, ...] = field(default=(), init=False)
    _clip_transform: ClipTransform | None = field(default=None, init=False)
    # In shared memory, so that workers started in an earlier epoch see it change.
    _epoch: Tensor = field(default_factory=lambda: torch.zeros((), dtype=torch.int64).share_memory_(), init=False)

    def __post_init__(self) -> None:
        if not isinstance(self.records, Sequence) or not all(isinstance(row, VideoRecord) for row in self.records):
            kind = type(self.records).__name__
            raise TypeError(f"VideoDataset: records is a {kind}, not of VideoRecord; pass load_source(...).records.")
        for name in ("num_frames", "frame_stride", "frames_per_segment", "num_clips"):
            check_count(f"VideoDataset: {name}", getattr(self, name))
        self.records = tuple(self.records)
        if not self.records:
            raise ValueError("VideoDataset: no records; pass load_source(...).records.")
        if self.sampling not in SAMPLINGS:
            raise ValueError(f"VideoDataset: unknown sampling {self.sampling!r}; choose from {', '.join(SAMPLINGS)}.")
        if self.is_training and self.num_clips != 1:
            raise ValueError(
                f"VideoDataset: num_clips is {self.num_clips} in training, must be 1; several are for testing."
            )
        if self.seed < 0:
            raise ValueError(f"VideoDataset: seed is {self.seed}, must not be negative.")
        if self.on_broken not in ON_BROKEN:
            raise ValueError(f"VideoDataset: on_broken is {self.on_broken!r}, must be one of {', '.join(ON_BROKEN)}.")
        self._clip_transform = find_clip_transform(self.transform)

    @classmethod
    def from_list(
        cls,
        items: Sequence[Pair],
        transform: Callable[..., Any],
        *,
        class_names: Sequence[str] | None = None,
        data_root: str | os.PathLike[str] | None = None,
        multi_label: bool = False,
        check_files: bool = True,
        **options: Any,
    ) -> Self:
        """Create a data set from a list of (path, label).

        Its ``class_names`` are those given, else the names that occur, in natural order.

        Args:
            items: paths of files or of folders of frames, with class names or class indices. With ``multi_label`` each
                label is a list of these.
            transform: see the class.
            class_names: the classes by index.
            data_root: folder that relative paths start from, instead of the working directory.
            multi_label: a video may have any number of classes. ``num_classes`` is then the number of the names.
            check_files: check that each file exists.
            options: all other arguments of the class.
        Raises:
            SourceError: missing files, unknown classes, or paths that come twice. The message has the items.
            ValueError: see the class.
        Example:
            >>> from videozoo import VideoDataset, create_transform
            >>> items = [("clip.mp4", "moving apart"), ("videos/rising/scene_000.mp4", "rising")]
            >>> dataset = VideoDataset.from_list(items, create_transform(input_size=(3, 48, 48)), num_frames=8)
            >>> dataset.class_names, dataset[0]["video"].shape  # (V, 3, T, H, W) with V = 1 view
            (('moving apart', 'rising'), torch.Size([1, 3, 8, 48, 48]))
        """
        pairs: list[Any] = [items] if isinstance(items, str | os.PathLike | Mapping) else list(items)
        if not is_pairs(pairs):
            raise SourceError(
                f"VideoDataset.from_list: items is a {type(items).__name__} of {type(pairs[0]).__name__}, must be a "
                "list of (path, label); a file or folder goes to load_source, and VideoRecords to VideoDataset itself."
            )
        source = load_source(
            pairs, data_root=data_root, class_names=class_names, multi_label=multi_label, check_files=check_files
        )
        if multi_label:
            options.setdefault("num_classes", len(source.class_names))
        dataset = cls(source.records, transform, **options)
        dataset.class_names = source.class_names
        return dataset

    @property
    def epoch(self) -> int:
        """Epoch of the current random draws."""
        return int(self._epoch)

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of the random draws, before you iterate.

        Args:
            epoch: 0 or more.
        """
        self._epoch.fill_(epoch)

    def __len__(self) -> int:
        return len(self.records)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        # Without it Python would count on: indices past the end are further draws.
        return map(self.__getitem__, range(len(self)))

    def __getitem__(self, index: int) -> dict[str, Any]:
        if index < 0:
            index = range(len(self))[index]
        broken: list[tuple[int, str]] = []
        for attempt in range(1 + (MAX_REPLACEMENTS if self.on_broken == "replace" else 0)):
            # The first attempt's draws are those of a data set that replaces nothing.
            key = (self.seed, self.epoch, index, attempt)[: 4 if attempt else 3]
            clip_seed, transform_seed, place_seed = _seeds(key)
            place = (place_seed if attempt else index) % len(self)
            try:
                video, label, note = self._read(self.records[place], clip_seed, transform_seed)
            except VideoError as error:
                if self.on_broken == "raise":
                    raise
                broken.append((place, str(error)))
            else:
                return {"video": video, "label": label, "index": place, "broken": broken, "note": note}
        place = index % len(self)
        label = self._target(_labels_of(self.records[place]))
        return {"video": None, "label": label, "index": place, "broken": broken, "note": ""}

    def _draw(self, num_video_frames: int, seed: int = 0) -> np.ndarray:
        """Return the frames of a video's clips (num_clips, T)."""
        return sample_clips(
            num_video_frames,
            num_frames=self.num_frames,
            sampling=self.sampling,
            num_clips=self.num_clips,
            frame_stride=self.frame_stride,
            frames_per_segment=self.frames_per_segment,
            is_training=self.is_training,
            generator=np.random.default_rng(seed),
        )

    def _target(self, label: Label) -> int | Tensor:
        """Return the label of an item: a class index, or several of them as multi-hot (K,)."""
        if isinstance(label, int):
            return label
        if label is None or self.num_classes is None:
            return -1
        return torch.zeros(self.num_classes).index_fill_(0, torch.tensor(label, dtype=torch.int64), 1.0)

    def _read(self, record: VideoRecord, clip_seed: int, transform_seed: int) -> tuple[Tensor, int | Tensor, str]:
        if not self.is_training:
            (views,), note = _read_tests([self], record, transform_seed)
            return views, self._target(_labels_of(record)), note
        # From the same seed however often it is drawn.
        clip, note = read_record(
            record, lambda count: self._draw(count, clip_seed)[0], lambda frames, reader: reader.read(frames)
        )
        with draws_from(transform_seed):
            if self._clip_transform is not None:
                return self._clip_transform(clip), self._target(_labels_of(record)), note
            video, label = self.transform(clip, _labels_of(record))
            return video, self._target(label), note


def _seeds(key: tuple[int, ...]) -> tuple[int, int, int]:
    """Seeds of the clip, of the transform and of what takes the place of a broken video."""
    clip, transform, place = np.random.SeedSequence(key).generate_state(3, np.uint64).tolist()
    return clip, transform, place


def _labels_of(record: VideoRecord) -> Label:
    return record.label if record.labels is None else record.labels


class JointDataset(Dataset[dict[str, Any]]):
    """The same test videos for several models, each file opened and read once.

    Args:
        datasets: test data sets with the same records. The first one's ``on_broken`` counts.
    Shape:
        item: as ``VideoDataset``'s, but video is a list, one per data set. None if the file cannot be read.
    Raises:
        ValueError: no data set, one for training, or other records.
    """

    def __init__(self, datasets: Sequence[VideoDataset]) -> None:
        if not datasets:
            raise ValueError("JointDataset: no data sets.")
        if any(dataset.is_training for dataset in datasets):
            raise ValueError("JointDataset: a data set is for training; several models share test videos only.")
        if any(dataset.records != datasets[0].records for dataset in datasets):
            raise ValueError("JointDataset: the data sets must have the same records.")
        if any(dataset.on_broken == "replace" for dataset in datasets):
            raise ValueError("JointDataset: on_broken is 'replace'; a test replaces nothing, choose raise or report.")
        self.datasets = tuple(datasets)
        self.records = datasets[0].records

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> dict[str, Any]:
        index, first = range(len(self))[index], self.datasets[0]
        record = self.records[index]
        label = first._target(_labels_of(record))
        item: dict[str, Any] = {"video": None, "label": label, "index": index, "broken": [], "note": ""}
        try:
            _, seed, _ = _seeds((first.seed, first.epoch, index))
            video, note = _read_tests(self.datasets, record, seed)
            return {**item, "video": video, "note": note}
        except VideoError as error:
            if first.on_broken == "raise":
                raise
            return {**item, "broken": [(index, str(error))]}


def _read_tests(datasets: Sequence[VideoDataset], record: VideoRecord, seed: int) -> tuple[list[Tensor], str]:
    """Return every view of a video for each data set."""
    label = _labels_of(record)
    transforms = [dataset._clip_transform or _with_label(dataset.transform, label) for dataset in datasets]
    return read_views(record, [dataset._draw for dataset in datasets], transforms, seed)


def _with_label(transform: Callable[..., Tensor], label: Label) -> Callable[[Tensor], Tensor]:
    return lambda frames: transform(frames, label)

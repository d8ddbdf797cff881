"""Videos as samples for a DataLoader."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from .decode import VideoReader
from .errors import VideoError
from .sample import SAMPLINGS, sample_clips
from .sources import VideoRecord

ON_BROKEN = ("raise", "replace", "report")
# Videos tried in place of a broken one.
MAX_REPLACEMENTS = 10
# Rounds of sampling where reading corrects the number of frames.
MAX_ROUNDS = 4
# A frame longer than this many times its width would be resized to one that fills the memory.
MAX_ASPECT = 32

# From a number of frames to the frames of each clip, (num_clips, T).
Draw = Callable[[int], np.ndarray]


@dataclass(eq=False, repr=False)
class VideoDataset(Dataset[dict[str, Any]]):
    """Clips of listed videos, sampled, decoded and transformed.

    Random draws depend on (seed, epoch, index) alone: they are the same with any number of workers and do not touch the
    global random numbers. ``set_epoch`` also reaches workers that live on (``persistent_workers``). Index
    ``r * len(records) + i`` is the r-th further draw of video ``i``.

    Args:
        records: what ``load_source(...).records`` gives.
        transform: what ``create_transform`` gives, for training or for testing as ``is_training`` says.
        num_frames: frames of a clip, T.
        sampling: ``segment``, ``dense`` or ``uniform``; see ``sample_clips``.
        frame_stride: video frames between sampled ones, for ``dense``.
        frames_per_segment: frames in a row at each sampled place.
        num_clips: clips of a test video; 1 in training.
        is_training: random clips and one view, or fixed clips and every view.
        seed: of all draws.
        decoder: one of ``DECODERS``.
        on_broken: what becomes of a video that cannot be read. ``raise``: a VideoError. ``replace``: another one takes
            its place, drawn from the seed, the epoch and the index; after ten broken ones in a row video is None.
            ``report``: video is None.
    Shape:
        item: dict(video, label=int, index=int, broken=list); video is (3, T, H, W) in training, else (V, 3, T, H, W),
        clip by clip, V = num_clips * num_crops, of the transform's type. label is the mirror's where the transform
        mirrored a one-sided class; index is the video's place in ``records``. broken has (index, problem) of each video
        that could not be read.
    Raises:
        ValueError: no records, an unknown sampling, or several clips in training.
        VideoError: (from an item) the video cannot be read; it names the file and where it was listed.
    """

    records: Sequence[VideoRecord]
    transform: Callable[[Tensor, int | None], Any]
    _: KW_ONLY
    num_frames: int
    sampling: str = "segment"
    frame_stride: int = 1
    frames_per_segment: int = 1
    num_clips: int = 1
    is_training: bool = False
    seed: int = 0
    decoder: str = "pyav"
    on_broken: str = "raise"
    # In shared memory, so that workers started in an earlier epoch see it change.
    _epoch: Tensor = field(default_factory=lambda: torch.zeros((), dtype=torch.int64).share_memory_(), init=False)

    def __post_init__(self) -> None:
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

    @property
    def epoch(self) -> int:
        """The epoch whose draws are made."""
        return int(self._epoch)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose draws are made; call it before iterating.

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
            clip_seed, transform_seed, place_seed = np.random.SeedSequence(key).generate_state(3, np.uint64).tolist()
            place = (place_seed if attempt else index) % len(self)
            try:
                clips = read_clips(self.records[place], [self._draw(clip_seed)], self.decoder)[0]
            except VideoError as error:
                if self.on_broken == "raise":
                    raise
                broken.append((place, str(error)))
                continue
            video, label = self._transformed(clips, self.records[place].label, transform_seed)
            return {"video": video, "label": label, "index": place, "broken": broken}
        place = index % len(self)
        return {"video": None, "label": self.records[place].label, "index": place, "broken": broken}

    def _draw(self, seed: int) -> Draw:
        """Draws the frames of a video's clips; from the same seed however often it is called."""

        def draw(num_video_frames: int) -> np.ndarray:
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

        return draw

    def _transformed(self, clips: list[Tensor], label: int, seed: int) -> tuple[Tensor, int]:
        if not self.is_training:
            views = [self.transform(clip, label) for clip in clips]
            return (torch.cat(views) if len(views) > 1 else views[0]), label
        with torch.random.fork_rng(devices=[]):
            # Not torch.manual_seed: that would also seed the accelerators, which fork_rng does not restore here.
            torch.default_generator.manual_seed(seed >> 1)
            return self.transform(clips[0], label)


class JointDataset(Dataset[dict[str, Any]]):
    """The same test videos for several networks, each file opened and read once.

    Args:
        datasets: test data sets with the same records; the first one's ``decoder`` and ``on_broken`` count.
    Shape:
        item: as ``VideoDataset``'s, but video is a list, one per data set; None if the file cannot be read.
    Raises:
        ValueError: no data set, one for training, or other records.
    """

    def __init__(self, datasets: Sequence[VideoDataset]) -> None:
        if not datasets:
            raise ValueError("JointDataset: no data sets.")
        if any(dataset.is_training for dataset in datasets):
            raise ValueError("JointDataset: a data set is for training; several networks share test videos only.")
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
        item: dict[str, Any] = {"video": None, "label": record.label, "index": index, "broken": []}
        try:
            clips = read_clips(record, [dataset._draw(0) for dataset in self.datasets], first.decoder)
        except VideoError as error:
            if first.on_broken == "raise":
                raise
            return {**item, "broken": [(index, str(error))]}
        pairs = zip(self.datasets, clips, strict=True)
        return {**item, "video": [dataset._transformed(own, record.label, 0)[0] for dataset, own in pairs]}


def read_clips(record: VideoRecord, draws: Sequence[Draw], decoder: str = "pyav") -> list[list[Tensor]]:
    """Read several sets of clips of one video; a frame that several clips share is decoded once.

    Args:
        record: the video.
        draws: from the number of its frames to the frames of each clip, (num_clips, T); called again where reading
            finds another number of frames.
        decoder: one of ``DECODERS``.
    Shape:
        for each draw, for each of its clips: uint8 (T, 3, H, W).
    Raises:
        VideoError: the video cannot be read; it names the file and where it was listed.
    """
    try:
        with VideoReader(record.path) as reader:
            if max(reader.height, reader.width) > MAX_ASPECT * min(reader.height, reader.width):
                raise VideoError(record.path, f"frames of {reader.width}x{reader.height} are too long and thin")
            counts: list[int] = []
            while True:
                counts.append(reader.num_frames)
                if len(counts) > MAX_ROUNDS:
                    raise VideoError(record.path, f"its number of frames keeps changing ({counts}) while it is read")
                clips = [draw(counts[-1]) for draw in draws]
                unique, places = np.unique(np.concatenate([c.ravel() for c in clips]), return_inverse=True)
                try:
                    frames = reader.read(unique)
                except IndexError:
                    # Damage that only reading finds: fewer frames than were counted.
                    if reader.num_frames == counts[-1]:
                        raise
                if reader.num_frames == counts[-1]:
                    break
    except VideoError as err:
        raise VideoError(err.path, f"{err.reason} [listed in {record.source}]") from err
    ends = np.cumsum([c.size for c in clips])[:-1]
    return [
        [frames[torch.from_numpy(row)] for row in rows.reshape(c.shape)]
        for c, rows in zip(clips, np.split(places, ends), strict=True)
    ]

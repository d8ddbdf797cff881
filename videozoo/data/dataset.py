"""Videos as samples for a DataLoader."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from .decode import VideoReader
from .errors import VideoError
from .sample import SAMPLINGS, sample_clips
from .sources import VideoRecord


class VideoDataset(Dataset[dict[str, Any]]):
    """Clips of listed videos, sampled, decoded and transformed.

    Random draws depend on (seed, epoch, index) alone: they are the same with any number of workers and do not touch the
    global random numbers. ``set_epoch`` also reaches workers that live on (``persistent_workers``).

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
    Shape:
        item: dict(video=float32, label=int, index=int); video is (3, T, H, W) in training, else (V, 3, T, H, W), clip
        by clip, V = num_clips * num_crops. label is the mirror's where the transform mirrored a one-sided class.
    Raises:
        ValueError: no records, an unknown sampling, or several clips in training.
        VideoError: (from an item) the video cannot be read; it names the file and where it was listed.
    """

    def __init__(
        self,
        records: Sequence[VideoRecord],
        transform: Callable[[Tensor, int | None], Any],
        *,
        num_frames: int,
        sampling: str = "segment",
        frame_stride: int = 1,
        frames_per_segment: int = 1,
        num_clips: int = 1,
        is_training: bool = False,
        seed: int = 0,
    ) -> None:
        if not records:
            raise ValueError("VideoDataset: no records; pass load_source(...).records.")
        if sampling not in SAMPLINGS:
            raise ValueError(f"VideoDataset: unknown sampling {sampling!r}; choose from {', '.join(SAMPLINGS)}.")
        if is_training and num_clips != 1:
            raise ValueError(f"VideoDataset: num_clips is {num_clips} in training, must be 1; several are for testing.")
        if seed < 0:
            raise ValueError(f"VideoDataset: seed is {seed}, must not be negative.")
        self.records = tuple(records)
        self.transform = transform
        self.num_frames = num_frames
        self.sampling = sampling
        self.frame_stride = frame_stride
        self.frames_per_segment = frames_per_segment
        self.num_clips = num_clips
        self.is_training = is_training
        self.seed = seed
        # In shared memory, so that workers started in an earlier epoch see it change.
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()

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

    def __getitem__(self, index: int) -> dict[str, Any]:
        index = range(len(self.records))[index]
        record = self.records[index]
        clip_seed, transform_seed = np.random.SeedSequence((self.seed, self.epoch, index)).generate_state(2, np.uint64)
        clips, label = self._read_clips(record, np.random.default_rng(clip_seed)), record.label
        if not self.is_training:
            return {"video": torch.cat([self.transform(clip, label) for clip in clips]), "label": label, "index": index}
        with torch.random.fork_rng(devices=[]):
            # Not torch.manual_seed: that would also seed the accelerators, which fork_rng does not restore here.
            torch.default_generator.manual_seed(int(transform_seed >> np.uint64(1)))
            video, label = self.transform(clips[0], label)
        return {"video": video, "label": label, "index": index}

    def _read_clips(self, record: VideoRecord, generator: np.random.Generator) -> list[Tensor]:
        """uint8 (T, 3, H, W) for each clip; a frame that several clips share is decoded once."""
        try:
            with VideoReader(record.path) as reader:
                clips = sample_clips(
                    reader.num_frames,
                    num_frames=self.num_frames,
                    sampling=self.sampling,
                    num_clips=self.num_clips,
                    frame_stride=self.frame_stride,
                    frames_per_segment=self.frames_per_segment,
                    is_training=self.is_training,
                    generator=generator,
                )
                unique, places = np.unique(clips, return_inverse=True)
                frames = reader.read(unique)
        except VideoError as err:
            raise VideoError(err.path, f"{err.reason} [listed in {record.source}]") from err
        return [frames[torch.from_numpy(row)] for row in places.reshape(clips.shape)]

"""The clip of a file that a model would be tested on, with the frames as it sees them."""

import os
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from videozoo.video.reader import VideoReader

from .config import resolve_data_config, sampling_options
from .normalize import ClipNormalizer
from .read_sampled import read_sampled
from .sample import sample_clips
from .transforms import create_transform

__all__ = ["ReadClip", "read_clip"]


@dataclass(frozen=True)
class ReadClip:
    """One clip of a video, center crop.

    Args:
        video: float32 (1, 3, T, H, W), what the model takes.
        frames: uint8 RGB (T, H, W, 3), the same pixels before normalization.
        indices: the T frames of the file that they are.
        num_frames: frames that the file has.
    """

    video: Tensor
    frames: Tensor
    indices: tuple[int, ...]
    num_frames: int


def read_clip(path: str | os.PathLike[str], model: nn.Module) -> ReadClip:
    """Read the clip of a video that a test of one view takes: sampling, size and colors are the model's own.

    Args:
        path: a video file or a folder of frames.
        model: a model with ``pretrained_cfg``.
    Raises:
        VideoError: the video cannot be read.
    """
    config = resolve_data_config(model, test_num_clips=1, test_num_crops=1)
    with VideoReader(path) as reader:
        indices, frames = read_sampled(
            reader,
            lambda count: sample_clips(count, **sampling_options(config))[0],
            lambda indices, reader: (tuple(indices.tolist()), reader.read(indices)),
        )
        num_frames = reader.num_frames
    transform: Any = create_transform(**config, normalize=False)
    crop = transform(frames)[0]  # (3, T, H, W)
    normalizer = ClipNormalizer.of(config)
    return ReadClip(normalizer(crop)[None], crop.permute(1, 2, 3, 0).contiguous(), indices, num_frames)

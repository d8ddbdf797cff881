"""Every view of a test video, of one or several models, from one reading of its file."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from videozoo.video.reader import VideoReader

from .clip_transform import ClipTransform, draws_from
from .read_sampled import read_record
from .records import VideoRecord

# Decoded frames that a test holds at a time; 80 frames of 1920x1080 would be twice as many bytes.
PIECE_BYTES = 256 * 2**20


def read_views(
    record: VideoRecord,
    draws: Sequence[Callable[[int], np.ndarray]],
    transforms: Sequence[ClipTransform | Callable[[Tensor], Tensor]],
    seed: int,
) -> tuple[list[Tensor], str]:
    """Read the views (V, 3, T, H, W) of a video for each model, and the reader's note.

    A frame that several clips share is decoded and transformed once, but for functions of a clip.

    Args:
        record: the video.
        draws: for each model, from the video's number of frames to those of its clips (num_clips, T).
        transforms: for each model, of a clip, or of any number of frames to (num_crops, 3, T, H, W).
        seed: of the draws that functions of a clip make.
    Raises:
        VideoError: the video cannot be read.
        ValueError: a function gives clips of different sizes.
    """

    def make(clips: list[np.ndarray], reader: VideoReader) -> list[Tensor]:
        views: dict[int, Tensor] = {}
        of_frames: dict[int, Callable[[Tensor], Tensor]] = {}
        for place, transform in enumerate(transforms):
            if isinstance(transform, ClipTransform):
                views[place] = _read_clips(transform, clips[place], reader, seed)
            else:
                of_frames[place] = transform
        if of_frames:
            read = _read_frames(list(of_frames.values()), [clips[place] for place in of_frames], reader)
            views |= dict(zip(of_frames, read, strict=True))
        return [views[place] for place in range(len(transforms))]

    return read_record(record, lambda count: [draw(count) for draw in draws], make)


def _read_clips(transform: ClipTransform, clips: np.ndarray, reader: VideoReader, seed: int) -> Tensor:
    views: list[Tensor] = []
    for number, clip in enumerate(clips):
        frames = reader.read(clip)
        with draws_from(seed + number):
            views.append(transform(frames))
    sizes = {tuple(view.shape[-2:]) for view in views}
    if len(sizes) > 1:
        raise ValueError(
            f"VideoDataset: transform gave clips of the sizes {sorted(sizes)}; end it with a crop or resize."
        )
    return torch.stack(views)


def _read_frames(
    transforms: Sequence[Callable[[Tensor], Tensor]], clips: Sequence[np.ndarray], reader: VideoReader
) -> list[Tensor]:
    wanted = [np.unique(own) for own in clips]
    every = np.unique(np.concatenate(wanted))
    pieces: list[list[Tensor]] = [[] for _ in transforms]
    for part in np.array_split(every, -(-len(every) * 3 * reader.height * reader.width // PIECE_BYTES)):
        frames = reader.read(part)
        for transform, own, views in zip(transforms, wanted, pieces, strict=True):
            places = np.isin(part, own)
            if places.any():
                views.append(transform(frames if places.all() else frames[torch.from_numpy(places)]))
    return [
        _arranged(views[0] if len(views) == 1 else torch.cat(views, 2), np.searchsorted(own, frames_of_clips))
        for views, own, frames_of_clips in zip(pieces, wanted, clips, strict=True)
    ]


def _arranged(crops: Tensor, places: np.ndarray) -> Tensor:
    """Return the views, clip by clip, from crops (num_crops, 3, N, H, W) and frame indices (num_clips, T) in 0..N-1."""
    num_clips, num_frames = places.shape
    if places.ravel().tolist() == list(range(crops.shape[2])) and num_clips == 1:
        return crops
    out = crops.new_empty((num_clips, *crops.shape[:2], num_frames, *crops.shape[3:]))
    for clip, row in zip(out, torch.from_numpy(places), strict=True):
        torch.index_select(crops, 2, row, out=clip)
    return out.flatten(0, 1)

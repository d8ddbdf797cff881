"""One video before one model: its classes, the frames it saw and when, Grad-CAM heat map, and what that took."""

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from videozoo.data import VideoError, VideoReader
from videozoo.demo.models import LoadedModel
from videozoo.demo.settings import LIMITS, Limits
from videozoo.explain import grad_cam, overlay_maps, read_clip
from videozoo.jobs.prediction import Prediction
from videozoo.probabilities import is_multi_label, probabilities
from videozoo.video.frame_times import frame_times

__all__ = ["VideoResult", "classify_video"]


@dataclass(frozen=True)
class VideoResult:
    """Result of a model for one video, for the page.

    Args:
        model: that looked.
        num_frames, duration_sec: of the video.
        best: the likeliest classes, name and probability.
        frames: uint8 (T, H, W, 3), as it saw them.
        indices, times_sec: T each, where in the video they are.
        overlays: uint8 (N, H, W, 3), maps of the best class over frames. None: it has no such maps.
        mapped: the N frames of the T that ``overlays`` are of.
        decode_sec, forward_sec, explain_sec: for reading the clip, for the model's answer, for the maps.
    """

    loaded: LoadedModel
    num_frames: int
    duration_sec: float
    best: list[tuple[str, float]]
    frames: Tensor
    indices: tuple[int, ...]
    times_sec: tuple[float, ...]
    overlays: Tensor | None
    mapped: tuple[int, ...]
    decode_sec: float
    forward_sec: float
    explain_sec: float


def classify_video(
    path: str | os.PathLike[str], loaded: LoadedModel, limits: Limits = LIMITS, topk: int = 5
) -> VideoResult:
    """Classify one view of a video, center crop, and lay the class maps of the best class over its frames.

    Args:
        path: a video file.
        model: looks at it.
        limits: of the file.
        topk: classes wanted.
    Raises:
        VideoError: the file is beyond the limits or cannot be read.
    """
    path = Path(path)
    times = _check(path, limits)
    model, begin = loaded.model, time.perf_counter()
    clip = read_clip(path, model)
    decode_sec = time.perf_counter() - begin
    if len(times) != clip.num_frames:  # damaged: fewer frames decode than there are packets
        times = frame_times(path, clip.num_frames, limits.duration_sec)
    if max(clip.indices) >= len(times):
        raise VideoError(path, "its number of frames changes each time it is read")
    video, begin = clip.video.to(loaded.device), time.perf_counter()
    with torch.inference_mode():
        scores = probabilities(model(video)[0].float(), is_multi_label(model)).cpu()
    forward_sec = time.perf_counter() - begin
    if not scores.isfinite().all():
        raise VideoError(path, "the model's scores of it are not finite")
    begin = time.perf_counter()
    overlays, mapped = _overlays(model, video, clip.frames)
    explain_sec = time.perf_counter() - begin
    answer = Prediction(str(path), scores.numpy(), class_names=loaded.class_names)
    return VideoResult(
        loaded,
        clip.num_frames,
        times[-1] + (times[-1] / (len(times) - 1) if len(times) > 1 else 0),
        [(label, score) for label, score, _ in answer.topk(topk)],
        clip.frames,
        clip.indices,
        tuple(times[k] for k in clip.indices),
        overlays,
        mapped,
        decode_sec,
        forward_sec,
        explain_sec,
    )


def _check(path: Path, limits: Limits) -> list[float]:
    """Return the times of a video's frames. VideoError beyond the limits, before a clip is decoded."""
    with VideoReader(path) as reader:
        size_mb = path.stat().st_size / 2**20
        if size_mb > limits.size_mb:
            raise VideoError(path, f"it has {size_mb:.1f} MB; at most {limits.size_mb:g} MB are taken here")
        if reader.height * reader.width > limits.frame_pixels:
            raise VideoError(
                path,
                f"its frames are {reader.width}x{reader.height}; at most {limits.frame_pixels / 1e6:.1f} million "
                "pixels are taken here",
            )
    return frame_times(path, most_sec=limits.duration_sec)


def _overlays(model: Any, video: Tensor, frames: Tensor) -> tuple[Tensor | None, tuple[int, ...]]:
    try:
        found = grad_cam(model, video)
    except ValueError:  # an ensemble, or a model that does not tell its stages
        return None, ()
    return overlay_maps(frames[list(found.frames)], found.maps[0].cpu()), found.frames

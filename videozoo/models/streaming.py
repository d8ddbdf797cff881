"""Streams: models in causal form that take their frames one after the other."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from videozoo.layers.causal import Causal, CausalMean, Memory
from videozoo.layers.time_aware import set_num_segments
from videozoo.models.causal import causal_form
from videozoo.models.ensemble import Ensemble
from videozoo.models.video_net import VideoNet
from videozoo.shapes import fold_time, unfold_time

__all__ = ["Stream", "stream"]


class Stream:
    """Model that takes the next frame, or frames, of each stream and returns the current predictions.

    The stream keeps what the layers need of earlier frames. The model itself keeps nothing and may have any number of
    streams, in any threads, each with its own object. The weights are shared with the model, not copied, so later
    training has effect. Make the stream after you move the model to its device or give it another classifier.

    The logits are those of the mean over the features of the last frames, as in TSN's consensus. With the default, and
    after as many frames as a clip has, they equal those of the causal model on these frames as a clip. Time and memory
    per frame do not grow with the number of frames. Frames are processed in evaluation mode, without gradients.

    A 3-D model for streams (MoViNet) averages by itself, over all frames since the start or the last reset. So its
    logits equal those of all these frames as one clip.

    Args:
        net: the model.
        average: number of frames that are averaged. None: as many as a clip has. 1 gives the logits of the latest
            frame. A 3-D model takes only None.
        nearest: use the nearest causal form of modules that have none in a paper (ARC, TANet).
    Raises:
        ValueError: the model has no causal form, ``nearest`` is needed, or ``average`` is below 1 or not possible.
    Example:
        >>> import torch
        >>> from videozoo import Stream, create_model
        >>> stream = Stream(create_model("tsm_r18", num_classes=10))
        >>> for frame in torch.zeros(3, 1, 3, 64, 64):  # (B, C, H, W) with B streams
        ...     logits = stream(frame)
        >>> logits.shape
        torch.Size([1, 10])
    """

    def __init__(self, net: VideoNet, *, average: int | None = None, nearest: bool = False) -> None:
        if not isinstance(net, VideoNet):
            raise TypeError(f"Stream: got {type(net).__name__}; pass a model of videozoo (videozoo.create_model(...)).")
        if average is not None and average < 1:
            raise ValueError(f"Stream: average is {average}; need 1 or more frames.")
        if average is not None and net.is_3d:
            raise ValueError(
                f"Stream: average is {average}; {net.spec.title} averages over all frames since the start by itself. "
                "Leave it out, and call reset() where something new begins."
            )
        self.num_frames: int = net.num_frames
        self._net = causal_form(net, nearest=nearest).eval()
        self._consensus = CausalMean()
        self._memories: list[Memory] = []
        for module in [*self._net.modules(), self._consensus]:
            if isinstance(module, Causal):
                is_last = module is self._consensus
                module.memory = Memory(average or self.num_frames if is_last else self.num_frames)
                self._memories.append(module.memory)
        self._kind: tuple[tuple[int, ...], torch.dtype, torch.device] | None = None

    @torch.inference_mode()
    def __call__(self, frames: Tensor) -> Tensor:
        """Process the next frame of every stream, or the next few.

        Args:
            frames: (B, C, H, W) as the model takes them, one row per stream, or (B, C, N, H, W) for N frames at once.
                B, size, type and device stay the same until :meth:`reset`.
        Returns:
            logits (B, num_classes) after the last frame, or features if the model has no classifier.
        Raises:
            ValueError: frames of another shape, type or device.
        """
        self._check(frames)
        clips = frames if frames.ndim == 5 else frames.unsqueeze(2)
        self._net.num_frames = clips.shape[2]
        set_num_segments(self._net.backbone, clips.shape[2])
        maps = self._net.forward_features(clips)
        logits: Tensor = self._net.fc(self._pool(maps))
        return logits

    def _pool(self, maps: Tensor) -> Tensor:
        """Return the features after the last frame: (B, C, N, H, W) -> (B, F)."""
        if self._net.is_3d:
            return self._net.forward_head(maps, pre_logits=True)
        rows = self._net.backbone.forward_head(fold_time(maps), pre_logits=True)
        return self._consensus(unfold_time(rows, maps.shape[2]))[:, -1]

    def reset(self, rows: Iterable[int] | None = None) -> None:
        """Forget the earlier frames.

        Args:
            rows: streams that start again while the others continue. None: all, and the next frames may have another B
                and another size.
        Raises:
            ValueError: there is no such stream.
        """
        if rows is None:
            self._kind = None
        else:
            rows = [int(row) for row in rows]
            count = 0 if self._kind is None else self._kind[0][0]
            wrong = [row for row in rows if not 0 <= row < count]
            if wrong:
                raise ValueError(f"Stream.reset: row {wrong[0]} of {count} streams; rows count from 0.")
        for memory in self._memories:
            memory.reset(rows)

    @property
    def num_bytes(self) -> int:
        """Bytes kept of earlier frames, the same after every frame."""
        return sum(memory.num_bytes for memory in self._memories)

    def _check(self, frames: Tensor) -> None:
        channels = self._net.in_chans
        if frames.ndim not in (4, 5) or frames.shape[1] != channels or 0 in frames.shape:
            raise ValueError(
                f"Stream: got {tuple(frames.shape)}; need one frame of each stream, (B, {channels}, H, W), or the next "
                f"N frames, (B, {channels}, N, H, W)."
            )
        kind = ((*frames.shape[:2], *frames.shape[-2:]), frames.dtype, frames.device)
        if self._kind not in (None, kind):
            raise ValueError(f"Stream: got frames {_text(kind)} after {_text(self._kind)}; call reset() first.")
        self._kind = kind


def _text(kind: Any) -> str:
    shape, dtype, device = kind
    return f"{shape} of {dtype} on {device}"


def stream(net: VideoNet | Ensemble, *, average: int | None = None, nearest: bool = False) -> Stream:
    """Return a stream of a model: the next frame (B, C, H, W) in, the current logits out.

    It is also the method ``streaming`` of every model: ``model.streaming()``.

    Args:
        net: the model.
        average: number of frames whose features are averaged. None: as many as a clip has.
        nearest: use the nearest causal form of modules that have none in a paper (ARC, TANet).
    Raises:
        ValueError: the model has no causal form, ``nearest`` is needed, ``average`` is not possible, or it is an
            ensemble.
    Example:
        >>> import torch
        >>> from videozoo import create_model
        >>> live = create_model("test_dnr_tsn.motions", pretrained=True).streaming(average=4)
        >>> live(torch.zeros(1, 3, 48, 48)).shape
        torch.Size([1, 6])
    """
    if isinstance(net, Ensemble):
        raise ValueError("Ensemble: members see different frames of a clip; stream one of its members.")
    return Stream(net, average=average, nearest=nearest)

"""Streams: models in causal form that take one frame at a time."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from videozoo.layers.causal import Causal, CausalMean, Memory
from videozoo.layers.time_aware import set_num_segments
from videozoo.models.causal import causal_form
from videozoo.models.ensemble import Ensemble
from videozoo.models.video_net import VideoNet

__all__ = ["Stream", "stream"]


class Stream:
    """Model that takes one frame of each stream at a time and returns the current predictions.

    The stream keeps what the layers need of earlier frames. The model itself keeps nothing and may have any number of
    streams, in any threads, each with its own object. The weights are shared with the model, not copied, so later
    training has effect. Make the stream after you move the model to its device or give it another classifier.

    The logits are those of the mean over the features of the last frames, as in TSN's consensus. With the default, and
    after as many frames as a clip has, they equal those of the causal model on these frames as a clip. Time and memory
    per frame do not grow with the number of frames. Frames are processed in evaluation mode, without gradients.

    Args:
        net: the model.
        average: number of frames that are averaged. None: as many as a clip has. 1 gives the logits of the latest
            frame.
        nearest: use the nearest causal form of modules that have none in a paper (ARC, TANet).
    Raises:
        ValueError: the model has no causal form, ``nearest`` is needed, or ``average`` is below 1.
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
        self.num_frames: int = net.num_frames
        self._net = causal_form(net, nearest=nearest).eval()
        self._consensus = CausalMean()
        self._memories: list[Memory] = []
        for module in [*self._net.modules(), self._consensus]:
            if isinstance(module, Causal):
                is_last = module is self._consensus
                module.memory = Memory(average or self.num_frames if is_last else self.num_frames)
                self._memories.append(module.memory)
        set_num_segments(self._net.backbone, 1)
        self._net.num_frames = 1
        self._kind: tuple[tuple[int, ...], torch.dtype, torch.device] | None = None

    @torch.inference_mode()
    def __call__(self, frames: Tensor) -> Tensor:
        """Process the next frame of every stream.

        Args:
            frames: (B, C, H, W) as the model takes them, one row per stream. B, size, type and device stay the same
                until :meth:`reset`.
        Returns:
            logits (B, num_classes), or features if the model has no classifier.
        Raises:
            ValueError: frames of another shape, type or device.
        """
        self._check(frames)
        features = self._net.forward_head(self._net.forward_features(frames.unsqueeze(2)), pre_logits=True)
        logits: Tensor = self._net.fc(self._consensus(features.unsqueeze(1))[:, 0])
        return logits

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
        if frames.ndim != 4 or frames.shape[1] != self._net.in_chans:
            raise ValueError(
                f"Stream: got {tuple(frames.shape)}; need one frame of each stream, (B, {self._net.in_chans}, H, W)."
            )
        kind = (tuple(frames.shape), frames.dtype, frames.device)
        if self._kind not in (None, kind):
            raise ValueError(f"Stream: got frames {_text(kind)} after {_text(self._kind)}; call reset() first.")
        self._kind = kind


def _text(kind: Any) -> str:
    shape, dtype, device = kind
    return f"{shape} of {dtype} on {device}"


def stream(net: VideoNet | Ensemble, *, average: int | None = None, nearest: bool = False) -> Stream:
    """Return a stream of a model: one frame (B, C, H, W) in, the current logits out.

    It is also the method ``streaming`` of every model: ``model.streaming()``.

    Args:
        net: the model.
        average: number of frames whose features are averaged. None: as many as a clip has.
        nearest: use the nearest causal form of modules that have none in a paper (ARC, TANet).
    Raises:
        ValueError: the model has no causal form, ``nearest`` is needed, or it is an ensemble.
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

"""Networks on frames as they come: a stream that feeds the causal form of a network one frame at a time."""

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
    """A network that takes one frame of each stream at a time and gives the logits of now.

    What the layers keep of the past lies here; the network itself keeps nothing and may have any number of streams, in
    any threads, each with its own object. The weights are the network's own, not copies: later training is seen, but
    make the stream after moving the network to its device or giving it another classifier.

    Logits are those of the mean over the last frames' features, as TSN's consensus. With the default, and after as
    many frames as a clip has, they are the causal network's on these frames as a clip. Time and memory of a frame do
    not depend on how many there were; frames are taken in evaluation mode, without gradients.

    Args:
        net: a network.
        average: frames that are averaged; None: as many as a clip has. 1 gives the present frame's own logits.
        nearest: take the nearest causal form of what has none in a paper (ARC, TANet).
    Raises:
        ValueError: the network has no causal form, ``nearest`` is needed, or ``average`` is below 1.
    """

    def __init__(self, net: VideoNet, *, average: int | None = None, nearest: bool = False) -> None:
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
        """Take the next frame of every stream.

        Args:
            frames: (B, C, H, W) as the network takes them, one row per stream; the same B, size, type and device until
                :meth:`reset`.
        Returns:
            logits (B, num_classes), or features where the network has no classifier.
        Raises:
            ValueError: no such frames.
        """
        self._check(frames)
        features = self._net.forward_head(self._net.forward_features(frames.unsqueeze(2)), pre_logits=True)
        logits: Tensor = self._net.fc(self._consensus(features.unsqueeze(1))[:, 0])
        return logits

    def reset(self, rows: Iterable[int] | None = None) -> None:
        """Begin anew.

        Args:
            rows: streams that begin anew, the others go on; None: all, and the next frames may be another number of
                streams and of another size.
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
        """Bytes that are kept of the past; the same after every frame."""
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
    """A stream of a network in its causal form: one frame (B, C, H, W) in, the logits of now out.

    ``videozoo.models`` makes it the method ``streaming`` of every network: ``model.streaming()``.

    Args:
        net: a network.
        average: frames whose features are averaged; None: as many as a clip has.
        nearest: take the nearest causal form of what has none in a paper (ARC, TANet).
    Raises:
        ValueError: the network has no causal form, ``nearest`` is needed, or it is an ensemble.
    """
    if isinstance(net, Ensemble):
        raise ValueError("Ensemble: members see different frames of a clip; stream one of its members.")
    return Stream(net, average=average, nearest=nearest)

"""Networks on frames as they come: the causal form of a network, and a stream that feeds it one frame at a time."""

import copy
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from videozoo.augment import ArcConv2d, ArcLinear, CrossLayerNorm2d, CrossTemporalNorm2d
from videozoo.augment.causal import CausalArcConv2d, CausalCrossLayerNorm2d, CausalCrossTemporalNorm2d
from videozoo.layers import (
    MotionExcitation,
    MotionSqueeze,
    TemporalAdaptive,
    TemporalConv,
    TemporalDifference,
    TemporalShift,
)
from videozoo.layers.causal import Causal, CausalMean, CausalShift, CausalTemporalAdaptive, Memory
from videozoo.surgery import adopt, replace_modules

if TYPE_CHECKING:
    from videozoo.models.video_net import VideoNet

__all__ = ["Stream", "causal_form", "make_causal", "needs_nearest"]

# What looks at frames to come and has no causal form.
_NOT_CAUSAL: dict[type[nn.Module], str] = {
    MotionSqueeze: "MSN compares each frame with the one after it",
    MotionExcitation: "TEA compares each frame with the one after it",
    TemporalDifference: "TDN compares each frame with the ones before and after it",
    ArcLinear: "ARC on linear layers takes a maximum over all frames of a clip",
    TemporalConv: "its convolution over time looks at the frame after each",
}
# Causal forms that no paper describes.
_EXTENSIONS: dict[type[nn.Module], str] = {
    ArcConv2d: "ARC takes a maximum over all frames of a clip; its nearest causal form takes it over the frames so far",
    TemporalAdaptive: "TANet makes one kernel of all frames of a clip; its nearest causal form makes one for every "
    "frame of those so far",
}


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

    def __init__(self, net: "VideoNet", *, average: int | None = None, nearest: bool = False) -> None:
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
            if hasattr(module, "num_segments") and module is not self._net:
                setattr(module, "num_segments", 1)  # noqa: B010 - typed as a tensor otherwise
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


def causal_form(net: "VideoNet", *, nearest: bool = False) -> "VideoNet":
    """The same network looking at past frames only, on clips; it shares the weights.

    Args:
        net: a network; it stays as it is. One that is causal already is copied alike.
        nearest: take the nearest causal form of what has none in a paper (ARC, TANet).
    Raises:
        ValueError: there is no causal form, or ``nearest`` is needed.
    """
    # Parameters and statistics are shared: what the copy is told to have copied already, it keeps.
    shared = {id(tensor): tensor for tensor in [*net.parameters(), *net.buffers()]}
    new = copy.deepcopy(net, shared)
    if not net.spec.causal:
        make_causal(new, nearest=nearest)
        new.spec = net.spec.replace(causal=True)
        new.pretrained_cfg = {key: value for key, value in net.pretrained_cfg.items() if key != "metrics"}
    return new


def make_causal(net: "VideoNet", *, nearest: bool = False) -> list[str]:
    """Change every layer that mixes time into its causal form, in place; no key changes.

    Args:
        net: a network.
        nearest: as in :func:`causal_form`.
    Returns:
        the names of what was changed.
    Raises:
        ValueError: there is no causal form, or ``nearest`` is needed.
    """
    name = net.spec.title
    if net.is_3d:
        raise ValueError(
            f"{name} cannot be causal: a 3-D network's convolutions over time look at frames to come; take TSN, TSM or "
            "DNR on a 2-D backbone."
        )
    if net.head_takes_frames:
        raise ValueError(
            f"{name} cannot be causal: {type(net.fc).__name__} relates a fixed number of frames; take TSN, TSM or DNR."
        )
    for module in net.modules():
        why = _NOT_CAUSAL.get(type(module))
        if why is not None:
            raise ValueError(f"{name} cannot be causal: {why}, and no form without it is known; take TSN, TSM or DNR.")
        if not nearest and _is_extended(module):
            raise ValueError(
                f"{name} cannot be causal as it is: {_EXTENSIONS[type(module)]}, which is an extension and changes "
                "what it computes. Pass nearest=True (--nearest) for it."
            )
    changed = replace_modules(
        net, lambda module, _: type(module) in _FORMS, lambda module, _: _FORMS[type(module)](module)
    )
    for module in net.backbone.modules():
        if hasattr(module, "num_segments") and not isinstance(module, Causal):
            raise ValueError(
                f"{name} cannot be causal: {type(module).__name__} sees whole clips; no other form is known."
            )
    return changed


def needs_nearest(net: "VideoNet") -> bool:
    """Return whether a network has layers whose causal form no paper describes, so that ``nearest`` is for it."""
    return any(map(_is_extended, net.modules()))


def _is_extended(layer: nn.Module) -> bool:
    if isinstance(layer, ArcConv2d) and (layer.options.aggregation == "S" or not layer.options.attention):
        return False  # it looks at each frame by itself
    return type(layer) in _EXTENSIONS


def _shift(layer: Any) -> nn.Module:
    return CausalShift(layer.num_segments, layer.shift_div)


def _cross_temporal(layer: Any) -> nn.Module:
    if layer.backward_cell is not None:
        raise ValueError(
            "DNR cannot be causal with bidirectional=True: its second relay starts at the last group; build it with "
            "bidirectional=False."
        )
    return adopt(CausalCrossTemporalNorm2d, layer)


def _arc(layer: Any) -> nn.Module:
    if layer.weight is None:
        raise ValueError("ARC cannot be causal once it is fused; make the stream of the network that it was made from.")
    if layer.gru is not None:
        raise ValueError("ARC cannot be causal with attention_layer='gru'; build it with attention_layer='fc'.")
    return adopt(CausalArcConv2d, layer)


_FORMS: dict[type[nn.Module], Callable[[nn.Module], nn.Module]] = {
    TemporalShift: _shift,
    CrossTemporalNorm2d: _cross_temporal,
    CrossLayerNorm2d: lambda layer: adopt(CausalCrossLayerNorm2d, layer),
    ArcConv2d: _arc,
    TemporalAdaptive: lambda layer: adopt(CausalTemporalAdaptive, layer),
}

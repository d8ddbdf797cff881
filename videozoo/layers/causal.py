"""Causal layers, which use the current and past frames only, on clips and on streams."""

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from videozoo.layers.temporal_adaptive import TemporalAdaptive
from videozoo.shapes import unfold_time

__all__ = [
    "Causal",
    "CausalMean",
    "CausalShift",
    "CausalTemporalAdaptive",
    "MeanSinceStart",
    "Memory",
    "PastFrames",
]


class Memory:
    """Buffer of one layer for past frames: tensors whose first dimension is the stream.

    Args:
        window: number of frames, the current one included, for a mean or a maximum over time.
    """

    def __init__(self, window: int) -> None:
        self.window = window
        self._kept: dict[str, tuple[Tensor, float]] = {}

    def recall(self, name: str) -> Tensor | None:
        """Return the tensor kept under a name, or None before the first frame."""
        return self._kept[name][0] if name in self._kept else None

    def keep(self, name: str, value: Tensor, fill: float) -> None:
        """Store a tensor. ``fill`` is the value of missing frames."""
        self._kept[name] = (value, fill)

    def reset(self, rows: Iterable[int] | None = None) -> None:
        """Clear the memory of all streams, or of the given ones."""
        if rows is None:
            self._kept.clear()
            return
        index = list(rows)
        for name, (value, fill) in self._kept.items():
            fresh = value.clone()
            fresh[index] = fill
            self._kept[name] = (fresh, fill)

    @property
    def num_bytes(self) -> int:
        """Bytes of all tensors."""
        return sum(value.untyped_storage().nbytes() for value, _ in self._kept.values())


class Causal(nn.Module):
    """Base of layers whose output at a frame depends on that frame and on earlier ones only.

    On clips (``memory`` is None) there are no frames before the first. On a stream, ``memory`` stores the needed
    tensors of past frames. So the results do not depend on how many frames are passed per call.
    """

    memory: Memory | None = None

    def _window(self, num_frames: int) -> int:
        return num_frames if self.memory is None else self.memory.window

    def _recall(self, name: str, shape: tuple[int, ...], like: Tensor, fill: float = 0.0) -> Tensor:
        kept = None if self.memory is None else self.memory.recall(name)
        return like.new_full(shape, fill) if kept is None else kept

    def _keep(self, name: str, value: Tensor, fill: float = 0.0) -> None:
        if self.memory is not None:
            self.memory.keep(name, value, fill)

    def _with_past(self, x: Tensor, frames: int, name: str, fill: float = 0.0, dim: int = 1) -> Tensor:
        """Prepend the last ``frames`` past frames to x: (B, S, ...) -> (B, frames + S, ...).

        ``dim`` is the dimension of time.
        """
        if not frames:
            return x
        past = self._recall(name, (*x.shape[:dim], frames, *x.shape[dim + 1 :]), x, fill)
        both = torch.cat([past, x], dim)
        # A view, which would keep all of ``both`` in memory: clone it if it is small.
        kept = both.narrow(dim, both.shape[dim] - frames, frames)
        self._keep(name, kept if frames > x.shape[dim] else kept.clone(), fill)
        return both

    def _mean_so_far(self, x: Tensor, name: str = "mean") -> Tensor:
        """Return the mean over the window, or over all frames so far if fewer: (B, S, C) -> (B, S, C)."""
        window = self._window(x.shape[1])
        counted = torch.cat([x, x.new_ones(*x.shape[:2], 1)], -1)
        sums = self._with_past(counted, window - 1, name).unfold(1, window, 1).sum(-1)
        return sums[..., :-1] / sums[..., -1:]

    def _max_so_far(self, x: Tensor, name: str) -> Tensor:
        """Return the maximum over the last frames of the window: (B, S, ...) -> (B, S, ...)."""
        window = self._window(x.shape[1])
        both = self._with_past(x, window - 1, name, fill=-torch.inf)
        return torch.stack([both[:, s : s + window].amax(1) for s in range(x.shape[1])], 1)


class CausalMean(Causal):
    """Mean over the frames so far.

    Shape:
        input (B, S, C), output the same.
    """

    def forward(self, x: Tensor) -> Tensor:
        return self._mean_so_far(x)


class MeanSinceStart(Causal):
    """Mean over all frames since the start, or since the last reset of a stream.

    The "cumulative global average pooling" of MoViNet (Kondratyuk et al., 2021, arXiv:2103.11511).

    Shape:
        input (B, S, C), output the same: row s is the mean of rows 0 to s and of what came before them.
    """

    def forward(self, x: Tensor) -> Tensor:
        counted = torch.cat([x, x.new_ones(*x.shape[:2], 1)], -1).to(torch.promote_types(x.dtype, torch.float32))
        before = self._recall("sums", (x.shape[0], 1, counted.shape[2]), counted)
        sums = before + counted.cumsum(1)
        self._keep("sums", sums[:, -1:].clone())
        return (sums[..., :-1] / sums[..., -1:]).to(x.dtype)


class PastFrames(Causal):
    """Prepend past frames to clips, zeros before the first, for a convolution over time without padding.

    The "stream buffer" of MoViNet (Kondratyuk et al., 2021, arXiv:2103.11511).

    Args:
        frames: how many.
    Shape:
        input (B, C, T, H, W), output (B, C, frames + T, H, W).
    """

    def __init__(self, frames: int) -> None:
        super().__init__()
        self.frames = frames

    def forward(self, x: Tensor) -> Tensor:
        return self._with_past(x, self.frames, "past", dim=2)

    def extra_repr(self) -> str:
        return str(self.frames)


class CausalShift(Causal):
    """TSM for streams: some channels are taken from the previous frame, all others stay.

    Lin et al., 2019 (arXiv:1811.08383), online models: one eighth of the channels comes from the previous frame. The
    authors' online model shifts the first eighth. This layer shifts the second, which a bidirectional model takes from
    the past too, so its weights remain valid: with f = C // shift_div, y[s, f:2f] = x[s-1, f:2f], zeros before the
    first frame. The first eighth, which a bidirectional model takes from the future, is not shifted.

    Args:
        num_segments: time steps S folded into the first dimension.
        shift_div: 1 / the fraction of channels taken from the frame before.
    Shape:
        input (B*S, C, H, W), output the same. No parameters.
    """

    mixes_time = True

    def __init__(self, num_segments: int, shift_div: int = 8) -> None:
        super().__init__()
        self.num_segments, self.shift_div = num_segments, shift_div

    def forward(self, x: Tensor) -> Tensor:
        fold = x.shape[1] // self.shift_div
        if fold == 0:
            return x
        clips = unfold_time(x, self.num_segments)
        before = self._with_past(clips[:, :, fold : 2 * fold], 1, "shift")[:, :-1].flatten(0, 1)
        out = x.clone()  # keeps the memory format, which torch.cat would lose
        out[:, fold : 2 * fold] = before
        return out

    def extra_repr(self) -> str:
        return f"num_segments={self.num_segments}, shift_div={self.shift_div}"


class CausalTemporalAdaptive(Causal, TemporalAdaptive):
    """Causal approximation of TANet's module (an extension): every frame is treated as the last one of a clip.

    At the last frame of a clip of S frames (S as in the weights) the result equals that of the module: there the
    attention sees a zero in place of the next frame, and the third kernel weight has no frame to act on. At other
    frames it differs: frames before the start of the clip are zeros for the kernel.

    Shape:
        input (B*S, C, H, W), output the same.
    """

    def forward(self, x: Tensor) -> Tensor:
        clips = unfold_time(x, self.num_segments)
        theta = clips.mean((3, 4))  # (B, S, C)
        linear, conv = self.kernel[0], self.local[0]
        assert isinstance(linear, nn.Linear)
        assert isinstance(conv, nn.Conv1d)
        steps = linear.in_features
        history = self._with_past(theta, steps - 1, "history").unfold(1, steps, 1)  # (B, S, C, steps)
        kernel = self.kernel(history.flatten(0, 2)).unflatten(0, theta.shape)
        triples = self._with_past(theta, 2, "theta").transpose(1, 2)  # (B, C, 2 + S)
        # The next frame of the previous frame is known by now. That of the current frame is not.
        local_before = self.local[1:](F.conv1d(triples, conv.weight)).transpose(1, 2)
        local = self.local[1:](F.conv1d(triples[:, :, 1:], conv.weight[:, :, :2])).transpose(1, 2)
        before = self._with_past(clips, 1, "maps")[:, :-1] * (local_before * kernel[..., 0])[..., None, None]
        return (before + clips * (local * kernel[..., 1])[..., None, None]).flatten(0, 1)

"""Temporal shift of TSM, on folded frames and on clips."""

from typing import Any

from torch import Tensor, fx, nn

from videozoo.autograd import CustomGradient
from videozoo.layers.options import check_count
from videozoo.shapes import unfold_time

__all__ = ["ClipShift", "TemporalShift", "shift_frames"]


def shift_frames(x: Tensor, fold: int) -> Tensor:
    """Move channels [0, fold) one step back and [fold, 2 fold) one step forward in time, with zeros past the ends.

    Shape:
        input (B, S, C, ...), output the same, in the same memory format.
    """
    if fold == 0:
        return x
    return _Shift.apply(x, slice(0, fold), slice(fold, 2 * fold))


fx.wrap("shift_frames")  # torch.fx cannot trace in-place writes, so it records one call


class _Shift(CustomGradient):
    """:func:`shift_frames`. Its gradient is the opposite shift. Autograd would copy the map for each of five writes."""

    is_linear = True

    @staticmethod
    def plain(x: Tensor, back: slice, forward: slice) -> Tensor:
        # Copying the whole map and overwriting the shifted channels is faster than a strided copy of the others. It
        # also keeps the memory format of x, which torch.cat over an unfolded map would lose.
        out = x.clone()
        out[:, :-1, back] = x[:, 1:, back]
        out[:, -1, back] = 0
        out[:, 1:, forward] = x[:, :-1, forward]
        out[:, 0, forward] = 0
        return out

    @staticmethod
    def run(_: Any, x: Tensor, back: slice, forward: slice) -> Tensor:
        return _Shift.plain(x, back, forward)

    @staticmethod
    def gradient(grad: Tensor, _: Any, __: Any, ___: None, back: slice, forward: slice) -> tuple[Tensor | None, ...]:
        return _Shift.apply(grad, forward, back), None, None


class TemporalShift(nn.Module):
    """Temporal shift: some channels move one step back or forward in time, the rest stay.

    Lin et al., 2019 (arXiv:1811.08383), section 3. With f = C // shift_div and zeros past the ends::

        y[s, :f] = x[s+1, :f]
        y[s, f:2f] = x[s-1, f:2f]
        y[s, 2f:] = x[s, 2f:]

    Args:
        num_segments: time steps S folded into the first dimension.
        shift_div: 1 / the fraction of channels moved each way, at least 2. With C < shift_div nothing moves.
    Shape:
        input (B*S, C, H, W), output the same. Dtype, device and memory format are kept. No parameters.
    Raises:
        ValueError: ``shift_div`` is not a whole number of at least 2, or the first dimension is not a multiple of
            ``num_segments``.
    Note: the directions are those of the authors' code, so converted weights remain valid.
    """

    mixes_time = True

    def __init__(self, num_segments: int, shift_div: int = 8) -> None:
        super().__init__()
        why = "at most half of the channels can move each way, the paper moves an eighth"
        check_count("TemporalShift", "shift_div", shift_div, 2, why)
        self.num_segments = num_segments
        self.shift_div = shift_div

    def forward(self, x: Tensor) -> Tensor:
        fold = x.shape[1] // self.shift_div
        return shift_frames(unfold_time(x, self.num_segments), fold).flatten(0, 1)

    def extra_repr(self) -> str:
        return f"num_segments={self.num_segments}, shift_div={self.shift_div}"


class ClipShift(nn.Module):
    """:class:`TemporalShift` on clips.

    Args:
        shift_div: 1 / the fraction of channels moved each way.
    Shape:
        input (B, C, T, H, W), output the same.
    """

    mixes_time = True

    def __init__(self, shift_div: int = 8) -> None:
        super().__init__()
        self.shift_div = shift_div

    def forward(self, x: Tensor) -> Tensor:
        return shift_frames(x.transpose(1, 2), x.shape[1] // self.shift_div).transpose(1, 2)

    def extra_repr(self) -> str:
        return f"shift_div={self.shift_div}"

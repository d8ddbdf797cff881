"""The temporal shift of TSM, on folded frames and on clips."""

import torch
from torch import Tensor, nn

from videozoo.shapes import unfold_time

__all__ = ["ClipShift", "TemporalShift", "shift_frames"]


def shift_frames(x: Tensor, fold: int) -> Tensor:
    """Move channels [0, fold) one step back and [fold, 2 fold) one step forward in time; zeros past the ends.

    Shape:
        input (B, S, C, ...), output the same, in the same memory format.
    """
    # Slices of one output keep the memory format of x, which torch.cat over an unfolded map would lose.
    out = torch.empty_like(x)
    out[:, :-1, :fold] = x[:, 1:, :fold]
    out[:, -1, :fold] = 0
    out[:, 1:, fold : 2 * fold] = x[:, :-1, fold : 2 * fold]
    out[:, 0, fold : 2 * fold] = 0
    out[:, :, 2 * fold :] = x[:, :, 2 * fold :]
    return out


class TemporalShift(nn.Module):
    """Move some channels one step forward or back in time; the rest stay.

    Lin et al., 2019 (arXiv:1811.08383), section 3. With f = C // shift_div and zeros past the ends:
    y[s, :f] = x[s+1, :f];  y[s, f:2f] = x[s-1, f:2f];  y[s, 2f:] = x[s, 2f:].

    Args:
        num_segments: time steps S folded into the first dimension.
        shift_div: 1 / the fraction of channels moved each way, at least 2; with C < shift_div nothing moves.
    Shape:
        input (B*S, C, H, W), output the same; dtype, device and memory format kept. No parameters.
    Raises:
        ValueError: ``shift_div`` is below 2, or the first dimension is not a multiple of ``num_segments``.
    Note: same directions as the authors' code, so converted weights keep their meaning.
    """

    mixes_time = True

    def __init__(self, num_segments: int, shift_div: int = 8) -> None:
        super().__init__()
        if shift_div < 2:
            raise ValueError(
                f"TemporalShift: shift_div is {shift_div}; at most half of the channels can move each way, "
                "pass 2 or more (the paper uses 8)."
            )
        self.num_segments = num_segments
        self.shift_div = shift_div

    def forward(self, x: Tensor) -> Tensor:
        fold = x.shape[1] // self.shift_div
        if fold == 0:
            return x
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

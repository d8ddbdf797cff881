"""Temporal interlacing of TIN."""

from typing import Any

import torch
from torch import Tensor, fx, nn

from videozoo.layers.temporal_conv import mix_neighbors
from videozoo.shapes import frame_means, unfold_time

__all__ = ["TemporalInterlace"]

_GROUPS, _REACH = 4, 2  # two learned offsets and their opposites, each below two frames

fx.wrap("frame_means")
fx.wrap("mix_neighbors")


class TemporalInterlace(nn.Module):
    """Shift of some channels by fractions of frames that are predicted from the clip.

    Shao et al., 2020 (arXiv:2001.06499), section 3. The first C / shift_div channels form four groups, which move by
    o_1, o_2, -o_1 and -o_2 frames. A positive offset moves content to later frames. Values between two frames are
    interpolated, with zeros past the ends, and scaled by a weight per frame::

        y_g[s] = w_g[s] ((1 - f) x_g[s - floor(o_g)] + f x_g[s - floor(o_g) - 1]),  f = o_g - floor(o_g)

    Offsets, in (-2, 2) and 0.5 at the start, and weights, in (0, 2) and 1 at the start, are predicted from the frame
    means of these channels. The third and the fourth group have the weights of the first and the second.

    Args:
        channels: C.
        num_segments: time steps S. The layers that predict the offsets have weights for exactly S steps.
        shift_div: 1 / the fraction of channels that move. Channels that do not divide into four groups stay.
    Shape:
        input (B*S, C, H, W), output the same.
    Raises:
        ValueError: too few channels for four groups.
    Note: the authors gather two frames. Here every output is a weighted sum of five frames, three of whose weights are
        zero, which gives the same values and gradients.
    """

    mixes_time = True

    def __init__(self, channels: int, num_segments: int, shift_div: int = 4) -> None:
        super().__init__()
        self.num_segments = self.fixed_segments = num_segments
        self.group = channels // (_GROUPS * shift_div)
        if not self.group:
            raise ValueError(
                f"TemporalInterlace: {channels} channels and shift_div={shift_div}; need at least "
                f"{_GROUPS * shift_div} channels, which form four groups. Use a wider backbone or a smaller shift_div."
            )
        part = _GROUPS * self.group
        last = nn.Linear(num_segments, 2)
        self.offset = nn.Sequential(
            nn.Conv1d(part, 1, 3, padding=1), nn.Linear(num_segments, num_segments), nn.ReLU(), last
        )
        scale: Any = nn.Conv1d(part, 2, 3, padding=1)
        self.scale = scale
        nn.init.constant_(last.bias, 0.5108)  # sigmoid 0.625, half a frame
        nn.init.zeros_(scale.bias)

    def predict(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the offsets (B, 4), in frames, and the weights (B, S, 4) of the groups of moving channels x."""
        theta = frame_means(x, self.num_segments).transpose(1, 2)  # (B, C / shift_div, S)
        offset = 4 * torch.sigmoid(self.offset(theta).flatten(1)) - 2
        scale = 2 * torch.sigmoid(self.scale(theta)).transpose(1, 2)
        return torch.cat([offset, -offset], 1), torch.cat([scale, scale], 2)

    def forward(self, x: Tensor) -> Tensor:
        part = x[:, : _GROUPS * self.group]
        offset, scale = self.predict(part)
        # The frame at distance d has the weight of linear interpolation, at most two of five are not zero.
        taps = [torch.relu(1 - (offset + d).abs())[:, None] * scale for d in range(-_REACH, _REACH + 1)]
        weights = torch.stack(taps).repeat_interleave(self.group, 3)  # (5, B, S, C / shift_div)
        moved = mix_neighbors(unfold_time(part, self.num_segments), weights).flatten(0, 1)
        return torch.cat([moved, x[:, _GROUPS * self.group :]], 1)

    def extra_repr(self) -> str:
        return f"num_segments={self.num_segments}"

"""Motion enhanced module of TEINet."""

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from videozoo.shapes import frame_means, per_frame

__all__ = ["MotionEnhancement"]

fx.wrap("frame_means")


class MotionEnhancement(nn.Module):
    """Motion enhanced module (MEM) of TEINet: gate channels by differences of frame means to the next step.

    Liu et al., 2020 (arXiv:1911.09435), section "Motion Enhanced Module". With the frame means h::

        y[s] = x[s] sigmoid(W_3 (W_1 h[s] - W_2 h[s + 1]))

    There is no code of the authors to compare with. The paper leaves open what the last frame is compared with, and
    which maps have a bias. Here the difference is zero at the last frame, as in TEA and ACTION-Net, and W_3 alone has
    a bias, because those of W_1 and W_2 would be one constant.

    Args:
        channels: C.
        num_segments: time steps S folded into the first dimension.
        reduction: of the squeezed channels.
    Shape:
        input (B*S, C, H, W), output the same.
    """

    mixes_time = True

    def __init__(self, channels: int, num_segments: int, reduction: int = 8) -> None:
        super().__init__()
        self.num_segments = num_segments
        hidden = max(1, channels // reduction)
        self.squeeze = nn.Conv1d(channels, hidden, 1, bias=False)
        self.squeeze_next = nn.Conv1d(channels, hidden, 1, bias=False)
        self.expand = nn.Conv1d(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        means = frame_means(x, self.num_segments).transpose(1, 2)  # (B, C, S)
        d = F.pad(self.squeeze(means)[..., :-1] - self.squeeze_next(means)[..., 1:], (0, 1))
        return x * per_frame(torch.sigmoid(self.expand(d)).transpose(1, 2), self.num_segments)

    def extra_repr(self) -> str:
        return f"num_segments={self.num_segments}"

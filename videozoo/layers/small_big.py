"""Big and global views of SmallBigNet."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from videozoo.shapes import fold_time, per_frame, to_clips, unfold_time

__all__ = ["BigView", "GlobalView"]


class BigView(nn.Module):
    """Big view of a convolution: its result on a max-pooled input, with a norm of its own.

    Li et al., 2020 (arXiv:2006.14582), section 3. A new norm has a weight of zero, so the convolution starts as it was.

    Args:
        channels: output channels of the convolution.
        num_segments: time steps S folded into the first dimension.
        whole_clip: pool over all time steps and 3x3 pixels. False: over 3 steps and 3x3 pixels.
    Shape:
        ``forward(x, conv, small)``: x (B*S, C, H, W), the input of ``conv``; small (B*S, channels, H', W'), the
        normalized output of ``conv`` for x. Output as small.
    Raises:
        ValueError: a whole clip is pooled, and ``conv`` needs all time steps.
    """

    mixes_time = True

    def __init__(self, channels: int, num_segments: int, whole_clip: bool = False) -> None:
        super().__init__()
        self.num_segments, self.whole_clip = num_segments, whole_clip
        self.norm = nn.BatchNorm2d(channels)
        nn.init.zeros_(self.norm.weight)

    def pool(self, x: Tensor) -> Tensor:
        """Return the maxima: (B*S, C, H, W), or (B, C, H, W) over the whole clip."""
        if self.whole_clip:
            return F.max_pool2d(unfold_time(x, self.num_segments).amax(1), 3, 1, 1)
        # Pooling over time in half precision does not exist on every device, and a maximum of three does.
        clips = F.pad(to_clips(x, self.num_segments), (0, 0, 0, 0, 1, 1), value=-torch.inf)
        near = torch.maximum(torch.maximum(clips[:, :, :-2], clips[:, :, 1:-1]), clips[:, :, 2:])
        return F.max_pool2d(fold_time(near), 3, 1, 1)

    def forward(self, x: Tensor, conv: Callable[[Tensor], Tensor], small: Tensor) -> Tensor:
        if self.whole_clip and hasattr(conv, "num_segments"):
            raise ValueError(
                f"BigView: a {type(conv).__name__} takes the frames of a clip, but this view has one map per clip; "
                "leave 'pointwise' out of the layers of ARC."
            )
        big = self.norm(conv(self.pool(x)))
        if not self.whole_clip:
            return small + big
        return (unfold_time(small, self.num_segments) + big[:, None]).flatten(0, 1)

    def extra_repr(self) -> str:
        return f"num_segments={self.num_segments}, whole_clip={self.whole_clip}"


class GlobalView(nn.Module):
    """Global view of SmallBigNet's extra blocks: channels gated by the maximum over the whole clip.

    Li et al., 2020 (arXiv:2006.14582), as in the authors' code::

        y = x + BN(W2 (W1 x * sigmoid(W1 max(x))))    # max over S, H and W

    A new norm has a weight of zero, so the layer starts as an identity.

    Args:
        channels: C.
        num_segments: time steps S folded into the first dimension.
        reduction: of the channels between W1 and W2.
    Shape:
        input (B*S, C, H, W), output the same.
    """

    mixes_time = False  # the maximum over a clip does not depend on the order of its frames

    def __init__(self, channels: int, num_segments: int, reduction: int = 4) -> None:
        super().__init__()
        self.num_segments = num_segments
        hidden = max(1, channels // reduction)
        self.reduce = nn.Conv2d(channels, hidden, 1, bias=False)
        self.expand, self.norm = nn.Conv2d(hidden, channels, 1, bias=False), nn.BatchNorm2d(channels)
        nn.init.zeros_(self.norm.weight)

    def forward(self, x: Tensor) -> Tensor:
        top = unfold_time(x, self.num_segments).amax((1, 3, 4))
        gate = torch.sigmoid(self.reduce(top[..., None, None]))[:, :, 0, 0]
        return x + self.norm(self.expand(self.reduce(x) * per_frame(gate[:, None], self.num_segments)))

    def extra_repr(self) -> str:
        return f"num_segments={self.num_segments}"

"""SmallBigNet."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from videozoo.layers import BigView, GlobalView
from videozoo.layers.options import check_flag
from videozoo.surgery import adopt, write_plan
from videozoo.temporal.blocks import TypedBottleneck, add_shortcut, find_bottlenecks

__all__ = ["SmallBig", "SmallBigBottleneck"]


@dataclass(frozen=True)
class SmallBig:
    """SmallBigNet: every convolution of stages 2 to 4 sees its input and a max-pooled copy of it.

    Li et al., 2020 (arXiv:2006.14582). Both views share the weights of the convolution. The first two convolutions of a
    bottleneck pool over 3x3x3 neighbors, the third over all frames and 3x3 pixels, as in the authors' code. A clip and
    its reverse have the same logits, since maxima have no direction.

    Args:
        extra: also gate the input of every block by its maximum over the whole clip (the authors' ``_extra`` models).
    Raises:
        ValueError: ``extra`` is neither True nor False.
    Example:
        >>> from videozoo import SmallBig, compose
        >>> model = compose("resnet50", SmallBig(), num_classes=10)
        >>> model.sites["smallbig"][0]
        'layer2.0'
    """

    extra: bool = False

    def __post_init__(self) -> None:
        check_flag("SmallBig", "extra", self.extra)

    def apply(self, net: nn.Module, num_segments: int) -> list[str]:
        """Change the blocks of stages 2 to 4 in place and return their names.

        Raises:
            ValueError: the backbone has blocks other than timm's ResNet bottlenecks there. It is left as it was.
        """
        found = find_bottlenecks(net, owner="SmallBig", stages=(2, 3, 4))
        return write_plan(
            net, {name: SmallBigBottleneck.from_block(block, num_segments, self.extra) for name, block in found}
        )


class SmallBigBottleneck(TypedBottleneck):
    """A bottleneck whose convolutions have a big view each (``big1`` to ``big3``), after an optional ``whole`` view.

    Shape:
        that of the block.
    """

    big1: Any
    big2: Any
    big3: Any
    whole: Any

    @classmethod
    def from_block(cls, block: Any, num_segments: int, extra: bool) -> "SmallBigBottleneck":
        """Take over ``block``, sharing its parameters and key names."""
        new = adopt(cls, block)
        place = {"device": block.conv1.weight.device, "dtype": block.conv1.weight.dtype}
        for i in (1, 2, 3):
            channels = getattr(block, f"conv{i}").out_channels
            new.add_module(f"big{i}", BigView(channels, num_segments, whole_clip=i == 3).to(**place))
        new.whole = GlobalView(block.conv1.in_channels, num_segments).to(**place) if extra else nn.Identity()
        return new

    def forward(self, x: Tensor) -> Tensor:
        x = self.whole(x)
        y = self.act1(self.big1(x, self.conv1, self.bn1(self.conv1(x))))
        y = self.act2(self.drop_block(self.big2(y, self.conv2, self.bn2(self.conv2(y)))))
        y = self.aa(y)
        return self.act3(add_shortcut(self, self.big3(y, self.conv3, self.bn3(self.conv3(y))), x))

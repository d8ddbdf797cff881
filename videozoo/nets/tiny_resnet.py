"""Small ResNets, for the bundled weights, for comparisons and for tests."""

from typing import Any

from timm.layers import GroupNorm
from timm.models.resnet import BasicBlock, ResNet

from videozoo.nets.registry import register_backbone

__all__ = ["make_narrow_resnet18", "make_resnet18_gn", "make_tiny_resnet"]


def make_tiny_resnet(**kwargs: Any) -> ResNet:
    """Return timm's ResNet with one basic block per stage and few channels, about 50,000 parameters in all.

    Args:
        kwargs: those of timm's ``ResNet``.
    """
    block: Any = BasicBlock  # timm's annotation requires an instance
    return ResNet(block, (1, 1, 1, 1), channels=(16, 24, 32, 48), stem_width=16, **kwargs)


register_backbone(
    "tiny_resnet", make_tiny_resnet, "ResNet of four basic blocks with 16 to 48 channels.", first_conv="conv1"
)


def make_narrow_resnet18(**kwargs: Any) -> ResNet:
    """Return timm's ResNet-18 with 32 to 96 channels in its blocks, about 570,000 parameters in all.

    Args:
        kwargs: those of timm's ``ResNet``.
    """
    block: Any = BasicBlock
    return ResNet(block, (2, 2, 2, 2), channels=(32, 48, 64, 96), **kwargs)


register_backbone("narrow_resnet18", make_narrow_resnet18, "ResNet-18 with 32 to 96 channels.", first_conv="conv1")


def make_resnet18_gn(**kwargs: Any) -> ResNet:
    """Return timm's ResNet-18 with group norms of 32 groups, as in Table 3 of the paper of DNR.

    Args:
        kwargs: those of timm's ``ResNet``.
    """
    block: Any = BasicBlock
    return ResNet(block, (2, 2, 2, 2), norm_layer=GroupNorm, **kwargs)


register_backbone("resnet18_gn", make_resnet18_gn, "ResNet-18 with group norms.", first_conv="conv1")

"""CSN: 3-D ResNets whose 3x3x3 convolutions are depthwise, so that only those of one pixel mix channels."""

from functools import partial

from torch import nn

from videozoo.nets.blocks3d import BlockOptions, Bottleneck3d, Stride, conv3d
from videozoo.nets.registry import register_backbone
from videozoo.nets.resnet3d import ResNet3d, ResNet3dCfg

__all__ = ["CsnBottleneck", "CsnMixingBottleneck"]


class CsnBottleneck(Bottleneck3d):
    """A bottleneck whose second convolution is a depthwise 3x3x3 one: interaction-reduced (ir).

    Tran et al., 2019 (arXiv:1904.02811), figure 2c. The stride over time is that of the second convolution, too.

    Shape:
        as in :class:`Bottleneck3d`.
    """

    def __init__(
        self, inputs: int, width: int, options: BlockOptions, stride: Stride = (1, 1), drop_path: float = 0.0
    ) -> None:
        super().__init__(inputs, width, options, stride, drop_path)
        self.conv2 = self._make_conv(width, options, stride)

    def _make_conv(self, width: int, options: BlockOptions, stride: Stride) -> nn.Module:
        (time, space) = stride
        return nn.Conv3d(width, width, 3, (time, space, space), 1, groups=width, bias=False)


class CsnMixingBottleneck(CsnBottleneck):
    """A bottleneck that mixes channels before the depthwise convolution: interaction-preserved (ip).

    Tran et al., 2019 (arXiv:1904.02811), figure 2b. There is a norm between the two, and no activation.
    """

    def _make_conv(self, width: int, options: BlockOptions, stride: Stride) -> nn.Module:
        mixing, norm = conv3d(width, width, (1, 1)), nn.BatchNorm3d(width, options.eps)
        return nn.Sequential(mixing, norm, super()._make_conv(width, options, stride))


def _cfg(depth: int, bottleneck: type[CsnBottleneck], eps: float = 1e-3) -> ResNet3dCfg:
    return ResNet3dCfg(
        depth,
        temporal_kernels=(1, 1, 1, 1),
        temporal_strides=(1, 2, 2, 2),
        block=BlockOptions(eps=eps),
        bottleneck=bottleneck,
    )


_NETWORKS = {
    **{f"csn_ir_resnet{depth}": _cfg(depth, CsnBottleneck) for depth in (50, 101, 152)},
    **{f"csn_ip_resnet{depth}": _cfg(depth, CsnMixingBottleneck) for depth in (50, 101, 152)},
    "csn_ir_resnet101_ptv": _cfg(101, CsnBottleneck, eps=1e-5),
}
for _name, _own in _NETWORKS.items():
    _kind = "reduced" if "_ir_" in _name else "preserved"
    _end = " Norms of PyTorchVideo's, with eps 1e-5." if _name.endswith("_ptv") else ""
    register_backbone(
        _name,
        partial(ResNet3d, _own),
        f"CSN-{_own.depth}, interaction-{_kind}, with VMZ's norms of eps 1e-3.{_end}",
        first_conv="conv1",
    )

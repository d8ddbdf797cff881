"""Big-Little video network with temporal aggregation (bLVNet-TAM)."""

from dataclasses import dataclass
from typing import Any

from torch import nn

from videozoo.layers import PairAggregation, TemporalAggregation
from videozoo.nets import BigLittleModule, BigLittleResNet
from videozoo.surgery import PreConv2d, write_plan

__all__ = ["BLVNetTAM"]


@dataclass(frozen=True)
class BLVNetTAM:
    """bLVNet-TAM: the branches of a Big-Little ResNet see different frames, and every stage mixes neighboring frames.

    Fan et al., 2019 (arXiv:1912.00869). A time step has two frames. The first goes through the little branch of the
    stem, the second through the big one, at half the resolution. From there on both frames have the merged map. A
    temporal aggregation of all frames stands before both branches of the stem and of stages 1 to 3, and one of the time
    steps in every block of stage 4. In the first of these blocks its output goes to the shortcut too, as in the
    authors' code. The frames are sampled one by one over the video, not in pairs. A paper's "8x2" is a clip of 16.

    Example:
        >>> from videozoo import BLVNetTAM, compose
        >>> model = compose("blresnet50", BLVNetTAM(), num_classes=10, num_frames=16)
        >>> model.num_segments, model.sites["blvnettam"][0]
        (8, 'tam')
    """

    frames_per_segment = 2
    frames_in_a_row = 1

    def apply(self, net: nn.Module, num_segments: int) -> list[str]:
        """Add the aggregations in place and return the names of the modules that were added or changed.

        Raises:
            ValueError: the backbone is no Big-Little ResNet, or was changed before.
        """
        if not isinstance(net, BigLittleResNet):
            raise ValueError(
                f"BLVNetTAM: needs a Big-Little ResNet, whose two branches see different frames, not "
                f"{type(net).__name__}; use backbone='blresnet50'."
            )
        if net.tam is not None or any(isinstance(module, PreConv2d) for module in net.modules()):
            raise ValueError("BLVNetTAM: the model was changed before; apply it first.")
        stages = [getattr(net, name) for name in net.stage_names]
        plan: dict[str, Any] = {"tam": PairAggregation(net.feature_info[0]["num_chs"], num_segments, has_frames=True)}
        for name, stage, row in zip(net.stage_names, stages, net.feature_info, strict=False):
            if isinstance(stage, BigLittleModule):
                plan[f"{name}.tam"] = PairAggregation(row["num_chs"], num_segments)
        plan["layer4_tam"] = TemporalAggregation(stages[-1][0].conv1.in_channels, num_segments)
        for k, block in enumerate(stages[-1][1:], 1):
            conv = block.conv1
            tam = TemporalAggregation(conv.in_channels, num_segments).to(conv.weight.device, conv.weight.dtype)
            plan[f"layer4.{k}.conv1"] = PreConv2d.from_conv(conv, tam)
        net.frames_multiple = 2
        return write_plan(net, plan)

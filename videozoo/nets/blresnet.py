"""Big-Little ResNets: two branches per stage, one at half the resolution and one with half the channels."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from timm.layers import DropPath, calculate_drop_path_rates
from timm.models import checkpoint_seq
from timm.models.resnet import Bottleneck
from torch import Tensor, nn

from videozoo.nets.base import Backbone, init_convs
from videozoo.nets.registry import register_backbone

__all__ = ["BigLittleModule", "BigLittleResNet", "BigLittleResNetCfg"]


@dataclass(frozen=True)
class BigLittleResNetCfg:
    """One model of the family.

    Args:
        depths: blocks of stages 1 to 4. Stages 1 to 3 have one of them behind both branches.
        alpha: the little branch has one channel for every ``alpha`` of the big one.
        beta: the little branch has one block less than one for every ``beta`` of the stage, and at least one.
        width: channels of the stem. Stages have 4, 8, 16 and 32 times as many.
    """

    depths: tuple[int, int, int, int]
    alpha: int = 2
    beta: int = 4
    width: int = 64


def _blocks(inputs: int, outputs: int, rates: Sequence[float], stride: int = 1) -> nn.Sequential:
    """Return bottlenecks, one for each rate of stochastic depth. The shortcut of a stride is an average pooling."""
    shortcut: list[nn.Module] = [nn.AvgPool2d(3, stride, 1)] if stride > 1 else []
    if inputs != outputs:
        shortcut += [nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs)]
    blocks = []
    for k, rate in enumerate(rates):
        blocks.append(
            Bottleneck(
                outputs if k else inputs,
                outputs // Bottleneck.expansion,
                1 if k else stride,
                nn.Sequential(*shortcut) if shortcut and not k else None,
                drop_path=DropPath(rate) if rate else None,
            )
        )
    return nn.Sequential(*blocks)


def _norm(conv: nn.Conv2d) -> nn.Sequential:
    return nn.Sequential(conv, nn.BatchNorm2d(conv.out_channels))


class BigLittleModule(nn.Module):
    """A stage: a big branch at half the resolution, a little one with fewer channels, their sum, and one more block.

    Args:
        inputs, outputs: channels.
        cfg: the model.
        rates: stochastic depth of the blocks of the stage.
        stride: of the last block.
    Shape:
        input (N, inputs, H, W), output (N, outputs, H / stride, W / stride).
    """

    tam: nn.Module | None

    def __init__(self, inputs: int, outputs: int, cfg: BigLittleResNetCfg, rates: Sequence[float], stride: int) -> None:
        super().__init__()
        self.register_module("tam", None)  # bLVNet-TAM's gives each branch an input of its own
        little = outputs // cfg.alpha
        self.big = _blocks(inputs, outputs, rates[:-1], 2)
        if len(rates) > 2:  # the authors keep the ReLU of a single block
            self.big[-1].act3 = nn.Identity()
        self.little = _blocks(inputs, little, rates[: max(1, len(rates) // cfg.beta - 1)])
        self.little_e = _norm(nn.Conv2d(little, outputs, 1, bias=False))
        self.act = nn.ReLU(inplace=True)
        self.fusion = _blocks(outputs, outputs, rates[-1:], stride)

    def forward(self, x: Tensor, run: Callable[[nn.Sequential, Tensor], Tensor] | None = None) -> Tensor:
        first, second = (x, x) if self.tam is None else self.tam(x).unbind(1)
        run = run or (lambda blocks, y: blocks(y))
        little = self.little_e(run(self.little, first))
        big = F.interpolate(run(self.big, second), little.shape[-2:])  # nearest
        return run(self.fusion, self.act(big + little))


class BigLittleResNet(Backbone):
    """A ResNet whose stem and first three stages have a big and a little branch.

    Chen et al., 2019 (arXiv:1807.03848), with the names of the authors' code, so that their ImageNet weights load as
    ``backbone_weights``.

    Args:
        cfg: which model.
        num_classes: classes of its own classifier. 0 for none.
        in_chans: channels of a frame.
        drop_rate: dropout before the classifier.
        drop_path_rate: stochastic depth.
    Shape:
        input (N, C, H, W). Features (N, 32 width, H / 32, W / 32). With ``tam``, which bLVNet-TAM adds, the input has
        two frames side by side in its channels.
    """

    stage_names = ("layer1", "layer2", "layer3", "layer4")
    stem_pattern = r"^(?:conv1|bn1|b_conv0|bn_b|l_conv|bn_l|bl_init|tam)"
    block_pattern = r"^layer(\d+)\.(?:(?:big|little)\.)?(\d+)"
    tam: nn.Module | None
    layer4_tam: nn.Module | None

    def __init__(
        self,
        cfg: BigLittleResNetCfg,
        num_classes: int = 0,
        in_chans: int = 3,
        drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
    ) -> None:
        super().__init__()
        for name in ("tam", "layer4_tam"):  # of bLVNet-TAM
            self.register_module(name, None)
        width, little = cfg.width, cfg.width // cfg.alpha
        self.conv1 = nn.Conv2d(in_chans, width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.act1 = nn.ReLU(inplace=True)
        self.b_conv0 = nn.Conv2d(width, width, 3, 2, 1, bias=False)
        self.bn_b0 = nn.BatchNorm2d(width)
        self.l_conv0 = nn.Conv2d(width, little, 3, 1, 1, bias=False)
        self.bn_l0 = nn.BatchNorm2d(little)
        self.act_l0 = nn.ReLU(inplace=True)
        self.l_conv1 = nn.Conv2d(little, little, 3, 2, 1, bias=False)
        self.bn_l1 = nn.BatchNorm2d(little)
        self.act_l1 = nn.ReLU(inplace=True)
        self.l_conv2 = nn.Conv2d(little, width, 1, bias=False)
        self.bn_l2 = nn.BatchNorm2d(width)
        self.act_bl = nn.ReLU(inplace=True)
        self.bl_init = nn.Conv2d(width, width, 1, bias=False)
        self.bn_bl_init = nn.BatchNorm2d(width)
        self.act_bl_init = nn.ReLU(inplace=True)
        rates: Any = calculate_drop_path_rates(drop_path_rate, list(cfg.depths), stagewise=True)
        widths = [width, *(4 * width * 2**i for i in range(4))]
        for i, (name, stride) in enumerate(zip(self.stage_names, (2, 2, 1, 2), strict=True)):
            is_split = i < 3
            make: Any = partial(BigLittleModule, cfg=cfg) if is_split else _blocks
            setattr(self, name, make(widths[i], widths[i + 1], rates=rates[i], stride=stride))
        init_convs(self)
        for module in self.modules():
            if isinstance(module, Bottleneck):
                module.zero_init_last()
        self._finish("act_bl_init", zip(widths, (4, 8, 16, 16, 32), strict=True), num_classes, drop_rate)

    def _begin(self, x: Tensor) -> Tensor:
        if self.tam is not None:
            x = x.unflatten(1, (2, -1)).flatten(0, 1)  # (B*S, 2 C, H, W) -> (B*S*2, C, H, W)
        x = self.act1(self.bn1(self.conv1(x)))
        first, second = (x, x) if self.tam is None else self.tam(x).unbind(1)
        little = self.act_l0(self.bn_l0(self.l_conv0(first)))
        little = self.act_l1(self.bn_l1(self.l_conv1(little)))
        little = self.bn_l2(self.l_conv2(little))
        x = self.act_bl(self.bn_b0(self.b_conv0(second)) + little)
        return self.act_bl_init(self.bn_bl_init(self.bl_init(x)))

    def _between(self, index: int, state: Tensor) -> Tensor:
        return self.layer4_tam(state) if index == 3 and self.layer4_tam is not None else state

    def _advance(self, stage: nn.Module, state: Tensor) -> Tensor:
        if isinstance(stage, BigLittleModule) and self.grad_checkpointing and torch.is_grad_enabled():
            return stage(state, checkpoint_seq)
        return self._run(stage, state)


_DEPTHS: dict[int, tuple[int, int, int, int]] = {50: (3, 4, 6, 3), 101: (4, 8, 18, 3), 152: (5, 12, 30, 3)}
for _depth, _blocks_of in _DEPTHS.items():
    register_backbone(
        f"blresnet{_depth}",
        partial(BigLittleResNet, BigLittleResNetCfg(_blocks_of)),
        f"Big-Little ResNet-{_depth}, alpha 2 and beta 4.",
        first_conv="conv1",
    )

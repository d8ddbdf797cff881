"""RubiksNet: residual blocks of 1x1 convolutions and learned shifts over space and time."""

from dataclasses import dataclass
from functools import partial
from typing import Any

from timm.layers import DropPath, SqueezeExcite, calculate_drop_path_rates
from torch import Tensor, nn

from videozoo.layers.rubiks_shift import AttentionShift, RubiksShift, SpatialShift
from videozoo.nets.base import Backbone, init_convs
from videozoo.nets.registry import register_backbone

__all__ = ["RubiksBlock", "RubiksNet", "RubiksNetCfg"]


@dataclass(frozen=True)
class RubiksNetCfg:
    """One model of the family.

    Args:
        width: channels of the stem and of stage 1. Stages 2 to 4 have 2, 4 and 8 times as many.
        depths: blocks of stages 1 to 4.
        se_reduction: channels for one of the hidden layer of a squeeze-and-excitation after the shift. None for none.
        has_attention_shift: shift over space only, and mix time steps before the first convolution by an
            :class:`~videozoo.layers.rubiks_shift.AttentionShift`.
    """

    width: int
    depths: tuple[int, int, int, int]
    se_reduction: int | None = None
    has_attention_shift: bool = False


class RubiksBlock(nn.Module):
    """Pre-activation block: norm, ReLU, 1x1 convolution, norm, ReLU, shift, 1x1 convolution.

    The shift does the stride over space. A shortcut with a convolution takes the input after the first ReLU.

    Shape:
        input (B*S, C, H, W), output (B*S, width, ceil(H / stride), ceil(W / stride)).
    """

    def __init__(self, inputs: int, width: int, cfg: RubiksNetCfg, stride: int = 1, drop_path: float = 0.0) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.act1 = nn.ReLU(inplace=True)
        # The number of time steps is set by ``build``.
        self.mix = AttentionShift(inputs, 1) if cfg.has_attention_shift else nn.Identity()
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.act2 = nn.ReLU(inplace=True)
        self.shift = SpatialShift(width, stride) if cfg.has_attention_shift else RubiksShift(width, 1, stride)
        hidden = cfg.se_reduction and width // cfg.se_reduction
        self.se = SqueezeExcite(width, rd_channels=hidden, bias=False) if hidden else nn.Identity()
        self.conv2 = nn.Conv2d(width, width, 1, bias=False)
        is_plain = stride == 1 and inputs == width
        self.shortcut = None if is_plain else nn.Conv2d(inputs, width, 1, stride, bias=False)
        self.drop_path = DropPath(drop_path) if drop_path else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = self.act1(self.bn1(x))
        shortcut = x if self.shortcut is None else self.shortcut(y)
        y = self.act2(self.bn2(self.conv1(self.mix(y))))
        return self.drop_path(self.conv2(self.se(self.shift(y)))) + shortcut


class RubiksNet(Backbone):
    """A residual network without spatial convolutions, except the stem.

    Fan et al., 2020 (RubiksNet, ECCV). The largest model is compared as "R50" in tables, but has 51 blocks of its own
    kind.

    Args:
        cfg: which model.
        num_classes: classes of its own classifier. 0 for none.
        in_chans: channels of a frame.
        drop_rate: dropout before the classifier.
        drop_path_rate: stochastic depth.
    Shape:
        input (B*S, C, H, W). Features (B*S, 8 width, H / 32, W / 32).
    """

    mixes_time = True
    stage_names = ("layer1", "layer2", "layer3", "layer4")
    stem_pattern = r"^(?:conv1|layer0)"

    def __init__(
        self,
        cfg: RubiksNetCfg,
        num_classes: int = 0,
        in_chans: int = 3,
        drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_chans, cfg.width, 3, 2, 1, bias=False)
        self.layer0 = nn.Sequential(RubiksBlock(cfg.width, cfg.width, cfg))
        rates: Any = calculate_drop_path_rates(drop_path_rate, list(cfg.depths), stagewise=True)
        widths = [cfg.width * 2**i for i in range(4)]
        for i, name in enumerate(self.stage_names):
            inputs = [widths[max(i - 1, 0)], *(widths[i] for _ in rates[i][1:])]
            blocks = [
                RubiksBlock(inputs[k], widths[i], cfg, 1 if k else 2, drop_path) for k, drop_path in enumerate(rates[i])
            ]
            setattr(self, name, nn.Sequential(*blocks))
        self.norm = nn.BatchNorm2d(widths[-1])
        self.act = nn.ReLU(inplace=True)
        init_convs(self)
        maps = [(cfg.width, 2), *((width, 4 * 2**i) for i, width in enumerate(widths))]
        self._finish("layer0", maps, num_classes, drop_rate)

    def _begin(self, x: Tensor) -> Tensor:
        return self._run(self.layer0, self.conv1(x))

    def _end(self, state: Tensor) -> Tensor:
        return self.act(self.norm(state))


_TIERS = {
    "tiny": RubiksNetCfg(54, (3, 4, 6, 3)),
    "small": RubiksNetCfg(72, (3, 4, 6, 3), se_reduction=12),
    "medium": RubiksNetCfg(72, (3, 4, 23, 3)),
    "large": RubiksNetCfg(72, (3, 8, 36, 3)),
    "large_aq": RubiksNetCfg(72, (3, 8, 36, 3), has_attention_shift=True),
}
for _tier, _cfg in _TIERS.items():
    _kind = "attention over time and shifts over space" if _cfg.has_attention_shift else "shifts over space and time"
    register_backbone(f"rubiks_{_tier}", partial(RubiksNet, _cfg), f"RubiksNet {_tier}: {_kind}.", first_conv="conv1")

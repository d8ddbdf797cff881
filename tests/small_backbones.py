"""Small backbones with the same block classes as those of the named models."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from timm.models.res2net import Bottle2neck
from timm.models.resnet import BasicBlock, Bottleneck, ResNet
from torch import nn

from videozoo.layers.non_local import NonLocalOptions
from videozoo.models import EnsembleSpec, ModelSpec
from videozoo.nets import Bottleneck2plus1d, CsnBottleneck, CsnMixingBottleneck
from videozoo.nets.blocks3d import BlockOptions
from videozoo.nets.blresnet import BigLittleResNet, BigLittleResNetCfg
from videozoo.nets.eco import Eco
from videozoo.nets.hiera import Hiera, HieraCfg
from videozoo.nets.inception3d import Inception3dCfg, InceptionNet3d
from videozoo.nets.movinet import MoViNet
from videozoo.nets.movinet_cfg import MoViNetCfg
from videozoo.nets.mvit import MultiscaleViT, MultiscaleViTCfg
from videozoo.nets.registry import register_backbone
from videozoo.nets.resnet3d import DEPTHS, ResNet3d, ResNet3dCfg
from videozoo.nets.rubiksnet import RubiksNet, RubiksNetCfg
from videozoo.nets.slowfast import SlowFast, SlowFastCfg
from videozoo.nets.swin3d import Swin3d, Swin3dCfg
from videozoo.nets.timesformer import TimeSformer
from videozoo.nets.tokens import VitCfg
from videozoo.nets.uniformer import UniFormer, UniFormerCfg
from videozoo.nets.videomae import VideoMae
from videozoo.nets.vivit import ViViT
from videozoo.nets.vjepa import VJepa
from videozoo.nets.x3d import X3d, X3dCfg

# Two blocks in one stage, so that what is handed from block to block has somewhere to go. 64 channels: gates squeeze
# them by 16, and one or two hidden units may all be dead.
_LAYERS = (1, 2, 1, 1)
_BASIC, _BOTTLENECK = 10, 59  # depths that no network has: 50 and more are bottlenecks
DEPTHS.update({_BASIC: _LAYERS, _BOTTLENECK: _LAYERS})
_narrow = partial(ResNet, layers=_LAYERS, stem_width=8)
_MAKERS: dict[str, Callable[..., nn.Module]] = {
    "small_basic": partial(_narrow, BasicBlock, channels=(64, 64, 64, 64)),
    "small_bottleneck": partial(_narrow, Bottleneck, channels=(64, 64, 64, 64)),
    "small_bottleneck_gn": partial(_narrow, Bottleneck, channels=(64, 64, 64, 64), norm_layer="groupnorm"),
    "small_bottle2neck": partial(
        _narrow, Bottle2neck, channels=(16, 16, 32, 32), base_width=26, block_args={"scale": 4}
    ),
}
# DNR refuses models most of whose norms lie outside its blocks: the middle ones of (2+1)D, shortcuts.
_2plus1d = ResNet3dCfg(18, is_factorized=True, temporal_strides=(1, 2, 2, 2))
_slowonly = ResNet3dCfg(_BOTTLENECK, temporal_kernels=(1, 1, 3, 3), stem_kernel=1)
_csn = replace(_slowonly, temporal_kernels=(1, 1, 1, 1), temporal_strides=(1, 2, 2, 2), bottleneck=CsnBottleneck)
_slowfast = SlowFastCfg(_BASIC, has_lateral_norm=False, slow_frames="stride", is_fast_first=True)
_MAKERS |= {
    "small_2plus1d": partial(ResNet3d, _2plus1d),
    "small_r3d": partial(ResNet3d, ResNet3dCfg(_BASIC, temporal_strides=(1, 2, 2, 2))),
    "small_slowonly": partial(ResNet3d, _slowonly),
    "small_slowfast_basic": partial(SlowFast, _slowfast),
    "small_slowfast_bottleneck": partial(SlowFast, replace(_slowfast, depth=_BOTTLENECK)),
    "small_uniformer": partial(UniFormer, UniFormerCfg((1, 1, 2, 1), (8, 16, 16, 32), head_width=8)),
    "small_2plus1d_bottleneck": partial(ResNet3d, replace(_csn, bottleneck=Bottleneck2plus1d)),
    "small_csn_ir": partial(ResNet3d, _csn),
    "small_csn_ip": partial(ResNet3d, replace(_csn, bottleneck=CsnMixingBottleneck)),
    "small_x3d": partial(X3d, X3dCfg(depth=0.3, pooled=64)),
}
_MAKERS |= {
    "small_rubiks": partial(RubiksNet, RubiksNetCfg(16, _LAYERS)),
    "small_rubiks_se": partial(RubiksNet, RubiksNetCfg(16, _LAYERS, se_reduction=4)),
    "small_rubiks_aq": partial(RubiksNet, RubiksNetCfg(16, _LAYERS, has_attention_shift=True)),
}
_movinet = MoViNetCfg(
    8, ((8, (16,), "s"), (16, (32, 32), "tp"), (16, (32,), "l"), (24, (32,), "t"), (24, (48,), "s")), 32
)
_MAKERS |= {
    "small_movinet": partial(MoViNet, _movinet),
    "small_movinet_causal": partial(MoViNet, replace(_movinet, is_causal=True)),
}
_MAKERS["small_blresnet"] = partial(BigLittleResNet, BigLittleResNetCfg((2, 3, 2, 2), width=16))
_inception = Inception3dCfg(stem_widths=(8, 8, 16), stages=(((8, 8, 16, 8, 8, 8),) * 2,) * 3)
_s3dg = replace(_inception, stem="thin", is_separable=True, is_gated=True, padding="end", are_ends_halved=False)
_MAKERS |= {
    "small_i3d": partial(InceptionNet3d, _inception),
    "small_s3d": partial(InceptionNet3d, replace(_inception, stem="separable", is_separable=True, padding="symmetric")),
    "small_s3dg": partial(InceptionNet3d, _s3dg),
}
_MAKERS |= {f"small_inception_eco_{kind}": partial(Eco, kind == "full", (16, 24, 32)) for kind in ("lite", "full")}
_i3d = replace(
    _slowonly,
    temporal_kernels=(3, (3, 1), (3, 1), (1, 3)),
    stem_kernel=5,
    temporal_pool=2,
    spatial_strides=(1, 2, 2, 1),
)
_i3d_mm = replace(_i3d, stem_stride=2, stem_pool_stride=2, spatial_strides=(1, 2, 2, 2))
_PLACES = ((), (1,), (0,), ())
_nl_mm = NonLocalOptions(is_scaled=False, pools_input=False, has_out_bias=False)
_authors = SlowFastCfg(_BOTTLENECK)
_MAKERS |= {
    "small_i3d_r50": partial(ResNet3d, _i3d),
    "small_i3d_mm": partial(ResNet3d, _i3d_mm),
    "small_c2d": partial(
        ResNet3d, replace(_slowonly, temporal_kernels=(1, 1, 1, 1), temporal_pool=2, is_stem_pool_padded=False)
    ),
    "small_i3d_nl": partial(
        ResNet3d, replace(_i3d, non_local=_PLACES, block=BlockOptions(non_local=NonLocalOptions()))
    ),
    "small_slowfast_authors": partial(SlowFast, _authors),
    "small_slowfast_nl": partial(
        SlowFast, replace(_authors, non_local=_PLACES, non_local_options=NonLocalOptions("dot_product", pool=(2, 2, 2)))
    ),
}
for _kind in ("dot_product", "gaussian"):
    _block = BlockOptions(non_local=replace(_nl_mm, pairwise=_kind))
    _MAKERS[f"small_i3d_nl_{_kind}"] = partial(ResNet3d, replace(_i3d_mm, non_local=_PLACES, block=_block))
for _name, _make in _MAKERS.items():
    register_backbone(_name, _make, "For tests.", first_conv="conv1")


def _small_vit(kind: Callable[..., nn.Module], cfg: Any, **kwargs: Any) -> nn.Module:
    """A ViT whose linear layers start as PyTorch's: ViTs' small ones do next to nothing at a small width."""
    net = kind(cfg, **{"img_size": 40, **kwargs})
    for module in net.modules():
        if isinstance(module, nn.Linear):
            module.reset_parameters()
    return net


_vit_cfg = VitCfg(width=24, depth=4, num_heads=3, patch=8)
_VITS: dict[str, tuple[Callable[..., nn.Module], Any]] = {
    f"timesformer_{kind}": (partial(TimeSformer, attention=kind), replace(_vit_cfg, tubelet=1))
    for kind in ("divided", "joint", "space")
}
_VITS |= {"videomae": (VideoMae, _vit_cfg), "vivit": (ViViT, _vit_cfg)}
for _name, (_vit, _cfg) in _VITS.items():
    _make = partial(_small_vit, _vit, _cfg)
    register_backbone(f"small_{_name}", _make, "For tests.", first_conv="patch_embed.proj", has_positions=True)


def _small_transformer(make: Callable[..., nn.Module], cfg: Any, **kwargs: Any) -> nn.Module:
    """A transformer in stages whose linear layers start as PyTorch's, as those of TimeSformer."""
    net = make(cfg, **kwargs)
    for module in net.modules():
        if isinstance(module, nn.Linear):
            module.reset_parameters()
    return net


_mvit = MultiscaleViTCfg((1, 1, 1, 2), width=16, img_size=40, frames=5)
_hiera = HieraCfg((1, 1, 1, 2), width=16, img_size=64, frames=5)
_swin = Swin3dCfg((1, 2, 1, 1), width=12, window=(2, 2, 2))
for _name, _first, _make in (
    ("small_mvit", "conv_proj", partial(_small_transformer, MultiscaleViT, _mvit)),
    (
        "small_mvit_v1",
        "conv_proj",
        partial(_small_transformer, MultiscaleViT, replace(_mvit, version=1, is_widened_in_attention=False)),
    ),
    ("small_hiera", "patch_embed.proj", partial(_small_transformer, Hiera, _hiera)),
    ("small_vjepa", "patch_embed.proj", partial(_small_transformer, VJepa, _vit_cfg)),
    ("small_swin3d", "patch_embed.proj", partial(_small_transformer, Swin3d, _swin)),
):
    register_backbone(_name, _make, "For tests.", first_conv=_first)

SMALL = {
    **dict.fromkeys(("resnet18", "resnet34", "tiny_resnet"), "small_basic"),
    **dict.fromkeys(("resnet50", "resnet101", "resnext101_32x4d"), "small_bottleneck"),
    "resnet50_gn": "small_bottleneck_gn",
    "res2net50_26w_4s": "small_bottle2neck",
    "mobilenetv2_100": "mobilenetv2_035",
    "r2plus1d_resnet34": "small_2plus1d",
    "slowonly_resnet50": "small_slowonly",
    "slowfast_resnet18_8x8_mm": "small_slowfast_basic",
    "slowfast_resnet50_8x8_mm": "small_slowfast_bottleneck",
    "slowfast_resnet50_4x16_mm": "small_slowfast_bottleneck",
    "i3d_inception_v1": "small_i3d",
    "s3d_inception_v1": "small_s3d",
    "s3dg_inception_v1": "small_s3dg",
    "uniformer_small": "small_uniformer",
    **dict.fromkeys(("blresnet50", "blresnet101"), "small_blresnet"),
    "slowonly_resnet50_nl_mm": "small_i3d_nl",
    **dict.fromkeys(("rubiks_tiny", "rubiks_medium", "rubiks_large"), "small_rubiks"),
    **{f"movinet_a{k}_base": "small_movinet" for k in range(6)},
    **{f"movinet_a{k}_causal": "small_movinet_causal" for k in range(3)},
    "rubiks_small": "small_rubiks_se",
    "rubiks_large_aq": "small_rubiks_aq",
    "r2plus1d_resnet50_ptv": "small_2plus1d_bottleneck",
    **{f"eco_{kind}_bninception": f"small_inception_eco_{kind}" for kind in ("lite", "full")},
    "csn_ir_resnet50": "small_csn_ir",
    "csn_ip_resnet152": "small_csn_ip",
    **dict.fromkeys(("i3d_resnet50", "i3d_resnet50_s16"), "small_i3d_r50"),
    **dict.fromkeys(("i3d_resnet50_nl", "i3d_resnet50_nl_s16"), "small_i3d_nl"),
    **dict.fromkeys(("i3d_resnet50_mm", "i3d_resnet50_heavy_mm"), "small_i3d_mm"),
    "i3d_resnet50_nl_dot_product_mm": "small_i3d_nl_dot_product",
    "i3d_resnet50_nl_gaussian_mm": "small_i3d_nl_gaussian",
    "c2d_resnet50_mm": "small_c2d",
    **dict.fromkeys(("slowfast_resnet50_8x8", "slowfast_resnet101_8x8_50"), "small_slowfast_authors"),
    "slowfast_resnet101_8x8_50_nl_pool2": "small_slowfast_nl",
    **dict.fromkeys(("x3d_small", "x3d_large", "x3d_extra_large"), "small_x3d"),
    **dict.fromkeys(("mvit_v2_small", "mvit_v2_small_mlp", "mvit_v2_base", "mvit_v2_large"), "small_mvit"),
    **dict.fromkeys(("mvit_v1_base", "mvit_v1_base_32"), "small_mvit_v1"),
    **{f"swin3d_{size}": "small_swin3d" for size in ("tiny", "small", "base", "base_w16", "large")},
    **dict.fromkeys(("r3d_resnet18", "mc3_resnet18"), "small_r3d"),
    "r2plus1d_resnet18_tv": "small_2plus1d",
    "timesformer_base": "small_timesformer_divided",
    "timesformer_base_joint": "small_timesformer_joint",
    "timesformer_base_space": "small_timesformer_space",
    **dict.fromkeys(("videomae_vit_small", "videomae_vit_base", "videomae_vit_large"), "small_videomae"),
    "vivit_base_16x2": "small_vivit",
    "hiera_base_16x224": "small_hiera",
    "vjepa2_vit_large": "small_vjepa",
}


def small_specs(specs: Mapping[str, ModelSpec | EnsembleSpec]) -> dict[str, ModelSpec]:
    """Return one small composition for each pair of parts and block class, under the first name that has it.

    Backbones that have no small sibling, and ensembles, are left to the slow tests, which run every name.
    """
    found: dict[ModelSpec, tuple[str, ModelSpec]] = {}
    for name, spec in specs.items():
        if isinstance(spec, ModelSpec) and spec.backbone in SMALL:
            small = spec.replace(backbone=SMALL[spec.backbone], img_size=None)
            found.setdefault(small.replace(num_frames=1), (name, small))
    return {f"small {name}": spec for name, spec in found.values()}

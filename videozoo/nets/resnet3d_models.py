"""Registered one-pathway 3-D ResNets: R(2+1)D, R3D, MC3, SlowOnly, I3D and C2D as the sources build them."""

from dataclasses import replace
from functools import partial
from typing import Any

from videozoo.layers.non_local import NonLocalOptions
from videozoo.nets.blocks3d import BlockOptions, Bottleneck2plus1d
from videozoo.nets.registry import HALF, register_backbone
from videozoo.nets.resnet3d import ResNet3d, ResNet3dCfg

__all__: list[str] = []


def _register(name: str, cfg: ResNet3dCfg, summary: str, **own: Any) -> None:
    first = "conv1.spatial" if cfg.is_factorized else "conv1"
    register_backbone(name, partial(ResNet3d, cfg), summary, first_conv=first, **own)


_r2plus1d = partial(ResNet3dCfg, is_factorized=True, temporal_strides=(1, 2, 2, 2))
_register(
    "r2plus1d_resnet34",
    _r2plus1d(34, block=BlockOptions(eps=1e-3, is_shortcut_factorized=True)),
    "R(2+1)D-34 as in MMAction2: max pooling after the stem, factorized shortcuts, norms with eps 1e-3.",
)
for _depth in (18, 34):
    _register(
        f"r2plus1d_resnet{_depth}_tv",
        _r2plus1d(_depth, stem_middle=45, has_stem_pool=False, block=BlockOptions(is_middle_per_block=True)),
        f"R(2+1)D-{_depth} as in torchvision: no max pooling, 45 channels inside the stem, plain shortcuts.",
    )
_register(
    "r2plus1d_resnet34_vmz",
    _r2plus1d(34, stem_middle=45, has_stem_pool=False),
    "R(2+1)D-34 as its authors': torchvision's, but with a middle width for each convolution.",
)
_register(
    "r3d_resnet18",
    ResNet3dCfg(18, temporal_strides=(1, 2, 2, 2), has_stem_pool=False),
    "R3D-18 as in torchvision: full 3-D convolutions, no max pooling.",
)
_register(
    "mc3_resnet18",
    ResNet3dCfg(18, temporal_kernels=(3, 1, 1, 1), has_stem_pool=False),
    "MC3-18 as in torchvision: 3-D convolutions in the stem and the first stage, 2-D ones after them.",
)

_register(
    "r2plus1d_resnet50_ptv",
    ResNet3dCfg(
        50,
        temporal_kernels=(1, 1, 1, 1),
        temporal_strides=(1, 1, 2, 2),
        spatial_strides=(2, 2, 2, 2),
        stem_kernel=1,
        has_stem_pool=False,
        bottleneck=Bottleneck2plus1d,
        block=BlockOptions(zero_init_last=True),
    ),
    "R(2+1)D-50 as in PyTorchVideo: bottlenecks, factorized first over time, a stem over space alone, no max pooling.",
    **HALF,
)

# Where non-local blocks stand: PySlowFast, MMAction2's I3D, and MMAction2's SlowOnly.
_ODD = ((), (1, 3), (1, 3, 5), ())
_EVEN = ((), (0, 2), (0, 2, 4), ())
_MM_NON_LOCAL = NonLocalOptions(is_scaled=False, pools_input=False, has_out_bias=False)
_ZERO = BlockOptions(zero_init_last=True)

_slowonly = partial(ResNet3dCfg, temporal_kernels=(1, 1, 3, 3), stem_kernel=1, block=_ZERO)
for _depth in (50, 101):
    _register(
        f"slowonly_resnet{_depth}",
        _slowonly(_depth),
        f"SlowOnly on ResNet-{_depth}: the slow pathway alone, temporal kernels in the last two stages.",
    )
_register(
    "slowonly_resnet50_nl_mm",
    _slowonly(50, non_local=_EVEN, block=replace(_ZERO, non_local=replace(_MM_NON_LOCAL, is_scaled=True))),
    "SlowOnly on ResNet-50 with five non-local blocks as in MMAction2: scaled embedded Gaussian.",
)

# I3D: every second block of stages 2 to 4 sees three frames.
_i3d = partial(ResNet3dCfg, temporal_kernels=(3, (3, 1), (3, 1), (1, 3)), stem_kernel=5, temporal_pool=2, block=_ZERO)
_WITH_NON_LOCAL: dict[str, Any] = {"non_local": _ODD, "block": replace(_ZERO, non_local=NonLocalOptions())}
for _depth in (50, 101):
    _register(
        f"i3d_resnet{_depth}", _i3d(_depth), f"I3D on ResNet-{_depth} as in PySlowFast: time is halved once.", **HALF
    )
    _register(
        f"i3d_resnet{_depth}_nl",
        _i3d(_depth, **_WITH_NON_LOCAL),
        f"I3D on ResNet-{_depth} with five non-local blocks as in PySlowFast: scaled embedded Gaussian.",
        **HALF,
    )
_own: dict[str, Any]
for _suffix, _own in (("", {}), ("_nl", _WITH_NON_LOCAL)):
    _register(
        f"i3d_resnet50{_suffix}_s16",
        _i3d(50, spatial_strides=(1, 2, 2, 1), **_own),
        f"i3d_resnet50{_suffix} without the stride of the last stage: maps are 1/16 of the picture.",
        **HALF,
    )

_i3d_mm = partial(_i3d, 50, stem_stride=2, stem_pool_stride=2, block=BlockOptions())
_register("i3d_resnet50_mm", _i3d_mm(), "I3D on ResNet-50 as in MMAction2: time is halved three times.")
for _short in ("dot_product", "embedded_gaussian", "gaussian"):
    _options = replace(_MM_NON_LOCAL, pairwise=_short)
    _register(
        f"i3d_resnet50_nl_{_short}_mm",
        _i3d_mm(non_local=_ODD, block=BlockOptions(non_local=_options)),
        f"I3D on ResNet-50 as in MMAction2 with five non-local blocks: {_short.replace('_', ' ')}, not scaled.",
    )
_register(
    "i3d_resnet50_heavy_mm",
    _i3d_mm(temporal_kernels=(3, 3, 3, 3), stem_stride=1, stem_pool_stride=1),
    "Heavy I3D on ResNet-50 as in MMAction2: every block sees three frames, time is halved once.",
)

# C2D: no convolution over time. Without its pooling over time it would be TSN on ResNet-50.
_c2d = partial(ResNet3dCfg, 50, temporal_kernels=(1, 1, 1, 1), stem_kernel=1, temporal_pool=2, block=_ZERO)
_register("c2d_resnet50", _c2d(), "C2D on ResNet-50 as in PySlowFast: pairs of frames meet in a maximum.", **HALF)
_register(
    "c2d_resnet50_nl",
    _c2d(**_WITH_NON_LOCAL),
    "C2D on ResNet-50 with five non-local blocks as in PySlowFast: scaled embedded Gaussian.",
    **HALF,
)
_register(
    "c2d_resnet50_mm",
    _c2d(is_stem_pool_padded=False, block=BlockOptions()),
    "C2D on ResNet-50 as in MMAction2: the max pooling after the stem has no padding.",
)

"""Named architectures, one row each."""

from typing import Any

from videozoo.augment import ARC, DNR, TPN
from videozoo.models.config import VideoCfg
from videozoo.models.describe import COMPOSED
from videozoo.models.ensemble import Ensemble
from videozoo.models.factory import create_composed, create_named
from videozoo.models.published import own_weights, published_weights
from videozoo.models.registry import register_architecture
from videozoo.models.spec import EnsembleSpec, ModelSpec, Spec
from videozoo.models.video_net import VideoNet
from videozoo.nets.registry import register_with_timm
from videozoo.temporal import (
    ABM,
    ACTION,
    GSM,
    GST,
    MSN,
    MVF,
    STM,
    TDN,
    TEA,
    TEI,
    TIN,
    TRN,
    TSM,
    TSN,
    AttLSTM,
    BLVNetTAM,
    SmallBig,
    TANet,
)

__all__: list[str] = []


def _register(name: str, spec: Spec, summary: str, **videos: Any) -> None:
    def entry(pretrained: bool = False, **kwargs: Any) -> VideoNet | Ensemble:
        return create_named(name, spec, pretrained, **kwargs)

    entry.__name__ = entry.__qualname__ = name
    if isinstance(spec, EnsembleSpec):
        backbones = " and ".join(member.backbone for member in spec.members)
        classifier: Any = tuple(f"members.{k}.fc" for k in range(len(spec.members)))
    else:
        backbones, classifier = spec.backbone, "fc"
    entry.__doc__ = f"{summary} on {backbones}; arguments as in videozoo.create_model."
    cfg = VideoCfg(architecture=name, num_frames=spec.num_frames, classifier=classifier, **videos)
    register_architecture(entry, cfg, published_weights(name, cfg.input_size), spec, own_weights(name))


def videozoo_composed(pretrained: bool = False, **kwargs: Any) -> VideoNet | Ensemble:
    """Composition without a name, for timm's ``hf-hub:`` and ``local-dir:``.

    See ``videozoo.compose``.
    """
    return create_composed(pretrained, **kwargs)


register_with_timm(videozoo_composed, {"": VideoCfg(architecture=COMPOSED)})

_RESNETS = {"r18": "resnet18", "r34": "resnet34", "r50": "resnet50", "r101": "resnet101"}

for _short, _backbone in _RESNETS.items():
    _register(f"tsn_{_short}", ModelSpec(_backbone, TSN()), "TSN")
    _register(f"tsm_{_short}", ModelSpec(_backbone, TSM()), "TSM")
    _register(f"arc_tsn_{_short}", ModelSpec(_backbone, TSN(), (ARC(),)), "ARC on TSN")
    _register(f"arc_tsm_{_short}", ModelSpec(_backbone, TSM(), (ARC(),)), "ARC on TSM")
    _register(f"dnr_tsn_{_short}", ModelSpec(_backbone, TSN(), (DNR(),)), "DNR on TSN")
    _register(f"dnr_tsm_{_short}", ModelSpec(_backbone, TSM(), (DNR(),)), "DNR on TSM")

_register("tsn_rx101", ModelSpec("resnext101_32x4d", TSN()), "TSN")
_register("dnr_tsn_rx101", ModelSpec("resnext101_32x4d", TSN(), (DNR(),)), "DNR on TSN")
_register("gn_tsn_r50", ModelSpec("resnet50_gn", TSN()), "TSN with group norm")
_register("dnr_gn_tsn_r50", ModelSpec("resnet50_gn", TSN(), (DNR(),)), "DNR on TSN with group norm")
_register("trn_r18", ModelSpec("resnet18", TRN()), "TRN")
_register("trn_r50", ModelSpec("resnet50", TRN()), "TRN")
_register("att_lstm_r18", ModelSpec("resnet18", AttLSTM(), num_frames=64), "Att-LSTM")
_register("tea_r50", ModelSpec("res2net50_26w_4s", TEA()), "TEA")
_register("gst_r50", ModelSpec("resnet50", GST()), "GST")
_register("gst_large_r50", ModelSpec("resnet50", GST(beta=1)), "GST-Large")
_register("arc_gst_r50", ModelSpec("resnet50", GST(), (ARC(),)), "ARC on GST")
_register("teinet_r50", ModelSpec("resnet50", TEI()), "TEINet")
_register("tin_r50", ModelSpec("resnet50", TIN()), "TIN")
_register("action_r50", ModelSpec("resnet50", ACTION()), "ACTION-Net")
_register("mvfnet_r50", ModelSpec("resnet50", MVF()), "MVFNet")
_register("mvfnet_r101", ModelSpec("resnet101", MVF()), "MVFNet")
_register("smallbig_r50", ModelSpec("resnet50", SmallBig()), "SmallBigNet")
_register("smallbig_extra_r50", ModelSpec("resnet50", SmallBig(extra=True)), "SmallBigNet with extra global views")
_register("abm_iabp_r18", ModelSpec("resnet18", ABM(), num_frames=24), "ABM")
_register("abm_iabp_r34", ModelSpec("resnet34", ABM(), num_frames=48), "ABM")
_register("abm_iabp_r50", ModelSpec("resnet50", ABM(frames_per_segment=1), num_frames=16), "ABM")
_register("stm_r50", ModelSpec("resnet50", STM()), "STM")

for _short in ("r18", "r50"):
    _register(f"msn_{_short}", ModelSpec(_RESNETS[_short], MSN()), "MSN")
    _register(f"arc_msn_{_short}", ModelSpec(_RESNETS[_short], MSN(), (ARC(),)), "ARC on MSN")

for _short in ("r18", "r50"):
    _register(f"gsm_{_short}", ModelSpec(_RESNETS[_short], GSM()), "GSM")
    _register(f"arc_gsm_{_short}", ModelSpec(_RESNETS[_short], GSM(), (ARC(),)), "ARC on GSM")

for _short in ("r18", "r50"):
    _register(f"tanet_{_short}", ModelSpec(_RESNETS[_short], TANet()), "TANet")
_register("dnr_tanet_r50", ModelSpec("resnet50", TANet(), (DNR(),)), "DNR on TANet")
for _short in ("r18", "r50", "r101"):
    _register(f"tdn_{_short}", ModelSpec(_RESNETS[_short], TDN(), num_frames=40), "TDN")
_register("dnr_tdn_r50", ModelSpec("resnet50", TDN(), (DNR(),), num_frames=40), "DNR on TDN")

for _short in ("r50", "r101"):
    _register(f"blvnet_tam_{_short}", ModelSpec(f"bl{_RESNETS[_short]}", BLVNetTAM(), num_frames=16), "bLVNet-TAM")
_register("tpn_tsm_r50", ModelSpec("resnet50", TSM(), (TPN(),)), "TPN on TSM")

_register("tsn_bninception", ModelSpec("bninception", TSN()), "TSN")
_register("dnr_tsn_bninception", ModelSpec("bninception", TSN(), (DNR(),)), "DNR on TSN")
_register("gsm_bninception", ModelSpec("bninception", GSM()), "GSM")
_register("trn_bninception", ModelSpec("bninception", TRN()), "TRN")
_register("gsm_inception_v3", ModelSpec("inception_v3_tsn", GSM()), "GSM", input_size=(3, 229, 229))
_register("tsn_inception_v3", ModelSpec("inception_v3", TSN()), "TSN")

for _short in ("tiny", "small", "medium", "large", "large_aq"):
    _register(f"rubiksnet_{_short}", ModelSpec(f"rubiks_{_short}"), "RubiksNet")

# 3-D models. `_mm` is MMAction2's form and `_fb` PySlowFast's, where the plain name is the other.
_half: dict[str, Any] = {"mean": (0.45,) * 3, "std": (0.225,) * 3, "frame_sampling": "dense"}  # PySlowFast's clips
_register("r2plus1d_r34", ModelSpec("r2plus1d_resnet34"), "R(2+1)D")
_register("r2plus1d_r50", ModelSpec("r2plus1d_resnet50_ptv", num_frames=16), "R(2+1)D")
_register("dnr_r2plus1d_r34", ModelSpec("r2plus1d_resnet34", augmenters=(DNR(),)), "DNR in R(2+1)D")
_register("i3d_inception", ModelSpec("i3d_inception_v1", num_frames=64), "I3D on Inception")
_register("s3d", ModelSpec("s3d_inception_v1", num_frames=64), "S3D")
_register("s3dg", ModelSpec("s3dg_inception_v1", num_frames=64), "S3D-G")
_register("slowonly_r50", ModelSpec("slowonly_resnet50"), "SlowOnly")
_register("tpn_slowonly_r50", ModelSpec("slowonly_resnet50", augmenters=(TPN(),)), "TPN on SlowOnly")
_register("slowonly_r101", ModelSpec("slowonly_resnet101"), "SlowOnly")
_register("nl_slowonly_r50", ModelSpec("slowonly_resnet50_nl_mm"), "SlowOnly with non-local blocks")
# The cost of the ARC paper's I3D is that without the stride of the last stage, on 32 frames.
for _name, _backbone, _frames, _stride, _what in (
    ("i3d_r50", "i3d_resnet50_s16", 32, 2, "I3D"),
    ("nl_i3d_r50", "i3d_resnet50_nl_s16", 32, 2, "I3D with non-local blocks"),
    ("i3d_r50_8x8", "i3d_resnet50", 8, 8, "I3D 8x8"),
    ("nl_i3d_r50_8x8", "i3d_resnet50_nl", 8, 8, "I3D 8x8 with non-local blocks"),
    ("c2d_r50_fb", "c2d_resnet50", 8, 8, "C2D"),
    ("nl_c2d_r50_fb", "c2d_resnet50_nl", 8, 8, "C2D with non-local blocks"),
    ("slowfast_r50_fb", "slowfast_resnet50_8x8", 32, 2, "SlowFast 8x8"),
    ("slowfast_r50_4x16_fb", "slowfast_resnet50_4x16", 32, 2, "SlowFast 4x16"),
    ("slowfast_r101", "slowfast_resnet101_8x8_50", 32, 2, "SlowFast 8x8"),
    ("slowfast_r101_101", "slowfast_resnet101_8x8", 32, 2, "SlowFast 8x8"),
    ("slowfast_r101_16x8", "slowfast_resnet101_8x8_50", 64, 2, "SlowFast 16x8"),
    ("nl_slowfast_r101_16x8", "slowfast_resnet101_8x8_50_nl_pool2", 64, 2, "SlowFast 16x8 with non-local blocks"),
    ("nl_slowfast_r101_16x8_fb", "slowfast_resnet101_8x8_50_nl", 64, 2, "SlowFast 16x8 with non-local blocks"),
):
    _register(_name, ModelSpec(_backbone, num_frames=_frames), _what, **_half, frame_stride=_stride)
_dnr_i3d = ModelSpec("i3d_resnet50_s16", augmenters=(DNR(),), num_frames=32)
_register("dnr_i3d_r50", _dnr_i3d, "DNR in I3D", **_half, frame_stride=2)
_register("i3d_r50_mm", ModelSpec("i3d_resnet50_mm", num_frames=32), "I3D")
_register("i3d_r50_heavy_mm", ModelSpec("i3d_resnet50_heavy_mm", num_frames=32), "Heavy I3D")
for _kind in ("dot_product", "embedded_gaussian", "gaussian"):
    _register(
        f"nl_i3d_r50_{_kind}_mm", ModelSpec(f"i3d_resnet50_nl_{_kind}_mm", num_frames=32), "I3D with non-local blocks"
    )
_register("c2d_r50", ModelSpec("c2d_resnet50_mm"), "C2D")
# On MMAction2's SlowFast the DNR paper builds. Of ResNet-101 both papers give the cost of the authors' own, above.
_register("slowfast_r18", ModelSpec("slowfast_resnet18_8x8_mm", num_frames=32), "SlowFast 8x8")
_register(
    "dnr_slowfast_r18", ModelSpec("slowfast_resnet18_8x8_mm", augmenters=(DNR(),), num_frames=32), "DNR in SlowFast"
)
_register("slowfast_r50", ModelSpec("slowfast_resnet50_8x8_mm", num_frames=32), "SlowFast 8x8")
_register("slowfast_r50_4x16", ModelSpec("slowfast_resnet50_4x16_mm", num_frames=32), "SlowFast 4x16")
_register("slowfast_r101_mm", ModelSpec("slowfast_resnet101_8x8_mm", num_frames=32), "SlowFast 8x8")
_register("slowfast_r101_r50_4x16_mm", ModelSpec("slowfast_resnet101_resnet50_4x16_mm", num_frames=32), "SlowFast 4x16")

for _depth in (50, 101, 152):
    _register(f"csn_ir_r{_depth}", ModelSpec(f"csn_ir_resnet{_depth}", num_frames=32), "CSN")
# Normalized as in VMZ, like most weights of its kind.
_vmz: Any = {"mean": (0.43216, 0.394666, 0.37645), "std": (0.22803, 0.22145, 0.216989)}
_register("csn_ip_r152", ModelSpec("csn_ip_resnet152", num_frames=32), "CSN", **_vmz)
_torchvision: Any = {**_vmz, "input_size": (3, 112, 112), "frame_sampling": "dense", "frame_stride": 2}
for _name, _backbone, _what in (
    ("r3d_18", "r3d_resnet18", "R3D"),
    ("mc3_18", "mc3_resnet18", "MC3"),
    ("r2plus1d_18", "r2plus1d_resnet18_tv", "R(2+1)D"),
):
    _register(_name, ModelSpec(_backbone, num_frames=16), _what, **_torchvision)
_register("dnr_csn_ir_r50", ModelSpec("csn_ir_resnet50", augmenters=(DNR(),), num_frames=32), "DNR in CSN")
for _name, _summary in (("eco_lite", "ECO Lite"), ("eco_full", "ECO full")):
    _register(_name, ModelSpec(f"{_name}_bninception", num_frames=16), _summary)

# X3D, on the clips of its authors: one network for XS, S and M.
for _name, _backbone, _frames, _stride, _size, _test in (
    ("x3d_xs", "x3d_small", 4, 12, 160, 182),
    ("x3d_s", "x3d_small", 13, 6, 160, 182),
    ("x3d_m", "x3d_small", 16, 5, 224, 256),
    ("x3d_l", "x3d_large", 16, 5, 312, 356),
    ("x3d_xl", "x3d_extra_large", 16, 5, 312, 356),
):
    _clip = {**_half, "input_size": (3, _size, _size), "test_crop_size": _test, "frame_stride": _stride}
    _register(_name, ModelSpec(_backbone, num_frames=_frames), "X3D", **_clip)
    if _name == "x3d_s":
        _register("dnr_x3d_s", ModelSpec(_backbone, augmenters=(DNR(),), num_frames=_frames), "DNR in X3D", **_clip)

# Transformers, on the clips of their authors.
for _name in ("small", "base"):
    _register(
        f"uniformer_{_name[0]}", ModelSpec(f"uniformer_{_name}", num_frames=16), "UniFormer", **_half, frame_stride=4
    )
for _name, _backbone, _frames, _stride, _img_size, _what in (
    ("timesformer_b", "timesformer_base", 8, 32, None, "TimeSformer"),
    ("timesformer_hr", "timesformer_base", 16, 16, 448, "TimeSformer-HR (448 pixels)"),
    ("timesformer_l", "timesformer_base", 96, 4, None, "TimeSformer-L (96 frames)"),
    ("timesformer_joint_b", "timesformer_base_joint", 8, 32, None, "TimeSformer with joint space-time attention"),
    ("timesformer_space_b", "timesformer_base_space", 8, 32, None, "TimeSformer with attention over space alone"),
):
    _clip = {**_half, "frame_stride": _stride, "input_size": (3, _img_size or 224, _img_size or 224)}
    _register(_name, ModelSpec(_backbone, num_frames=_frames, img_size=_img_size), _what, **_clip)
for _name in ("small", "base", "large"):
    _register(
        f"videomae_{_name[0]}",
        ModelSpec(f"videomae_vit_{_name}", num_frames=16),
        "VideoMAE",
        frame_sampling="dense",
        frame_stride=4,
    )
_register("hiera_b", ModelSpec("hiera_base_16x224", num_frames=16), "Hiera", **_half, frame_stride=4)
_register(
    "vjepa2_l",
    ModelSpec("vjepa2_vit_large", num_frames=16),
    "V-JEPA 2",
    **{"frame_sampling": "dense", "frame_stride": 4, "input_size": (3, 256, 256)},
)
_halves: Any = {"mean": (0.5,) * 3, "std": (0.5,) * 3}  # pixels between -1 and 1
_register(
    "vivit_b", ModelSpec("vivit_base_16x2", num_frames=32), "ViViT", **_halves, frame_sampling="dense", frame_stride=2
)

for _name, _backbone, _frames, _stride, _size in (
    ("mvit_v1_b", "mvit_v1_base", 16, 4, 224),
    ("mvit_v1_b_32x3", "mvit_v1_base_32", 32, 3, 224),
    ("mvit_v2_s", "mvit_v2_small", 16, 4, 224),
    ("mvit_v2_s_maskfeat", "mvit_v2_small_mlp", 16, 4, 224),
    ("mvit_v2_b", "mvit_v2_base", 32, 3, 224),
    ("mvit_v2_l", "mvit_v2_large", 40, 3, 312),
):
    _clip = {**_half, "frame_stride": _stride, "input_size": (3, _size, _size)}
    _register(_name, ModelSpec(_backbone, num_frames=_frames), "MViT", **_clip)
for _short, _name in (("t", "tiny"), ("s", "small"), ("b", "base"), ("b_w16", "base_w16"), ("l", "large")):
    _swin: Any = {"frame_sampling": "segment"} if _short == "b_w16" else {"frame_sampling": "dense", "frame_stride": 2}
    _register(f"swin3d_{_short}", ModelSpec(f"swin3d_{_name}", num_frames=32), "Video Swin Transformer", **_swin)

# On the clips of their paper's table, whose pixels are between 0 and 1.
for _short, _frames, _size in (
    *(("a0", 50, 172), ("a1", 50, 172), ("a2", 50, 224)),
    *(("a3", 120, 256), ("a4", 80, 290), ("a5", 120, 320)),
):
    _clip = {"input_size": (3, _size, _size), "mean": (0.0,) * 3, "std": (1.0,) * 3}
    _register(f"movinet_{_short}", ModelSpec(f"movinet_{_short}_base", num_frames=_frames), "MoViNet", **_clip)
    if _short in ("a0", "a1", "a2"):
        _spec = ModelSpec(f"movinet_{_short}_causal", num_frames=_frames)
        _register(f"movinet_{_short}_stream", _spec, "MoViNet for streams", **_clip)

_register(
    "arc_tsm_r50_8f16f",
    EnsembleSpec(tuple(ModelSpec("resnet50", TSM(), (ARC(),), num_frames=frames) for frames in (8, 16))),
    "ARC on TSM, the probabilities of two models averaged,",
)

_register("tsn_mbv2", ModelSpec("mobilenetv2_100", TSN()), "TSN")
_register("tsm_mbv2", ModelSpec("mobilenetv2_100", TSM()), "TSM")

# With bundled weights of real clips, small enough to travel with the package.
_register("arc_tsm_narrow_r18", ModelSpec("narrow_resnet18", TSM(), (ARC(),)), "A small ARC on TSM,")
_register("dnr_tsn_narrow_r18", ModelSpec("narrow_resnet18", TSN(), (DNR(),)), "A small DNR on TSN,")

# For tests, with bundled weights. timm has test_* models too.
_register("test_arc_tsm", ModelSpec("tiny_resnet", TSM(), (ARC(),)), "A tiny ARC on TSM, for testing only,")
_register("test_dnr_tsn", ModelSpec("tiny_resnet", TSN(), (DNR(),)), "A tiny DNR on TSN, for testing only,")

"""torchvision's video models: equal to torchvision's own, converters, positions, and what refuses them."""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from helpers import clips, randomize
from small_backbones import SMALL
from timm.optim import param_groups_layer_decay
from torch import Tensor, nn
from torchvision.models import video
from torchvision.models.video.mvit import MViT
from torchvision.models.video.swin_transformer import SwinTransformer3d

import videozoo
from videozoo import ARC, DNR
from videozoo.hub.convert.base import ConvertError
from videozoo.hub.convert.checkpoint import convert_checkpoint
from videozoo.models import ModelSpec, build, spec_of
from videozoo.nets.mvit import MultiscaleViT, MultiscaleViTCfg
from videozoo.nets.swin3d import Swin3d, Swin3dCfg

NAMES = ("r3d_18", "mc3_18", "r2plus1d_18", "mvit_v1_b", "mvit_v2_s", "swin3d_t", "swin3d_s", "swin3d_b")
MVIT = MultiscaleViTCfg((1, 1, 1, 2), width=16, img_size=40, frames=6)
SWIN = Swin3dCfg((1, 2, 1, 1), width=12, window=(2, 3, 3))


def filled(net: nn.Module) -> Any:
    """The model with weights by formula, ready to be compared."""
    with torch.no_grad():
        for k, (name, value) in enumerate(net.named_parameters()):
            wave = torch.sin(torch.arange(value.numel()) * 0.37 + k).view(value.shape)
            is_scale = value.ndim == 1 and name.endswith("weight")
            value.copy_(1 + wave / 5 if is_scale else wave / max(1, value[0].numel()) ** 0.5)
    return net.eval()


def shapes(state: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """The shape of every tensor, by name."""
    return {name: tuple(value.shape) for name, value in state.items()}


@pytest.mark.parametrize("name", NAMES)
def test_torchvisions_weights_fit_and_are_recognized(name: str) -> None:
    with torch.device("meta"):
        own = getattr(video, name)(weights=None).state_dict()
        wanted = build(spec_of(name)).state_dict()
    converted, source = convert_checkpoint(own)
    spec = ModelSpec.from_dict(converted.spec)
    assert (source, spec.backbone, spec.num_frames) == ("torchvision", spec_of(name).backbone, spec_of(name).num_frames)
    assert shapes(converted.state) == shapes(wanted)
    assert all(key.endswith("relative_position_index") for key in converted.dropped)


@pytest.mark.parametrize("name", ["r3d_18", "mc3_18"])
def test_the_resnets_equal_torchvisions(name: str) -> None:
    own = filled(getattr(video, name)(weights=None, num_classes=5))
    model = videozoo.create_model(name, num_classes=5, num_frames=4).eval()
    model.load_state_dict(convert_checkpoint(own.state_dict())[0].state)
    x = clips(1, 4, 32)
    assert torch.equal(model(x), own(x))


def mvit_of_torchvision(cfg: MultiscaleViTCfg) -> nn.Module:
    return MViT(
        (cfg.img_size, cfg.img_size),
        cfg.frames,
        cfg.blocks(),
        residual_pool=cfg.version == 2,
        residual_with_cls_embed=False,
        rel_pos_embed=cfg.version == 2,
        proj_after_attn=cfg.is_widened_in_attention,
        num_classes=5,
    )


@pytest.mark.parametrize("version", [1, 2])
def test_mvit_equals_torchvisions(version: int) -> None:
    cfg = replace(MVIT, version=version, is_widened_in_attention=version == 2, img_size=64)
    own = filled(mvit_of_torchvision(cfg))
    net = MultiscaleViT(cfg, num_classes=5).eval()
    net.load_state_dict({name.replace("head.1.", "fc."): value for name, value in own.state_dict().items()})
    x = clips(1, 6, 64)
    assert torch.equal(net(x), own(x))


def test_swin_equals_torchvisions_at_sizes_that_fill_no_window() -> None:
    heads = [3, 6, 12, 24]
    own = filled(SwinTransformer3d([2, 4, 4], 12, [1, 2, 1, 1], heads, [2, 3, 3], num_classes=5))
    net = Swin3d(SWIN, num_classes=5).eval()
    state = {key.replace("head.", "fc."): value for key, value in own.state_dict().items()}
    for i in range(4):
        state = {re.sub(rf"^features\.{2 * i}\.", f"layers.{i}.blocks.", key): value for key, value in state.items()}
        merging = rf"^features\.{2 * i - 1}\."
        state = {re.sub(merging, f"layers.{i}.downsample.", key): value for key, value in state.items()}
    net.load_state_dict({key: value for key, value in state.items() if not key.endswith("position_index")})
    for frames, size in ((4, 64), (5, 45)):
        x = clips(2, frames, size)
        assert torch.equal(net(x), own(x))


def of_mmaction_swin(key: str) -> str:
    key = re.sub(r"layers\.(\d)\.downsample", lambda m: f"layers.{int(m[1]) - 1}.downsample", key)
    key = key.replace("mlp.0", "mlp.fc1").replace("mlp.3", "mlp.fc2").replace("backbone.norm.", "backbone.norm3.")
    return re.sub(r"^fc\.", "cls_head.fc_cls.", key)


def of_mvit(key: str) -> str:
    key = re.sub(r"pool_([qkv])\.norm_act\.0", r"norm_\1", re.sub(r"(pool_[qkv])\.pool", r"\1", key))
    return (
        key.replace(".project.0.", ".proj.")
        .replace(".project.", ".proj.")
        .replace("mlp.0", "mlp.fc1")
        .replace("mlp.3", "mlp.fc2")
    )


def of_mmaction_mvit(key: str) -> str:
    key = of_mvit(key).replace("pos_encoding.class_token", "cls_token").replace("conv_proj", "patch_embed.projection")
    return re.sub(r"^fc\.", "cls_head.fc_cls.", key.replace("backbone.norm.", "backbone.norm3."))


@pytest.mark.parametrize(
    ("name", "rename", "source"),
    [
        *((f"swin3d_{size}", of_mmaction_swin, "mmaction2") for size in ("t", "s", "b", "l")),
        *((f"mvit_v2_{size}", of_mmaction_mvit, "mmaction2") for size in ("s", "s_maskfeat", "b", "l")),
        ("swin3d_b_w16", lambda key: of_mmaction_swin(key).replace("norm3", "norm"), "video_swin"),
    ],
)
def test_other_owners_weights_fit_and_are_recognized(name: str, rename: Callable[[str], str], source: str) -> None:
    with torch.device("meta"):
        wanted = build(spec_of(name)).state_dict()
    theirs = {rename(key): value for key, value in wanted.items()}
    if "backbone.cls_token" in theirs:
        theirs["backbone.cls_token"] = theirs["backbone.cls_token"][None, None]
    converted, found = convert_checkpoint(theirs)
    assert (found, converted.spec["backbone"]) == (source, spec_of(name).backbone)
    assert converted.spec["num_frames"] == spec_of(name).num_frames
    assert shapes(converted.state) == shapes(wanted)


@pytest.mark.parametrize("name", ["mvit_v1_b", "mvit_v1_b_32x3"])
def test_pytorchvideos_queries_keys_and_values_become_one(name: str) -> None:
    wanted = build(spec_of(name)).state_dict()
    tables = {"class_token": "cls_token", "class_pos": "pos_embed_class"}
    tables |= {"spatial_pos": "pos_embed_spatial", "temporal_pos": "pos_embed_temporal"}
    theirs = {}
    for key, value in wanted.items():
        key = of_mvit(key).removeprefix("backbone.").replace("conv_proj", "patch_embed.patch_model")
        key = re.sub(r"^norm\.", "norm_embed.", re.sub(r"^fc\.", "head.proj.", key))
        if key.startswith("pos_encoding."):
            theirs[f"cls_positional_encoding.{tables[key.split('.')[1]]}"] = value.view(1, -1, value.shape[-1])
        elif ".attn.qkv." in key:
            parts = zip("qkv", value.chunk(3), strict=True)
            theirs |= {key.replace("qkv", letter): part for letter, part in parts}
        else:
            theirs[key] = value
            doubled = re.sub(r"attn\.(pool|norm)_([qkv])\.", r"attn._attention_pool_\2.\1.", key)
            theirs[doubled] = value  # its newer files have these twice
    converted, found = convert_checkpoint(theirs)
    assert (found, converted.spec["backbone"]) == ("pytorchvideo", spec_of(name).backbone)
    assert set(converted.state) == set(wanted)
    assert all(torch.equal(value, wanted[key]) for key, value in converted.state.items())
    del theirs["blocks.3.attn.k.bias"]
    with pytest.raises(ConvertError, match=r"blocks\.3\.attn\.q\.bias is there, but not all of"):
        convert_checkpoint(theirs)


def test_unknown_forms_are_refused() -> None:
    mvit = mvit_of_torchvision(MVIT).state_dict()
    with pytest.raises(ConvertError, match=r"MViT of 5 blocks of 16 channels, relative positions, .*mvit_v2_large\."):
        convert_checkpoint(mvit)
    swin = SwinTransformer3d([2, 4, 4], 12, [1, 1, 1, 1], [3, 6, 12, 24], [2, 3, 3]).state_dict()
    with pytest.raises(ConvertError, match=r"stages of \(1, 1, 1, 1\) blocks of 12 channels, 3 heads and 75 rows"):
        convert_checkpoint(swin)
    with torch.device("meta"):
        resnet = video.r3d_18(weights=None)
        resnet.layer2[0].conv1[0] = nn.Conv3d(64, 128, (1, 3, 3))
    with pytest.raises(ConvertError, match=r"kernels over \(3, 1, 3, 3\) frames; known are depth 18"):
        convert_checkpoint(resnet.state_dict())


def test_absolute_positions_are_interpolated_along_each_axis() -> None:
    net = MultiscaleViT(replace(MVIT, version=1, is_widened_in_attention=False)).eval()
    positions: Any = filled(net.pos_encoding)
    whole = positions.temporal_pos[:, None] + positions.spatial_pos  # (3, 100, C)
    whole = whole.unflatten(1, (10, 10)).movedim(-1, 0)[None]
    wanted = F.interpolate(whole, (5, 12, 14), mode="trilinear")[0].flatten(1).T
    found = positions(torch.zeros(1, 5 * 12 * 14, 16), (5, 12, 14))[0]
    torch.testing.assert_close(found[1:], wanted)
    torch.testing.assert_close(found[0], positions.class_token + positions.class_pos)


@pytest.mark.parametrize("name", [SMALL[large] for large in ("mvit_v2_small", "mvit_v1_base", "swin3d_tiny")])
def test_other_sizes_of_clips(name: str) -> None:
    model = randomize(videozoo.compose(name, num_frames=6, num_classes=3)).eval()
    assert model(clips(1, 6, 56)).shape == (1, 3)
    model.set_num_frames(9)
    x = clips(1, 9, 56)
    maps = model.forward_intermediates(x, intermediates_only=True)
    assert [y.shape[2:] for y in maps] == [(5, side, side) for side in (14, 14, 7, 4, 2)]
    assert [y.shape[1] for y in maps] == [row["num_chs"] for row in model.feature_info]
    final = model.forward_features(x)
    if model.gives_tokens:
        assert final.shape == (1, 1 + 5 * 2 * 2, model.num_features)
        assert model.backbone.tokens_to_maps(final, (9, 56, 56)).shape[2:] == (5, 2, 2)


def test_layer_decay_has_a_group_for_each_block() -> None:
    for name in (SMALL["mvit_v2_small"], SMALL["swin3d_tiny"]):
        model = videozoo.compose(name, num_frames=6, num_classes=3)
        groups = param_groups_layer_decay(model, 0.05, model.no_weight_decay(), layer_decay=0.5)
        scales = sorted({group["lr_scale"] for group in groups})
        assert scales == [0.5**k for k in range(len(scales) - 1, -1, -1)]
        assert len(scales) >= 7  # stem, five blocks, norm and classifier
        undecayed = {id(p) for group in groups if group["weight_decay"] == 0 for p in group["params"]}
        tables = [p for n, p in model.named_parameters() if "rel_pos_" in n or n.endswith("bias_table")]
        assert tables
        assert {id(p) for p in tables} <= undecayed


@pytest.mark.parametrize(("name", "reason"), [("small_mvit", "are grouped, which ARC"), ("small_swin3d", "no convol")])
def test_arc_and_dnr_refuse_the_transformers(name: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        videozoo.compose(name, augmenters=[ARC()], num_frames=6)
    with pytest.raises(ValueError, match="no module in it holds two norms of the kinds BatchNorm2d"):
        videozoo.compose(name, augmenters=[DNR()], num_frames=6)


def test_the_resnets_take_dnr_and_arc_by_choice() -> None:
    for name in ("r3d_resnet18", "mc3_resnet18"):
        with torch.device("meta"):
            assert len(videozoo.compose(name, augmenters=[DNR()]).sites["dnr"]) == 16
            assert len(videozoo.compose(name, augmenters=[ARC(layers=("conv3d",))]).sites["arc"]) == 12
            with pytest.raises(ValueError, match=r"pass layers=\('conv3d',\)"):
                videozoo.compose(name, augmenters=[ARC()])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("r3d_18.tv_k400_16f", (112, (128, 171), 16, 2, 5, 1, 0.632)),
        ("mvit_v2_s.tv_k400_16f", (224, None, 16, 4, 5, 1, 0.8076)),
        ("swin3d_b.tv_k400_32f_in22k", (224, None, 32, 2, 12, 1, 0.8164)),
        ("mvit_v2_l.mm_k400_40x3_fb", (312, None, 40, 3, 5, 3, 0.854)),
    ],
)
def test_tags_test_as_their_owners_do(name: str, expected: tuple[Any, ...]) -> None:
    cfg = videozoo.get_pretrained_cfg(name)
    assert cfg is not None
    assert cfg.metrics is not None
    found = (cfg.input_size[1], cfg.test_resize, cfg.num_frames, cfg.frame_stride, cfg.test_num_clips)
    assert (*found, cfg.test_num_crops, round(cfg.metrics["top1"], 4)) == expected
    assert cfg.crop_pct == (1.0 if ".mm_" in name else 0.875)

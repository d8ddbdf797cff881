"""Tests of the parameter groups for layer decay."""

from typing import Any

import pytest
import timm
import torch
from timm.models import group_parameters
from timm.optim import create_optimizer_v2

from videozoo import DNR, TSM, TSN, VideoNet, compose
from videozoo.temporal import MSN, TDN


def layers(net: VideoNet, coarse: bool = False) -> dict[str, int]:
    return group_parameters(net, net.group_matcher(coarse), reverse=True)


def meta(backbone: str, temporal: Any = TSN(), augmenters: tuple[Any, ...] = ()) -> VideoNet:  # noqa: B008
    with torch.device("meta"):
        return compose(
            backbone, temporal, augmenters, num_classes=4, num_frames=getattr(temporal, "frames_per_segment", 1) * 8
        )


@pytest.mark.parametrize("coarse", [False, True])
@pytest.mark.parametrize(
    ("net", "added", "last_of_stage"),
    [
        (("resnet18", TSN(), (DNR(),)), "layer2.relay.", "layer2.1.conv1.weight"),
        (("resnet18", MSN()), "layer2.motion.", "layer2.1.conv1.weight"),
        (("resnet18", TDN()), "diff_layer1.1.", "layer1.1.conv1.weight"),
        (("regnety_002", TSM(), (DNR(),)), "s3.relay.", "s3.b4.conv1.conv.weight"),
        (("mobilenetv2_050", TSM(), (DNR(),)), "blocks.2.relay.", "blocks.2.2.conv_pw.weight"),
        (("slowonly_resnet50", TSN(), (DNR(),)), "layer3.relay.", "layer3.5.conv1.weight"),
        (("bninception", TSN(), (DNR(),)), "", ""),
    ],
    ids=lambda value: str(value) if isinstance(value, str) else None,
)
def test_modules_added_to_a_stage_are_in_its_last_layer(
    net: tuple[Any, ...], added: str, last_of_stage: str, coarse: bool
) -> None:
    of = layers(meta(*net), coarse)
    head = of["fc.weight"]
    assert [name for name, layer in of.items() if layer == head] == ["fc.weight", "fc.bias"]
    assert set(of.values()) == set(range(head + 1))
    found = {layer for name, layer in of.items() if name.startswith(f"backbone.{added}")}
    assert not added or found == {of[f"backbone.{last_of_stage}"]}


@pytest.mark.parametrize(
    "backbone",
    ["inception_resnet_v2", "poolformer_s12", "caformer_s18", "efficientnet_b0", "tiny_resnet"],
)
def test_layer_decay_on_other_families(backbone: str) -> None:
    """The stem learns slowest, every parameter has one layer, and only the classifier learns at the full rate."""
    assert timm.is_model(backbone)
    net = meta(backbone)
    optimizer = create_optimizer_v2(net, opt="sgd", lr=1.0, layer_decay=0.5)
    scale = {id(p): group["lr_scale"] for group in optimizer.param_groups for p in group["params"]}
    scales = {name: scale[id(p)] for name, p in net.named_parameters()}
    assert len(set(scales.values())) > 3
    assert next(iter(scales.values())) == min(scales.values())
    assert {name for name, value in scales.items() if value == 1} == {"fc.weight", "fc.bias"}
    of = layers(net, coarse=True)
    assert set(of) == set(scales)


@pytest.mark.parametrize(
    ("backbone", "blocks"),
    [
        ("videomae_vit_small", 12),
        ("vivit_base_16x2", 12),
        ("timesformer_base", 12),
        ("mvit_v2_small", 16),
        ("swin3d_tiny", 12),
        ("uniformer_small", 18),
        ("hiera_base_16x224", 24),
        ("vjepa2_vit_large", 24),
    ],
)
def test_layer_decay_on_transformers(backbone: str, blocks: int) -> None:
    """As in the code of VideoMAE: the embedding is one layer, every block one, and the classifier the last."""
    net = meta(backbone)
    optimizer = create_optimizer_v2(net, opt="adamw", lr=1.0, weight_decay=0.05, layer_decay=0.75)
    of_id = {id(p): group for group in optimizer.param_groups for p in group["params"]}
    groups = {name: of_id[id(p)] for name, p in net.named_parameters()}
    scales = sorted({group["lr_scale"] for group in groups.values()})
    assert scales == pytest.approx([0.75**power for power in range(blocks + 1, -1, -1)])
    for name, group in groups.items():
        is_stem = any(word in name for word in ("patch_embed.", "patch_embed1.", "conv_proj.", "pos_encoding."))
        is_position = any(word in name for word in ("cls_token", "pos_embed_", "time_embed", ".rel_pos_", "bias_table"))
        assert (group["lr_scale"] == scales[0]) >= is_stem, name
        assert (group["lr_scale"] == 1) == name.startswith(("fc.", "backbone.pooler.")), name
        assert not (is_position and group["weight_decay"]), name

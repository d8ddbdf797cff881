"""Tests against the logits of the original authors' models."""

import json
import re
from pathlib import Path

import pytest
import torch
from helpers import golden_fill
from torch import Tensor

import videozoo
from videozoo import TSM, TSN

GOLDENS = {
    "tsn_official_r50": ("resnet50", TSN()),
    "tsm_official_r50": ("resnet50", TSM()),
    "tsm_official_r18": ("resnet18", TSM()),
    "mm_tsn_r50": ("resnet50", TSN()),
    "mm_tsm_r50": ("resnet50", TSM()),
}


def our_key(key: str) -> str:
    """Key of ours for one of the originals': wrappers go, the classifier is ``fc``."""
    key = re.sub(r"^(new_fc|cls_head\.fc_cls)\.", "fc.", key)
    key = re.sub(r"^base_model\.", "backbone.", key).replace(".net.", ".")
    # mmaction2's ConvModule: convK.conv, convK.bn, downsample.conv, downsample.bn
    key = re.sub(r"\.conv(\d)\.conv\.", r".conv\1.", key)
    key = re.sub(r"\.conv(\d)\.bn\.", r".bn\1.", key)
    return key.replace(".downsample.conv.", ".downsample.0.").replace(".downsample.bn.", ".downsample.1.")


@pytest.mark.parametrize("name", GOLDENS)
def test_logits_equal_the_originals(goldens: Path, name: str) -> None:
    golden = json.loads((goldens / f"{name}.json").read_text())
    make = golden_fill(goldens)
    state: dict[str, Tensor] = make.fill_keys(golden["keys"], golden["fill_gain"])
    backbone, temporal = GOLDENS[name]
    net = videozoo.compose(
        backbone, temporal, num_classes=golden["num_classes"], num_frames=golden["frames"], drop_rate=0.5
    ).eval()
    net.load_state_dict({our_key(k): v for k, v in state.items()})
    assert sum(p.numel() for p in net.parameters()) == golden["params_total"]
    assert sum(p.numel() for p in net.backbone.parameters()) == golden["params_without_head"]
    with torch.no_grad():
        logits = net(make.make_input(golden["frames"], golden["size"]))
    difference = (logits - torch.tensor(golden["logits_all"])).abs().max().item()
    assert difference <= golden["suggested_atol"]

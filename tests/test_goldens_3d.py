"""Tests of converted 3-D models against the original code."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import golden_fill
from torch import Tensor

from videozoo.hub.convert import bninception, mmaction_3d, pyslowfast
from videozoo.models import ModelSpec, VideoNet, build

REPO = Path(__file__).resolve().parents[1]
GOLDENS = {
    "tsn_official_bninception": bninception,
    "mm_r2plus1d_r34_8x8": mmaction_3d,
    "mm_slowfast_r50_8x8": mmaction_3d,
}

# First logits of PySlowFast's own code (facebookresearch/SlowFast @287ec00) for both clips of make_input(16, 64), with
# weights by the same fill, NUM_FRAMES 16 and TRAIN_CROP_SIZE 64.
PYSLOWFAST = {
    "slowfast_resnet50_8x8": [
        [0.682842, -0.954568, 0.425097, 2.390692, -0.171143, 2.348326],
        [0.491077, -0.885848, 0.425312, 2.490033, -0.155567, 2.257451],
    ],
    "slowfast_resnet50_4x16": [
        [0.106801, -0.689817, 0.512281, 1.718442, 0.011739, 1.738576],
        [-0.114608, -0.688991, 0.624045, 1.723358, -0.034663, 1.806187],
    ],
    "slowonly_resnet50": [
        [0.330729, 1.23084, -0.93506, 2.597252, -4.117921, 2.679352],
        [0.342058, 1.152331, -0.952565, 2.591764, -4.047811, 2.628814],
    ],
}


def network(converted: Any, **changes: Any) -> VideoNet:
    model = build(ModelSpec.from_dict({**converted.spec, **changes})).eval()
    model.load_state_dict(converted.state)
    return model


@pytest.mark.slow
@pytest.mark.parametrize("name", GOLDENS)
def test_logits_are_the_originals(name: str, goldens: Path) -> None:
    golden, fill = json.loads((goldens / f"{name}.json").read_text()), golden_fill(goldens)
    state = fill.fill_keys(golden["keys"], golden["fill_gain"])
    assert GOLDENS[name].matches(state)
    converted = GOLDENS[name].convert(state)
    assert len(converted.state) == len(state)
    assert converted.dropped == ()
    model = network(converted)
    assert sum(p.numel() for p in model.parameters()) == golden["params_total"]
    assert sum(p.numel() for p in model.backbone.parameters()) == golden["params_without_head"]
    assert model.num_frames == golden["frames"]
    with torch.no_grad():
        logits = model(fill.make_input(golden["frames"], golden["size"]))
    assert (logits - torch.tensor(golden["logits_all"])).abs().max().item() <= golden["suggested_atol"]


def original_names(keys: list[str], is_pair: bool) -> dict[str, str]:
    """PySlowFast's names of our keys, written from that code's side."""
    letters = {"1": "a", "2": "b", "3": "c"}

    def block(stage: str, pathway: str, index: str, rest: str) -> str:
        start = f"s{int(stage) + 1}.pathway{pathway}_res{index}"
        part, leaf = rest.rsplit(".", 1)
        if part.startswith("downsample"):
            return f"{start}.branch1{'_bn' if part.endswith('1') else ''}.{leaf}"
        return f"{start}.branch2.{letters[part[-1]]}{'_bn' if part.startswith('bn') else ''}.{leaf}"

    def rename(key: str) -> str:
        if key.startswith("fc."):
            return key.replace("fc", "head.projection")
        key = key.removeprefix("backbone.")
        if match := re.fullmatch(r"layer(\d)\.lateral\.(conv|bn)\.(.*)", key):
            return f"s{match[1]}_fuse.{match[2].replace('conv', 'conv_f2s')}.{match[3]}"
        if match := re.fullmatch(r"layer(\d)\.(slow|fast)\.(\d+)\.(.*)", key):
            return block(match[1], "0" if match[2] == "slow" else "1", match[3], match[4])
        if match := re.fullmatch(r"layer(\d)\.(\d+)\.(.*)", key):
            return block(match[1], "0", match[2], match[3])
        if is_pair:
            return key.replace("stem.slow", "s1.pathway0_stem").replace("stem.fast", "s1.pathway1_stem")
        return f"s1.pathway0_stem.{key.replace('1', '')}"

    return {rename(key): key for key in keys}


@pytest.mark.parametrize(
    "name",
    ["slowonly_resnet50", *(pytest.param(name, marks=pytest.mark.slow) for name in PYSLOWFAST if "fast" in name)],
)
def test_pyslowfast_logits_are_the_originals(name: str, goldens: Path) -> None:
    fill = golden_fill(goldens)
    plain = build(ModelSpec(name, num_frames=16)).state_dict()
    names = original_names(list(plain), "slowfast" in name)
    state: dict[str, Tensor] = fill.fill({theirs: plain[ours] for theirs, ours in names.items()})
    assert pyslowfast.matches(state)
    converted = pyslowfast.convert(state)
    assert converted.spec["backbone"] == name
    assert {key: id(value) for key, value in converted.state.items()} == {
        ours: id(state[theirs]) for theirs, ours in names.items()
    }
    with torch.no_grad():
        logits = network(converted, num_frames=16)(fill.make_input(16, 64))
    assert (logits[:, :6] - torch.tensor(PYSLOWFAST[name])).abs().max().item() <= 2e-5

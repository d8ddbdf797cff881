"""Tests of the converters of GST, SmallBigNet and ABM: keys of the authors, made from those of our models."""

import re
from typing import Any

import pytest
import torch
from torch import Tensor

from videozoo import ABM, GST, ModelSpec, SmallBig
from videozoo.hub.convert.base import ConvertError
from videozoo.hub.convert.checkpoint import convert_checkpoint
from videozoo.models import build

_GST = [
    (r"^backbone\.", "base_model."),
    (r"\.conv2\.spatial\.", ".conv2."),
    (r"\.conv2\.temporal\.", ".Tconv."),
    (r"^fc\.", "new_fc."),
]
_SMALLBIG = [
    (r"^backbone\.", ""),
    (r"\.(big\d)\.norm\.", r".\1.1."),
    (r"\.whole\.reduce\.", ".big4_1."),
    (r"\.whole\.expand\.", ".big4_2.0."),
    (r"\.whole\.norm\.", ".big4_2.1."),
]
_BASIC = [(r"^backbone\.", ""), (r"\.factor\.", ".conv1_abp."), (r"^fc\.", "fc2.")]
_BOTTLENECK = [(r"^backbone\.", ""), (r"\.factor\.", ".conv2_abp."), (r"^fc\.", "fc2.")]
_WITHOUT_TIME = r"(?:conv[123]|spatial|reduce|expand|downsample\.0)\.weight$"


def authors_state(spec: ModelSpec, rules: list[tuple[str, str]], is_3d: bool) -> dict[str, Tensor]:
    with torch.device("meta"):
        state = build(spec).state_dict()
    out = {}
    for key, value in state.items():
        new = key
        for pattern, replacement in rules:
            new = re.sub(pattern, replacement, new)
        flat = is_3d and value.ndim == 4 and re.search(_WITHOUT_TIME, key)
        out[new] = value.unsqueeze(2) if flat else value
    return out


CASES: list[Any] = [
    pytest.param(ModelSpec("resnet50", GST()), _GST, "gst", id="gst"),
    pytest.param(ModelSpec("resnet50", GST(beta=1), num_classes=174), _GST, "gst", id="gst large"),
    pytest.param(ModelSpec("resnet50", GST(alpha=8)), _GST, "gst", id="gst alpha 8"),
    pytest.param(ModelSpec("resnet50", SmallBig()), _SMALLBIG, "smallbig", id="smallbig"),
    pytest.param(ModelSpec("resnet101", SmallBig(extra=True)), _SMALLBIG, "smallbig", id="smallbig extra"),
    pytest.param(ModelSpec("resnet18", ABM(), num_frames=24), _BASIC, "abm", id="abm r18"),
    pytest.param(ModelSpec("resnet34", ABM(), num_frames=48), _BASIC, "abm", id="abm r34"),
    pytest.param(ModelSpec("resnet50", ABM(frames_per_segment=1), num_frames=16), _BOTTLENECK, "abm", id="abm r50"),
]


@pytest.mark.parametrize(("spec", "rules", "source"), CASES)
def test_options_are_read_from_keys_and_shapes(spec: ModelSpec, rules: list[tuple[str, str]], source: str) -> None:
    converted, name = convert_checkpoint(authors_state(spec, rules, source != "abm"))
    assert name == source
    assert ModelSpec.from_dict(converted.spec) == spec
    with torch.device("meta"):
        own = build(spec).state_dict()
    assert {key: value.shape for key, value in converted.state.items()} == {k: v.shape for k, v in own.items()}
    assert converted.dropped == ()


def test_flow_is_refused() -> None:
    state = authors_state(ModelSpec("resnet18", ABM(), num_frames=24), _BASIC, False)
    state["conv1.weight"] = torch.empty(64, 10, 7, 7, device="meta")
    with pytest.raises(ConvertError, match="ABM authors: the first convolution takes 10 channels, no color frames"):
        convert_checkpoint(state)

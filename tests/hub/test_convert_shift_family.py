"""Tests of the converters of MVFNet, ACTION-Net and TIN, and of TANet, TEA and MSNet with 16 frames.

The keys are made from ours by the authors' names, so these tests need no recording.
"""

import re
from typing import Any

import pytest
import torch
from test_convert_family import authors_state
from torch import Tensor

import videozoo
from videozoo import ACTION, MVF, TIN
from videozoo.hub.convert.base import ConvertError
from videozoo.hub.convert.checkpoint import convert_checkpoint
from videozoo.models import ModelSpec, build, model_from_state

TSM_NAMES = [(r"^backbone\.", "base_model."), (r"^fc\.", "new_fc.")]
TIN_NAMES = [
    *TSM_NAMES,
    (r"\.conv1\.weight$", ".conv1.net2.weight"),
    (r"^base_model\.conv1\.net2\.weight$", "base_model.conv1.weight"),
    (r"\.pre\.offset\.0", ".net1.biasnet.net.conv"),
    (r"\.pre\.offset\.1", ".net1.biasnet.net.fc"),
    (r"\.pre\.offset\.3", ".net1.biasnet.net.lastlayer"),
    (r"\.pre\.scale", ".net1.weightnet.net.lastlayer"),
]
MM_TIN_NAMES = [
    (r"^fc\.", "cls_head.fc_cls."),
    (r"\.downsample\.0", ".downsample.conv"),
    (r"\.downsample\.1", ".downsample.bn"),
    (r"\.bn(\d)\.", r".conv\1.bn."),
    (r"\.conv([23])\.weight$", r".conv\1.conv.weight"),
    (r"(layer\d\.\d+\.conv1)\.weight$", r"\1.conv.net2.weight"),
    (r"^backbone\.conv1\.weight$", "backbone.conv1.conv.weight"),
    (r"\.pre\.offset\.0", ".conv.net1.offset_net.conv"),
    (r"\.pre\.offset\.1", ".conv.net1.offset_net.fc1"),
    (r"\.pre\.offset\.3", ".conv.net1.offset_net.fc2"),
    (r"\.pre\.scale", ".conv.net1.weight_net.conv"),
]
MVF_NAMES = [
    (r"^fc\.", "cls_head.new_fc."),
    (r"(layer[34]\.\d+\.conv1)\.weight$", r"\1.net.weight"),
    (r"\.pre\.time", ".shift_conv"),
    (r"\.pre\.height", ".h_conv"),
    (r"\.pre\.width", ".w_conv"),
    (r"\.pre\.norm", ".bn"),
]
ACTION_NAMES = [
    *TSM_NAMES,
    (r"(layer\d\.\d+\.conv1)\.weight$", r"\1.net.weight"),
    (r"\.pre\.shift", ".action_shift"),
    (r"\.pre\.space", ".action_p1_conv1"),
    (r"\.pre\.channel\.0", ".action_p2_squeeze"),
    (r"\.pre\.channel\.1", ".action_p2_conv1"),
    (r"\.pre\.channel\.3", ".action_p2_expand"),
    (r"\.pre\.squeeze_norm", ".action_p3_bn1"),
    (r"\.pre\.squeeze", ".action_p3_squeeze"),
    (r"\.pre\.map", ".action_p3_conv1"),
    (r"\.pre\.expand", ".action_p3_expand"),
]
# Shapes that differ: a convolution over time or of a clip has more dimensions in the authors' code.
SHAPES = {
    "shift_conv.weight": lambda t: t[..., None, None],
    "h_conv.weight": lambda t: t[:, :, None],
    "w_conv.weight": lambda t: t[:, :, None],
    "p1_conv1.weight": lambda t: t[:, None],
    "p2_squeeze.weight": lambda t: t[..., None],
    "p2_expand.weight": lambda t: t[..., None],
}


def their_state(spec: ModelSpec, names: list[tuple[str, str]]) -> dict[str, Tensor]:
    """The weights of a model of ours with the keys and shapes of the authors."""
    state: dict[str, Tensor] = {}
    with torch.device("meta"):
        ours = build(spec).state_dict()
    for key, value in ours.items():
        for pattern, new in names:
            key = re.sub(pattern, new, key)
        change: Any = next((change for end, change in SHAPES.items() if key.endswith(end)), lambda t: t)
        state[key] = change(value)
    return state


CASES = {
    "mvfnet": (ModelSpec("resnet50", MVF()), MVF_NAMES, "mvfnet", 8),
    "mvfnet 101": (ModelSpec("resnet101", MVF(part_div=4)), MVF_NAMES, "mvfnet", 8),
    "action": (ModelSpec("resnet50", ACTION()), ACTION_NAMES, "actionnet", 8),
    "action 18": (ModelSpec("resnet18", ACTION()), ACTION_NAMES, "actionnet", 8),
    "tin": (ModelSpec("resnet50", TIN(), num_frames=16), TIN_NAMES, "tin", 16),
    "tin 101": (ModelSpec("resnet101", TIN(shift_div=2)), TIN_NAMES, "tin", 8),
    "mmaction2's tin": (ModelSpec("resnet50", TIN(), num_frames=12), MM_TIN_NAMES, "mmaction2", 12),
}


@pytest.mark.parametrize("case", CASES)
def test_options_and_frames_are_read_from_the_weights(case: str) -> None:
    spec, names, source, frames = CASES[case]
    state = their_state(spec, names)
    converted, found = convert_checkpoint(state)
    assert found == source
    assert ModelSpec.from_dict(converted.spec) == spec.replace(num_frames=frames)
    assert not converted.dropped
    with torch.device("meta"):
        ours = build(spec).state_dict()
    assert {key: value.shape for key, value in converted.state.items()} == {k: v.shape for k, v in ours.items()}


def test_another_source_of_the_same_style_is_refused() -> None:
    for case in ("action", "tin"):
        spec, names, _, _ = CASES[case]
        with pytest.raises(ConvertError, match="the keys are not tsm's"):
            convert_checkpoint(their_state(spec, names), source="tsm")


def test_tin_is_fixed_to_its_frames() -> None:
    model = videozoo.create_model("tin_r50", num_frames=4)
    with pytest.raises(ValueError, match=r"TemporalInterlace at .* has weights for 4 time steps, not 8"):
        model.set_num_frames(8)


@pytest.mark.parametrize("name", ["tanet_official_r50", "tea_official_r50", "msnet_official_r50"])
def test_weights_of_16_frames(name: str) -> None:
    """TANet's kernels have weights per frame, the others' weights do not show their frames."""
    state = authors_state(name)
    if name == "tanet_official_r50":
        for key, value in state.items():
            if ".tam.G." in key and value.ndim:
                sizes = [2 * n if n in (8, 16) else n for n in value.shape]
                state[key] = torch.empty(sizes, device="meta")
    converted, _ = convert_checkpoint(state)
    assert converted.spec["num_frames"] == (16 if name == "tanet_official_r50" else 8)
    spec = ModelSpec.from_dict(converted.spec).replace(num_frames=16)
    random = {key: torch.rand(value.shape).to(value.dtype) + 0.5 for key, value in converted.state.items()}
    model = model_from_state(spec, random, source=name).eval()
    with torch.no_grad():
        assert model(torch.randn(1, 3, 16, 32, 32)).shape == (1, 174)

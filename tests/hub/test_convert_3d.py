"""Tests of the converters of 3-D models and BN-Inception."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torchvision.models.video import r2plus1d_18

from videozoo.hub.convert import bninception, mmaction_3d, pyslowfast, torchvision_resnet3d
from videozoo.hub.convert.base import ConvertError, rename_all
from videozoo.models import ModelSpec, build

SOURCES = (bninception, mmaction_3d, pyslowfast, torchvision_resnet3d)


def test_torchvisions_r2plus1d_gives_torchvisions_logits() -> None:
    theirs = r2plus1d_18(num_classes=6).eval()
    with torch.no_grad():
        for name, buffer in theirs.named_buffers():
            if name.endswith("running_mean"):
                buffer.normal_(0, 0.2)
            elif name.endswith("running_var"):
                buffer.uniform_(0.6, 1.4)
    state = theirs.state_dict()
    assert [source for source in SOURCES if source.matches(state)] == [torchvision_resnet3d]
    converted = torchvision_resnet3d.convert(state)
    assert converted.spec == {
        "backbone": "r2plus1d_resnet18_tv",
        "temporal": {"name": "tsn"},
        "augmenters": [],
        "num_frames": 16,
        "num_classes": 6,
    }
    ours = build(ModelSpec.from_dict({**converted.spec, "num_frames": 8})).eval()
    ours.load_state_dict(converted.state)
    x = torch.randn(2, 3, 8, 48, 48)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x), rtol=0, atol=1e-5)


def mmaction_names(backbone: str, **spec: Any) -> dict[str, Tensor]:
    """A state dict with MMAction2's names, made from our model of that name."""
    with torch.device("meta"):
        state = build(ModelSpec(backbone, **spec)).state_dict()
    out = {}
    for key, value in state.items():
        if key.startswith("fc."):
            out[f"cls_head.fc_cls.{key[3:]}"] = value
            continue
        parts = key.removeprefix("backbone.").split(".")
        if parts[0] == "stem":
            name = [f"{parts[1]}_path", "conv1", *parts[2:]]
        elif parts[1] == "lateral":
            number = int(parts[0][-1]) - 1
            name = ["slow_path", f"layer{number}_lateral" if number else "conv1_lateral", *parts[2:]]
        else:
            path = [f"{parts.pop(1)}_path"] if parts[1] in ("slow", "fast") else []
            name = [*path, *_mmaction_module(parts)]
        out["backbone." + ".".join(name)] = value
    return out


def _mmaction_module(parts: list[str]) -> list[str]:
    for i, part in enumerate(parts):
        if part == "downsample":
            return [*parts[: i + 1], "conv" if parts[i + 1] == "0" else "bn", *parts[i + 2 :]]
        if part.startswith(("conv", "bn")):
            kind = part.rstrip("123")
            return [*parts[:i], f"conv{part[len(kind) :]}", kind, *parts[i + 1 :]]
    return parts


@pytest.mark.parametrize(
    ("backbone", "frames"),
    [
        ("slowonly_resnet50", 8),
        ("slowonly_resnet101", 8),
        ("slowfast_resnet18_8x8_mm", 32),
        ("slowfast_resnet50_4x16_mm", 32),
        ("slowfast_resnet101_8x8_mm", 32),
        ("slowfast_resnet101_resnet50_4x16_mm", 32),
    ],
)
def test_mmaction_variants_are_detected_by_keys_and_shapes(backbone: str, frames: int) -> None:
    state = mmaction_names(backbone, num_frames=frames, num_classes=9)
    assert [source for source in SOURCES if source.matches(state)] == [mmaction_3d]
    converted = mmaction_3d.convert(state)
    assert converted.spec["backbone"] == backbone
    assert converted.spec["num_frames"] == frames
    assert converted.spec["num_classes"] == 9
    with torch.device("meta"):
        own = build(ModelSpec.from_dict(converted.spec)).state_dict()
    assert {k: v.shape for k, v in own.items()} == {k: v.shape for k, v in converted.state.items()}


def test_a_key_without_a_place_is_an_error_that_names_it() -> None:
    state = mmaction_names("slowonly_resnet50")
    state["backbone.layer2.0.attention.g.weight"] = torch.zeros(1)
    with pytest.raises(ConvertError, match=r"MMAction2: no place for backbone\.layer2\.0\.attention\.g\.weight"):
        mmaction_3d.convert(state)


def test_laterals_with_norms_are_not_from_mmaction() -> None:
    state = mmaction_names("slowfast_resnet50_8x8_mm", num_frames=32)
    state["backbone.slow_path.conv1_lateral.bn.weight"] = torch.zeros(16)
    with pytest.raises(ConvertError, match="lateral"):
        mmaction_3d.convert(state)


def test_other_temporal_kernels_are_an_error_that_names_them() -> None:
    shapes = {"s1.pathway0_stem.conv.weight": (64, 3, 3, 7, 7)}
    for stage, depth in zip((2, 3, 4, 5), (3, 4, 6, 3), strict=True):
        for block in range(depth):
            shapes[f"s{stage}.pathway0_res{block}.branch2.a.weight"] = (8, 8, 1, 1, 1)
    state = {key: torch.zeros(shape, device="meta") for key, shape in shapes.items()}
    with pytest.raises(ConvertError, match=r"ResNet-50 has temporal kernel 3 in the stem, 1 1 1; 1 1 1 1; "):
        pyslowfast.convert(state)


def test_two_keys_for_one_place_are_an_error() -> None:
    state = {"a.weight": torch.zeros(1), "b.weight": torch.zeros(1)}
    with pytest.raises(ConvertError, match=r"b\.weight and a\.weight would both become c\.weight"):
        rename_all(state, [("a|b", "c")], "somebody")
    kept, dropped = rename_all(state, [("a", ""), ("b", "c")], "somebody")
    assert list(kept) == ["c.weight"]
    assert dropped == ("a.weight",)


def test_bninceptions_values_are_the_authors() -> None:
    with torch.device("meta"):
        own = build(ModelSpec("bninception", num_classes=5)).state_dict()
    assert bninception.matches({"base_model.conv1_7x7_s2.weight": torch.zeros(1)})
    state = {"base_model.conv1_7x7_s2.weight": torch.zeros(1), "new_fc.weight": torch.zeros(5, 1024)}
    converted = bninception.convert(state)
    assert set(converted.state) == {"backbone.conv1.weight", "fc.weight"} <= set(own)
    assert converted.spec["num_classes"] == 5
    assert converted.cfg["std"] == (1 / 255, 1 / 255, 1 / 255)

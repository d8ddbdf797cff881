"""Tests of X3D: counts, the head, and what its converters read from keys and shapes."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import golden_fill
from pyslowfast_names import native_names
from torch import Tensor, nn

import videozoo
from videozoo import ARC, TSM, WeightsError
from videozoo.hub.convert import mmaction_x3d, pyslowfast_x3d
from videozoo.hub.convert.base import ConvertError
from videozoo.hub.convert.checkpoint import convert_checkpoint
from videozoo.models import ModelSpec, build
from videozoo.models.convert import convert_file

# Counted in the authors' code, with 400 classes. XL is printed with 11.09 M.
PARAMETERS = {"x3d_xs": 3_794_322, "x3d_s": 3_794_322, "x3d_m": 3_794_322, "x3d_l": 6_153_432, "x3d_xl": 11_087_571}
CLIPS = {"x3d_xs": (4, 160, 182), "x3d_m": (16, 224, 256), "x3d_xl": (16, 312, 356)}


def own_state(backbone: str, num_classes: int = 9) -> dict[str, Tensor]:
    return build(ModelSpec(backbone, num_frames=4, num_classes=num_classes)).state_dict()


def mmaction_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Our keys under MMAction2's names, written from that code's side."""
    whole = {"conv1": "conv1_s.conv", "conv1_temporal": "conv1_t.conv", "bn1": "conv1_t.bn"}
    whole |= {"head_conv": "conv5.conv", "head_bn": "conv5.bn"}
    out = {}
    for key, value in state.items():
        path, _, leaf = key.removeprefix("backbone.").rpartition(".")
        if path in ("fc", "pooled_conv"):
            fc = "cls_head.fc2" if path == "fc" else "cls_head.fc1"
            out[f"{fc}.{leaf}"] = value.flatten(1) if value.ndim == 5 else value
            continue
        if path.startswith("layer"):
            stage, index, rest = path.split(".", 2)
            kind = rest.rstrip("0123456789")
            named = {
                "downsample.": "downsample." + ("bn" if rest.endswith("1") else "conv"),
                "se.fc": f"se_module.{rest[3:]}",
            }
            path = f"{stage}.{index}.{named.get(kind) or f'conv{rest[-1]}.{kind}'}"
        out[f"backbone.{whole.get(path, path)}.{leaf}"] = value
    return out


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_are_the_authors(name: str) -> None:
    with torch.device("meta"):
        model = videozoo.create_model(name)
    assert sum(p.numel() for p in model.parameters()) == PARAMETERS[name]


@pytest.mark.parametrize("name", CLIPS)
def test_every_name_has_the_clip_of_its_authors(name: str) -> None:
    frames, size, test = CLIPS[name]
    with torch.device("meta"):
        cfg = videozoo.create_model(name).pretrained_cfg
    assert (cfg["num_frames"], cfg["input_size"], cfg["test_crop_size"]) == (frames, (3, size, size), test)
    assert cfg["frame_sampling"] == "dense"
    assert cfg["mean"] == (0.45, 0.45, 0.45)


def test_a_composition_is_normalized_as_its_authors_do() -> None:
    cfg = videozoo.compose("x3d_small", num_frames=4).pretrained_cfg
    assert (cfg["mean"], cfg["std"]) == ((0.45, 0.45, 0.45), (0.225, 0.225, 0.225))


def test_every_second_block_has_a_gate_and_time_keeps_its_resolution() -> None:
    model = videozoo.create_model("x3d_s", num_frames=3, num_classes=2).eval()
    for stage in (1, 2, 3, 4):
        gates = [type(block.se) is not nn.Identity for block in getattr(model.backbone, f"layer{stage}")]
        assert gates == [index % 2 == 0 for index in range(len(gates))]
    with torch.no_grad():
        assert model.forward_features(torch.randn(1, 3, 3, 64, 64)).shape == (1, 192, 3, 2, 2)
        assert model.forward_head(torch.randn(1, 192, 3, 2, 2), pre_logits=True).shape == (1, 2048)


@pytest.mark.parametrize(
    ("backbone", "frames"), [("x3d_small", 13), ("x3d_small_ptv", 13), ("x3d_large", 16), ("x3d_extra_large", 16)]
)
def test_variants_are_detected_by_keys_and_shapes(backbone: str, frames: int) -> None:
    own = own_state(backbone)
    for converter, names in ((pyslowfast_x3d, native_names), (mmaction_x3d, mmaction_names)):
        state = names(own)
        assert converter.matches(state)
        converted, _ = convert_checkpoint(state)
        assert (converted.spec["backbone"], converted.spec["num_frames"]) == (backbone, frames)
        assert converted.spec["num_classes"] == 9
        assert converted.state.keys() == own.keys()
        assert all(torch.equal(converted.state[key], value) for key, value in own.items())


def test_mmactions_names_of_the_authors_weights_give_the_authors_logits(goldens: Path) -> None:
    facts, fill = json.loads((goldens / "fb_x3d_s.json").read_text()), golden_fill(goldens)
    first = pyslowfast_x3d.convert(fill.fill_keys(facts["keys"], facts["fill_gain"]))
    converted = mmaction_x3d.convert(mmaction_names(first.state))
    model = build(ModelSpec.from_dict(converted.spec)).eval()
    model.load_state_dict(converted.state)
    with torch.no_grad():
        logits = model(fill.make_input(facts["frames"], facts["size"]))
    assert (logits - torch.tensor(facts["logits_all"])).abs().max().item() <= facts["suggested_atol"]


def test_an_unknown_depth_is_refused() -> None:
    state = {key: value for key, value in native_names(own_state("x3d_small")).items() if "s5.pathway0_res6" not in key}
    with pytest.raises(ConvertError, match=r"PySlowFast's X3D: stages of \(3, 5, 11, 6\) blocks"):
        pyslowfast_x3d.convert(state)


def test_one_network_has_several_names_by_its_clip(tmp_path: Path) -> None:
    torch.save({"model_state": native_names(own_state("x3d_small"))}, tmp_path / "x3d.pyth")

    def convert(**kwargs: Any) -> tuple[str, int]:
        cfg = convert_file(tmp_path / "x3d.pyth", **kwargs)[0].pretrained_cfg
        return cfg["architecture"], cfg["num_frames"]

    assert convert() == ("x3d_s", 13)
    assert convert(num_frames=16) == ("x3d_m", 16)
    assert convert(name="x3d_xs") == ("x3d_xs", 4)
    with pytest.raises(WeightsError, match=r"not x3d_l; it is x3d_m, x3d_s, x3d_xs"):
        convert(name="x3d_l")


def test_parts_that_find_no_place_are_refused() -> None:
    with pytest.raises(ValueError, match="is a 3-D model and mixes time itself"):
        videozoo.compose("x3d_small", TSM(), num_frames=4)
    with pytest.raises(ValueError, match="are grouped, which ARC cannot refine"):
        videozoo.compose("x3d_small", augmenters=[ARC(layers=("conv3d",))], num_frames=4)


@pytest.mark.parametrize("kind", ["dnr_x3d_s", "x3d_xs"])
def test_gradients_reach_every_parameter(kind: str) -> None:
    model = videozoo.create_model(kind, num_frames=8, num_classes=3)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm3d) and module.affine:
            nn.init.ones_(module.weight)
    model(torch.randn(2, 3, 8, 64, 64)).square().sum().backward()
    assert not [name for name, p in model.named_parameters() if p.grad is None]

"""Tests of UniFormer: its counts, its converters and what it refuses."""

import pytest
import timm
import torch
from torch import Tensor

import videozoo
from videozoo import ARC, DNR
from videozoo.hub.convert.base import ConvertError
from videozoo.hub.convert.checkpoint import convert_checkpoint
from videozoo.models import ModelSpec, build


def authors_state(backbone: str = "uniformer_small", prefix: str = "", head: str = "head.") -> dict[str, Tensor]:
    """A state dict with the keys of the authors, without values."""
    with torch.device("meta"):
        state = build(ModelSpec(backbone, num_classes=174)).state_dict()
    return {
        key.replace("backbone.", prefix, 1).replace("fc.", head, 1)
        if key.startswith("fc.")
        else key.replace("backbone.", prefix, 1): value
        for key, value in state.items()
    }


@pytest.mark.parametrize(("name", "count"), [("uniformer_s", 21_400_400), ("uniformer_b", 49_813_200)])
def test_parameters_are_those_of_the_authors(name: str, count: int) -> None:
    with torch.device("meta"):
        model = videozoo.create_model(name)
    assert sum(p.numel() for p in model.parameters()) == count
    assert model.num_frames == 16


@pytest.mark.parametrize(
    ("prefix", "head", "source"), [("", "head.", "uniformer"), ("backbone.", "cls_head.fc_cls.", "mmaction2")]
)
@pytest.mark.parametrize("backbone", ["uniformer_small", "uniformer_base"])
def test_both_sources_are_recognized(backbone: str, prefix: str, head: str, source: str) -> None:
    state = authors_state(backbone, prefix, head)
    converted, found = convert_checkpoint(state)
    assert found == source
    assert (converted.spec["backbone"], converted.spec["num_frames"]) == (backbone, 16)
    assert converted.spec["num_classes"] == 174
    assert len(converted.state) == len(state)
    assert converted.cfg["mean"] == (0.45, 0.45, 0.45)


def test_other_variants_are_refused() -> None:
    state = authors_state()
    split = {**state, "blocks3.0.t_attn.qkv.weight": torch.empty(960, 320)}
    with pytest.raises(ConvertError, match=r"UniFormer authors: no place for blocks3\.0\.t_attn\.qkv\.weight"):
        convert_checkpoint(split)
    wide = {**state, "patch_embed2.proj.weight": torch.empty(128, 64, 3, 2, 2)}
    with pytest.raises(ConvertError, match=r"over \[3, 3, 1, 1\] frames; known are"):
        convert_checkpoint(wide)
    images = {key: value[:, :, 0] if value.ndim == 5 else value for key, value in state.items()}
    with pytest.raises(ConvertError, match="not any known source's"):
        convert_checkpoint(images)


def test_time_is_halved_by_the_stem() -> None:
    with torch.device("meta"):
        net = timm.create_model("uniformer_small")
        for frames, steps in ((1, 1), (7, 4), (8, 4), (9, 5)):
            assert net.forward_features(torch.zeros(1, 3, frames, 64, 64)).shape == (1, 512, steps, 2, 2)


def test_the_last_norm_is_in_the_features_but_not_in_the_maps() -> None:
    net = timm.create_model("uniformer_small").eval()
    net.norm.weight.data.fill_(2.0)
    x = torch.randn(1, 3, 4, 32, 32)
    with torch.no_grad():
        final, maps = net.forward_intermediates(x)
        torch.testing.assert_close(final, net.norm(maps[-1]))
        torch.testing.assert_close(final, net.forward_features(x))
        early, (first,) = net.forward_intermediates(x, indices=[1], stop_early=True)
    assert torch.equal(early, first)


@pytest.mark.parametrize(
    ("part", "message"),
    [
        (ARC(), r"nothing to change in UniFormer: of 35 convolutions .* 16 are 1x1 and 19 are grouped"),
        (DNR(), r"of the 41 norms of UniFormer only 14 are in blocks"),
    ],
)
def test_augmenters_are_refused_with_the_reason(part: ARC | DNR, message: str) -> None:
    with torch.device("meta"), pytest.raises(ValueError, match=message):
        videozoo.compose("uniformer_small", augmenters=[part])


def test_a_patch_embedding_learns_like_the_block_after_it() -> None:
    model = videozoo.create_model("uniformer_s", num_classes=2)
    layers = timm.models.group_parameters(model, model.group_matcher())
    of = {name: number for number, names in layers.items() for name in names}
    assert of["backbone.patch_embed1.proj.weight"] < of["backbone.blocks1.0.conv1.weight"]
    assert of["backbone.patch_embed2.proj.weight"] == of["backbone.blocks2.0.conv1.weight"]
    assert of["backbone.norm.weight"] == of["backbone.blocks4.2.attn.proj.weight"] < of["fc.weight"]
    assert len(layers) == 1 + 18 + 1

"""Tests of the Inception-V3 of TSN's authors: size, sites, sizes of frames, and its authors' keys."""

import pytest
import torch
from torch import Tensor

import videozoo
from videozoo import ARC, DNR, GSM, TSM, TSN
from videozoo.hub.convert.checkpoint import convert_checkpoint
from videozoo.report import count_cost

BACKBONE = "inception_v3_tsn"
# The authors' name of the convolution before each gate, in order.
GATED = [
    *("mixed_conv", "mixed_1_conv", "mixed_2_conv", "mixed_3_tower_conv", "mixed_4_conv", "mixed_5_conv"),
    *("mixed_7_conv", "mixed_8_tower_conv", "mixed_9_conv", "mixed_10_conv"),
]


# Convolutions in a row in the authors' branches, by the numbers of the modules.
TOWERS = {
    "conv": [1, 1, 1, 1, 1, 1, 1, 1, 0, 1, 1],
    "tower_conv": [2, 2, 2, 3, 3, 3, 3, 3, 2, 1, 1],
    "tower_1_conv": [3, 3, 3, 0, 5, 5, 5, 5, 4, 2, 2],
    "tower_2_conv": [1, 1, 1, 0, 1, 1, 1, 1, 0, 1, 1],
    "tower_mixed_conv": [0] * 9 + [2, 2],
    "tower_1_mixed_conv": [0] * 9 + [2, 2],
}


def authors_state() -> dict[str, Tensor]:
    """Their keys, with one element each: their names are what counts, but for the 3-D convolutions."""
    convs = ["conv", *(f"conv_{i}" for i in (1, 2, 3, 4))]
    for branch, counts in TOWERS.items():
        for i, count in enumerate(counts):
            start = f"mixed_{i}_{branch}" if i else f"mixed_{branch}"
            convs += [f"{start}_{k}" if k else start for k in range(count)]
    assert len(convs) == 94
    of_norm = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    keys = [f"{conv}_{layer}" for conv in convs for layer in ("Conv2D.weight", "Conv2D.bias")]
    keys += [f"{conv}_batchnorm.{leaf}" for conv in convs for leaf in of_norm]
    keys += [f"gsm_{conv}_Conv2D.{leaf}" for conv in GATED for leaf in ("conv3D.bias", *(f"bn.{n}" for n in of_norm))]
    state = {f"base_model.{key}": torch.zeros(1) for key in keys}
    state |= {f"base_model.gsm_{conv}_Conv2D.conv3D.weight": torch.zeros(2, 4, 3, 3, 3) for conv in GATED}
    return {**state, "new_fc.weight": torch.zeros(174, 2048), "new_fc.bias": torch.zeros(174)}


def on_meta(temporal: TSN | GSM, num_frames: int = 16) -> videozoo.VideoNet:
    """The model without values."""
    with torch.device("meta"):
        return videozoo.compose(BACKBONE, temporal, num_classes=174, num_frames=num_frames).eval()


def test_size_is_that_of_the_authors() -> None:
    cost = count_cost(on_meta(GSM()), (3, 229, 229))
    assert cost.params == 22_207_586
    assert cost.macs / 1e9 == pytest.approx(53.56, abs=0.005)
    assert videozoo.create_model("gsm_inception_v3").pretrained_cfg["input_size"] == (3, 229, 229)
    assert on_meta(TSN()).pretrained_cfg["input_size"] == (3, 229, 229)


def test_gates_stand_in_the_branches_of_the_authors() -> None:
    towers = {3: "tower1.0", 8: "tower1.0"}
    assert [name.split(".", 1)[1] for name in on_meta(GSM()).sites["gsm"]] == [
        f"mixed_{i}.{towers.get(i, 'point')}.conv" for i in (0, 1, 2, 3, 4, 5, 7, 8, 9, 10)
    ]


def test_their_checkpoints_convert() -> None:
    state = authors_state()
    converted, source = convert_checkpoint(state)
    assert source == "gsm"
    assert converted.cfg["channel_order"] == "bgr"
    assert converted.cfg["input_size"] == (3, 229, 229)
    assert (converted.spec["backbone"], converted.spec["temporal"]) == (BACKBONE, {"name": "gsm"})
    assert set(converted.state) == set(on_meta(GSM()).state_dict())
    gate = state["base_model.gsm_mixed_9_conv_Conv2D.conv3D.weight"]
    assert converted.state["backbone.stage4.mixed_9.point.conv.post.conv.weight"].shape == (6, *gate.shape[1:2], 3, 3)
    plain, source = convert_checkpoint({key: value for key, value in state.items() if ".gsm_" not in key})
    assert (source, plain.spec["temporal"]) == ("tsm", {"name": "tsn"})
    assert set(plain.state) == set(on_meta(TSN()).state_dict())


def test_a_gate_without_a_place_is_an_error() -> None:
    state = {**authors_state(), "base_model.gsm_mixed_11_conv_Conv2D.conv3D.bias": torch.zeros(2)}
    with pytest.raises(ValueError, match=r"no place for base_model\.gsm_mixed_11_conv_Conv2D\.conv3D\.bias"):
        convert_checkpoint(state)


@pytest.mark.parametrize("size", [75, 107, 229, 299])
def test_sizes_of_frames_that_it_takes(size: int) -> None:
    assert on_meta(TSN(), 1)(torch.zeros(1, 3, 1, size, size, device="meta")).shape == (1, 174)


@pytest.mark.parametrize("size", [80, 224, 256])
def test_sizes_of_frames_that_it_refuses(size: int) -> None:
    with pytest.raises(ValueError, match=r"a map of .* cannot be halved, .* take frames of 229 pixels"):
        on_meta(TSN(), 1)(torch.zeros(1, 3, 1, size, size, device="meta"))


def test_parts_on_top() -> None:
    for augmenters, sites in (([ARC()], 50), ([], 0)):
        net = videozoo.compose(BACKBONE, GSM(), augmenters, num_classes=4, num_frames=2).eval()
        assert len(net.sites.get("arc", ())) == sites
        with torch.no_grad():
            assert net(torch.randn(1, 3, 2, 75, 75)).shape == (1, 4)
    assert len(videozoo.compose(BACKBONE, TSM(), num_classes=4).sites["tsm"]) == 18
    with pytest.raises(ValueError, match="of the 94 norms of InceptionV3Tsn only 36 are in blocks"):
        videozoo.compose(BACKBONE, GSM(), [DNR()])
    with pytest.raises(ValueError, match=r"drop_path_rate is 0.1, but it has no residual branches"):
        videozoo.compose(BACKBONE, drop_path_rate=0.1)

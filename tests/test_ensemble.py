"""Tests of ensembles: averaging, frames of each member, folders, and refusals."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers import clips, gradients, randomize
from safetensors.torch import save_file
from torch import Tensor, nn

import videozoo
from videozoo import ARC, TSM, TSN, Ensemble, VideoNet
from videozoo.data.sample import sample_clips
from videozoo.engine import save_checkpoint
from videozoo.models import EnsembleSpec, ModelSpec, build, model_config
from videozoo.temporal import TDN, TANet

CLASSES = 5


def member(num_frames: int, **kwargs: Any) -> VideoNet:
    """A small model of that many frames."""
    kwargs = {"backbone": "test_resnet", "temporal": TSM(), "num_classes": CLASSES, **kwargs}
    return randomize(videozoo.compose(num_frames=num_frames, **kwargs)).eval()  # type: ignore[return-value]


@pytest.fixture
def net() -> Ensemble:
    """Four and eight frames, of two compositions."""
    torch.manual_seed(0)
    return Ensemble([member(4, augmenters=[ARC()]), member(8)])


def test_probabilities_are_averaged() -> None:
    torch.manual_seed(0)
    nets = [member(count, temporal=TSM()) for count in (1, 2, 3, 6)]
    x = clips(2, 6, 32)
    shares = [[3], [1, 4], [1, 3, 5], [0, 1, 2, 3, 4, 5]]
    with torch.no_grad():
        votes = [one(x[:, :, share]).softmax(-1) for one, share in zip(nets, shares, strict=True)]
        y = Ensemble(nets)(x)
    assert (votes[0] - votes[3]).abs().max() > 1e-2
    torch.testing.assert_close(y.exp(), sum(votes) / 4)
    torch.testing.assert_close(y.softmax(-1), sum(votes) / 4)


@pytest.mark.parametrize("step", [2, 3, 4, 5])
def test_a_member_gets_the_frames_nearest_to_those_that_it_was_tested_with(step: int) -> None:
    """An odd share meets the centers of its segments; of an even one no other share would come nearer."""
    for length in (60, 61, 240, 1000):
        clip = sample_clips(length, num_frames=4 * step)[0]
        own = sample_clips(length, num_frames=4)[0]
        away = [np.abs(clip[start::step] - own).max() for start in range(step)]
        assert away[step // 2] <= min(away) + 1  # frames are whole numbers
        assert step % 2 == 0 or away[step // 2] <= 1


def test_frames_in_a_row_stay_together() -> None:
    """TDN's five frames of a segment go to a member together."""
    torch.manual_seed(0)
    nets = [member(count, backbone="resnet18", temporal=TDN()) for count in (5, 10)]
    x = clips(1, 10, 32)
    ensemble = Ensemble(nets)
    with torch.no_grad():
        votes = nets[0](x[:, :, 5:]).softmax(-1) + nets[1](x).softmax(-1)
        torch.testing.assert_close(ensemble(x).exp(), votes / 2)
    assert (ensemble.num_frames, ensemble.frames_per_segment) == (10, 5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_sure_members_stay_finite(net: Ensemble, dtype: torch.dtype) -> None:
    """Logits far apart: the less sure member's probability is kept, and no logarithm of zero appears."""
    sure, other = torch.tensor([[200.0, 0.0, -200.0]], dtype=dtype), torch.tensor([[0.0, 0.0, -200.0]], dtype=dtype)
    y = net._join([sure, other])
    assert y.dtype == dtype
    expected = torch.tensor([[0.75, 0.25]]).log()
    torch.testing.assert_close(y[:, :2].float(), expected, rtol=1e-2, atol=1e-3)
    assert y.isfinite().all()


def test_cross_entropy_is_that_of_the_averaged_probabilities(net: Ensemble) -> None:
    model, slow = copy.deepcopy(net).double(), copy.deepcopy(net).double()
    x, target = clips(3, 8, 32).double(), torch.tensor([0, 4, 2])
    F.cross_entropy(model(x), target).backward()
    four, eight = slow.members
    mean = (four(x[:, :, 1::2]).softmax(-1) + eight(x).softmax(-1)) / 2
    F.nll_loss(mean.log(), target).backward()
    expected = gradients(slow)
    assert set(expected) == set(dict(net.named_parameters()))
    for name, grad in gradients(model).items():
        torch.testing.assert_close(grad, expected[name])


def test_parts_of_the_forward_agree(net: Ensemble) -> None:
    x = clips(2, 8, 32)
    with torch.no_grad():
        features = net.forward_features(x)
        assert [maps.shape[1:3] for maps in features] == [(m.num_features, m.num_frames) for m in net.members]
        assert torch.equal(net.forward_head(features), net(x))
        pooled = net.forward_head(features, pre_logits=True)
        assert pooled.shape == (2, net.head_hidden_size)
        final, maps = net.forward_intermediates(x)
        assert all(torch.equal(a, b) for a, b in zip(final, features, strict=True))
        assert [m.shape[1] for m in maps] == [row["num_chs"] for row in net.feature_info]
        last = net.forward_intermediates(x, indices=1, intermediates_only=True)
        ends = maps[len(maps) // 2 - 1], maps[-1]
        assert all(torch.equal(a, b) for a, b in zip(last, ends, strict=True))
        model = copy.deepcopy(net)
        model.reset_classifier(0)
        assert torch.equal(model(x), pooled)
    assert isinstance(model.get_classifier()[0], nn.Identity)


@pytest.mark.slow
def test_one_graph_one_program() -> None:
    net = Ensemble([member(1, temporal=TSN()), member(2, temporal=TSN())]).requires_grad_(False)
    x = clips(2, 2, 32)
    torch._dynamo.reset()
    assert torch.equal(torch.compile(net, fullgraph=True, backend="eager")(x), net(x))
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(net, (x,), dynamic_shapes=({0: batch},))
    x = clips(3, 2, 32, seed=2)
    torch.testing.assert_close(program.module()(x), net(x))


def save(model: Any, folder: Path, names: list[str] | None = None) -> None:
    """The folder that `finetune` writes."""
    save_checkpoint(folder, model.state_dict(), model_config(model, names))


def test_two_trained_models_make_one_folder(tmp_path: Path) -> None:
    names = ["a", "b", "c", "d", "e"]
    for count in (4, 8):
        save(member(count, augmenters=[ARC()]), tmp_path / str(count), names)
    four, eight = (videozoo.create_model(f"local-dir:{tmp_path / n}", pretrained=True).eval() for n in ("4", "8"))
    assert isinstance(four, VideoNet)
    assert isinstance(eight, VideoNet)
    net = Ensemble([four, eight])
    assert list(net.pretrained_cfg["label_names"]) == names
    assert net.pretrained_cfg["classifier"] == ("members.0.fc", "members.1.fc")
    assert net.pretrained_cfg["num_frames"] == net.num_frames == 8
    save(net, tmp_path / "both")
    back = videozoo.create_model(f"local-dir:{tmp_path / 'both'}", pretrained=True).eval()
    assert isinstance(back, Ensemble)
    assert back.spec == net.spec
    assert list(back.pretrained_cfg["label_names"]) == names
    assert [one.pretrained_cfg["num_frames"] for one in back.members] == [4, 8]
    x = clips(2, 8, 32)
    with torch.no_grad():
        assert torch.equal(back(x), net(x))
    fresh = videozoo.create_model(f"local-dir:{tmp_path / 'both'}", pretrained=True, num_classes=3)
    own, kept = fresh.state_dict(), net.state_dict()
    assert own["members.1.fc.weight"].shape[0] == 3
    assert all(torch.equal(own[key], kept[key]) for key in kept if ".fc." not in key)
    assert "label_names" not in fresh.pretrained_cfg or fresh.pretrained_cfg["label_names"] is None


def test_specs_are_plain_data() -> None:
    spec = EnsembleSpec((ModelSpec("resnet18", TSM(), (ARC(),)), ModelSpec("resnet50", TSN(), num_frames=24)))
    assert EnsembleSpec.from_dict(spec.to_dict()) == spec
    assert (spec.num_frames, spec.num_classes, spec.in_chans) == (24, 400, 3)
    other = spec.replace(num_frames=6, num_classes=7, in_chans=1)
    assert [(one.num_frames, one.num_classes, one.in_chans) for one in other.members] == [(2, 7, 1), (6, 7, 1)]
    with pytest.raises(ValueError, match="num_frames is 8; need a positive multiple of 3"):
        spec.replace(num_frames=8)
    for wrong in ({"members": {}}, {"members": [], "color": 1}):
        with pytest.raises(ValueError, match="need members alone, a list"):
            EnsembleSpec.from_dict(wrong)


@pytest.mark.parametrize(
    ("others", "message"),
    [
        ([{"num_frames": 8, "num_classes": 3}], "num_classes 5 and 3; all must have the same"),
        ([{"num_frames": 8, "in_chans": 1}], "in_chans 3 and 1"),
        ([{"num_frames": 6}], "take 4 and 6 frames; each number must divide the largest"),
        ([], "1 members; need two or more"),
    ],
)
def test_models_that_cannot_be_averaged(others: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Ensemble([member(4), *(member(**other) for other in others)])


def test_other_reasons_why_models_cannot_be_averaged() -> None:
    with pytest.raises(ValueError, match=r"members are Conv2d; need models of videozoo"):
        Ensemble([member(4), nn.Conv2d(3, 3, 1)])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="frames_per_segment 1 and 5"):
        EnsembleSpec((ModelSpec("resnet18", num_frames=10), ModelSpec("resnet18", TDN(), num_frames=10)))
    for field, value in (("mean", (0.1, 0.2, 0.3)), ("label_names", ("b", "a", "c", "d", "e"))):
        one, two = member(4), member(8)
        one.pretrained_cfg["label_names"] = ("a", "b", "c", "d", "e")
        two.pretrained_cfg = {**one.pretrained_cfg, field: value}
        with pytest.raises(ValueError, match=f"members have {field} .* train them on the same data"):
            Ensemble([one, two])


def test_number_of_frames_changes_for_all_members_or_for_none() -> None:
    net = Ensemble([member(2, backbone="resnet18"), member(4, backbone="resnet18", temporal=TANet())])
    with pytest.raises(ValueError, match="has weights for 4 time steps"):
        net.set_num_frames(8)
    assert [one.num_frames for one in net.members] == [2, 4]
    with pytest.raises(ValueError, match="num_frames is 3; need a positive multiple of 2"):
        net.set_num_frames(3)


def test_built_with_backbone_weights_every_member_has_them(tmp_path: Path) -> None:
    spec = EnsembleSpec((ModelSpec("test_resnet", num_frames=2), ModelSpec("test_resnet", TSM(), num_frames=4)))
    source: Any = randomize(build(spec.members[0]).backbone)
    path = tmp_path / "backbone.safetensors"
    save_file(source.state_dict(), path)
    net = build(spec, path)
    for one in net.members:
        state: dict[str, Tensor] = one.backbone.state_dict()
        assert all(torch.equal(state[key], value) for key, value in source.state_dict().items())

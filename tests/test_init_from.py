"""Tests of starting ARC and DNR models from the weights of their base."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from fake_hub import FakeHub
from helpers import clips, randomize
from safetensors.torch import load_file, save_file
from timm.models import adapt_input_conv
from torch import Tensor

import videozoo
from videozoo import ARC, DNR, TSM, UnknownModelError, WeightsError
from videozoo.models import ModelSpec, registry
from videozoo.models.init_from import build_from_base
from videozoo.models.state_dict import adapt_stems
from videozoo.temporal import TDN, TRN, TSN

T, SIZE, NAMES = 4, 32, ["jump", "run", "sit"]


def base_net(backbone: str = "test_resnet", temporal: Any = TSM()) -> Any:  # noqa: B008
    """A base with random weights and a config of its own."""
    net: Any = videozoo.compose(backbone, temporal, num_classes=3, num_frames=T)
    about = {"frame_sampling": "dense", "license": "mit", "mean": (0.1, 0.2, 0.3), "metrics": {"top1": 0.5}}
    net.pretrained_cfg = {**net.pretrained_cfg, **about, "label_names": tuple(NAMES)}
    return randomize(net).eval()


def write(net: Any, folder: Path) -> Path:
    """Its folder."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(videozoo.model_config(net)))
    save_file(net.state_dict(), folder / "model.safetensors")
    return folder


def start(spec: ModelSpec, init_from: str | Path, **changes: Any) -> Any:
    """A composition started from its base."""
    return build_from_base("net", spec, init_from, changes)[0].eval()


def logits(net: Any, frames: int = T) -> Tensor:
    """What it says to a fixed clip."""
    with torch.no_grad():
        out: Tensor = net(clips(2, frames, SIZE))
    return out


@pytest.mark.parametrize("temporal", [TSN(), TSM(shift_div=4)], ids=str)
def test_arc_starts_exactly_as_its_base(tmp_path: Path, temporal: Any, caplog: pytest.LogCaptureFixture) -> None:
    base = base_net(temporal=temporal)
    folder = write(base, tmp_path / "base")
    with caplog.at_level(logging.INFO, logger="videozoo"):
        net = start(ModelSpec("test_resnet", type(temporal)(), (ARC(num_steps=2),)), folder)
    assert torch.equal(logits(net), logits(base))
    assert net.spec.temporal == temporal
    assert (net.num_frames, net.num_classes) == (T, 3)
    report = net.init_report
    assert report.num_taken == len(base.state_dict())
    assert set(report.new) == set(net.state_dict()) - set(base.state_dict())
    assert report.new
    assert not report.left_out
    assert all(any(part in key for part in ("embed", "fuse", "attend")) for key in report.new)
    assert f"net starts from {folder}: {report.num_taken} tensors taken over; new: {len(report.new)} (" in caplog.text


def test_dnr_reports_new_and_dropped_weights(tmp_path: Path) -> None:
    base = base_net()
    net = start(ModelSpec("test_resnet", TSM(), (DNR(),)), write(base, tmp_path / "base"))
    own, given, report = net.state_dict(), base.state_dict(), net.init_report
    assert set(report.new) == set(own) - set(given)
    assert set(report.left_out) == set(given) - set(own)
    assert any("relay" in key or "cell" in key for key in report.new)
    assert all("bn" in key for key in report.left_out)
    assert report.left_out
    assert all(torch.equal(own[key], given[key]) for key in own if key in given)
    assert logits(net).shape == (2, 3)


def test_another_number_of_classes_and_channels(tmp_path: Path) -> None:
    base = base_net()
    folder = write(base, tmp_path / "base")
    net = start(ModelSpec("test_resnet", TSM(), (ARC(),)), folder, num_classes=5, in_chans=1)
    assert {"fc.weight", "fc.bias"} <= set(net.init_report.new)
    stem = next(key for key, value in base.state_dict().items() if value.ndim == 4)
    torch.testing.assert_close(net.state_dict()[stem], base.state_dict()[stem].sum(1, keepdim=True))


def test_one_augmenter_after_the_other(tmp_path: Path) -> None:
    first = base_net()
    arc = start(ModelSpec("test_resnet", TSM(), (ARC(num_steps=2),)), write(first, tmp_path / "base"))
    arc.pretrained_cfg = first.pretrained_cfg
    randomize(arc)
    both = start(ModelSpec("test_resnet", TSM(), (ARC(), DNR())), write(arc, tmp_path / "arc"))
    assert both.spec.augmenters == (ARC(num_steps=2), DNR())
    assert not [key for key in both.init_report.new if "embed" in key]


def test_a_mere_file_is_taken_for_the_base(tmp_path: Path) -> None:
    base = base_net()
    path = write(base, tmp_path / "base") / "model.safetensors"
    spec = ModelSpec("test_resnet", TSM(), (ARC(),), num_frames=T, num_classes=400)
    net = start(spec, str(path), num_frames=T)
    assert net.num_classes == 3
    assert torch.equal(logits(net), logits(base))


def test_a_named_model_takes_classes_frames_and_sampling_of_its_base(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = base_net("tiny_resnet")
    base.pretrained_cfg["tag"] = "old"
    folder = write(base, tmp_path / "base")
    monkeypatch.setenv("HOME", str(tmp_path))
    for init_from in (folder, str(folder), f"local-dir:{folder}", "local-dir:~/base", "~/base"):
        net: Any = videozoo.create_model("test_arc_tsm", init_from=init_from)
        assert torch.equal(logits(net.eval()), logits(base))
        cfg = net.pretrained_cfg
        assert (cfg["architecture"], cfg["num_frames"], cfg["label_names"]) == ("test_arc_tsm", T, tuple(NAMES))
        assert (cfg["frame_sampling"], cfg["license"], cfg["mean"]) == ("dense", "mit", (0.1, 0.2, 0.3))
        assert not {"metrics", "tag"} & set(cfg)
    other: Any = videozoo.create_model(
        "test_arc_tsm", init_from=folder, num_classes=9, num_frames=2, pretrained_cfg_overlay={"frame_stride": 3}
    )
    assert logits(other, frames=2).shape == (2, 9)
    assert "label_names" not in other.pretrained_cfg
    assert other.pretrained_cfg["frame_stride"] == 3


def test_a_base_in_a_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = base_net("tiny_resnet")
    with FakeHub() as hub:
        hub.patch(monkeypatch, tmp_path / "home")
        hub.put("lab/base", write(base, tmp_path / "base"))
        net: Any = videozoo.create_model("test_arc_tsm", init_from="hf-hub:lab/base")
    assert torch.equal(logits(net.eval()), logits(base))


def test_a_base_that_is_a_tag(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = base_net("tiny_resnet")
    folder = write(base, tmp_path / "base")
    cfgs = registry._CFGS["test_arc_tsm"]
    monkeypatch.setitem(cfgs, "made_up", registry.VideoCfg(file=str(folder), architecture="test_arc_tsm"))
    net: Any = videozoo.create_model("test_arc_tsm", init_from="test_arc_tsm.made_up")
    assert torch.equal(logits(net.eval()), logits(base))
    with pytest.raises(UnknownModelError, match="test_arc_tsm has no weights with the tag 'nonsense'"):
        videozoo.create_model("test_arc_tsm", init_from="test_arc_tsm.nonsense")


def test_a_record_of_another_model_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net: Any = videozoo.create_model("test_dnr_tsn", num_classes=3)
    record = registry.VideoCfg(file=str(write(net, tmp_path / "dnr")), architecture="test_arc_tsm")
    monkeypatch.setitem(registry._CFGS["test_arc_tsm"], "made_up", record)
    message = r"^test_arc_tsm.made_up: config.json: is of test_dnr_tsn, not of test_arc_tsm$"
    with pytest.raises(WeightsError, match=message):
        videozoo.create_model("test_arc_tsm.made_up", pretrained=True)


def test_weights_that_are_no_base_are_refused(tmp_path: Path) -> None:
    folder = write(base_net("tiny_resnet", TSN()), tmp_path / "tsn")
    with pytest.raises(
        WeightsError, match=r"is TSN on tiny_resnet, no base of test_arc_tsm, which is TSM\+ARC on tiny_resnet"
    ):
        videozoo.create_model("test_arc_tsm", init_from=folder)
    with pytest.raises(WeightsError, match=r"nowhere: neither a name of `videozoo list --pretrained`"):
        videozoo.create_model("test_arc_tsm", init_from="nowhere")
    with pytest.raises(WeightsError, match=r"tsm_r18: no published weights exist"):
        videozoo.create_model("arc_tsm_r18", init_from="tsm_r18")
    with pytest.raises(ValueError, match="arc_tsm_r50_8f16f: init_from is for single models"):
        videozoo.create_model("arc_tsm_r50_8f16f", init_from=folder)
    with pytest.raises(
        ValueError, match="init_from, pretrained and backbone_weights each say where to start; give one"
    ):
        videozoo.create_model("test_arc_tsm", pretrained=True, init_from=folder)
    with pytest.raises(ValueError, match="init_from starts a model by its name, not local-dir:"):
        videozoo.create_model(f"local-dir:{folder}", init_from=folder)


@pytest.mark.parametrize("change", ["missing", "extra", "shape"])
def test_keys_that_fit_neither_raise(tmp_path: Path, change: str) -> None:
    folder = write(base_net("tiny_resnet"), tmp_path / "base")
    state = load_file(folder / "model.safetensors")
    if change == "missing":
        del state["backbone.bn1.bias"]
    elif change == "extra":  # a key of ARC is no key of the base
        arc = videozoo.create_model("test_arc_tsm").state_dict()
        key = next(key for key in arc if key not in state)
        state[key] = arc[key].clone()
    else:
        state["backbone.bn1.bias"] = torch.zeros(3)
    save_file(state, folder / "model.safetensors")
    message = {"missing": r"1 missing \(backbone.bn1.bias\)", "extra": r"1 left over \(backbone", "shape": "of another"}
    with pytest.raises(WeightsError, match=rf"base: model.safetensors: keys do not fit: .*{message[change]}"):
        videozoo.create_model("test_arc_tsm", init_from=folder)


STEMS = {
    "2-D": ("test_resnet", TSN(), T),
    "TDN": ("resnet18", TDN(), 5),
    "3-D": ("slowfast_resnet18_8x8", TSN(), 8),
    "TRN": ("test_resnet", TRN(), T),
}


@pytest.mark.parametrize(
    ("case", "in_chans"),
    [*((c, 1) for c in STEMS), ("2-D", 4), ("TDN", 4), pytest.param("3-D", 4, marks=pytest.mark.slow)],
)
def test_weights_of_a_folder_are_adapted_to_other_channels(tmp_path: Path, case: str, in_chans: int) -> None:
    backbone, temporal, frames = STEMS[case]
    net: Any = randomize(videozoo.compose(backbone, temporal, num_classes=2, num_frames=frames)).eval()
    name = f"local-dir:{write(net, tmp_path / 'net')}"
    other: Any = videozoo.create_model(name, pretrained=True, in_chans=in_chans).eval()
    assert other.pretrained_cfg["input_size"][0] == in_chans
    old, new = net.state_dict(), other.state_dict()
    changed = [key for key in old if old[key].shape != new[key].shape]
    assert len(changed) == {"TDN": 2, "3-D": 2}.get(case, 1)
    assert all(torch.equal(old[key], new[key]) for key in old if key not in changed)
    x = clips(1, frames, SIZE, channels=in_chans)
    with torch.no_grad():
        if in_chans == 1:  # summed weights see gray as the old ones saw gray in every channel
            torch.testing.assert_close(other(x), net(x.expand(-1, 3, -1, -1, -1)), rtol=1e-4, atol=1e-4)
        assert other(x).shape == (1, 2)
    back: Any = videozoo.create_model(f"local-dir:{write(other, tmp_path / 'other')}", pretrained=True, in_chans=3)
    assert back.in_chans == 3


def test_stems_are_adapted_as_timm_does() -> None:
    weight = torch.randn(8, 3, 5, 5)
    for chans in (1, 2, 6):
        state = {"conv.weight": weight}
        assert adapt_stems(state, {"conv.weight": torch.empty(8, chans, 5, 5)}, chans) == ["conv.weight"]
        assert torch.equal(state["conv.weight"], adapt_input_conv(chans, weight))
    five = {"conv.weight": torch.randn(8, 3, 2, 5, 5)}
    old = five["conv.weight"]
    adapt_stems(five, {"conv.weight": torch.empty(8, 6, 2, 5, 5)}, 6)
    for t in range(2):
        assert torch.equal(five["conv.weight"][:, :, t], adapt_input_conv(6, old[:, :, t]))
    other = {"conv.weight": weight}
    assert adapt_stems(other, {"conv.weight": torch.empty(9, 1, 5, 5)}, 1) == []


def test_backbone_weights_are_adapted_in_3d_models(tmp_path: Path) -> None:
    plain: Any = timm.create_model("slowfast_resnet18_8x8")
    save_file(plain.state_dict(), tmp_path / "slowfast.safetensors")
    path = tmp_path / "slowfast.safetensors"
    net: Any = videozoo.compose("slowfast_resnet18_8x8", num_frames=8, in_chans=1, backbone_weights=path)
    for stem in ("stem.slow.conv.weight", "stem.fast.conv.weight"):
        torch.testing.assert_close(net.backbone.state_dict()[stem], plain.state_dict()[stem].sum(1, keepdim=True))

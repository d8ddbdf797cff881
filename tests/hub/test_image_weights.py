"""Tests of .pth files of image models and of videozoo's models."""

from pathlib import Path

import pytest
import timm
import torch
from fake_hub import FakeHub
from safetensors.torch import save

import videozoo
from videozoo.cli import main
from videozoo.hub import WeightsError


@pytest.mark.parametrize("how", ["plain", "old format", "wrapped", "lightning", "timm model"])
def test_a_backbone_starts_from_a_file_of_torch_save(how: str, tmp_path: Path) -> None:
    image = timm.create_model("resnet18", num_classes=10)
    state, file = image.state_dict(), tmp_path / "r18.pth"
    if how == "wrapped":
        torch.save({"state_dict": {f"module.{k}": v for k, v in state.items()}, "epoch": 1}, file)
    elif how == "lightning":
        torch.save({"state_dict": {f"model.{k}": v for k, v in state.items()}, "callbacks": {}}, file)
    elif how == "timm model":
        torch.save(image, file)
    else:
        torch.save(state, file, _use_new_zipfile_serialization=how != "old format")
    for weights in (file, str(file)):
        model = videozoo.create_model("tsn_r18", num_classes=3, backbone_weights=weights)
        assert torch.equal(model.backbone.layer3[1].conv1.weight, image.layer3[1].conv1.weight)


def test_mismatches_are_errors(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save(timm.create_model("resnet34", num_classes=10).state_dict(), tmp_path / "r34.pth")
    with pytest.raises(WeightsError, match=r"r34\.pth: keys do not fit"):
        videozoo.create_model("tsn_r18", backbone_weights=tmp_path / "r34.pth")
    (tmp_path / "bad.pth").write_bytes(b"\x1b[2J")
    with pytest.raises(WeightsError, match="not a checkpoint that can be read"):
        videozoo.create_model("tsn_r18", backbone_weights=tmp_path / "bad.pth")
    assert main(["convert", str(tmp_path / "r34.pth"), "--output", str(tmp_path / "out")]) == 2
    assert f"--backbone-weights {tmp_path / 'r34.pth'}" in capsys.readouterr().err


@pytest.mark.parametrize("prefix", ["", "module.", "net."])
def test_the_state_dict_of_a_custom_loop_is_converted(prefix: str, tmp_path: Path) -> None:
    model = videozoo.create_model("arc_tsm_r18", num_classes=5).eval()
    torch.save({"state_dict": {prefix + key: value for key, value in model.state_dict().items()}}, tmp_path / "a.pth")
    argv = ["convert", str(tmp_path / "a.pth"), "--model", "arc_tsm_r18", "--output", str(tmp_path / "out")]
    assert main(argv) == 0
    back = videozoo.create_model(f"local-dir:{tmp_path / 'out'}", pretrained=True)
    assert back.num_classes == 5
    assert all(torch.equal(value, back.state_dict()[key]) for key, value in model.state_dict().items())


def test_weights_of_a_tag_come_from_the_hub_as_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = timm.create_model("test_resnet", num_classes=1000)
    with FakeHub() as hub:
        hub.patch(monkeypatch, tmp_path / "home")
        hub.put("timm/test_resnet.r160_in1k", {"model.safetensors": save(image.state_dict())})
        net = videozoo.compose("test_resnet", num_classes=3, backbone_weights="r160_in1k")
    key = "layer1.0.conv1.weight"
    assert torch.equal(net.backbone.state_dict()[key], image.state_dict()[key])
    assert not [request for request in hub.requests if "pytorch_model" in str(request)]


def test_offline_is_reported_at_once_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    waits: list[float] = []
    monkeypatch.setattr("time.sleep", waits.append)
    with FakeHub() as hub:
        hub.patch(monkeypatch, tmp_path / "home")
    with pytest.raises(WeightsError, match=r"the hub cannot be reached .*--backbone-weights FILE") as caught:
        videozoo.create_model("tsn_r18", num_classes=3, backbone_weights="tv_in1k")
    assert str(caught.value).isprintable()
    assert sum(waits) < 5
    assert capfd.readouterr().err == ""

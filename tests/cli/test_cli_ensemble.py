"""An ensemble of two trained models on the command line: what it is, fine-tuning, evaluating, predicting."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import videozoo
from videozoo import TSM, Ensemble, VideoNet
from videozoo.cli import main
from videozoo.data.motions import motion_classes
from videozoo.engine import save_checkpoint
from videozoo.models import model_config


@pytest.fixture(scope="module")
def ensemble(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder of a two- and a four-frame model, as a name."""
    torch.manual_seed(0)
    names = motion_classes()
    members: list[VideoNet] = []
    for count in (2, 4):
        net = videozoo.compose("test_resnet", TSM(), num_classes=len(names), num_frames=count)
        net.pretrained_cfg |= {"label_names": names, "input_size": (3, 32, 32)}
        members.append(net)
    net = Ensemble(members)
    folder = tmp_path_factory.mktemp("ensembles") / "both"
    save_checkpoint(folder, net.state_dict(), model_config(net))
    return f"local-dir:{folder}"


def test_info_shows_every_member(ensemble: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", ensemble]) == 0
    out = capsys.readouterr().out
    assert "test_resnet, 2 frames" in out
    assert "test_resnet, 4 frames" in out
    assert main(["info", ensemble, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert [member["num_frames"] for member in facts["members"]] == [2, 4]
    assert facts["videos"]["num_frames"] == 4
    assert sum(facts["macs_by_module"].values()) == facts["macs"]


def test_finetune_and_evaluate(ensemble: str, videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    flags = ["--epochs", "1", "--warmup-epochs", "0", "--batch-size", "6", "--workers", "0", "--device", "cpu"]
    assert main(["finetune", "--model", ensemble, "--data", str(videos), "--output", str(run), *flags]) == 0
    before = load_file(Path(ensemble.removeprefix("local-dir:")) / "model.safetensors")
    after = load_file(run / "best" / "model.safetensors")
    for k in (0, 1):  # both members learnt
        key = f"members.{k}.backbone.layer1.0.conv1.weight"
        assert not torch.equal(before[key], after[key])
    capsys.readouterr()
    command = ["evaluate", "--model", f"local-dir:{run / 'best'}", "--data", str(videos / "val"), "--json"]
    assert main([*command, "--workers", "0", "--device", "cpu"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["top1"] == json.loads((run / "results.json").read_text())["top1"]

"""Tests of scripts/publish_all.py: the folders that it finds, and a failure that does not stop the others."""

import json
import shutil
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from fake_hub import TOKEN, FakeHub
from helpers import REPO, load_file_as_module
from safetensors.torch import load, load_file, save_file

import videozoo
from videozoo.engine import save_checkpoint
from videozoo.hub import retry
from videozoo.models import model_config, published, registry


@pytest.fixture
def script() -> ModuleType:
    return load_file_as_module(REPO / "scripts" / "publish_all.py")


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """Two model folders, a run of which only ``best`` counts, and a folder without weights."""
    net: Any = videozoo.compose("tiny_resnet", num_classes=2, num_frames=2)
    net.pretrained_cfg |= {"input_size": (3, 32, 32)}
    root = tmp_path / "weights"
    for name in ("one", "two words", "run/best", "run/last"):
        save_checkpoint(root / name, net.state_dict(), model_config(net, ["a", "b"]))
    shutil.copytree(root / "one", root / "empty")
    (root / "empty" / "model.safetensors").unlink()
    return root


def test_everything_below_a_folder_is_published(
    script: ModuleType,
    weights: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (weights / "two words" / "config.json").write_text('{"architecture": "unknown"}')
    with FakeHub() as hub:
        hub.patch(monkeypatch, tmp_path / "home", TOKEN)
        monkeypatch.setattr(retry, "DELAYS", (0.0, 0.0))
        argv = ["publish_all.py", str(weights), "--org", "lab"]
        monkeypatch.setattr(sys, "argv", [*argv, "--dry-run"])
        assert script.main() == 1
        assert not hub.requests
        assert "2 of 3 done" in capsys.readouterr().out
        monkeypatch.setattr(sys, "argv", argv)
        assert script.main() == 1
        assert set(hub.repos) == {"lab/one", "lab/run"}
        said = capsys.readouterr()
        assert f"lab/one: published as {hub.repos['lab/one'].refs['main']}" in said.out
        assert "failed: " in said.err
        assert "config.json" in said.err


def test_two_folders_of_one_name_are_refused(script: ModuleType, weights: Path) -> None:
    assert script.find_folders(weights).keys() == {"one", "run", "two-words"}
    shutil.copytree(weights / "one", weights / "deeper" / "one")
    with pytest.raises(SystemExit, match="would both be one; rename one"):
        script.find_folders(weights)


def test_half_precision_stays_and_the_log_goes_with_the_weights(
    script: ModuleType, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = weights / "one"
    state = {
        name: tensor.half() if tensor.is_floating_point() else tensor
        for name, tensor in load_file(folder / "model.safetensors").items()
    }
    save_file(state, folder / "model.safetensors", {"format": "pt"})
    results = {"top1": 0.5, "num_videos": 2, "class_names": ["a", "b"], "confusion": [[1, 0], [1, 0]]}
    (folder / "results.json").write_text(json.dumps(results))
    (folder / "train.log").write_text("epoch 1/1\n")
    with FakeHub() as hub:
        hub.patch(monkeypatch, tmp_path / "home", TOKEN)
        script.publish(folder, "lab/one", dry_run=False)
        files = hub.repos["lab/one"].head()
        model = videozoo.create_model("hf-hub:lab/one", pretrained=True)
    assert files["train.log"] == b"epoch 1/1\n"
    sent = load(files["model.safetensors"])
    assert {name: tensor.dtype for name, tensor in sent.items()} == {name: t.dtype for name, t in state.items()}
    assert all(torch.equal(tensor, sent[name].to(tensor.dtype)) for name, tensor in model.state_dict().items())


def test_a_folder_named_after_a_tag_becomes_that_tag(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    net: Any = videozoo.create_model("tsm_r18", num_classes=2)
    net.pretrained_cfg |= {"input_size": (3, 32, 32), "dataset": "two motions"}
    for name in ("tsm_r18.trial", "tsm_r18", "unknown.trial"):
        save_checkpoint(tmp_path / "weights" / name, net.state_dict(), model_config(net, ["a", "b"]))
    table = tmp_path / "own_weights.json"
    table.write_text('{"tsn_r18": {"kept": {"num_classes": 3}}}')
    for module in (script, published):
        monkeypatch.setattr(module, "OWN", table)
    monkeypatch.setattr(sys, "argv", ["publish_all.py", str(tmp_path / "weights"), "--org", "lab"])
    with FakeHub() as hub:
        hub.patch(monkeypatch, tmp_path / "home", TOKEN)
        assert script.main() == 0, capsys.readouterr().err
        commit = hub.repos["lab/tsm_r18.trial"].refs["main"]
        rows = json.loads(table.read_text())
        assert {arch: list(tags) for arch, tags in rows.items()} == {"tsm_r18": ["trial"], "tsn_r18": ["kept"]}
        cfgs = published.own_weights("tsm_r18")
        assert cfgs["trial"].hf_hub_id == f"lab/tsm_r18.trial@{commit}"
        assert (cfgs["trial"].dataset, cfgs["trial"].input_size) == ("two motions", (3, 32, 32))
        monkeypatch.setitem(registry._CFGS, "tsm_r18", registry._CFGS["tsm_r18"] | cfgs)
        loaded = videozoo.create_model("tsm_r18.trial", pretrained=True)
        assert loaded.pretrained_cfg["label_names"] == ("a", "b")
        assert all(torch.equal(tensor, net.state_dict()[name]) for name, tensor in loaded.state_dict().items())

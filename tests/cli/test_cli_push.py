"""push and card on a run of finetune: what they print, and that a new process finds the same model at the hub."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from fake_hub import TOKEN, FakeHub, Fault
from helpers import REPO
from huggingface_hub import ModelCard
from safetensors.torch import load_file, save_file

import videozoo
from videozoo.cli import main
from videozoo.data import resolve_data_config
from videozoo.data.motions import motion_classes
from videozoo.hub import retry

Capture = pytest.CaptureFixture[str]
NAME = "lab/motions"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    with FakeHub() as hub:
        hub.patch(monkeypatch, tmp_path / "home", TOKEN)
        monkeypatch.setattr(retry, "DELAYS", (0.0, 0.0))
        yield hub


def test_card_prints_what_push_would_publish(run_folder: Path, capsys: Capture) -> None:
    assert main(["card", str(run_folder)]) == 0
    text = capsys.readouterr().out
    card = ModelCard(text)
    results = json.loads((run_folder / "results.json").read_text())
    measured = {r.metric_name: r.metric_value for r in card.data.eval_results}
    assert measured["top-1 accuracy"] == round(100 * results["top1"], 2)
    assert all(
        f"| {index} | {name.replace('_', chr(92) + '_')} |" in text for index, name in enumerate(motion_classes())
    )
    assert "| batch size | 6 |" in text
    assert "TSM: Temporal Shift Module" in text
    assert str(run_folder) not in text


def test_a_run_does_not_inherit_the_accuracy_of_its_start(run_folder: Path, videos: Path, tmp_path: Path) -> None:
    """The data set and the figures of the weights that it starts from are not its own; their license stays."""
    shutil.copytree(run_folder / "best", tmp_path / "start")
    config = json.loads((tmp_path / "start" / "config.json").read_text())
    told = {"dataset": "Theirs", "description": "By them.", "train_recipe": "long", "tag": "theirs", "license": "MIT"}
    config["pretrained_cfg"] |= told
    (tmp_path / "start" / "config.json").write_text(json.dumps(config))
    argv = ["finetune", "--model", f"local-dir:{tmp_path / 'start'}", "--data", str(videos), "--epochs", "1"]
    assert (
        main([*argv, "--output", str(tmp_path / "run"), "--batch-size", "6", "--workers", "0", "--device", "cpu"]) == 0
    )
    kept = json.loads((tmp_path / "run" / "best" / "config.json").read_text())["pretrained_cfg"]
    assert told.keys() & kept.keys() == {"license"}


@pytest.mark.slow
def test_dry_run_push_and_push_again(hub: FakeHub, run_folder: Path, capsys: Capture) -> None:
    flags = ["push", str(run_folder), "--repo", NAME]
    assert main([*flags, "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in ("config.json", "model.safetensors", "README.md", "confusion.png"))
    assert "nothing was sent" in out
    assert not hub.requests
    assert main([*flags, "--private"]) == 0
    commit = hub.repos[NAME].refs["main"]
    assert f"published: {hub.url}/{NAME}/commit/{commit}" in capsys.readouterr().out
    assert hub.repos[NAME].private
    head = hub.repos[NAME].head()
    assert head["confusion.png"] == (run_folder / "confusion.png").read_bytes()
    assert all(str(run_folder.parent).encode() not in head[name] for name in ("README.md", "config.json"))
    assert main([*flags, "--private"]) == 0
    assert f"already up to date at {commit}" in capsys.readouterr().out
    assert hub.repos[NAME].refs["main"] == commit


def test_failures_are_one_line(hub: FakeHub, run_folder: Path, tmp_path: Path, capsys: Capture) -> None:
    def line(*argv: str) -> str:
        assert main(["push", *argv]) == 2
        error = capsys.readouterr().err
        assert "Traceback" not in error
        told = [row for row in error.splitlines() if row.startswith("videozoo: error: ")]
        assert len(told) == 1
        return told[0]

    assert "no such folder; give a run of videozoo finetune" in line(str(tmp_path / "nowhere"), "--repo", NAME)
    assert "--repo" in line(str(run_folder))
    assert "not a repository's name" in line(str(run_folder), "--repo", "motions")
    hub.faults.append(Fault("/commit/", "status", 500, "POST"))
    assert "not published: HTTP status 500; the new repository was removed again" in line(
        str(run_folder), "--repo", NAME
    )
    assert not hub.repos


_OTHER_PROCESS = """
import json, sys, torch
import videozoo
from videozoo.data import resolve_data_config
from safetensors.torch import load_file, save_file
model = videozoo.create_model(sys.argv[1], pretrained=True).eval()
with torch.no_grad():
    save_file({"logits": model(load_file(sys.argv[2])["clip"])}, sys.argv[3])
print(json.dumps([list(model.pretrained_cfg["label_names"]), resolve_data_config(model)]))
"""


def test_round_trip(hub: FakeHub, run_folder: Path, tmp_path: Path) -> None:
    """Fine-tune, push, load in a new process by hf-hub: the same logits, labels and sampling; timm loads it too."""
    import timm

    assert main(["push", str(run_folder), "--repo", NAME]) == 0
    model = videozoo.create_model(run_folder / "best", pretrained=True).eval()
    clip = torch.randn(2, 3, 4, 32, 32)
    save_file({"clip": clip}, tmp_path / "clip")
    done = subprocess.run(
        [sys.executable, "-c", _OTHER_PROCESS, f"hf-hub:{NAME}", str(tmp_path / "clip"), str(tmp_path / "logits")],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={
            **os.environ,
            **hub.env(tmp_path / "elsewhere", TOKEN),
            "PYTHONPATH": str(REPO),
            "OMP_NUM_THREADS": str(torch.get_num_threads()),  # sums are the same to the last bit only so
        },
    )
    assert done.returncode == 0, done.stderr
    timms = timm.create_model(f"hf-hub:{NAME}", pretrained=True).eval()
    with torch.no_grad():
        assert torch.equal(load_file(tmp_path / "logits")["logits"], model(clip))
        assert torch.equal(timms(clip), model(clip))
    assert list(timms.pretrained_cfg["label_names"]) == list(motion_classes())
    expected = [list(motion_classes()), resolve_data_config(model)]
    assert json.loads(done.stdout.splitlines()[-1]) == json.loads(json.dumps(expected))

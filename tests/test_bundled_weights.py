"""Tests of the bundled weights: present, small, accurate, usable offline."""

import importlib.resources
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from helpers import REPO, load_file_as_module
from huggingface_hub import constants

import videozoo
from videozoo.cli import main
from videozoo.data import create_transform, resolve_data_config, sample_clips
from videozoo.data.motions import draw_motion, motion_classes, partner_of, write_motions
from videozoo.models.pretrained import weights_folder

NAMES = ("test_arc_tsm", "test_dnr_tsn")
OF_REAL_CLIPS = ("arc_tsm_narrow_r18", "dnr_tsn_narrow_r18")


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))


def clips(model: videozoo.VideoNet, name: str, count: int) -> Iterator[torch.Tensor]:
    """Clips of a motion that nobody trained on, as the model wants them."""
    settled = resolve_data_config(model)
    transform = create_transform(**settled)
    for index in range(count):
        frames = draw_motion(name, size=48, num_frames=24, rng=np.random.default_rng([99, index]))
        chosen = sample_clips(len(frames), num_frames=settled["num_frames"], sampling=settled["frame_sampling"])[0]
        yield transform(torch.from_numpy(frames[chosen].copy()).permute(0, 3, 1, 2))[0]


@pytest.mark.parametrize("name", NAMES)
def test_it_is_listed_small_and_described(name: str) -> None:
    assert f"{name}.motions" in videozoo.list_pretrained()
    assert f"{name}.motions" in timm.list_pretrained(f"{name}*")
    folder = weights_folder(name, videozoo.get_pretrained_cfg(name))
    assert folder == Path(str(importlib.resources.files("videozoo") / "models" / "bundled" / name))
    assert 1000 < (folder / "model.safetensors").stat().st_size < 1_500_000
    cfg = videozoo.get_pretrained_cfg(f"{name}.motions")
    assert tuple(cfg.label_names or ()) == motion_classes()
    assert (cfg.license, cfg.tag, cfg.architecture) == ("Apache-2.0", "motions", name)
    assert "For testing only" in str(cfg.description)
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "For testing only" in card
    assert cfg.metrics is not None
    assert f"| top-1 accuracy | {100 * cfg.metrics['top1']:.4g} % |" in card
    assert cfg.metrics["top1"] > 0.95


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_it_classifies_motions(name: str) -> None:
    model = videozoo.create_model(name, pretrained=True).eval()
    assert (model.num_classes, model.num_frames) == (6, 8)
    names, right, count = list(motion_classes()), 0, 6
    for label in names:
        batch = torch.stack(list(clips(model, label, count)))
        best = model(batch).argmax(dim=1).tolist()
        right += sum(names[index] == label for index in best)
        backwards = model(batch.flip(2)).argmax(dim=1).tolist()
        right += sum(names[index] == partner_of(label) for index in backwards)
    assert right > 0.9 * 2 * count * len(names)


@pytest.mark.parametrize("name", OF_REAL_CLIPS)
def test_weights_of_real_clips_are_small_and_say_what_they_are_of(name: str) -> None:
    assert videozoo.list_pretrained(f"{name}*") == [f"{name}.strokes_64px"]
    cfg = videozoo.get_pretrained_cfg(f"{name}.strokes_64px")
    folder = weights_folder(name, cfg)
    assert (folder / "model.safetensors").stat().st_size < 2_000_000
    assert (cfg.license, cfg.dataset, cfg.num_classes) == ("other", "MSR-Action3D, strokes", 38)
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "state no terms" in card
    assert f"| top-1 accuracy | {100 * (cfg.metrics or {})['top1']:.4g} % |" in card


@pytest.mark.slow
@pytest.mark.parametrize("name", OF_REAL_CLIPS)
def test_real_clips_of_unseen_people_are_classified(name: str, shared_data: Path) -> None:
    test = shared_data / "strokes" / "test.txt"
    if not test.is_file():
        pytest.skip("no strokes")
    cfg = videozoo.get_pretrained_cfg(f"{name}.strokes_64px")
    result = videozoo.evaluate(model=name, data=test, workers=0, device="cpu")
    assert abs(result.top1 - (cfg.metrics or {})["top1"]) < 0.01
    assert videozoo.evaluate(model=name, data=test, workers=0, device="cpu", reverse=True).top1 < result.top1 / 2


@pytest.mark.parametrize("name", [*NAMES, *OF_REAL_CLIPS])
def test_timm_gives_the_same(name: str) -> None:
    ours, theirs = (door(name, pretrained=True) for door in (videozoo.create_model, timm.create_model))
    for one, other in zip(ours.state_dict().values(), theirs.state_dict().values(), strict=True):
        assert torch.equal(one, other)
    assert ours.pretrained_cfg == theirs.pretrained_cfg
    fresh = videozoo.create_model(name, pretrained=True, num_classes=4)
    assert fresh.fc.out_features == 4
    assert "label_names" not in fresh.pretrained_cfg


@pytest.mark.parametrize("name", NAMES)
def test_the_command_names_the_motion_of_a_video(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    videos = write_motions(tmp_path / "videos", clips_per_class=1, val_clips_per_class=1, size=48, seed=31)
    files = [str(videos / "train" / label / "scene_000.mp4") for label in motion_classes()]
    assert main(["predict", "--model", name, "--json", "--topk", "1", "--device", "cpu", *files]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    told = [row["predictions"][0]["class"] for row in rows]
    assert sum(one == label for one, label in zip(told, motion_classes(), strict=True)) >= 5
    assert main(["info", name]) == 0
    assert f"{name}.motions" in capsys.readouterr().out


def test_git_ignores_no_file_of_the_models() -> None:
    files = [path for path in (REPO / "videozoo" / "models").rglob("*") if path.is_file() and path.suffix != ".pyc"]
    assert {path.suffix for path in files} >= {".safetensors", ".json", ".txt", ".md"}
    if not (REPO / ".git").exists():
        pytest.skip("no git checkout")
    # hatchling packs what git does not ignore
    ignored = subprocess.run(["git", "check-ignore", *map(str, files)], cwd=REPO, capture_output=True, text=True)
    assert ignored.stdout == ""


@pytest.mark.slow
@pytest.mark.parametrize("name", [*NAMES, *OF_REAL_CLIPS])
def test_card_is_what_the_script_writes(name: str) -> None:
    script = load_file_as_module(REPO / "scripts" / "train_bundled.py")
    card = (weights_folder(name, videozoo.get_pretrained_cfg(name)) / "README.md").read_text(encoding="utf-8")
    assert card == script.card_text(name), "run: python scripts/train_bundled.py --cards"

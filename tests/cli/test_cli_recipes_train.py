"""Each recipe trains a few steps on a small set in its data set's own format; broken files among the videos."""

import csv
import json
import shutil
from pathlib import Path

import pytest
import torch
from formats_tiny import FORMATS

import videozoo
from videozoo.cli import main
from videozoo.data import resolve_data_config
from videozoo.data.motions import write_motions
from videozoo.training import probe_videos
from videozoo.training.recipe_files import recipe_names

Capture = pytest.CaptureFixture[str]
SMALL = ["--img-size", "32", "--train-resize", "40", "--device", "cpu", "--workers", "0"]
CORRUPT = ("PHP-FFMpeg/WrongFile.mp4", "moviepy/result.webm", "derived_from_mmaction2_demo/truncated_no_moov.mp4")
# Of frames whose image size is 32 instead of 224.
TEST_SIZES = {
    "arc_ssv1": {"test_resize": (34, 46)},
    "arc_diving48": {"test_resize": (34, 46)},
    "dnr_k200": {"test_resize": (37, 49), "test_crop_size": 37},
    "dnr_k400": {"test_resize": (37, 49), "test_crop_size": 37},
}
VIEWS = {"arc_diving48": (2, 1), "arc_k400": (10, 3), "dnr_k200": (10, 3), "dnr_k400": (10, 3)}


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in recipe_names() if name.startswith(("arc", "dnr"))])
def test_a_recipe_trains_on_its_own_format(name: str, tmp_path: Path, capsys: Capture) -> None:
    """Nothing but the data, sizes for a test and no image weights; the rate follows the smaller step."""
    data = FORMATS[name.split("_")[1]](tmp_path, (6, 3))
    run = tmp_path / "run"
    flags = ["--batch-size", "2", "--epochs", "1", "--warmup-epochs", "0", "--backbone-weights", "none", *SMALL]
    assert main(["finetune", "--recipe", name, *data, "--output", str(run), *flags]) == 0
    said = capsys.readouterr().err
    settings = json.loads((run / "args.json").read_text())["settings"]
    assert settings["lr"] == pytest.approx(settings["lr_base"] * 2 / settings["lr_base_size"])
    assert f"lr {settings['lr']:g} = {settings['lr_base']:g} x 2 / {settings['lr_base_size']}" in said
    assert ("the paper starts from Kinetics-400 weights" in said) == name.startswith("dnr_ss")
    assert ("flipped clips change class: Pushing something from left to right <->" in said) == ("_ss" in name)
    (row,) = csv.DictReader((run / "summary.csv").open())
    assert float(row["train_loss"]) > 0
    results = json.loads((run / "results.json").read_text())
    assert (results["num_videos"], results["num_views"], results["unread"]) == (3, 1, [])  # 1x1 while training
    model = videozoo.create_model(f"local-dir:{run / 'best'}", pretrained=True)
    wanted = resolve_data_config(model)
    assert (wanted["test_num_clips"], wanted["test_num_crops"]) == VIEWS.get(name, (1, 1))  # what evaluate takes
    sizes = {"test_resize": None, "test_crop_size": None, **TEST_SIZES.get(name, {})}
    assert {key: wanted[key] for key in sizes} == sizes
    assert model.num_frames == settings["num_frames"]
    assert all(value.isfinite().all() for value in model.state_dict().values())


@pytest.mark.slow
def test_evaluate_takes_the_protocol_of_the_recipe(tmp_path: Path, capsys: Capture) -> None:
    data = FORMATS["k400"](tmp_path, (4, 2))
    run = tmp_path / "run"
    flags = ["--model", "test_dnr_tsn", "--batch-size", "2", "--epochs", "1", "--warmup-epochs", "0", *SMALL]
    argv = ["finetune", "--recipe", "dnr_k400", *data, "--output", str(run), *flags]
    assert main(argv) == 0
    argv = ["evaluate", "--model", f"local-dir:{run / 'best'}", "--data", data[3], "--workers", "0", "--json"]
    capsys.readouterr()
    assert main([*argv, "--device", "cpu"]) == 0
    assert json.loads(capsys.readouterr().out)["num_views"] == 30


@pytest.fixture
def mixed(shared_data: Path, tmp_path: Path) -> Path:
    """60 training videos, 3 of them (5 %) corrupt files; 6 validation videos, one of them corrupt."""
    root = write_motions(tmp_path / "mixed", clips_per_class=10, val_clips_per_class=1, size=32, num_frames=6)
    for number, file in enumerate(CORRUPT):
        target = root / "train" / ("rising", "falling", "growing")[number] / "scene_000.mp4"
        shutil.copyfile(shared_data / "clips" / file, target)
    shutil.copyfile(shared_data / "clips" / CORRUPT[0], root / "val" / "shrinking" / "scene_000.mp4")
    return root


def _train(mixed: Path, run: Path, *flags: str) -> int:
    sizes = ["--img-size", "32", "--num-frames", "4", "--batch-size", "6", "--workers", "1", "--device", "cpu"]
    argv = ["finetune", "--model", "test_arc_tsm", "--data", str(mixed), "--output", str(run), "--epochs", "2"]
    return main([*argv, *sizes, *flags])


@pytest.mark.slow
def test_five_per_cent_of_corrupt_videos_are_replaced_and_named(mixed: Path, tmp_path: Path, capsys: Capture) -> None:
    run = tmp_path / "run"
    assert _train(mixed, run, "--max-bad-frac", "0.05") == 0
    said = capsys.readouterr().err
    assert "3 of 60 training videos cannot be read; others take their place" in said
    assert "1 of 6 validation videos cannot be read" in said
    problems = [row["problem"] for row in csv.DictReader((run / "broken.csv").open())]
    assert len(problems) == 3
    for name in ("rising", "falling", "growing"):
        assert sum(f"{name}/scene_000.mp4" in problem for problem in problems) == 1
    results = json.loads((run / "results.json").read_text())
    assert results["num_videos"] == 5
    assert results["num_unread"] == 1
    model = videozoo.create_model(f"local-dir:{run / 'best'}", pretrained=True)
    assert all(torch.isfinite(value).all() for value in model.state_dict().values())


@pytest.mark.slow
@pytest.mark.parametrize("is_small", [True, False])
def test_more_broken_videos_than_allowed_end_the_run(
    is_small: bool, mixed: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A small set is refused before training; of a large one the engine finds them on its way."""
    if not is_small:
        monkeypatch.setattr(probe_videos, "OPENED_BEFORE_TRAINING", 0)
    assert _train(mixed, tmp_path / "run") == 2
    error = capsys.readouterr().err
    assert "of 60 training videos" in error
    assert "scene_000.mp4" in error
    assert "Traceback" not in error
    assert (tmp_path / "run" / "last" / "model.safetensors").exists() != is_small

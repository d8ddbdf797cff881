"""finetune: the run folder, what it can be loaded as, continuing it, and what is refused before training."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from helpers import hear_ctrl_c

import videozoo
from videozoo.cli import main
from videozoo.data import load_source
from videozoo.data.motions import motion_classes
from videozoo.training import loaders
from videozoo.training import model as model_module
from videozoo.training.settings import DEFAULTS, Settings

REPO = Path(__file__).resolve().parents[2]
TINY = ["--img-size", "32", "--num-frames", "4", "--batch-size", "6", "--workers", "0", "--device", "cpu"]
Capture = pytest.CaptureFixture[str]


def _finetune(videos: Path, output: Path, *flags: str) -> int:
    return main(["finetune", "--model", "test_arc_tsm", "--data", str(videos), "--output", str(output), *TINY, *flags])


def _weights(folder: Path) -> dict[str, torch.Tensor]:
    model = videozoo.create_model(f"local-dir:{folder}", pretrained=True)
    return dict(model.state_dict())


def test_the_run_folder_holds_what_was_promised(run_folder: Path) -> None:
    names = {path.relative_to(run_folder).as_posix() for path in run_folder.rglob("*") if path.is_file()}
    assert names == {
        *("args.json", "summary.csv", "results.json", "curves.png", "confusion.png"),
        *("train_clips.png", "val_errors.png"),
        *("best/model.safetensors", "best/config.json", "last/model.safetensors", "last/config.json"),
        *("last/train_state.safetensors", "last/train_state.json"),
    }
    results = json.loads((run_folder / "results.json").read_text())
    assert {"top1", "top5", "mean_class", "class_names"} <= results.keys()
    assert results["class_names"] == list(motion_classes())
    assert len(list(csv.DictReader((run_folder / "summary.csv").open()))) == 1
    settings = json.loads((run_folder / "args.json").read_text())["settings"]
    assert settings["model"] == "tsm_r18"
    assert settings["img_size"] == 32


def test_the_run_loads_with_its_classes_and_sampling(run_folder: Path) -> None:
    model = videozoo.create_model(f"local-dir:{run_folder / 'best'}", pretrained=True)
    assert tuple(model.pretrained_cfg["label_names"]) == motion_classes()
    assert tuple(model.pretrained_cfg["input_size"]) == (3, 32, 32)
    assert model.num_frames == 4
    assert model.eval()(torch.zeros(1, 3, 4, 32, 32)).shape == (1, 6)


def test_a_continued_run_equals_one_that_never_stopped(videos: Path, tmp_path: Path, capsys: Capture) -> None:
    flags = ["--sched", "constant", "--warmup-epochs", "0", "--drop", "0.2"]
    assert _finetune(videos, tmp_path / "whole", "--epochs", "2", *flags) == 0
    assert _finetune(videos, tmp_path / "parts", "--epochs", "1", *flags) == 0
    # The flags that are not given come from args.json.
    assert main(["finetune", "--resume", "--output", str(tmp_path / "parts"), "--epochs", "2"]) == 0
    error = capsys.readouterr().err
    assert "resumed after epoch 1 of 2" in error
    assert "run is complete" not in error
    assert main(["finetune", "--resume", "--output", str(tmp_path / "parts")]) == 0
    told = "resumed after epoch 2 of 2; the run is complete, a higher --epochs goes on with it"
    assert told in capsys.readouterr().err
    whole, parts = _weights(tmp_path / "whole" / "last"), _weights(tmp_path / "parts" / "last")
    assert whole.keys() == parts.keys()
    assert all(torch.equal(whole[key], parts[key]) for key in whole)


def test_resume_with_nothing_there_starts_a_run(videos: Path, tmp_path: Path) -> None:
    assert _finetune(videos, tmp_path / "run", "--epochs", "1", "--resume") == 0
    assert (tmp_path / "run" / "best" / "model.safetensors").exists()


def test_resume_refuses_other_settings(videos: Path, run_folder: Path, capsys: Capture) -> None:
    assert main(["finetune", "--resume", "--output", str(run_folder), "--lr", "0.25"]) == 2
    error = capsys.readouterr().err
    assert "--lr was 0.0005, is 0.25" in error
    assert "leave the flags out" in error


def test_without_val_the_split_is_by_hash(videos: Path, tmp_path: Path, capsys: Capture) -> None:
    assert _finetune(videos / "train", tmp_path / "run", "--epochs", "1", "--val-frac", "0.5") == 0
    assert "no --val: 6 of the videos are kept for validation" in capsys.readouterr().err


def test_from_own_weights_and_with_names_from_a_file(videos: Path, run_folder: Path, tmp_path: Path) -> None:
    """A list of indices, names beside it, a start from another run's weights with other classes."""
    lines = [
        f"train/{name}/scene_00{scene}.mp4 {label}"
        for label, name in enumerate(("rising", "falling"))
        for scene in (0, 1)
    ]
    (tmp_path / "list.txt").write_text("\n".join(lines))
    (tmp_path / "names.txt").write_text("up\ndown\n")
    argv = ["finetune", "--model", f"local-dir:{run_folder / 'best'}", "--data", str(tmp_path / "list.txt")]
    argv += [
        "--data-root",
        str(videos),
        "--class-names",
        str(tmp_path / "names.txt"),
        "--output",
        str(tmp_path / "run"),
    ]
    argv += ["--epochs", "1", "--freeze-bn", "--model-ema", "--amp", "--batch-size", "2", "--grad-accum-steps", "2"]
    assert main([*argv, "--workers", "1", "--device", "cpu"]) == 0
    model = videozoo.create_model(f"local-dir:{tmp_path / 'run' / 'best'}", pretrained=True)
    assert tuple(model.pretrained_cfg["label_names"]) == ("up", "down")
    assert model.num_frames == 4
    assert tuple(model.pretrained_cfg["input_size"]) == (3, 32, 32)
    before = videozoo.create_model(f"local-dir:{run_folder / 'best'}", pretrained=True).state_dict()
    name = "backbone.layer1.0.bn1.running_mean"
    assert torch.equal(model.state_dict()[name], before[name])


@pytest.mark.parametrize("kind", ["order", "others"])
def test_a_classifier_goes_by_the_names_of_its_classes(
    videos: Path, run_folder: Path, tmp_path: Path, capsys: Capture, kind: str
) -> None:
    start = videozoo.create_model(f"local-dir:{run_folder / 'best'}", pretrained=True)
    names = list(reversed(start.pretrained_cfg["label_names"]))
    shutil.copytree(videos, tmp_path / "data")
    if kind == "others":
        names[0] = "hovering"
        for part in ("train", "val"):
            folder = tmp_path / "data" / part
            (folder / start.pretrained_cfg["label_names"][-1]).rename(folder / names[0])
    (tmp_path / "names.txt").write_text("\n".join(names))
    argv = ["finetune", "--model", f"local-dir:{run_folder / 'best'}", "--data", str(tmp_path / "data"), *TINY]
    argv += ["--class-names", str(tmp_path / "names.txt"), "--output", str(tmp_path / "run"), "--epochs", "1"]
    assert main([*argv, "--lr", "1e-12", "--warmup-epochs", "0"]) == 0
    said = capsys.readouterr().err
    trained = videozoo.create_model(f"local-dir:{tmp_path / 'run' / 'best'}", pretrained=True)
    assert list(trained.pretrained_cfg["label_names"]) == names
    is_same = torch.allclose(trained.get_classifier().weight, start.get_classifier().weight.flip(0), atol=1e-6)
    assert is_same == (kind == "order")
    assert ("put into the order of the data's" in said) == (kind == "order")
    assert ("the classifier is a new one" in said) == (kind == "others")


def test_what_the_batches_are_made_of(videos: Path, tmp_path: Path, capsys: Capture) -> None:
    """Every flag of clips, augmentation and classes at once; evaluate takes other views than training did."""
    (tmp_path / "weights.txt").write_text("1\n2\n0.5\n1\n1\n1\n")
    flags = ["--class-weights", str(tmp_path / "weights.txt"), "--balanced-sampling", "--smoothing", "0.1"]
    flags += ["--mixup", "0.2", "--cutmix", "1", "--mixup-prob", "0.9", "--mixup-switch-prob", "0.4"]
    flags += ["--color-jitter", "0.4", "--aa", "rand-m5-n1", "--reprob", "0.5", "--remode", "pixel"]
    flags += ["--train-resize", "40", "--train-crop", "rrc", "--channels-last", "--patience", "1"]
    flags += ["--val-views", "2x1", "--test-views", "3x5", "--test-resize", "40x48", "--checkpoint-minutes", "0"]
    assert _finetune(videos, tmp_path / "run", "--epochs", "1", *flags) == 0
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["num_views"] == 2
    cfg = videozoo.create_model(f"local-dir:{tmp_path / 'run' / 'best'}", pretrained=True).pretrained_cfg
    assert (cfg["test_num_clips"], cfg["test_num_crops"], cfg["test_resize"]) == (3, 5, (40, 48))
    state = json.loads((tmp_path / "run" / "last" / "train_state.json").read_text())
    assert "[1.0, 2.0, 0.5, 1.0, 1.0, 1.0]" in json.dumps(state)
    capsys.readouterr()
    assert _finetune(videos, tmp_path / "other", "--class-weights", str(videos / "../names.txt")) == 2
    (tmp_path / "weights.txt").write_text("1\n2\n")
    assert _finetune(videos, tmp_path / "other", "--class-weights", str(tmp_path / "weights.txt")) == 2
    assert "weights.txt: 2 weights for 6 classes; give one a class" in capsys.readouterr().err
    (tmp_path / "weights.txt").write_text("1\nheavy\n")
    assert _finetune(videos, tmp_path / "other", "--class-weights", str(tmp_path / "weights.txt")) == 2
    assert "--class-weights needs one number a line, or `balanced`" in capsys.readouterr().err


def test_fine_tuning_resizes_as_the_weights_are_tested(videos: Path) -> None:
    """Weights for squeezed frames are trained on squeezed frames, unless a flag says otherwise."""
    model = videozoo.create_model("test_arc_tsm", pretrained_cfg_overlay={"test_resize": (40, 64)}, num_classes=6)
    settings = Settings(**{**DEFAULTS, "workers": 0, "batch_size": 2})
    train = load_source(videos / "train")
    for flag, resize in ((None, (40, 64)), ("50", 50)):
        settings.train_resize = flag
        loader = loaders.make_train_loader(settings, model, train)
        assert loader.dataset.transform.resize == resize
        assert loader.dataset.transform.normalizer is None  # the workers move bytes
        assert loader.dataset.on_broken == "replace"


def _broken_video(videos: Path, folder: Path) -> list[str]:
    shutil.copytree(videos, folder / "set")
    (folder / "set" / "train" / "rising" / "scene_000.mp4").write_bytes(b"this is no video")
    (folder / "set" / "train" / "rising" / "scene_001.mp4").write_bytes(b"")
    return ["--data", str(folder / "set")]


def _broken_val(videos: Path, folder: Path) -> list[str]:
    shutil.copytree(videos, folder / "set")
    for file in (folder / "set" / "val").glob("*/*.mp4"):
        file.write_bytes(b"this is no video")
    return ["--data", str(folder / "set")]


def _bad_list(videos: Path, folder: Path) -> list[str]:
    good = videos / "train" / "rising" / "scene_000.mp4"
    (folder / "bad.txt").write_text(f"{good} up\nnot_there.mp4 down\nlonely\n")
    return ["--data", str(folder / "bad.txt")]


def _unknown_val_class(videos: Path, folder: Path) -> list[str]:
    shutil.copytree(videos / "val", folder / "val")
    (folder / "val" / "rising").rename(folder / "val" / "hovering")
    return ["--data", str(videos / "train"), "--val", str(folder / "val")]


def _one_class(videos: Path, folder: Path) -> list[str]:
    shutil.copytree(videos / "train" / "rising", folder / "one" / "rising")
    return ["--data", str(folder / "one")]


def _empty_folder(_videos: Path, folder: Path) -> list[str]:
    (folder / "empty").mkdir()
    return ["--data", str(folder / "empty")]


def _split(videos: Path, _folder: Path) -> list[str]:
    return ["--data", str(videos / "train"), "--val-frac", "2"]


def _flags(*flags: str) -> Callable[[Path, Path], list[str]]:
    return lambda videos, _folder: ["--data", str(videos), *flags]


BAD_INPUTS = {
    "missing folder": (_flags("--val", "/not/there"), ["/not/there: no such file or folder"]),
    "empty folder": (_empty_folder, ["empty: no class folders"]),
    "bad list": (_bad_list, ["2 problems", "bad.txt:2: no such file", "bad.txt:3: "]),
    "one class": (_one_class, ["one class (rising); training needs two or more"]),
    "unknown class in val": (_unknown_val_class, ["hovering: unknown class"]),
    "broken video": (
        _broken_video,
        ["2 of 12 training videos cannot be read, more than --max-bad-frac 0.01", "rising/scene_000.mp4"],
    ),
    "broken validation": (_broken_val, ["none of the 6 validation videos can be read", "rising/scene_000.mp4"]),
    "unknown model": (_flags("--model", "arc_tms_r18"), ["unknown model 'arc_tms_r18'; did you mean", "arc_tsm_r18"]),
    "no such weights": (_flags("--pretrained"), ["tsm_r18: no published weights exist"]),
    "no such run": (_flags("--model", "local-dir:/not/there"), ["/not/there: no such folder"]),
    "no such backbone": (_flags("--backbone-weights", "no.safetensors"), ["no.safetensors: no such file"]),
    "no such names": (_flags("--class-names", "no.txt"), ["no.txt: cannot be read (No such file"]),
    "learning rate": (_flags("--lr", "-1"), ["--lr is -1; it must be more than 0"]),
    "base rate": (_flags("--lr-base", "-1"), ["--lr-base is -1; it must be more than 0"]),
    "base size": (_flags("--lr-base", "1", "--lr-base-size", "0"), ["--lr-base-size is 0; it must be at least 1"]),
    "class weights": (_flags("--class-weights", "no.txt"), ["no.txt: No such file"]),
    "format": (_flags("--data-format", "kinetic"), ["data_format is 'kinetic'; choose from "]),
    "split in a folder": (_flags("--split", "train"), ["split"]),
    "views": (_flags("--test-views", "10x2"), ["--test-views is '10x2'; write clips x crops"]),
    "resize": (_flags("--train-resize", "big"), ["--train-resize is 'big'; write the short side"]),
    "augmentation": (_flags("--aa", "augmix"), ["auto_augment: got 'augmix'; write rand-m9-n2"]),
    "mixing": (_flags("--mixup", "-1"), ["--mixup is -1; it must be at least 0"]),
    "tracker": (_flags("--log-with", "diary"), ["argument --log-with: invalid choice: 'diary'"]),
    "bad share": (_flags("--max-bad-frac", "2"), ["--max-bad-frac is 2; it must be at least 0 and at most 1"]),
    "recipe": (_flags("--recipe", "arc_sv1"), ["no recipe 'arc_sv1'; did you mean arc_ssv1?"]),
    "schedule": (_flags("--sched", "linear"), ["argument --sched: invalid choice: 'linear'"]),
    "optimizer": (_flags("--opt", "adamww"), ["--opt is 'adamww', no optimizer of timm", "adamw"]),
    "batch": (_flags("--batch-size", "0"), ["--batch-size is 0; it must be at least 1"]),
    "frames": (_flags("--num-frames", "0"), ["--num-frames is 0; it must be at least 1"]),
    "size": (_flags("--img-size", "-4"), ["--img-size is -4; it must be at least 1"]),
    "split": (_split, ["--val-frac is 2; it must be more than 0 and less than 1"]),
    "flag": (_flags("--batchsize", "2"), ["unrecognized arguments: --batchsize; did you mean --batch-size?"]),
}


@pytest.mark.parametrize("case", BAD_INPUTS)
def test_bad_input_is_refused_before_training(case: str, videos: Path, tmp_path: Path, capsys: Capture) -> None:
    make, expected = BAD_INPUTS[case]
    status = main(["finetune", "--model", "tsm_r18", "--output", str(tmp_path / "run"), *TINY, *make(videos, tmp_path)])
    error = capsys.readouterr().err
    assert status == 2
    assert error.count("videozoo: error: ") == 1
    assert "Traceback" not in error
    assert "unexpected" not in error
    for text in expected:
        assert text in error
    assert not (tmp_path / "run" / "last").exists()


def test_an_output_that_is_taken(videos: Path, run_folder: Path, tmp_path: Path, capsys: Capture) -> None:
    before = (run_folder / "best" / "model.safetensors").read_bytes()
    assert _finetune(videos, run_folder) == 2
    assert "holds a run already; continue it with --resume, or give another --output" in capsys.readouterr().err
    assert (run_folder / "best" / "model.safetensors").read_bytes() == before
    (tmp_path / "file").write_text("")
    assert _finetune(videos, tmp_path / "file") == 2
    assert "is a file; --output needs a folder" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.slow
def test_a_signal_leaves_a_run_that_can_be_continued(number: int, videos: Path, tmp_path: Path) -> None:
    """Ctrl-C, and what a scheduler sends; each reaches the loader's workers too, which still make their batches."""
    output = tmp_path / "my run"
    argv = ["finetune", "--model", "test_arc_tsm", "--data", str(videos), "--output", str(output), *TINY]
    process = subprocess.Popen(
        [sys.executable, "-m", "videozoo", *argv, "--epochs", "500", "--workers", "1"],
        env={**os.environ, "PYTHONPATH": str(REPO), "OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=hear_ctrl_c,
    )
    try:
        end = time.monotonic() + 300
        summary = output / "summary.csv"
        while not summary.exists() and process.poll() is None and time.monotonic() < end:
            time.sleep(0.1)
        os.killpg(process.pid, number)
        _, error = process.communicate(timeout=300)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 128 + number, error
    assert "Traceback" not in error
    assert "stopping after this step" in error
    last_line = error.strip().splitlines()[-1]
    assert last_line.startswith("videozoo: interrupted: ")
    assert last_line.endswith(f"videozoo finetune --resume --output '{output}'")
    num_done = len(summary.read_text().splitlines()) - 1
    assert main(["finetune", "--resume", "--output", str(output), "--epochs", str(num_done + 1), "--workers", "0"]) == 0
    assert len(summary.read_text().splitlines()) - 1 == num_done + 1


def test_from_scratch_the_branches_start_open() -> None:
    """timm starts the last norm of each residual branch at zero; a model trained from scratch gets ones there."""
    model = videozoo.create_model("tsm_r18", num_classes=2)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    closed = {name for name, value in before.items() if name.endswith("bn2.weight") and not value.any()}
    assert closed
    model_module._open_branches(model)
    for name, value in model.state_dict().items():
        assert torch.equal(value, torch.ones_like(value) if name in closed else before[name])

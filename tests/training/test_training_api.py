"""`videozoo.finetune` and `videozoo.evaluate` from Python: results, errors, and what they leave in the process."""

import json
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import videozoo
from videozoo.arguments import UsageError, name_arguments
from videozoo.cli import main
from videozoo.data import SourceError
from videozoo.data.motions import write_motions
from videozoo.training.settings import DEFAULTS

TINY: dict[str, Any] = {"img_size": 32, "num_frames": 4, "batch_size": 6, "workers": 0, "device": "cpu"}
TRAINING: dict[str, Any] = {"model": "test_arc_tsm", "epochs": 1, "warmup_epochs": 0, **TINY}


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("videos")
    return write_motions(root / "motions", clips_per_class=2, val_clips_per_class=1, size=32, num_frames=6)


@pytest.fixture(scope="module")
def result(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return videozoo.finetune(data=videos, output=tmp_path_factory.mktemp("runs") / "run", **TRAINING)


def test_a_training_gives_its_result_and_its_best_model(result: Any, videos: Path) -> None:
    assert result.best == json.loads((result.output / "results.json").read_text())
    assert [row.epoch for row in result.history] == [1]
    assert videozoo.create_model(result.best_model, pretrained=True).num_classes == 6
    measured = videozoo.evaluate(model=result.best_model, data=videos / "val", workers=0, device="cpu")
    assert measured.top1 == result.best["top1"]
    assert measured.num_videos == 6


@pytest.mark.slow
def test_a_run_from_python_goes_on_at_the_command_line(videos: Path, tmp_path: Path) -> None:
    videozoo.finetune(data=videos, output=tmp_path / "run", **TRAINING)
    assert main(["finetune", "--resume", "--output", str(tmp_path / "run"), "--epochs", "2"]) == 0
    again = videozoo.finetune(output=tmp_path / "run", resume=True)
    assert len(again.history) == 2


def test_videos_come_as_a_python_list_too(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, result: Any
) -> None:
    monkeypatch.chdir(videos)
    pairs = {part: [(path, path.parent.name) for path in Path(part).glob("*/*.mp4")] for part in ("train", "val")}
    run = tmp_path / "run"
    listed = videozoo.finetune(data=pairs["train"], val=pairs["val"], output=run, **TRAINING)
    assert (listed.best["num_train_videos"], listed.best["num_videos"]) == (12, 6)
    assert listed.best["class_names"] == result.best["class_names"]
    monkeypatch.chdir(tmp_path)
    assert main(["finetune", "--resume", "--output", str(run), "--epochs", "2"]) == 0
    monkeypatch.chdir(videos)
    measured = videozoo.evaluate(model=listed.best_model, data=pairs["val"], workers=0, device="cpu")
    assert measured.num_videos == 6
    numbers = [(path, np.int64(label)) for label, path in enumerate(sorted(Path("train").glob("*/*_000.mp4")))]
    part = videozoo.finetune(data=numbers, val=numbers, output=tmp_path / "numbers", **TRAINING)
    assert part.best["class_names"] == [str(label) for label in range(6)]
    with pytest.raises(SourceError, match=r"(?s)the list of \(path, label\).*must be a path and a label"):
        videozoo.finetune(data=[("a.mp4",)], output=tmp_path / "bad", **TRAINING)


def test_nothing_is_printed_and_the_process_stays_as_it_was(
    videos: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    log = logging.getLogger("videozoo")
    log.handlers, log.propagate = [], True  # a command before may have left its own
    log.setLevel(logging.INFO)
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    environment = dict(os.environ)
    videozoo.finetune(data=videos, output=tmp_path / "run", **TRAINING, max_frames=1000)
    assert capfd.readouterr() == ("", "")
    assert "12 training and 6 validation videos of 6 classes, 2 for training in each" in caplog.messages
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert dict(os.environ) == environment


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("reverse", "no"),
        ("amp", 1),
        ("batch_size", "8"),
        ("workers", 1.5),
        ("views", 3),
        ("data", 5),
        ("model", object()),
    ],
)
def test_evaluate_refuses_values_of_another_kind(name: str, value: Any) -> None:
    with pytest.raises(UsageError, match=f"evaluate: {name} is .*; it must be "):
        videozoo.evaluate(**{"model": "m", "data": "videos", name: value})


@pytest.mark.parametrize(("name", "value"), [("val", ""), ("val", []), ("data", []), ("output", " "), ("recipe", "")])
def test_empty_values_are_not_taken_as_absent(videos: Path, tmp_path: Path, name: str, value: Any) -> None:
    with pytest.raises(UsageError, match=f"finetune: {name} is empty; give a value"):
        videozoo.finetune(**{"data": videos, "output": tmp_path / "run", **TRAINING, name: value})


def test_an_evaluation_does_not_lose_its_results_for_an_empty_output(videos: Path, result: Any) -> None:
    with pytest.raises(UsageError, match="evaluate: output is empty"):
        videozoo.evaluate(model=result.best_model, data=videos / "val", output="")


def test_an_evaluation_of_several_models_writes_its_files(result: Any, videos: Path, tmp_path: Path) -> None:
    both = [result.output / "best", result.output / "last"]
    measured = videozoo.evaluate(model=both, data=videos, output=tmp_path / "out", workers=0, device="cpu")
    assert measured.num_views == 2
    assert json.loads((tmp_path / "out" / "results.json").read_text())["top1"] == measured.top1
    again = videozoo.evaluate(scores=tmp_path / "out" / "scores.safetensors", average="logit")
    assert again.average == "logit"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"epochs": 0}, "finetune: epochs is 0; it must be at least 1"),
        ({"epochs": 2.5}, "finetune: argument epochs: invalid int value: '2.5'"),
        ({"epochs": True}, "finetune: epochs is True; it must be a value as epochs takes it"),
        ({"amp": "yes"}, "finetune: amp is 'yes'; it must be true or false"),
        ({"model": object()}, "finetune: model is <object"),
        ({"train_crop": "none such"}, "argument train_crop: invalid choice: 'none such'"),
        ({"lr": float("nan")}, "finetune: lr is nan; it must be more than 0"),
        ({"amp_dtype": "float16"}, "finetune: amp_dtype has no effect here; it needs amp=True."),
        ({"test_views": "axb"}, "test_views is 'axb'; write clips x crops"),
        ({"recipe": "arc_ssv2"}, "recipe: no recipe 'arc_ssv2'; did you mean arc_ssv1"),
        ({"data": None}, "finetune: data needed"),
    ],
)
def test_wrong_values_name_the_argument(options: dict[str, Any], expected: str, videos: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        videozoo.finetune(**{"data": videos, "output": tmp_path / "run", **TRAINING, **options})
    assert expected in str(caught.value)
    assert "--" not in str(caught.value).replace("finetune --help", "")
    assert not (tmp_path / "run" / "args.json").exists()


def test_errors_of_videos_name_the_argument_too(videos: Path, tmp_path: Path) -> None:
    with pytest.raises(Exception, match="allow more with max_frames or VIDEOZOO_MAX_FRAMES") as caught:
        videozoo.finetune(**{"data": videos, "output": tmp_path / "run", **TRAINING, "max_frames": 1})
    assert "--" not in str(caught.value)


def test_unknown_options_are_answered_by_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"finetune\(\) got an unexpected .* 'batchsize'; did you mean batch_size"):
        videozoo.finetune(model="tsm_r18", data="videos", output=tmp_path, batchsize=4)
    with pytest.raises(TypeError, match=r"evaluate\(\) got an unexpected .* 'view'; did you mean views"):
        videozoo.evaluate(model="tsm_r18", data="videos", view="1x1")


def test_an_evaluation_names_its_arguments(result: Any, videos: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="evaluate: needs model and data, or scores"):
        videozoo.evaluate()
    with pytest.raises(UsageError, match=r"^evaluate: workers is -1; it must be at least 0"):
        videozoo.evaluate(model=result.best_model, data=videos, workers=-1)
    with pytest.raises(UsageError, match="data_root has no effect here"):
        videozoo.evaluate(model=result.best_model, data=videos / "val", data_root=tmp_path, device="cpu")


def test_none_takes_back_what_a_recipe_sets(tmp_path: Path, videos: Path) -> None:
    (tmp_path / "own.yaml").write_text("clip_grad: 20\nepochs: 3\n")
    options = {**TRAINING, "clip_grad": None}
    videozoo.finetune(data=videos, output=tmp_path / "run", recipe=tmp_path / "own.yaml", **options)
    settings = json.loads((tmp_path / "run" / "args.json").read_text())["settings"]
    assert (settings["clip_grad"], settings["epochs"]) == (None, 1)


def test_only_flags_become_arguments() -> None:
    text = "--batch-size needs --amp, not --nonsense, in a--lr or /x/--lr"
    assert name_arguments(text, DEFAULTS) == "batch_size needs amp=True, not --nonsense, in a--lr or /x/--lr"


def test_the_names_load_nothing_heavy() -> None:
    code = "import sys, videozoo; print({'torch', 'timm', 'av', 'numpy'} & sys.modules.keys())"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"

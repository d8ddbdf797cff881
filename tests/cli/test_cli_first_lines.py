"""The first lines of a command say on what it computes, in which precision, and how many videos a class has."""

from pathlib import Path

import pytest
import torch

from videozoo.cli import main
from videozoo.data import VideoRecord, VideoSource
from videozoo.devices import describe_device
from videozoo.models import default_start
from videozoo.training.run import _describe_videos

Capture = pytest.CaptureFixture[str]
WHERE = f"on cpu ({torch.get_num_threads()} thread{'s' if torch.get_num_threads() > 1 else ''}), in float32"


def test_evaluate(videos: Path, model_name: str, capsys: Capture) -> None:
    assert main(["evaluate", "--model", model_name, "--data", str(videos), "-j", "0", "--device", "cpu"]) == 0
    assert f"6 videos, {WHERE}\n" in capsys.readouterr().err


def test_predict_and_extract_of_a_list(videos: Path, model_name: str, tmp_path: Path, capsys: Capture) -> None:
    for command, name in (("predict", "scores.csv"), ("extract", "features.npy")):
        output = str(tmp_path / name)
        flags = ["--input", str(videos / "val"), "--output", output, "-j", "0", "--device", "cpu", "--amp"]
        assert main([command, "--model", model_name, *flags]) == 0
        assert f"{WHERE.replace('float32', 'bfloat16')}\n" in capsys.readouterr().err


def test_finetune(videos: Path, model_name: str, tmp_path: Path, capsys: Capture) -> None:
    command = ["finetune", "--model", model_name, "--data", str(videos), "--output", str(tmp_path / "run"),
               "--img-size", "32", "--num-frames", "4", "--epochs", "1", "--warmup-epochs", "0", "--workers", "0",
               "--device", "cpu", "--freeze-backbone", "--checkpoint-hist", "2", "--vflip", "0.5"]  # fmt: skip
    assert main([*command, "--train-crop", "rrc", "--scale", "0.5", "1", "--ratio", "0.9", "1.1"]) == 0
    error = capsys.readouterr().err
    assert "12 training and 6 validation videos of 6 classes, 2 for training in each\n" in error
    assert f"million parameters, {WHERE}\n" in error
    assert "freeze_backbone: " in error
    assert "the whole training is warm-up" not in error
    assert "vertical flips: never flipped: " in error
    assert (tmp_path / "run/epoch-1/model.safetensors").exists()


@pytest.mark.slow
def test_a_training_that_is_all_warm_up_is_reported(
    videos: Path, model_name: str, tmp_path: Path, capsys: Capture
) -> None:
    command = ["finetune", "--model", model_name, "--data", str(videos), "--output", str(tmp_path / "run"),
               "--img-size", "32", "--num-frames", "4", "--epochs", "1", "--workers", "0", "--device", "cpu",
               "--freeze-backbone"]  # fmt: skip
    assert main(command) == 0
    line = "the whole training is warm-up: --epochs is 1 and --warmup-epochs 1; take more epochs"
    assert capsys.readouterr().err.count(line) == 1


def test_a_frozen_backbone_needs_weights(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """Also where the default start finds none."""
    monkeypatch.setattr(default_start, "default_starts", lambda name: [])
    command = ["finetune", "--model", "tsm_r18", "--data", str(videos), "--output", str(tmp_path / "run")]
    assert main([*command, "--freeze-backbone", "--device", "cpu"]) == 2
    assert "--freeze-backbone needs weights to start from" in capsys.readouterr().err
    assert not (tmp_path / "run/last").exists()


def test_uneven_classes() -> None:
    def source(labels: list[int]) -> VideoSource:
        records = [VideoRecord(Path(f"{number}.mp4"), label, "list") for number, label in enumerate(labels)]
        return VideoSource(tuple(records), ("wave", "run", "jump"), "path_list")

    text = _describe_videos(source([0, 0, 0, 1, 2, 2]), source([0]))
    assert text == "6 training and 1 validation videos of 3 classes, 1 (run) to 3 (wave) for training in each"
    assert "0 (jump) to 1 (run)" in _describe_videos(source([0, 1]), source([0]))


def test_other_devices() -> None:
    assert describe_device(torch.device("mps"), "fp16") == "on mps, in float16"

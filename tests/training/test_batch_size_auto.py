"""``--batch-size auto``: chosen, said, kept with the run, and kept when it is continued."""

import json
from pathlib import Path

import pytest

import videozoo
from videozoo.cli import main
from videozoo.data.motions import write_motions
from videozoo.engine import batch_size

FLAGS = ["--img-size", "32", "--num-frames", "4", "--workers", "0", "--device", "cpu", "--warmup-epochs", "0"]


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_motions(tmp_path_factory.mktemp("data") / "m", clips_per_class=3, val_clips_per_class=1, size=32,
                         num_frames=6)  # fmt: skip


def test_the_chosen_size_is_logged_and_kept(videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """18 clips in 8 steps make 2 of a batch; the rate follows. The same command with --resume goes on with it."""
    command = ["finetune", "--model", "test_arc_tsm", "--data", str(videos), "--output", str(tmp_path / "run"), *FLAGS,
               "--batch-size", "auto", "--lr-base", "0.01", "--lr-base-size", "20"]  # fmt: skip
    assert main([*command, "--epochs", "1"]) == 0
    error = capsys.readouterr().err
    assert "batch size 2: an epoch keeps 8 steps or more" in error
    assert "lr 0.001 = 0.01 x 2 / 20" in error
    assert "step 9/9" in error
    settings = json.loads((tmp_path / "run/args.json").read_text())["settings"]
    assert (settings["batch_size"], settings["lr"]) == (2, 0.001)
    assert main([*command, "--epochs", "1", "--resume"]) == 0
    error = capsys.readouterr().err
    assert "resumed after epoch 1 of 1" in error
    assert "an epoch keeps" not in error
    assert json.loads((tmp_path / "run/args.json").read_text())["settings"] == settings


def test_from_python_and_without_memory(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(batch_size, "_train_once", _no_memory)
    options = {"img_size": 32, "num_frames": 4, "workers": 0, "device": "cpu", "warmup_epochs": 0, "epochs": 1}
    with pytest.raises(videozoo.engine.EngineError, match="no memory for a training step with one clip"):
        videozoo.finetune(model="test_arc_tsm", data=videos, output=tmp_path / "run", batch_size="auto", **options)
    assert not (tmp_path / "run/last").exists()
    command = ["finetune", "--model", "test_arc_tsm", "--data", str(videos), "--output", str(tmp_path / "run"), *FLAGS]
    assert main([*command, "--batch-size", "many"]) == 2
    assert "--batch-size" in capsys.readouterr().err


def _no_memory(*args: object) -> tuple[float, int]:
    raise MemoryError

"""A tiny set of videos and one run trained on it, shared by the tests of the command line."""

from pathlib import Path

import pytest
import torch

from videozoo.cli import main
from videozoo.data.motions import write_motions

TINY = ["--img-size", "32", "--num-frames", "4", "--batch-size", "6", "--workers", "0", "--device", "cpu"]


@pytest.fixture(scope="session")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """train/ and val/ with six classes of generated motions, 32x32, 2 and 1 videos each."""
    root = tmp_path_factory.mktemp("videos")
    return write_motions(root / "motions", clips_per_class=2, val_clips_per_class=1, size=32, num_frames=6)


@pytest.fixture(scope="session")
def run_folder(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of one epoch."""
    torch.manual_seed(0)
    output = tmp_path_factory.mktemp("runs") / "run"
    flags = ["--from-scratch", "--epochs", "1", "--warmup-epochs", "0", *TINY]
    assert main(["finetune", "--model", "tsm_r18", "--data", str(videos), "--output", str(output), *flags]) == 0
    return output


@pytest.fixture(scope="session")
def model_name(run_folder: Path) -> str:
    return f"local-dir:{run_folder / 'best'}"

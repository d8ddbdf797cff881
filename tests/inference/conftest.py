"""A few generated videos and the tiny weights that travel with the package."""

from pathlib import Path

import pytest

from videozoo import Predictor
from videozoo.data.motions import write_motions

MODEL = "test_dnr_tsn.motions"


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Twelve readable files."""
    root = write_motions(
        tmp_path_factory.mktemp("inference") / "motions",
        clips_per_class=1,
        val_clips_per_class=1,
        size=32,
        num_frames=8,
    )
    return sorted(root.rglob("*.mp4"))


@pytest.fixture(scope="session")
def predictor() -> Predictor:
    return Predictor(MODEL, device="cpu", batch_size=2)

"""Tests of the learning rate that a run gives to what ARC added, if no flag sets it."""

import logging
from pathlib import Path
from typing import Any

import pytest

import videozoo
from videozoo.data.motions import write_motions


class Accepted(Exception):
    """The engine was called."""


@pytest.mark.parametrize(
    ("model", "options", "expected"),
    [
        ("test_arc_tsm", {}, 0.02),
        ("test_arc_tsm", {"opt": "lion"}, 0.02),
        ("test_arc_tsm", {"opt": "sgd"}, 1.0),
        ("test_arc_tsm", {"addon_lr_scale": 0.5}, 0.5),
        ("test_dnr_tsn", {}, 1.0),
    ],
)
def test_arc_trains_slower_where_steps_are_normalized(
    model: str,
    options: dict[str, Any],
    expected: float,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "videozoo")
    videos = write_motions(tmp_path / "videos", clips_per_class=1, val_clips_per_class=1, size=32, num_frames=6)
    found = []

    def fit(_model: Any, _train: Any, _val: Any, config: videozoo.FitConfig, *_: Any, **__: Any) -> None:
        found.append(config.addon_lr_scale)
        raise Accepted

    monkeypatch.setattr("videozoo.engine.fit", fit)
    with pytest.raises(Accepted):
        videozoo.finetune(model=model, data=videos, output=tmp_path / "run", workers=0, device="cpu", **options)
    assert found == [expected]
    said = [message for message in caplog.messages if message.startswith("ARC trains at 0.02 times the rate")]
    assert len(said) == (expected == 0.02)

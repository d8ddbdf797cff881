"""The linear classifier of docs/features.md runs as it stands there, on features of generated motions."""

import re
from pathlib import Path
from typing import Any

import pytest

from videozoo.cli import main
from videozoo.data.motions import write_motions

PAGE = Path(__file__).resolve().parents[2] / "docs" / "features.md"


def test_the_linear_classifier_learns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_motions(tmp_path / "motions", clips_per_class=6, val_clips_per_class=3, size=32, num_frames=8)
    for name in ("train", "val"):
        flags = ["--model", "test_dnr_tsn.motions", "--input", str(root / name), "--device", "cpu", "-j", "0"]
        assert main(["extract", *flags, "--output", str(tmp_path / f"{name}.npy")]) == 0
    found = re.search(r"<!-- run: linear -->\n```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    assert len(found[1].partition("\n\n")[2].splitlines()) == 10
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(compile(found[1], str(PAGE), "exec"), names)
    assert len(names["y_val"]) == 18
    assert names["accuracy"] > 0.4, "six classes: chance is 0.17"

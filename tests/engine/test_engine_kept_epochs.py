"""``checkpoint_hist``: the N best epochs are kept beside ``best`` and ``last``, also after a kill."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from engine_tiny import run, tiny_net
from safetensors.torch import load_file

from videozoo.engine import FitResult, run_folder
from videozoo.engine.progress import Progress
from videozoo.engine.results import EpochRow

SETTINGS: dict[str, Any] = {"epochs": 4, "lr": 0.05, "checkpoint_hist": 2}


def kept(output: Path) -> set[int]:
    return {int(path.name.split("-")[1]) for path in output.glob("epoch-*")}


def best_by_hand(result: FitResult, count: int) -> set[int]:
    rows = sorted(result.history, key=lambda row: (-row.val_top1, row.val_loss, row.epoch))
    return {row.epoch for row in rows[:count]}


def test_the_best_epochs_are_kept(tmp_path: Path) -> None:
    result = run(tmp_path / "run", **SETTINGS)
    assert kept(tmp_path / "run") == best_by_hand(result, 2)
    folder = tmp_path / f"run/epoch-{result.best_epoch}"
    best, own = (load_file(path / "model.safetensors") for path in (tmp_path / "run/best", folder))
    assert all((best[name] == own[name]).all() for name in best)
    assert (folder / "config.json").read_text() == (tmp_path / "run/best/config.json").read_text()
    for epoch in kept(tmp_path / "run"):
        config = json.loads((tmp_path / f"run/epoch-{epoch}/config.json").read_text())
        metrics = config["pretrained_cfg"]["metrics"]
        assert (metrics["epoch"], metrics["top1"]) == (epoch, result.history[epoch - 1].val_top1)
    plain = run(tmp_path / "plain", **{**SETTINGS, "checkpoint_hist": 1})
    assert kept(tmp_path / "plain") == set()
    assert [row.val_loss for row in plain.history] == [row.val_loss for row in result.history]


def test_the_rule_among_epochs() -> None:
    figures = [(0.5, 1), (0.7, 2), (0.7, 1), (0.7, 1), (0.2, 0)]  # top-1, loss
    rows = [EpochRow(number, 0.1, 1, 0.5, loss, top1, 1, 0, 1, 0) for number, (top1, loss) in enumerate(figures, 1)]
    progress = Progress(tuple(rows))
    assert progress.best_epochs({1, 2, 3, 4, 5}, 1, "top1") == {3}
    assert progress.best_epochs({1, 2, 3, 4, 5}, 2, "top1") == {3, 4}
    assert progress.best_epochs({1, 2, 5}, 2, "top1") == {1, 2}
    assert progress.best_epochs({9}, 2, "top1") == set()


@pytest.mark.parametrize("what", ["save_last", "drop_epochs"])
def test_a_kill_after_epochs_were_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    """Between ``epoch-K`` and ``last``, or before a folder is dropped: the continued run keeps the same ones."""

    class Kill(BaseException):
        pass

    def die(self: run_folder.RunFolder, *args: Any) -> None:
        calls.append(1)
        if len(calls) == 4:
            raise Kill
        own(self, *args)

    whole = run(tmp_path / "whole", **SETTINGS)
    calls: list[int] = []
    own = getattr(run_folder.RunFolder, what)
    with monkeypatch.context() as patch:
        patch.setattr(run_folder.RunFolder, what, die)
        with pytest.raises(Kill):
            run(tmp_path / "parts", **SETTINGS)
    left = tmp_path / "parts/.epoch-1.99.tmp"  # of a removal that was killed
    left.mkdir()
    run(tmp_path / "parts", net=tiny_net(seed=3, drop=0.2), resume=True, **SETTINGS)
    assert kept(tmp_path / "parts") == kept(tmp_path / "whole") == best_by_hand(whole, 2)
    assert not left.exists()


def test_the_number_may_change_on_resume(tmp_path: Path) -> None:
    first = run(tmp_path / "run", **{**SETTINGS, "checkpoint_hist": 4})
    assert kept(tmp_path / "run") == {1, 2, 3, 4}
    run(tmp_path / "run", resume=True, **SETTINGS)
    assert kept(tmp_path / "run") == best_by_hand(first, 2)
    (gone,) = kept(tmp_path / "run") - {first.best_epoch}
    shutil.rmtree(tmp_path / f"run/epoch-{gone}")  # by the user
    result = run(tmp_path / "run", resume=True, **{**SETTINGS, "checkpoint_hist": 3, "epochs": 5})
    assert kept(tmp_path / "run") == {first.best_epoch, 5}
    assert len(result.history) == 5

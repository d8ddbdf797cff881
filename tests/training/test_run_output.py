"""The run folder where no setting names one."""

import re
from pathlib import Path

import pytest

from videozoo.arguments import UsageError
from videozoo.training import run_output
from videozoo.training.resolve_settings import resolve_settings
from videozoo.training.run_output import hold_run
from videozoo.training.settings import DEFAULTS, Settings


def _settings(model: str | None) -> Settings:
    return Settings(**{**DEFAULTS, "model": model, "device": "cpu"})


class _Noon:
    """A clock that stands still, so that two runs begin in the same second."""

    @staticmethod
    def now() -> str:
        return "noon"


def test_each_run_gets_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run_output, "datetime", _Noon)
    monkeypatch.setattr(run_output, "TIME", "")
    names = []
    for model in ("tsm_r50", "tsm_r50", "hf-hub:lab/tsm_r50", None, None):
        settings = _settings(model)
        with hold_run(settings) as folder:
            (folder / "args.json").touch()
        assert folder == Path(settings.output)
        names.append(str(folder))
    assert names == [f"runs/noon{end}" for end in ("-tsm_r50", "-tsm_r50-2", "-hf-hub-lab-tsm_r50", "", "-2")]


def test_the_name_has_the_time_and_a_folder_that_stayed_empty_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with hold_run(_settings("tsm_r50")) as folder:
        assert re.fullmatch(r"runs/\d{8}-\d{6}-tsm_r50", folder.as_posix())
    assert list((tmp_path / "runs").iterdir()) == []


def test_what_cannot_be_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="--resume needs --output RUN, the folder of the run to continue"):
        resolve_settings({"resume": True})
    with pytest.raises(UsageError, match=r"--output runs is inside --data \., where its files would count as data"):
        resolve_settings({"data": "."})
    Path("runs").touch()
    with pytest.raises(UsageError, match="runs: is a file; --output needs a folder"):
        resolve_settings({"data": "videos"})
    with pytest.raises(UsageError, match=r"runs/\S+: cannot be made a folder \(File exists\); --output RUN names"):
        hold_run(_settings(None)).__enter__()

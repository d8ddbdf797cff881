"""Tests with damaged videos and of the report on crashes and hangs."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from helpers import REPO, load_file_as_module
from video_fixtures import MakeVideo


@pytest.fixture
def robustness(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The benchmark as a module."""
    monkeypatch.syspath_prepend(str(REPO / "benchmarks"))
    return load_file_as_module(REPO / "benchmarks" / "robustness.py")


def test_damaged_videos_give_frames_or_the_one_error(
    tmp_path: Path, make_video: MakeVideo, robustness: ModuleType
) -> None:
    for name, codec in [("a.mp4", "libx264"), ("b.mkv", "libx264"), ("c.avi", "mpeg4"), ("d.ts", "mpeg2video")]:
        make_video(tmp_path / "videos" / name, num_frames=30, codec=codec)
    paths = robustness.list_videos(tmp_path / "videos")
    assert [path.name for path in paths] == ["a.mp4", "b.mkv", "c.avi", "d.ts"]
    outcomes = []
    for number in range(48):
        kind, source, data = robustness.make_case(paths, 0, number)
        assert robustness.make_case(paths, 0, number) == (kind, source, data)
        (tmp_path / source.name).write_bytes(data)
        outcomes.append(robustness.read_case(tmp_path / source.name, number))
    assert set(outcomes) == {"frames", "VideoError"}


@pytest.mark.slow
def test_a_process_that_crashes_or_hangs_is_noticed(robustness: ModuleType) -> None:
    line = "print('{\"number\": 3}', flush=True)"
    python = [sys.executable, "-S", "-c"]
    assert list(robustness.watch([*python, line])) == [{"number": 3}]
    crash = list(robustness.watch([*python, f"import os; {line}; os.abort()"]))
    assert crash == [{"number": 3}, "crash (-6)"]
    hang = list(robustness.watch([*python, f"import time; {line}; time.sleep(600)"], limit_sec=3))
    assert hang == [{"number": 3}, "hang"]


@pytest.mark.slow
def test_the_benchmark_goes_through(shared_data: Path, tmp_path: Path) -> None:
    command = [sys.executable, str(REPO / "benchmarks" / "robustness.py"), "--data", str(shared_data / "clips")]
    command += ["--count", "60", "--reads", "40", "--seed", "1", "--output", str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(REPO)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads((tmp_path / "robustness.json").read_text())
    assert sum(count for row in result["videos"].values() for count in row.values()) == 60
    assert (result["crashes"], result["hangs"], result["others"]) == (0, 0, 0)
    assert "| truncation |" in (tmp_path / "robustness.md").read_text()

"""The processes of a run count broken videos together, stop together, and go on together."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest
from engine_tiny import assert_same_run


@pytest.mark.slow
def test_two_processes_decide_together(tmp_path: Path) -> None:
    here = Path(__file__).parent
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (here, here.parent, here.parents[1])))}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run([*command, str(here / "concurrent_runs.py"), str(tmp_path)], capture_output=True, text=True,
        timeout=600, env=environment)  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = sorted(line.split(maxsplit=2) for line in done.stdout.splitlines())
    told = {kind: [line[2] for line in lines if line[1] == kind] for kind in ("SIZE", "REFUSED", "STOPPED", "DONE")}
    assert told["SIZE"] == ["2 another process has memory for 2", "2 4 do not fit in the memory of cpu:0"]
    # Of the three broken videos each process met its own share first; both know all, and they are said once.
    with (tmp_path / "broken/broken.csv").open(newline="") as file:
        assert [row["index"] for row in csv.DictReader(file)] == ["3", "4", "11"]
    for index in (3, 4, 11):
        assert done.stderr.count(f"broken training video {index}, another one takes its place: clips/{index}.mp4") >= 1
    assert len(told["REFUSED"]) == 2
    assert all("4 of 24 training videos are broken, more than max_bad_frac=0.125" in text for text in told["REFUSED"])
    assert told["REFUSED"][0] == told["REFUSED"][1]
    # 12 clips, 3 for each of two processes: the third call is the second epoch's first step, which is kept.
    assert told["STOPPED"] == ["15 3 1", "15 3 1"]
    assert len(told["DONE"]) == 2
    assert told["DONE"][0] == told["DONE"][1]
    assert_same_run(tmp_path / "whole", tmp_path / "parts")

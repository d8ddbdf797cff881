"""Processes that crash, hang or lose their parent; journals of killed runs; folders of something else."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from videozoo.jobs import process_pool as work
from videozoo.jobs.disk import hold_folder
from videozoo.jobs.errors import JobError
from videozoo.jobs.journal import Journal
from videozoo.jobs.process_pool import run_all
from videozoo.video.limits import WorkLimit

REPO = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.skipif(
    "fork" not in multiprocessing.get_all_start_methods(), reason="these functions reach a worker by fork alone"
)


def _do(item: Any) -> Any:
    if item == "crash":
        os.kill(os.getpid(), signal.SIGKILL)
    if item == "leave":
        os._exit(3)
    if item == "hang":
        while True:
            pass
    if item == "wait":
        time.sleep(600)
    if item == "full":
        raise JobError("the disk is full")
    return item * 2


@pytest.mark.parametrize("workers", [1, 3])
def test_each_item_has_an_outcome_whatever_it_does(workers: int) -> None:
    items = [1, "crash", 2, "hang", "leave", 3, "crash", 4, 5]
    outcomes = list(run_all(_do, iter(items), workers=workers, limit_sec=0.5))
    assert sorted(str(outcome.item) for outcome in outcomes) == sorted(map(str, items))
    found = {str(outcome.item): outcome for outcome in outcomes}
    assert [found[str(i)].value for i in range(1, 6)] == [2, 4, 6, 8, 10]
    assert found["crash"].trouble == "the process that read it died (SIGKILL)"
    assert found["leave"].trouble == "the process that read it died"
    assert found["hang"].trouble == "it took more than 0.5 s of processor time"


def test_a_process_that_waits_is_ended_by_the_clock() -> None:
    found = {o.item: o.trouble for o in run_all(_do, [1, "wait", 2], workers=1, limit_sec=1)}
    assert found == {1: "", "wait": "it did nothing for 1 s", 2: ""}


def test_a_machine_that_gives_no_time_breaks_no_file() -> None:
    def work_a_little(_: Any) -> str:
        for _ in range(20):  # longer than the limit by the clock, though not in processor time
            time.sleep(0.1)
            start = time.process_time()
            while time.process_time() < start + 0.02:
                pass
        return "done"

    assert [outcome.value for outcome in run_all(work_a_little, [1, 2], workers=2, limit_sec=1)] == ["done", "done"]


def test_frames_that_are_counted_give_more_time() -> None:
    def decode(max_frames: int | None) -> str:
        limit = WorkLimit(Path("x"), max_frames)
        for _ in range(8):
            start = time.process_time()
            while time.process_time() < start + 0.1:
                pass
            limit.count_frame()
        return "done"

    outcomes = {o.item: o for o in run_all(decode, [100, None], workers=2, limit_sec=0.4)}
    assert outcomes[100].value == "done"
    assert outcomes[None].trouble == "it took more than 0.4 s of processor time"


def test_workers_are_replaced_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "RENEW_ITEMS", 2)
    pids = [outcome.value for outcome in run_all(lambda _: os.getpid(), range(5), workers=1, limit_sec=60)]
    assert [pids.count(pid) for pid in dict.fromkeys(pids)] == [2, 2, 1]


def test_no_items_no_processes() -> None:
    assert list(run_all(_do, [], workers=2, limit_sec=2)) == []


def test_an_error_of_the_function_ends_all() -> None:
    with pytest.raises(JobError, match="the disk is full"):
        list(run_all(_do, [1, "full", "hang"], workers=2, limit_sec=60))
    assert not multiprocessing.active_children()


def test_workers_end_with_the_one_who_wants_no_more() -> None:
    outcomes = run_all(_do, [1, "hang"], workers=2, limit_sec=600)
    assert next(outcomes).value == 2
    outcomes.close()
    assert not multiprocessing.active_children()


_ORPHANS = """
import sys, os
from videozoo.jobs import process_pool as work
work.PARENT_SECONDS = 0.1
def do(item):
    print(os.getpid(), flush=True)
    return item
outcomes = work.run_all(do, [1, 2, 3], workers=2, limit_sec=600)
next(outcomes)
next(outcomes)
sys.stdin.read()
"""


@pytest.mark.slow
def test_workers_end_with_a_killed_parent() -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", _ORPHANS],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(REPO)},
    )
    assert parent.stdout is not None
    workers = {int(parent.stdout.readline()) for _ in range(2)}
    parent.kill()
    parent.wait()
    limit = time.monotonic() + 60
    while any(_is_running(pid) for pid in workers) and time.monotonic() < limit:
        time.sleep(0.1)
    assert not [pid for pid in workers if _is_running(pid)]


def _is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_a_journal_that_was_cut_off_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    journal = Journal(path)
    journal.add({"n": 1})
    journal.close()
    with open(path, "a") as file:
        file.write('{"n": 2, "cut": ')
    journal = Journal(path)
    assert list(journal.read()) == [{"n": 1}]
    journal.add({"n": 3})
    assert list(journal.read()) == [{"n": 1}, {"n": 3}]
    journal.close()
    assert json.loads(path.read_text().splitlines()[-1]) == {"n": 3}


def test_a_folder_with_other_things_is_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "deep"
    for _ in range(2):
        with hold_folder(folder, "a check of videos", alone=True):
            assert [path.name for path in folder.iterdir()] == [".lock"]
    assert not folder.exists()  # nothing was put into it
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(JobError, match="holds other files"), hold_folder(folder, "a check of videos", alone=True):
        pass
    (folder / "checked.jsonl").touch()
    with hold_folder(folder, "a check of videos", alone=True):
        pass
    with pytest.raises(JobError, match="holds a check of videos"), hold_folder(folder, "prepared videos", alone=True):
        pass

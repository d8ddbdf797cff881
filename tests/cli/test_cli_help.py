"""Help answers at once: nothing heavy is imported for it; and says what there is."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from videozoo.cli import main

REPO = Path(__file__).resolve().parents[2]
COMMANDS = (
    *("quickstart", "check-data", "prepare", "finetune", "evaluate", "predict", "export", "explain", "confusion"),
    *("compare", "stream", "extract", "demo", "list", "info", "report", "convert", "card", "push"),
)
HEAVY = ("torch", "torchvision", "timm", "av", "numpy", "matplotlib", "accelerate", "fvcore", "PIL")
_SCRIPT = """
import sys
from videozoo.cli import main
status = main()
print("loaded:", *(name for name in {heavy} if name in sys.modules))
sys.exit(status)
"""


def _run_script(*argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", _SCRIPT.format(heavy=HEAVY), *argv],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, "PYTHONPATH": str(REPO)},
    )


@pytest.mark.parametrize("argv", [["--help"], ["--version"], *([name, "--help"] for name in COMMANDS)], ids=" ".join)
def test_help_loads_nothing_heavy(argv: list[str]) -> None:
    done = _run_script(*argv)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "loaded:"
    assert argv == ["--version"] or "usage: videozoo" in done.stdout


@pytest.mark.parametrize("argv", [[], ["finetune"], ["nonsense"], ["evaluate", "--model", "x"]], ids=" ".join)
def test_bad_usage_is_one_line_and_loads_nothing_heavy(argv: list[str]) -> None:
    done = _run_script(*argv)
    assert done.returncode == 2
    assert done.stdout.splitlines()[-1] == "loaded:"
    assert done.stderr.startswith("videozoo: error: ")
    assert len(done.stderr.splitlines()) == 1


def test_python_m_videozoo_is_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "videozoo", "--help"],
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
        env={**os.environ, "PYTHONPATH": str(REPO)},
    )
    assert all(name in done.stdout for name in COMMANDS)


@pytest.mark.parametrize(("given", "expected"), [({}, "3000"), ({"OMP_WAIT_POLICY": "ACTIVE"}, None)])
def test_threads_spin_for_a_bounded_time_unless_the_user_says_how(
    given: dict[str, str], expected: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    from videozoo.cli import main

    assert main(["list", "tsn_r18"]) == 0
    assert os.environ.get("GOMP_SPINCOUNT") == expected


def test_a_mistyped_flag_names_the_flag_meant(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["finetune", "--epoch", "1", "--model", "tsn_r18", "--data", "videos", "--output", "run"]) == 2
    assert "--epoch; did you mean --epochs? (see videozoo finetune --help)" in capsys.readouterr().err

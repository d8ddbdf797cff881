"""No flag is ignored in silence: each works, or is refused by name."""

import json
from pathlib import Path

import pytest

from videozoo.cli import main

Capture = pytest.CaptureFixture[str]
MODEL = ["--model", "test_arc_tsm.motions"]


@pytest.mark.parametrize(
    ("argv", "flag"),
    [
        (["predict", *MODEL, "a.mp4", "--data-format", "csv"], "--data-format"),
        (["predict", *MODEL, "a.mp4", "--split", "val"], "--split"),
        (["predict", *MODEL, "a.mp4", "--batch-size", "0"], "--batch-size"),
        (["predict", *MODEL, "--input", "list.txt", "--output", "a.parquet", "--json"], "--json"),
        (["evaluate", "--scores", "a.safetensors", "--data-root", "x"], "--data-root"),
        (["evaluate", "--scores", "a.safetensors", "--data-format", "csv"], "--data-format"),
        (["evaluate", "--scores", "a.safetensors", "--split", "x"], "--split"),
        (["evaluate", "--scores", "a.safetensors", "--batch-size", "4"], "--batch-size"),
        (["evaluate", "--scores", "a.safetensors", "--workers", "0"], "--workers"),
        (["evaluate", "--scores", "a.safetensors", "--amp"], "--amp"),
        (["evaluate", "--scores", "a.safetensors", "--device", "cpu"], "--device"),
        (["explain", *MODEL, "a.mp4", "--output", "x", "--show", "states", "--stage", "res2"], "--stage"),
        (["explain", *MODEL, "a.mp4", "--output", "x", "--show", "states", "--class", "1"], "--class"),
        (["export", *MODEL, "--output", "a.safetensors", "--format", "state-dict", "--clips", "a.mp4"], "--clips"),
        (["stream", *MODEL, "--source", "0", "--realtime"], "--realtime"),
        (["predict", *MODEL, "a.mp4", "--device", "cuda:99"], "device is 'cuda:99'"),
        (["predict", *MODEL, "a.mp4", "--device", "meta"], "device is 'meta'"),
    ],
    ids=lambda value: value if isinstance(value, str) else value[0],
)
def test_a_flag_without_effect_is_refused(argv: list[str], flag: str, videos: Path, capsys: Capture) -> None:
    clip = str(next((videos / "val").rglob("*.mp4")))
    assert main([clip if part == "a.mp4" else part for part in argv]) == 2
    assert flag in capsys.readouterr().err


def test_files_are_answered_in_batches_from_their_root(videos: Path, capsys: Capture) -> None:
    files = sorted(str(path.relative_to(videos)) for path in (videos / "val").rglob("*.mp4"))[:3]
    full = [str(videos / file) for file in files]
    assert main(["predict", *MODEL, *full, "--json"]) == 0
    one = [json.loads(line)["predictions"] for line in capsys.readouterr().out.splitlines()]
    assert main(["predict", *MODEL, *files, "--json", "--data-root", str(videos), "-b", "2", "-j", "1"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["file"] for row in rows] == files
    for row, expected in zip(rows, one, strict=True):
        assert [best["class"] for best in row["predictions"]] == [best["class"] for best in expected]
        assert row["predictions"][0]["score"] == pytest.approx(expected[0]["score"], abs=1e-4)


@pytest.mark.parametrize("device", ["cuda:99", "meta", "toaster"])
def test_training_and_measuring_refuse_a_device_that_is_not_here(
    device: str, videos: Path, tmp_path: Path, capsys: Capture
) -> None:
    data = ["--data", str(videos), "--device", device]
    assert main(["finetune", "--model", "test_arc_tsm", *data, "--output", str(tmp_path / "run")]) == 2
    assert f"device is '{device}'" in capsys.readouterr().err
    assert main(["evaluate", *MODEL, *data, "--workers", "0"]) == 2
    assert f"device is '{device}'" in capsys.readouterr().err

"""Output folders: what a refused command leaves, folders of other results or processes, outputs in the data."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from videozoo import files
from videozoo.cli import main
from videozoo.engine import evaluation_folder

TINY = ["--img-size", "32", "--num-frames", "4", "--batch-size", "6", "--workers", "0", "--device", "cpu"]
Capture = pytest.CaptureFixture[str]


@pytest.fixture
def own_run(run_folder: Path, tmp_path: Path) -> Path:
    """A copy of a finished run, to be changed."""
    shutil.copytree(run_folder, tmp_path / "run")
    return tmp_path / "run"


def _content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _resume(output: Path, *flags: str) -> int:
    return main(["finetune", "--resume", "--output", str(output), *flags])


def test_a_refused_resume_changes_nothing(own_run: Path, videos: Path, tmp_path: Path, capsys: Capture) -> None:
    """Refused late, after data and model are loaded: other classes, other steps."""
    before = _content(own_run)
    for name in ("rising", "falling"):
        shutil.copytree(videos / "train" / name, tmp_path / "two" / "train" / name)
        shutil.copytree(videos / "val" / name, tmp_path / "two" / "val" / name)
    for flags in (["--data", str(tmp_path / "two")], ["--batch-size", "5", "--epochs", "9"]):
        assert _resume(own_run, *flags) == 2
        assert _content(own_run) == before
    assert "was trained with 6 clips per step, now there would be 5" in capsys.readouterr().err
    assert _resume(own_run) == 0
    assert _resume(own_run, "--batch-size", "3", "--grad-accum-steps", "2", "--epochs", "2") == 0
    assert json.loads((own_run / "args.json").read_text())["settings"]["batch_size"] == 3


def test_results_without_a_run_are_not_overwritten(own_run: Path, videos: Path, capsys: Capture) -> None:
    shutil.rmtree(own_run / "last")
    before = _content(own_run)
    assert _resume(own_run) == 2
    assert main(["finetune", "--model", "tsm_r18", "--data", str(videos), "--resume", "--output", str(own_run)]) == 2
    error = capsys.readouterr().err
    assert error.count("holds results (best, summary.csv) and no `last` to go on from; start a new run from its") == 2
    assert _content(own_run) == before


def test_a_folder_of_weights_cannot_be_resumed(own_run: Path, tmp_path: Path, capsys: Capture) -> None:
    for name in ("best", "last"):
        assert _resume(own_run / name) == 2
        message = (
            f"holds weights and no run to continue; the run that they are of goes on with --resume --output {own_run}"
        )
        assert message in capsys.readouterr().err
    shutil.copytree(own_run / "best", tmp_path / "model")
    assert _resume(tmp_path / "model") == 2
    assert "start a new run from them: with this folder as --model" in capsys.readouterr().err
    assert _resume(tmp_path / "nothing") == 2
    assert f"there is no run in {tmp_path / 'nothing'} to continue" in capsys.readouterr().err


def test_a_run_that_failed_in_its_first_step_starts_again(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    argv = ["finetune", "--model", "test_arc_tsm", "--data", str(videos), "--output", str(tmp_path / "run"), *TINY]
    with monkeypatch.context() as patch:

        def fail(*args: object) -> None:
            raise torch.OutOfMemoryError("out of memory")

        patch.setattr("videozoo.engine.train._step", fail)
        assert main([*argv, "--epochs", "1"]) == 2
    assert "out of memory" in capsys.readouterr().err
    assert main([*argv, "--epochs", "1"]) == 0


@pytest.mark.parametrize("command", ["finetune --resume", "evaluate --model m", "check-data", "prepare"])
def test_a_folder_that_another_process_writes(
    command: str, own_run: Path, videos: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setattr(files, "_try_lock", lambda descriptor: False)
    before = _content(own_run)
    data = [] if "finetune" in command else ["--data", str(videos / "train")]
    assert main([*command.split(), *data, "--output", str(own_run)]) == 2
    assert f"{own_run}: another process is writing it; end that one" in capsys.readouterr().err
    assert {**before, ".lock": b""} == _content(own_run)  # the file is the other process's


@pytest.mark.parametrize("command", ["evaluate", "check-data", "prepare"])
def test_a_run_is_no_output_of_other_commands(
    command: str, own_run: Path, model_name: str, videos: Path, capsys: Capture
) -> None:
    before = _content(own_run)
    argv = [command, "--data", str(videos / "val"), "--output", str(own_run)]
    assert main(argv + (["--model", model_name] if command == "evaluate" else [])) == 2
    assert f"{own_run}: holds a training run; give another folder with --output" in capsys.readouterr().err
    if command == "evaluate":
        assert main([*argv[:-1], str(own_run / "best"), "--model", model_name]) == 2
        assert f"is replaced as a whole when the run {own_run} goes on" in capsys.readouterr().err
    assert _content(own_run) == before


def test_pictures_are_no_part_of_other_results(
    own_run: Path, model_name: str, videos: Path, tmp_path: Path, capsys: Capture
) -> None:
    argv = ["evaluate", "--model", model_name, "--data", str(videos), "--workers", "0", "--device", "cpu"]
    assert main([*argv, "--output", str(tmp_path / "measured")]) == 0
    confusion = ["confusion", str(tmp_path / "measured"), "--output"]
    explain = ["explain", "--model", model_name, str(next(videos.rglob("*.mp4"))), "--show", "cam", "--output"]
    before = _content(tmp_path)
    for output, held in (("run", "a training run"), ("run/best", "the weights of"), ("measured", "an evaluation")):
        for command in (confusion, explain):
            assert main([*command, str(tmp_path / output)]) == 2
            assert f"{tmp_path / output}: holds {held}" in capsys.readouterr().err
    assert _content(tmp_path) == before
    for command in (confusion, explain, confusion):
        assert main([*command, str(tmp_path / "pictures")]) == 0


def test_members_and_groups_of_an_earlier_evaluation_do_not_stay(
    model_name: str, videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("plot_confusion", "plot_group"):
        monkeypatch.setattr(evaluation_folder, name, lambda path, *args: path.write_bytes(b""))
    out, scores = tmp_path / "out", tmp_path / "one" / "scores.safetensors"
    argv = ["evaluate", "--model", model_name, "--data", str(videos), "--workers", "0", "--device", "cpu"]
    assert main([*argv, "--output", str(tmp_path / "one")]) == 0
    groups = [tmp_path / "a.json", tmp_path / "b.json"]
    groups[0].write_text('{"ups": ["rising", "falling"]}')
    groups[1].write_text('{"downs": ["rising", "falling"]}')
    vote = ["evaluate", "--scores", str(scores), "--scores", str(scores), "--output", str(out)]
    assert main([*vote, "--groups", str(groups[0])]) == 0
    assert main([*vote, "--groups", str(groups[1])]) == 0
    names = {path.name for path in out.iterdir() if path.is_dir()}
    assert names == {"groups", "member_1", "member_2"}
    assert {path.stem for path in (out / "groups").iterdir()} == {"downs"}
    (out / "notes").mkdir()
    assert main(["evaluate", "--scores", str(scores), "--output", str(out)]) == 0
    assert {path.name for path in out.iterdir() if path.is_dir()} == {"notes"}


@pytest.mark.parametrize("command", ["finetune", "evaluate", "check-data", "prepare", "predict", "extract"])
def test_an_output_inside_the_data(command: str, videos: Path, tmp_path: Path, capsys: Capture) -> None:
    data = tmp_path / "data"
    shutil.copytree(videos / "train", data)
    (tmp_path / "link").symlink_to(data)
    model = [] if command in ("check-data", "prepare") else ["--model", "test_arc_tsm"]
    flag, name = ("--input", "scores.parquet") if command in ("predict", "extract") else ("--data", "run")
    for output in (data / name, tmp_path / "link" / "deep" / name):
        assert main([command, *model, flag, str(data), "--output", str(output)]) == 2
        assert (
            f"--output {output} is inside {flag} {data}, where its files would count as data" in capsys.readouterr().err
        )
    assert sorted(path.name for path in data.iterdir()) == sorted(path.name for path in (videos / "train").iterdir())

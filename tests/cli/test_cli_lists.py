"""Lists of other spellings, lists without labels and groups of names, from the command line."""

import csv
import json
import shutil
from pathlib import Path

import pytest

from videozoo.cli import main
from videozoo.data import load_source
from videozoo.training.sources import load_train_and_val

Capture = pytest.CaptureFixture[str]
TINY = ["--epochs", "1", "--warmup-epochs", "0", "--img-size", "32", "--num-frames", "4", "-b", "6", "--workers", "0"]
CPU = ["--workers", "0", "--device", "cpu"]


@pytest.fixture
def people(videos: Path, tmp_path: Path) -> Path:
    """Two classes of three persons, each clip with a mirrored twin."""
    for kind in ("rising", "falling"):
        (tmp_path / "people" / kind).mkdir(parents=True)
        paths = sorted((videos / "train" / kind).glob("*.mp4"))
        for number, name in enumerate(f"{p}_{kind}{twin}" for p in ("ann", "bob", "cy") for twin in ("", "_mirror")):
            shutil.copyfile(paths[number % len(paths)], tmp_path / "people" / kind / f"{name}.mp4")
    return tmp_path / "people"


def _finetune(data: Path, output: Path, *flags: str) -> int:
    argv = ["finetune", "--model", "test_arc_tsm", "--data", str(data), "--output", str(output), *TINY]
    return main([*argv, "--device", "cpu", *flags])


def test_groups_validate_together(
    people: Path, tmp_path: Path, capsys: Capture, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", "videozoo"):
        load_train_and_val(str(people), None, data_root=None, names_file=None, val_frac=0.2)
    err = caplog.text
    assert "of the videos are kept for validation (by hash of their names)" in err
    assert "hint: the first part of the names comes in several classes and on both sides of the split" in err
    shutil.copyfile(next((people / "rising").iterdir()), people / "rising" / "07.mp4")
    capsys.readouterr()
    run = tmp_path / "run"
    assert _finetune(people, run, "--val-group", "^([a-z]+)_") == 0
    err = " ".join(capsys.readouterr().err.split())
    assert "4 of the videos are kept for validation, 1 of 3 groups by --val-group: " in err
    assert "--val-group does not match 1 name, split one by one: rising/07.mp4" in err
    assert "hint: the first part" not in err
    assert json.loads((run / "args.json").read_text())["settings"]["val_group"] == "^([a-z]+)_"
    assert main(["finetune", "--resume", "--output", str(run), "--val-group", "^.", "--epochs", "2"]) == 2
    assert "--val-group was ^([a-z]+)_, is ^." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("(x", "--val-group is '(x', no regular expression"),
        ("[0-9]{3}", "--val-group is '[0-9]{3}', which matches no name, such as ann_falling,"),
        ("_", "--val-group is '_', which makes one group"),
        ("rising|falling", "--val-group is 'rising|falling', which leaves no class with videos of two groups"),
    ],
)
def test_patterns_that_are_refused(pattern: str, message: str, people: Path, tmp_path: Path, capsys: Capture) -> None:
    assert _finetune(people, tmp_path / "run", "--val-group", pattern) == 2
    assert f"videozoo: error: finetune: {message}" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_list_without_labels(videos: Path, tmp_path: Path, capsys: Capture) -> None:
    paths = sorted((videos / "val").rglob("*.mp4"))
    listing = tmp_path / "list.txt"
    listing.write_text("# those of May\n" + "".join(f"{path}\n" for path in paths) + f"#{paths[0]}\n")
    assert main(["check-data", "--data", str(listing), "--output", str(tmp_path / "checked"), "-j", "1"]) == 0
    assert f"1 line that begins with # and names no file there, taken for a comment: list.txt:{len(paths) + 2}" in (
        " ".join(capsys.readouterr().err.split())
    )
    clean = tmp_path / "checked" / "clean.csv"
    assert clean.read_text().splitlines() == ["path", *map(str, paths)]
    assert [record.label for record in load_source(clean, needs_labels=False).records] == [-1] * len(paths)
    for number, source in enumerate((listing, clean)):
        scores = tmp_path / f"{number}.csv"
        argv = ["predict", "--model", "test_dnr_tsn.motions", "--input", str(source), "--output", str(scores), *CPU]
        assert main(argv) == 0
        assert len(list(csv.DictReader(scores.open()))) == len(paths)
    capsys.readouterr()
    assert _finetune(listing, tmp_path / "run") == 2
    assert main(["evaluate", "--model", "test_dnr_tsn.motions", "--data", str(listing), *CPU]) == 2
    assert main(["prepare", "--data", str(listing), "--output", str(tmp_path / "small")]) == 2
    err = capsys.readouterr().err
    assert err.count(f"list.txt:2: {paths[0]} has no label") == 3
    assert err.count("No video has a label; write 'path label' a line") == 3


def test_metadata_of_hugging_face(videos: Path, tmp_path: Path, capsys: Capture) -> None:
    data = tmp_path / "data"
    for part in ("train", "val"):
        (data / part).mkdir(parents=True)
        rows = [["file_name", "label"]]
        for number, path in enumerate(sorted((videos / part).rglob("*.mp4"))):
            shutil.copyfile(path, data / part / f"{number}.mp4")
            rows.append([f"{number}.mp4", path.parent.name])
        with (data / part / "metadata.csv").open("w", newline="") as file:
            csv.writer(file).writerows(rows)
    assert _finetune(data, tmp_path / "run") == 0
    names = sorted(path.name for path in (videos / "val").iterdir())
    assert json.loads((tmp_path / "run" / "best" / "config.json").read_text())["pretrained_cfg"]["label_names"] == names
    assert main(["evaluate", "--model", str(tmp_path / "run"), "--data", str(data / "val"), *CPU]) == 0
    assert main(["check-data", "--data", str(data), "--output", str(tmp_path / "checked"), "-j", "1"]) == 0
    out = capsys.readouterr().out
    assert [line for line in out.splitlines() if line.startswith("part")] == ["part     train", "part     val"]

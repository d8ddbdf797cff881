"""check-data and prepare on the command line: exit status, what is told, one-line errors."""

import shutil
from pathlib import Path

import pytest

from videozoo.cli import main
from videozoo.data import SourceError, load_source
from videozoo.training.sources import find_parts

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def listing(videos: Path, tmp_path: Path) -> Path:
    """The six validation videos, one of them replaced by noise, and one that is not there."""
    paths = [str(path) for path in sorted((videos / "val").rglob("*.mp4"))]
    labels = [Path(path).parent.name for path in paths]
    (tmp_path / "noise.mp4").write_bytes(b"no video at all")
    paths[2] = "noise.mp4"
    rows = [f"{path},{label}\n" for path, label in zip([*paths, "gone.mp4"], [*labels, labels[0]], strict=True)]
    (tmp_path / "list.csv").write_text("path,label\n" + "".join(rows))
    return tmp_path / "list.csv"


def test_check_data_reports_and_writes_problems(listing: Path, tmp_path: Path, capsys: Capture) -> None:
    argv = ["check-data", "--data", str(listing), "--output", str(tmp_path / "out"), "-j", "1"]
    assert main(argv) == 1
    out = capsys.readouterr().out
    told = {line.split()[0]: line.split(None, 1)[1] for line in out.splitlines()}
    assert (told["videos"], told["broken"], told["sizes"]) == ("7", "2", "32x32 (5)")
    assert "1 x no such file or folder" in out
    clean = tmp_path / "out" / "clean.csv"
    assert len(load_source(clean).records) == 5
    assert load_source(clean).class_names == load_source(listing, check_files=False).class_names
    assert main(["check-data", "--data", str(clean), "--output", str(tmp_path / "again"), "-j", "2"]) == 0
    assert main(argv) == 1
    assert capsys.readouterr().out.endswith(out)


def test_prepare_writes_what_can_be_read(listing: Path, tmp_path: Path, capsys: Capture) -> None:
    argv = ["prepare", "--data", str(listing), "--output", str(tmp_path / "out"), "--short-side", "24", "-j", "1"]
    assert main(argv) == 1
    captured = capsys.readouterr()
    assert captured.out == f"{tmp_path / 'out' / 'list.csv'}: 5 videos, 2 left out\n"
    errors = [line for line in captured.err.splitlines() if line.startswith("videozoo: error: ")]
    assert [line.split(": ")[2] for line in errors] == ["list.csv:4", "list.csv:8"]
    assert len(load_source(tmp_path / "out" / "list.csv").records) == 5
    shards = ["prepare", "--data", str(tmp_path / "out" / "list.csv"), "--output", str(tmp_path / "tars")]
    assert main([*shards, "--shards", "5KB", "-j", "1"]) == 0
    pattern = capsys.readouterr().out.split(": ")[0]
    assert len(load_source(pattern).records) == 5


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["check-data", "--data", "nowhere", "--output", "out"], "nowhere: no such file or folder"),
        (["check-data", "--data", "LIST", "--output", "out", "-j", "0"], "--workers is 0"),
        (["check-data", "--data", "LIST", "--output", "out", "--time-limit", "0"], "--time-limit is 0"),
        (["check-data", "--data", "LIST", "--output", "LIST"], "File exists"),
        (["check-data", "--data", "LIST", "--output", "HERE"], "holds other files"),
        (["prepare", "--data", "LIST", "--output", "HERE"], "holds other files"),
        (["prepare", "--data", "LIST", "--output", "out", "--short-side", "0"], "--short-side is 0"),
        (["prepare", "--data", "LIST", "--output", "out", "--gop", "0"], "--gop is 0"),
        (["prepare", "--data", "LIST", "--output", "out", "--shards", "many"], "--shards is 'many'"),
        (["prepare", "--data", "LIST", "--output", "out", "--shards", "0MB"], "--shards is '0MB'"),
        (["prepare", "--data", "LIST", "--output", "out", "--data-format", "odd"], "data_format is 'odd'"),
    ],
)
def test_they_refuse(argv: list[str], expected: str, listing: Path, tmp_path: Path, capsys: Capture) -> None:
    places = {"LIST": str(listing), "HERE": str(tmp_path), "out": str(tmp_path / "out")}
    before = sorted(tmp_path.iterdir())
    assert main([places.get(arg, arg) for arg in argv]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert expected in error
    assert error.startswith("videozoo: error: ")
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("command", ["check-data", "prepare"])
def test_what_is_left_out_of_class_folders_is_named(
    command: str, videos: Path, tmp_path: Path, capsys: Capture
) -> None:
    for source in sorted((videos / "val").rglob("*.mp4"))[::3]:
        folder = tmp_path / "data" / source.parent.name
        folder.mkdir(parents=True)
        (folder / "a.mp4").write_bytes(source.read_bytes())
    (folder / "b.webp").write_bytes(b"x")
    assert main([command, "--data", str(tmp_path / "data"), "--output", str(tmp_path / "out"), "-j", "1"]) == 0
    assert f"1 left out, neither videos by their endings nor folders of images: {folder.name}/b.webp" in (
        " ".join(capsys.readouterr().err.split())
    )


def test_a_folder_of_train_and_val(videos: Path, tmp_path: Path, capsys: Capture) -> None:
    data = tmp_path / "data"
    shutil.copytree(videos, data)
    shutil.copytree(videos / "val", data / "test")
    for part in ("train", "val"):
        (data / part / "nothing").mkdir()
    (data / "val" / "rising" / "empty.mp4").touch()
    out = tmp_path / "out"
    assert main(["check-data", "--data", str(data), "--output", str(out), "-j", "1"]) == 1
    captured = capsys.readouterr()
    assert [line.split()[1] for line in captured.out.splitlines() if line.startswith("part")] == [
        "train",
        "val",
        "test",
    ]
    assert f"warning: {data / 'train' / 'nothing'}: class folder without videos; left out" in captured.err
    sources = {part: load_source(out / part / "clean.csv") for part in ("train", "val", "test")}
    assert {part: len(source.records) for part, source in sources.items()} == {"train": 12, "val": 6, "test": 6}
    assert len({source.class_names for source in sources.values()}) == 1
    assert main(["prepare", "--data", str(data), "--output", str(tmp_path / "small"), "-j", "1"]) == 1
    assert find_parts(str(tmp_path / "small")) == [tmp_path / "small" / part for part in ("train", "val", "test")]
    assert len(load_source(tmp_path / "small" / "val").records) == 6


def test_a_list_with_doubled_lines_is_cleaned(listing: Path, tmp_path: Path, capsys: Capture) -> None:
    text = listing.read_text()
    listing.write_text(text + text.splitlines()[1] + "\n")
    with pytest.raises(SourceError, match=r"list\.csv:9: .* is listed again \(first at list\.csv:2\)"):
        load_source(listing)
    assert main(["check-data", "--data", str(listing), "--output", str(tmp_path / "out"), "-j", "1"]) == 1
    assert "1 left out: list.csv:9 is listed again (first at list.csv:2)" in capsys.readouterr().err
    assert len(load_source(tmp_path / "out" / "clean.csv").records) == 5
    other = {"rising", "falling"} - {text.splitlines()[1].split(",")[1]}
    listing.write_text(text + text.splitlines()[1].rsplit(",", 1)[0] + f",{other.pop()}\n")
    assert main(["check-data", "--data", str(listing), "--output", str(tmp_path / "out"), "-j", "1"]) == 2
    assert "with another label; several labels a video are for multi-label models only" in capsys.readouterr().err


def test_classes_and_a_cheaper_size_are_reported(videos: Path, tmp_path: Path, capsys: Capture) -> None:
    data = tmp_path / "data"
    shutil.copytree(videos, data)
    (data / "train" / "hovering").mkdir()  # empty, and val has one
    (data / "val" / "hovering").mkdir()
    shutil.copy(next((data / "train" / "rising").iterdir()), data / "val" / "hovering" / "x.mp4")
    assert main(["check-data", "--data", str(data), "--output", str(tmp_path / "out"), "-j", "1"]) == 0
    out, err = capsys.readouterr()
    assert [line.split() for line in out.splitlines() if line.split()[0] in ("class", "hovering", "rising")] == [
        ["class", "train", "val"],
        ["hovering", "0", "1"],
        ["rising", "2", "1"],
    ]
    assert "cheaper  --img-size 32 (frames have short sides of 32 pixels): 1/49 of the GMACs of 224" in out
    err = " ".join(err.split())
    assert "7 classes have fewer than 5 videos that can be read: hovering (0), " in err
    assert "class 'hovering' has 1 validation videos and no training video" in err
    assert len((tmp_path / "out" / "train" / "classes.csv").read_text().splitlines()) == 8


def test_nothing_but_empty_class_folders(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "data" / "jump").mkdir(parents=True)
    assert main(["check-data", "--data", str(tmp_path / "data"), "--output", str(tmp_path / "out")]) == 1
    out, err = capsys.readouterr()
    assert "jump        0" in out
    assert "jump: class folder without videos; left out" in " ".join(err.split())

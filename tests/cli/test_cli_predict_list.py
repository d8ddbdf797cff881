"""predict --input on the command line: shards, torchrun's ranks, one-line errors."""

import csv
import io
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from videozoo.cli import main

pq = pytest.importorskip("pyarrow.parquet")
Capture = pytest.CaptureFixture[str]
MODEL = "test_dnr_tsn.motions"
BASE = ["predict", "--model", MODEL, "--device", "cpu", "--workers", "0", "--batch-size", "4"]


@pytest.fixture
def listing(videos: Path, tmp_path: Path) -> Path:
    """The six validation videos by paths from the data's root, and a broken one."""
    (tmp_path / "broken.mp4").write_bytes(b"no video at all")
    names = [path.relative_to(videos).as_posix() for path in sorted((videos / "val").rglob("*.mp4"))]
    (tmp_path / "list.txt").write_text("\n".join([*names, str(tmp_path / "broken.mp4"), names[0]]) + "\n")
    return tmp_path / "list.txt"


def rows(*files: Path) -> list[dict[str, Any]]:
    return sorted((row for file in files for row in pq.read_table(file).to_pylist()), key=lambda row: row["index"])


def test_a_list_in_one_file_and_in_shards(listing: Path, videos: Path, tmp_path: Path, capsys: Capture) -> None:
    argv = [*BASE, "--input", str(listing), "--data-root", str(videos), "--topk", "2", "--views", "2x1"]
    assert main([*argv, "--output", str(tmp_path / "all.parquet")]) == 1
    captured = capsys.readouterr()
    assert captured.out == f"{tmp_path / 'all.parquet'}: 7 videos, 1 could not be read\n"
    assert "1 paths are repeated" in captured.err
    whole = rows(tmp_path / "all.parquet")
    assert [bool(row["error"]) for row in whole] == [False] * 6 + [True]
    assert all(len(row["classes"]) == 2 for row in whole[:6])
    for shard, status in ((0, 1), (1, 0)):
        options = ["--output", str(tmp_path / "s.parquet"), "--num-shards", "2", "--shard", str(shard)]
        assert main([*argv, *options]) == status
    together = rows(*(tmp_path / f"s-{k:05d}-of-00002.parquet" for k in range(2)))
    assert [row["path"] for row in together] == [row["path"] for row in whole]
    assert [row["classes"] for row in together] == [row["classes"] for row in whole]
    assert main([*argv, "--output", str(tmp_path / "all.parquet")]) == 1
    assert "7 videos, 7 of them earlier, 1 could not be read" in capsys.readouterr().out


def test_torchrun_gives_the_shards(
    listing: Path, videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """A rank that ends with another status than 0 would have torchrun end the others: broken files do not."""
    monkeypatch.setenv("WORLD_SIZE", "3")
    for rank in range(3):
        monkeypatch.setenv("RANK", str(rank))
        argv = [*BASE, "--input", str(listing), "--data-root", str(videos), "--output", str(tmp_path / "s.parquet")]
        assert main(argv) == 0
    files = [tmp_path / f"s-{k:05d}-of-00003.parquet" for k in range(3)]
    assert [row["index"] for row in rows(*files)] == list(range(7))
    assert len(capsys.readouterr().out.splitlines()) == 3


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        ([], "give video files, or --input LIST"),
        (["a.mp4", "--input", "list.txt", "--output", "s.parquet"], "not both"),
        (["a.mp4", "--shard", "0"], "--shard is for --output FILE"),
        (["a.mp4", "--split", "val"], "--split is for --input LIST"),
        (["a.mp4", "--json", "--output", "s.csv"], "--json is for answers that are printed"),
        (["-", "--output", "s.csv", "--num-shards", "2", "--shard", "0"], "reach one process only"),
        (["--input", "list.txt"], "--input needs --output FILE"),
        (["--input", "list.txt", "--output", "scores.txt"], "its name must end in .csv or .jsonl or .parquet"),
        (["--input", "list.txt", "--output", "s.parquet", "--shard", "1"], "--num-shards and --shard both"),
        (["--input", "list.txt", "--output", "s.parquet", "--num-shards", "2", "--shard", "2"], "--shard is 2"),
        (["--input", "nowhere.txt", "--output", "s.parquet"], "nowhere.txt: no such file or folder"),
        (["--input", "LIST", "--output", "s.parquet", "--batch-size", "0"], "--batch-size is 0"),
        (["--input", "LIST", "--output", "s.parquet", "--model", "tsn_r18"], "no published weights"),
        (["--input", "LIST", "--output", "s.parquet", "--views", "3"], "--views is '3'"),
        (["--input", "LIST", "--output", "LIST/s.parquet"], "Not a directory"),
    ],
)
def test_predict_refuses(argv: list[str], expected: str, listing: Path, capsys: Capture) -> None:
    assert main([*BASE, *(arg.replace("LIST", str(listing)) if "LIST" in arg else arg for arg in argv)]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert expected in error
    assert error.startswith("videozoo: error: ")


def test_paths_on_standard_input(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    clips = sorted((videos / "val").rglob("*.mp4"))[:2]
    strange = tmp_path / "strange \udcff.mp4"
    strange.write_bytes(clips[0].read_bytes())
    lines = b"\n".join([b"# two clips", os.fsencode(clips[0]), b"", os.fsencode(strange) + b"\r", b"absent.mp4"])
    argv = ["predict", "--model", MODEL, "--device", "cpu", "--topk", "1"]

    def print_result(text: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text)))

    print_result(b"\xef\xbb\xbf" + os.fsencode(clips[0]))  # with a byte order mark
    assert main([*argv, "-"]) == 0
    capsys.readouterr()
    print_result(lines)
    assert main([*argv, "-", str(clips[1]), "--json"]) == 1
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [Path(answer["file"]).name for answer in answers][::3] == [clips[0].name, clips[1].name]
    assert [answer.get("error") for answer in answers] == [None, None, "no such file or folder", None]
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    for suffix in (".jsonl", ".csv"):
        print_result(lines)
        assert main([*argv, "-", str(clips[1]), "--output", str(tmp_path / f"s{suffix}")]) == 1
        assert "4 videos, 1 could not be read" in capsys.readouterr().out
    rows = [json.loads(line) for line in (tmp_path / "s.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [*rows[0]] == ["index", "path", "error", "note", "predictions"]
    assert [row["error"] for row in rows] == [None, None, "no such file or folder", None]
    assert rows[2]["predictions"] is None
    assert [row["predictions"] for row in rows if row["predictions"]] == [
        a["predictions"] for a in answers if "error" not in a
    ]
    table = list(csv.DictReader((tmp_path / "s.csv").open(encoding="utf-8")))
    assert [row["class_1"] for row in table if not row["error"]] == [
        r["predictions"][0]["class"] for r in rows if r["predictions"]
    ]
    print_result(b"\n \n")
    assert main([*argv, "-"]) == 2
    assert "no path came on standard input" in capsys.readouterr().err


def test_files_and_a_folder_into_json_lines(videos: Path, tmp_path: Path, capsys: Capture) -> None:
    output, argv = tmp_path / "s.jsonl", [*BASE, "--topk", "2", str(videos / "val"), str(videos / "val")]
    assert main([*argv, "--output", str(output)]) == 0
    text = output.read_bytes()
    assert len(text.splitlines()) == 6, "each once"
    for content in (text, text[:-9], b"".join(text.splitlines(keepends=True)[:5])):
        output.write_bytes(content)
        assert main([*argv, "--output", str(output)]) == 0
        assert output.read_bytes() == text
    assert main([*argv, "--output", str(videos / "val" / "s.jsonl")]) == 2
    assert "would count as data" in capsys.readouterr().err
    output.with_name("other.jsonl").write_text("{}\n")
    assert main([*argv, "--output", str(output.with_name("other.jsonl"))]) == 2
    assert "holds no scores or features of videozoo" in capsys.readouterr().err


def test_without_pyarrow_it_says_what_to_install(
    listing: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert main([*BASE, "--input", str(listing), "--output", str(tmp_path / "s.parquet")]) == 2
    assert "needs pyarrow: pip install pyarrow" in capsys.readouterr().err
    assert not list(tmp_path.glob("s.parquet*"))


def test_a_folder_of_videos(videos: Path, tmp_path: Path, capsys: Capture) -> None:
    folder = tmp_path / "mixed"
    (folder / "empty_class").mkdir(parents=True)
    (folder / "deep" / "er").mkdir(parents=True)
    clip = next((videos / "val").rglob("*.mp4")).read_bytes()
    for name in ("deep/er/b 10.mp4", "deep/b 2.mp4", "deep/.hidden.mp4"):
        (folder / name).write_bytes(clip)
    (folder / "deep" / "notes.txt").write_text("no video")
    argv = ["predict", "--model", MODEL, "--device", "cpu", "--topk", "1"]
    assert main([*argv, str(folder)]) == 0
    files = [line for line in capsys.readouterr().out.splitlines() if line.startswith(str(tmp_path))]
    assert files == [str(folder / "deep" / "b 2.mp4"), str(folder / "deep" / "er" / "b 10.mp4")]
    assert main([*argv, str(folder / "empty_class")]) == 1
    assert "a folder without images" in capsys.readouterr().err

    # As class folders: the one without videos is left out, an empty file costs its row.
    (folder / "deep" / "er" / "b 10.mp4").rename(folder / "deep" / "b 10.mp4")
    (folder / "deep" / "er").rmdir()
    (folder / "deep" / "c.mp4").touch()
    output = tmp_path / "s.csv"
    assert main([*BASE, "--input", str(folder), "--output", str(output), "--topk", "2"]) == 1
    assert "class folder without videos; left out" in capsys.readouterr().err
    table = list(csv.DictReader(output.open(encoding="utf-8")))
    assert [Path(row["path"]).name for row in table] == ["b 2.mp4", "b 10.mp4", "c.mp4"]
    assert [*table[0]] == ["index", "path", "error", "note", "class_1", "score_1", "class_2", "score_2"]
    assert float(table[0]["score_1"]) >= float(table[0]["score_2"]) > 0
    assert "empty" in table[2]["error"]
    assert table[2]["class_1"] == ""

    text = output.read_bytes()
    for content in (text, text.rpartition(b"\n2,")[0]):  # finished, and a row lost by something else
        output.write_bytes(content)
        assert main([*BASE, "--input", str(folder), "--output", str(output), "--topk", "2"]) == 1
    assert output.read_bytes() == text

    # Videos right inside: a list of all that are there.
    assert main([*BASE, "--input", str(folder / "deep"), "--output", str(tmp_path / "flat.csv")]) == 1
    assert main([*BASE, "--input", str(folder / "deep"), "--output", str(output)]) == 2
    assert "belongs to another run" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["predict", "--model", MODEL, ""], "an argument is empty; give a value, or leave it out"),
        (["predict", "--model", MODEL, "a.mp4", "--segments", ""], "--segments is empty"),
        (["predict", "--model", MODEL, "a.mp4", "--output="], "--output is empty"),
        (["evaluate", "--model", "", "--data", "x"], "--model is empty"),
    ],
)
def test_empty_arguments(argv: list[str], said: str, capsys: Capture) -> None:
    assert main(argv) == 2
    assert said in capsys.readouterr().err


def test_closed_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("stdin", "stdout", "stderr"):
        monkeypatch.setattr(sys, name, None)
    assert main(["predict", "--model", MODEL, "-"]) == 2  # nothing came, and that is all
    assert main(["predict", "--model", MODEL, "absent.mp4"]) == 1

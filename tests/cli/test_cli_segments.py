"""predict --segments and --annotate: tables, a picture, an annotated video; flags that do not go together."""

import csv
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from video_fixtures import write_video

import videozoo
from videozoo import Predictor
from videozoo.cli import main
from videozoo.data import VideoReader
from videozoo.data.motions import draw_motion
from videozoo.inference import WindowScores, annotate
from videozoo.inference.annotate import annotate_video
from videozoo.inference.segment_picture import plot_windows
from videozoo.video.frame_times import frame_times

Capture = pytest.CaptureFixture[str]
BASE = ["predict", "--model", "test_arc_tsm.motions", "--device", "cpu"]


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six seconds of growing, then six of rising."""
    rng = np.random.default_rng(2)
    images = [frame for name in ("growing", "rising") for frame in _six_seconds(name, rng)]
    return write_video(tmp_path_factory.mktemp("long") / "long.mp4", images, "libx264", 10)


def _six_seconds(name: str, rng: np.random.Generator) -> Any:
    frames = draw_motion(name, size=64, num_frames=60, rng=rng)
    return frames[np.linspace(0, len(frames) - 1, 60).astype(int)]


def test_tables_a_picture_and_an_annotated_video(long: Path, tmp_path: Path, capsys: Capture) -> None:
    table, seen = tmp_path / "parts.csv", tmp_path / "seen.mp4"
    sizes = ["--window", "4", "--stride", "1", "--topk", "2"]
    assert main([*BASE, str(long), "--segments", str(table), "--annotate", str(seen), *sizes]) == 0
    captured = capsys.readouterr()
    rows = list(csv.DictReader(table.open(encoding="utf-8")))
    assert [*rows[0]] == ["start", "end", "class", "score"]
    assert (rows[0]["class"], rows[-1]["class"]) == ("growing", "rising")
    assert (rows[0]["start"], rows[-1]["end"]) == ("0.000", "12.000")
    assert all(one["end"] == other["start"] for one, other in itertools.pairwise(rows))
    assert len(captured.out.splitlines()) == len(rows)
    assert "parts.csv, parts-windows.csv, parts.png: " in captured.err
    assert "windows of 4 s, every 1 s\n" in captured.err
    assert f"{seen}: 120 frames" in captured.err
    windows = list(csv.DictReader((tmp_path / "parts-windows.csv").open(encoding="utf-8")))
    assert [*windows[0]] == ["start", "end", "class_1", "score_1", "class_2", "score_2"]
    assert [(row["start"], row["end"]) for row in windows] == [(f"{k:.3f}", f"{k + 4:.3f}") for k in range(9)]
    with Image.open(tmp_path / "parts.png") as picture:
        assert picture.width > 1000
    with VideoReader(seen) as reader, VideoReader(long) as before:
        assert (reader.num_frames, reader.fps, reader.height, reader.width) == (120, 10.0, 240, 240)
        drawn, frame = reader.read([0, 119]).float(), before.read([0, 119]).float()
        change = (drawn[:, :, ::4, ::4] - frame[:, :, :60, :60]).abs().mean((0, 1))
        assert change[:6, :15].mean() > 4 * change[30:, 30:].mean(), "the upper left corner alone is drawn on"
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "parts-windows.csv",
        "parts.csv",
        "parts.png",
        "seen.mp4",
    ]
    again = ["--segments", str(table), "--annotate", str(seen), *sizes]
    assert main([*BASE, str(long), "--json", *again]) == 0, "its own files are replaced"
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(f"{line['start']:.3f}", line["class"]) for line in lines] == [(row["start"], row["class"]) for row in rows]


def test_one_segment_hints_at_the_window(long: Path, tmp_path: Path, capsys: Capture) -> None:
    assert main([*BASE, str(long), "--segments", str(tmp_path / "parts.csv"), "--window", "30"]) == 0
    assert "one window of 12 s; the whole video is one segment, a shorter --window" in capsys.readouterr().err


def test_odd_sizes_other_times_and_a_folder_of_frames(tmp_path: Path, make_video: Any, make_frames: Any) -> None:
    model: Any = videozoo.create_model("test_dnr_tsn.motions", pretrained=True)
    names = model.pretrained_cfg["label_names"]
    model.pretrained_cfg["label_names"] = ("a very long name of a class " * 9, "Überschlag \x1b[2J", *names[2:])
    predictor = Predictor(model, device="cpu")
    times = [0, 8, 12, 40, 44, 80, 100]
    odd = make_video(tmp_path / "odd.mkv", num_frames=7, size=(301, 264), codec="ffv1", pix_fmt="bgr0", pts=times)
    make_frames(tmp_path / "frames", range(30))
    for path, size, expected in (
        (odd, (300, 264), [time / 100 for time in times]),
        (tmp_path / "frames", (240, 320), [k / 25 for k in range(30)]),
        (odd.read_bytes(), (300, 264), [time / 100 for time in times]),
    ):
        out = tmp_path / "out.mp4"
        assert annotate_video(path, predictor.windows(path, window_sec=0.4), out) == len(expected)
        with VideoReader(out) as reader:
            assert (reader.height, reader.width) == size
        assert frame_times(out) == pytest.approx(expected, abs=1e-4)


def test_names_without_a_font_are_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(annotate, "_find_font_file", lambda text: None)
    assert annotate._name_and_font("跳", 7, 12)[0] == "class 7"


@pytest.mark.parametrize(("count", "seconds", "classes"), [(1, 0.4, 2), (900, 5400.0, 60)])
def test_pictures_of_any_length(count: int, seconds: float, classes: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    start = np.arange(count) * seconds / count
    names = [f"{'Putting something $behind$ something ' * (k % 4)}{k}" for k in range(classes)]
    scores = rng.random((count, classes), np.float32)
    plot_windows(tmp_path / "x.png", WindowScores("x.mp4", start, start + seconds / count, scores, seconds, names))
    with Image.open(tmp_path / "x.png") as picture:
        assert 150 < picture.height < 1100


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["VIDEO", "--window", "2"], "--window is for --segments and --annotate"),
        (["VIDEO", "VIDEO", "--segments", "x.csv"], "--segments takes one video; 2 were given"),
        (["--input", "VIDEO", "--segments", "x.csv"], "--input has no effect with --segments"),
        (["VIDEO", "--segments", "x.csv", "--output", "y.csv"], "--output has no effect with --segments"),
        (["VIDEO", "--annotate", "x.mp4", "-b", "2"], "--batch-size has no effect with --annotate"),
        (["VIDEO", "--annotate", "x.mp4", "--max-frames", "9"], "--max-frames has no effect with --annotate"),
        (["VIDEO", "--annotate", "x.avi"], "--annotate is 'x.avi'; its name must end in .mp4"),
        (["VIDEO", "--annotate", "VIDEO"], "is the video itself"),
        (["VIDEO", "--annotate", "DIR/taken.mp4"], "taken.mp4: is no file"),
        (["VIDEO", "--annotate", "DIR/other.mp4"], "other.mp4: exists and is of something else"),
        (["VIDEO", "--segments", "DIR/other.csv"], "other.csv: exists and is of something else"),
        (["VIDEO", "--segments", "DIR/photo.csv"], "photo.png: exists and is of something else"),
        (["VIDEO", "--segments", "DIR/absent/x.csv"], "there is no folder"),
        (["VIDEO", "--segments", "x.csv", "--window", "0"], "--window is 0; it must be at least 0.01"),
        (["VIDEO", "--segments", "x.csv", "--stride", "nan"], "--stride is nan"),
        (["VIDEO", "--segments", "x.csv", "--views", "10x3"], "--views is 10x3"),
    ],
)
def test_it_refuses(
    argv: list[str], expected: str, long: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIDEOZOO_MAX_FRAMES", "200000")  # the flag sets it
    (tmp_path / "taken.mp4").mkdir()
    before = long.read_bytes()
    (tmp_path / "other.mp4").write_bytes(before)
    for name in ("other.csv", "photo.png"):
        (tmp_path / name).write_text("start,end,label\n")
    assert main([*BASE, *(arg.replace("VIDEO", str(long)).replace("DIR", str(tmp_path)) for arg in argv)]) == 2
    assert expected in capsys.readouterr().err.splitlines()[-1]
    assert long.read_bytes() == before


def test_a_broken_video_leaves_nothing(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    outputs = ["--segments", str(tmp_path / "x.csv"), "--annotate", str(tmp_path / "x.mp4")]
    assert main([*BASE, str(tmp_path / "broken.mp4"), *outputs]) == 1
    assert "broken.mp4: not a video" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["broken.mp4"]

"""``videozoo stream`` on files: what is printed, drawn and refused."""

import io
import json
import sys
import unicodedata
from pathlib import Path

import pytest

from videozoo.cli import main
from videozoo.cli.stream_board import Tally, board
from videozoo.data import count_frames

MODEL = "test_dnr_tsn.motions"


@pytest.fixture(scope="module")
def clip(videos: Path) -> str:
    return str(min(videos.rglob("*.mp4")))


def test_a_json_line_per_frame(clip: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["stream", "--source", clip, "--model", MODEL, "--json", "--topk", "2", "--fps", "1000"]) == 0
    out, err = capfd.readouterr()
    rows = [json.loads(line) for line in out.splitlines()]
    assert len(rows) == count_frames(clip)
    assert [row["time"] for row in rows] == sorted({row["time"] for row in rows})
    for row in rows:
        assert row["dropped"] == 0
        assert len(row["predictions"]) == 2
        assert row["predictions"][0]["score"] >= row["predictions"][1]["score"] > 0
    assert "trained with frames to come" in err
    assert f"{len(rows)} frames" in err


def test_the_last_line_is_what_the_stream_gives(clip: str, capfd: pytest.CaptureFixture[str]) -> None:
    import videozoo
    from videozoo.data import create_transform, read_frames, resolve_data_config

    assert main(["stream", "--source", clip, "--model", MODEL, "--json", "--topk", "9", "--fps", "1000"]) == 0
    last = json.loads(capfd.readouterr().out.splitlines()[-1])["predictions"]
    model = videozoo.create_model(MODEL, pretrained=True).eval()
    stream = model.streaming()
    frames = read_frames(clip, range(count_frames(clip)))
    for frame in create_transform(**resolve_data_config(model))(frames)[0].unbind(1):
        scores = stream(frame[None]).softmax(-1)[0]
    assert {row["label"]: row["score"] for row in last} == pytest.approx(dict(enumerate(scores.tolist())), abs=1e-4)


def test_a_file_played_in_real_time(clip: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["stream", "--source", clip, "--model", MODEL, "--json", "--realtime", "--fps", "1000"]) == 0
    rows = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert len(rows) >= 1
    assert len(rows) + rows[-1]["dropped"] <= count_frames(clip)


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_is_drawn_in_place(clip: str, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = _Terminal()
    monkeypatch.setattr(sys, "stdout", screen)
    assert main(["stream", "--source", clip, "--model", MODEL, "--topk", "3", "--fps", "1000"]) == 0
    text = screen.getvalue()
    assert text.startswith("\x1b[?25l")
    assert text.endswith("\x1b[?25h"), "the cursor comes back"
    final = text.rpartition("\x1b[4F")[2].split("\x1b[K\n")
    assert len(final[:-1]) == 4
    assert all("%" in line for line in final[1:4])


def test_lines_fit_the_terminal_and_cannot_command_it() -> None:
    tally = Tally("a\x1b[2Jb.mp4")
    tally.count(1.5, 0.01, 2)
    best = [{"class": "走" * 90, "label": 0, "score": 0.75}, {"class": "x\x1b]0;y\x07\n", "label": 1, "score": 0.25}]
    for columns in (10, 40, 200):
        lines = board(best, tally, columns)
        assert len(lines) == 3
        for line in lines:
            assert line.isprintable()
            assert sum(1 + (unicodedata.east_asian_width(c) in "WF") for c in line) < columns
    assert "dropped 2" in board(best, tally, 200)[0]
    assert "75.0% " + "█" * 18 in board(best, tally, 200)[1]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--source", "missing.mp4", "--model", MODEL], "missing.mp4: no such file"),
        (["--source", "987", "--model", MODEL], "/dev/video987: there is no such camera"),
        (["--source", "x", "--model", MODEL, "--fps", "0"], "--fps is 0.0"),
        (["--source", "x", "--model", MODEL, "--fps", "nan"], "--fps is nan"),
        (["--source", "x", "--model", MODEL, "--average", "0"], "--average is 0"),
        (["--source", "CLIP", "--model", "no_such_net"], "no_such_net"),
        (["--source", "CLIP", "--model", "test_arc_tsm.motions"], "--nearest"),
        (["--source", "CLIP", "--model", "test_dnr_tsn.motions", "--nearest"], "--nearest has no effect here"),
    ],
)
def test_errors_of_one_line(flags: list[str], message: str, clip: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["stream", *[clip if flag == "CLIP" else flag for flag in flags]]) == 2
    err = capfd.readouterr().err
    assert message in err
    assert len(err.splitlines()) == 1

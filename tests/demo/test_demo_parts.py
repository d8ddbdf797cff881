"""The page's parts without gradio: times, files, escaping, models."""

import json
import re
import signal
import sys
import time
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import torch
from demo_tiny import NASTY, write_clip, write_network

import videozoo
from videozoo.cli import main
from videozoo.data import VideoError, VideoReader
from videozoo.demo import Limits, ModelPool, build_page
from videozoo.demo.inference import VideoResult, classify_video
from videozoo.demo.models import MOST_KEPT
from videozoo.demo.page import _answer
from videozoo.demo.render import render_error, render_result
from videozoo.demo.settings import LIMITS
from videozoo.demo.uploads import IDLE_SEC, UNOWNED_SEC, Uploads
from videozoo.models import UnknownModelError, WeightsError
from videozoo.video.frame_times import frame_times

UNEVEN = [0, 40, 80, 200, 220, 300, 500, 540, 900, 1000]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clips") / "uneven.mp4", UNEVEN)


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> ModelPool:
    folder = write_network(tmp_path_factory.mktemp("runs") / "secret" / "best", NASTY)
    return ModelPool([f"local-dir:{folder}"], device="cpu")


@pytest.fixture(scope="module")
def result(clip: Path, pool: ModelPool) -> VideoResult:
    return classify_video(clip, pool.get("secret"))


def test_times_are_those_of_the_file(clip: Path, tmp_path: Path) -> None:
    assert frame_times(clip) == pytest.approx([t / 1000 for t in UNEVEN], abs=1e-4)
    assert frame_times(clip, num_frames=9) == pytest.approx([t / 1000 for t in UNEVEN], abs=1e-4)  # by decoding
    late = write_clip(tmp_path / "late.mkv", [5000 + t for t in UNEVEN])
    assert frame_times(late) == pytest.approx([t / 1000 for t in UNEVEN], abs=1e-3)
    even = write_clip(tmp_path / "even.avi", range(0, 400, 40), codec="mpeg4")
    assert frame_times(even) == pytest.approx([k / 25 for k in range(10)], abs=1e-3)
    with pytest.raises(VideoError, match=r"longer than the 0.5 s"):
        frame_times(clip, most_sec=0.5)


def test_times_of_real_clips(shared_data: Path) -> None:
    damaged = shared_data / "clips" / "derived_from_mmaction2_demo" / "bitflips.mp4"
    with VideoReader(damaged) as reader:
        reader.read([0, reader.num_frames // 2])
        count = reader.num_frames
    times = frame_times(damaged, count)
    assert len(times) in (59, count)
    assert times == sorted(times)
    theora = frame_times(shared_data / "clips" / "PHP-FFMpeg" / "Test.ogv")
    assert theora[-1] == pytest.approx(29.5, abs=0.2)


def test_a_result_has_the_models_own_scores(result: VideoResult, clip: Path) -> None:
    from videozoo.explain import read_clip

    model = result.loaded.model
    with torch.inference_mode():
        scores = model(read_clip(clip, model).video)[0].softmax(0)
    assert [value for _, value in result.best] == pytest.approx(sorted(scores.tolist(), reverse=True), abs=1e-6)
    assert result.best[0][0] == NASTY[int(scores.argmax())]
    assert result.times_sec == pytest.approx([UNEVEN[k] / 1000 for k in result.indices], abs=1e-4)
    assert (result.num_frames, len(result.frames), result.mapped) == (10, 8, tuple(range(8)))
    assert result.overlays is not None
    assert (result.overlays.float() - result.frames.float()).abs().mean() > 1
    assert result.loaded.cost.params == sum(p.numel() for p in model.parameters())
    assert min(result.decode_sec, result.forward_sec, result.explain_sec) > 0


def test_an_ensemble_has_classes_and_no_maps(clip: Path, pool: ModelPool) -> None:
    from dataclasses import replace

    one = pool.get("secret")
    both: Any = videozoo.Ensemble([one.model, one.model])
    found = classify_video(clip, replace(one, model=both))
    assert found.overlays is None
    assert len(found.best) == len(NASTY)
    assert "no class maps of this model" in render_result(found)


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: dict[str, set[str]] = {}
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            self.attributes.setdefault(name, set()).add(value or "")

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def _parse(html: str) -> _Tags:
    parser = _Tags()
    parser.feed(html)
    return parser


def test_nothing_of_the_users_is_html(result: VideoResult) -> None:
    from dataclasses import replace

    for title in NASTY:
        html = render_result(replace(result, loaded=replace(result.loaded, title=title)))
        found = _parse(html)
        assert set(found.attributes) <= {"class", "src", "alt", "style"}
        assert all(src.startswith("data:image/") for src in found.attributes["src"])
        assert not found.tags & {"script", "iframe", "a", "object"}
        assert all(any(name == text for text in found.texts) for name in NASTY)  # seen as it is
        assert not re.search(r"[${}`]", re.sub(r"data:[^\"]*", "", html))  # nothing for a template
        message = render_error(f"{title}.")
        assert _parse(message).tags == {"div", "b"}
        assert any(title in text for text in _parse(message).texts)


def test_what_is_wrong_with_a_file_is_an_answer(clip: Path, pool: ModelPool) -> None:
    uploads = Uploads()

    def ask(data: bytes, limits: Limits = LIMITS, title: str = "secret") -> str:
        file = uploads.folder / "<b>name.mp4"
        file.write_bytes(data)
        return _answer(title, str(file), "page", pool, uploads, limits)

    try:
        good = clip.read_bytes()
        assert "vz-film" in ask(good)
        for html, words in (
            (ask(b"no video at all"), "cannot be read"),
            (ask(b""), "the file is empty"),
            (ask(good[: len(good) // 3]), "cannot be read"),
            (ask(good, Limits(size_mb=0.001)), "at most 0.001 MB are taken"),
            (ask(good, Limits(duration_sec=0.5)), "longer than the 0.5 s that are taken"),
            (ask(good, Limits(frame_pixels=1000)), "its frames are 64x64"),
            (ask(good, title="tsm_r50"), "does not offer that model"),
            (_answer("secret", str(clip), "page", pool, uploads, Limits()), "Something went wrong"),
        ):
            assert words in html
            assert "vz-error" in html
            assert str(uploads.folder) not in html
            assert "<b>name" not in html
        assert "vz-hint" in _answer("secret", None, "page", pool, uploads, Limits())
        assert not list(uploads.folder.iterdir())
    finally:
        uploads.close()


def test_files_live_as_long_as_a_page_that_shows_them() -> None:
    uploads = Uploads()
    try:
        files = [uploads.folder / name / "clip.mp4" for name in ("one", "two")]
        for file in files:
            file.parent.mkdir()
            file.write_bytes(b"x")
        assert uploads.folder.stat().st_mode & 0o077 == 0
        uploads.claim("a", files[0])
        uploads.claim("b", files[0])
        uploads.claim("a", files[1])
        assert files[0].exists()
        uploads.release("b")
        assert not files[0].parent.exists()
        assert files[1].exists()
        uploads.claim("a", files[1])
        assert files[1].exists()
        uploads.release("unknown")
        with pytest.raises(ValueError, match="uploaded files only"):
            uploads.claim("a", uploads.folder / ".." / "other.mp4")
        uploads.release("a")
        assert not list(uploads.folder.iterdir())
    finally:
        uploads.close()
    assert not uploads.folder.exists()


def test_what_is_left_behind_is_swept_away() -> None:
    uploads = Uploads()
    try:
        shown, left = uploads.folder / "a" / "shown.mp4", uploads.folder / "b" / "left.mp4"
        for file in (shown, left):
            file.parent.mkdir()
            file.write_bytes(b"x")
        uploads.claim("page", shown)
        now = time.time()
        uploads.sweep(now + 60)
        assert left.exists()
        uploads.sweep(now + UNOWNED_SEC + 60)
        assert not left.parent.exists()
        assert shown.exists()
        uploads.sweep(now + IDLE_SEC + 60)
        assert not list(uploads.folder.iterdir())
    finally:
        uploads.close()


def test_models_are_offered_by_titles_alone(tmp_path: Path) -> None:
    folders = [write_network(tmp_path / name / "run" / "best", ("a", "b")) for name in ("here", "there")]
    names = [f"local-dir:{folder}" for folder in folders]
    public = ModelPool(names, has_registry=False, device="cpu")
    assert public.titles == ["run", "run (2)"]
    assert public.get("run (2)").class_names == ("a", "b")
    for title in (names[0], "test_arc_tsm.motions", f"local-dir:{tmp_path}", ""):
        with pytest.raises(UnknownModelError, match="does not offer"):
            public.get(title)
    local = ModelPool(["test_dnr_tsn"], device="cpu")
    assert local.titles[:2] == ["test_dnr_tsn.motions", "arc_tsm_narrow_r18.strokes_64px"]
    assert sorted(local.titles) == sorted(videozoo.list_pretrained())
    bundled = {title.partition("_")[0] for title in ModelPool(has_registry=False, device="cpu").titles}
    assert bundled == {"arc", "dnr", "test"}


@pytest.mark.slow
def test_few_models_stay_in_memory(tmp_path: Path) -> None:
    folder = write_network(tmp_path / "mine", ("a", "b"))
    pool = ModelPool(["test_arc_tsm", "test_dnr_tsn", f"local-dir:{folder}"], has_registry=False, device="cpu")
    loaded = [pool.get(title) for title in pool.titles]
    assert pool.get(pool.titles[-1]) is loaded[-1]
    assert pool.get(pool.titles[0]) is not loaded[0]
    assert pool._loaded.cache_info().currsize == MOST_KEPT


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("tsm_r5", UnknownModelError),
        ("tsm_r18", WeightsError),
        ("runs/mine/best", UnknownModelError),
        ("local-dir:/nowhere/at/all", WeightsError),
    ],
)
def test_bad_models_are_reported_at_once(name: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        ModelPool([name])


@pytest.mark.extras
def test_the_page_is_built(pool: ModelPool) -> None:
    pytest.importorskip("gradio")
    uploads = Uploads()
    try:
        config = build_page(pool, uploads).get_config_file()
        kinds = [part["type"] for part in config["components"]]
        assert {"tabs", "dropdown", "video", "button", "html", "dataframe"} <= set(kinds)
        assert "secret" in json.dumps(config)
        assert str(uploads.folder) not in json.dumps(config)
        assert "local-dir" not in json.dumps(config)
        assert not config["analytics_enabled"]
    finally:
        uploads.close()


@pytest.mark.extras
def test_bad_starts_are_one_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    def error(*argv: str) -> str:
        assert main(["demo", "--device", "cpu", *argv]) == 2
        lines = capsys.readouterr().err.strip().splitlines()
        assert len(lines) == 1, lines
        return lines[0]

    before = signal.getsignal(signal.SIGTERM)
    assert "--max-size is 0; it must be above 0" in error("--max-size", "0")
    assert "--max-duration is nan" in error("--max-duration", "nan")
    assert "invalid int value" in error("--port", "http")
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "gradio", None)
        assert "videozoo demo needs gradio: pip install gradio" in error()
    pytest.importorskip("gradio")
    assert "port is 70000; it must lie between 0 and 65535" in error("--port", "70000")
    assert "cannot listen at nowhere.invalid:0" in error("--port", "0", "--host", "nowhere.invalid")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        assert f"cannot listen at 127.0.0.1:{port}" in error("--port", port)
    assert "tsm_r18: no published weights exist" in error("--port", "0", "--model", "tsm_r18")
    assert "unknown model 'tsm_r5'" in error("--port", "0", "--model", "tsm_r5")
    assert "write a folder" in error("--port", "0", "--model", "runs/mine")
    assert signal.getsignal(signal.SIGTERM) is before

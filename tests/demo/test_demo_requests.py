"""Requests that a browser would not send: quotas for uploads, and no tracebacks in the terminal."""

import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from demo_tiny import write_clip

from videozoo.demo import Limits, server
from videozoo.demo.error_log import _Reporter
from videozoo.demo.uploads import Uploads


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    pytest.importorskip("gradio")
    limits = Limits(size_mb=0.05, total_mb=0.1)
    with server.serve(["test_arc_tsm"], port=0, limits=limits, device="cpu") as address:
        yield address.rstrip("/")


def _send(url: str, data: bytes, kind: str = "application/json") -> int:
    request = urllib.request.Request(url, data=data, headers={"Content-Type": kind})
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def _upload(url: str, data: bytes, name: str) -> int:
    head = f'--x\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'.encode()
    return _send(f"{url}/gradio_api/upload", head + data + b"\r\n--x--\r\n", "multipart/form-data; boundary=x")


@pytest.mark.extras
def test_uploads_have_a_quota(url: str) -> None:
    sizes = [_upload(url, bytes([k]) * 45_000, f"{k}.mp4") for k in range(4)]
    assert sizes == [200, 200, 507, 507]
    assert _upload(url, bytes(200_000), "large.mp4") == 413


@pytest.mark.extras
def test_bad_requests_write_no_traceback(url: str, capfd: pytest.CaptureFixture[str]) -> None:
    for path, data in (
        ("queue/join", b"{"),
        ("queue/join", b'{"data": [], "fn_index": 999, "session_hash": "a"}'),
        ("queue/join", b'{"data": ["x", {"path": "/etc/passwd"}], "fn_index": 0, "session_hash": "a"}'),
        ("run/predict", b'{"data": [1, 2, 3], "fn_index": 0}'),
        ("run/predict", b'{"data": null, "fn_index": 1}'),
        ("call/none", b"[]"),
        ("upload", b"no form"),
    ):
        _send(f"{url}/gradio_api/{path}", data)
    out, err = capfd.readouterr()
    assert "Traceback" not in out + err


def test_a_fault_of_the_program_is_logged_once(monkeypatch: pytest.MonkeyPatch) -> None:
    logged: list[str] = []
    monkeypatch.setattr("videozoo.demo.error_log.log.error", lambda message, **_: logged.append(message))
    reporter = _Reporter()
    for _ in range(3):
        try:
            Uploads.claim(None, "page", "x")  # type: ignore[arg-type]
        except AttributeError:
            reporter.report_current()
        try:
            int("x")
        except ValueError:
            reporter.report_current()
    assert logged == ["unexpected error on the page"]


def test_room_is_made_of_what_no_page_shows(tmp_path: Path) -> None:
    uploads = Uploads()
    try:
        shown = uploads.folder / "a" / "shown.mp4"
        shown.parent.mkdir()
        write_clip(shown, [0, 40])
        size = shown.stat().st_size
        uploads.claim("page", shown)
        assert uploads.reserve(size, 2 * size)
        assert not uploads.reserve(size, 2 * size)
        uploads.give_back(size)
        assert uploads.reserve(size, 2 * size)
        assert shown.exists()
    finally:
        uploads.close()

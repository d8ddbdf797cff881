"""The page in a real browser: uploads, broken files, another model, the camera, nothing kept, nothing fetched."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from demo_tiny import NASTY, write_clip, write_network
from demo_visit import Visit, host_of
from helpers import REPO

import videozoo
import videozoo.demo.server as server
from videozoo.demo import Limits
from videozoo.demo.uploads import Uploads

pytestmark = pytest.mark.slow
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
TITLE = "<img src=x onerror=window.pwned=2>"  # the folder of a run
# Names of other hosts are not found: what the page would fetch from them is seen to fail.
FLAGS = [
    "--no-sandbox",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
]

# What a program imports first: an attempt to reach another machine is told and fails.
GUARD = """
import socket

HERE = ("127.0.0.1", "0.0.0.0", "localhost", "None", "")
connect_to, look_up = socket.socket.connect, socket.getaddrinfo

def connect(self, address):
    if isinstance(address, tuple) and str(address[0]) not in HERE:
        print("CALLED", address, flush=True)
        raise OSError("no network")
    return connect_to(self, address)

def getaddrinfo(host, *args, **kwargs):
    if str(host) not in HERE:
        print("CALLED", host, flush=True)
        raise socket.gaierror("no network")
    return look_up(host, *args, **kwargs)

socket.socket.connect, socket.getaddrinfo = connect, getaddrinfo
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    pytest.importorskip("gradio")
    api = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def site(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Uploads]]:
    """The page's address, and where its visitors' files are."""
    folder = write_network(tmp_path_factory.mktemp("runs") / TITLE / "best", NASTY)
    made: list[Uploads] = []

    class Noted(Uploads):
        def __init__(self) -> None:
            super().__init__()
            made.append(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(server, "Uploads", Noted)
        models = ["test_arc_tsm", "test_dnr_tsn", f"local-dir:{folder}"]
        with server.serve(models, port=0, limits=Limits(size_mb=1, duration_sec=12), device="cpu") as url:
            yield url, made[0]
    assert not made[0].folder.exists()


@pytest.fixture
def visit(browser: Any, site: tuple[str, Uploads]) -> Iterator[Visit]:
    visit = Visit(browser, site[0])
    yield visit
    visit.close()
    assert visit.hosts - {""} == {host_of(site[0])}
    assert visit.errors == []


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clips") / "even.mp4", range(0, 1000, 40), size=96)


def _until(is_true: Callable[[], bool], seconds: float = 60) -> bool:
    end = time.monotonic() + seconds
    while not is_true() and time.monotonic() < end:
        time.sleep(0.1)
    return is_true()


def _files(uploads: Uploads) -> list[Path]:
    return [path for path in uploads.folder.rglob("*") if path.is_file()]


def test_a_generated_clip_and_another_model(visit: Visit) -> None:
    page = visit.page
    page.click("#vz-generate")
    text = visit.answer()
    assert "The 8 frames that test_arc_tsm.motions saw" in text
    for word in ("parameters", "GMACs", "latency", "100.8"):
        assert word in text
    stamps = [float(found) for found in re.findall(r"([\d.]+) s frame", text.replace("\n", " "))]
    assert len(stamps) == 8
    assert stamps == sorted(set(stamps))
    assert page.locator(".vz-film img").count() == 16
    assert page.locator(".vz-bar").count() == 5
    sizes = page.locator("#vz-result img").evaluate_all("all => all.map(one => one.naturalWidth)")
    assert len(sizes) == 17
    assert min(sizes) > 0
    visit.choose("test_dnr_tsn.motions")
    page.wait_for_selector("h3:has-text('test_dnr_tsn.motions')")


def test_a_broken_file_and_files_beyond_the_limits(visit: Visit, clip: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"this is no video at all" * 100)
    assert "This video cannot be read" in visit.drop(broken, ".vz-error")
    long = write_clip(tmp_path / "long.mp4", range(0, 14_000, 500))
    assert "longer than the 12 s that are taken here" in visit.drop(long, ".vz-error")
    assert "The 8 frames" in visit.drop(clip)  # and the page goes on
    visit.clear()
    large = tmp_path / "<img src=x onerror=window.pwned=1> large.mp4"
    large.write_bytes(clip.read_bytes() + bytes(2_000_000))
    visit.page.set_input_files("#vz-video input[type=file]", str(large))
    visit.page.wait_for_selector("text=/maximum allowed size/i")
    assert visit.page.evaluate("window.pwned") is None


def test_names_of_classes_and_files_stay_text(visit: Visit, clip: Path, tmp_path: Path) -> None:
    file = tmp_path / "<img src=x onerror=window.pwned=1>.mp4"
    shutil.copy(clip, file)
    visit.choose(TITLE)
    text = visit.drop(file)
    assert all(name in text for name in (*NASTY, TITLE))
    for bar in visit.page.locator(".vz-bar").all():
        bar.hover()
    assert visit.page.evaluate("window.pwned") is None
    assert visit.page.locator("#vz-result script, img[src=x]").count() == 0


def test_nothing_is_kept_once_the_page_is_closed(browser: Any, site: tuple[str, Uploads], clip: Path) -> None:
    url, uploads = site
    assert _until(lambda: not _files(uploads))  # of the tests before
    one, two = Visit(browser, url), Visit(browser, url)
    one.drop(clip)
    two.drop(clip)
    (file,) = _files(uploads)  # the same content is one file
    one.close()
    time.sleep(3)
    assert file.exists()  # the other page still shows it
    two.page.click("#vz-generate")
    assert _until(lambda: not file.exists())
    two.answer()
    assert len(_files(uploads)) == 1
    two.close()
    assert _until(lambda: not _files(uploads))
    assert _until(lambda: not list(uploads.folder.iterdir()))


def test_the_zoo_can_be_filtered(visit: Visit) -> None:
    page = visit.page
    page.get_by_role("tab", name="The zoo").click()
    page.wait_for_selector("text=/^[0-9]+ of [0-9]+ models/")
    page.fill("#vz-search input, #vz-search textarea", "arc r50")
    wanted = [name for name in videozoo.list_models() if "arc" in name and "r50" in name]
    page.wait_for_selector(f"text=/^{len(wanted)} of {len(videozoo.list_models())} models/")
    cell = page.locator("#vz-zoo [data-row]", has_text="arc_tsm_r50").first
    cell.click()
    page.wait_for_selector("text=/about arc_tsm_r50: [1-9]/")
    page.wait_for_selector("#vz-papers [data-row]:has-text('ARC, Table 2')")


def test_a_clip_of_the_camera(visit: Visit) -> None:
    from playwright.sync_api import TimeoutError as NoAnswer

    page = visit.page
    for seconds in (2, 5, 10):  # a busy machine records few frames, or none
        page.get_by_label("Capture from camera").click()
        page.get_by_text("Click to Access Webcam").click()
        page.wait_for_function("document.querySelector('#vz-video video')?.videoWidth > 0")  # the camera runs
        button = page.get_by_label("start recording", exact=True)  # it keeps this label while it records
        button.click()
        page.wait_for_timeout(1000 * seconds)
        button.click()
        try:
            page.wait_for_selector("#vz-result .vz-film", timeout=20_000)
            break
        except NoAnswer:
            page.reload()
            page.wait_for_selector("#vz-video input[type=file]", state="attached")
    assert "The 8 frames" in visit.answer()


def test_real_clips(visit: Visit, shared_data: Path) -> None:
    folder = shared_data / "clips"
    for name in ("derived_from_mmaction2_demo/h264_vfr.mp4", "moviepy/no_duration.webm", "mmaction2/test.avi"):
        assert "The 8 frames" in visit.drop(folder / name), name
    assert "cannot be read" in visit.drop(folder / "PHP-FFMpeg" / "WrongFile.mp4", ".vz-error")


def test_other_peoples_files_and_addresses_are_refused(visit: Visit, site: tuple[str, Uploads]) -> None:
    ask = """async ([path, fn]) => {
        const hash = "probe" + Math.random();
        const send = {data: ["test_arc_tsm.motions", {path, meta: {_type: "gradio.FileData"}}],
                      fn_index: fn, session_hash: hash, trigger_id: 0};
        await fetch("gradio_api/queue/join", {method: "POST", body: JSON.stringify(send),
                    headers: {"Content-Type": "application/json"}});
        const told = await fetch("gradio_api/queue/data?session_hash=" + hash);
        return await told.text();
    }"""
    config = visit.page.evaluate("window.gradio_config.dependencies")
    result = next(d["id"] for d in config if len(d["inputs"]) == 2)
    for path in ("/etc/passwd", f"{site[0]}config", "https://example.invalid/clip.mp4"):
        told = visit.page.evaluate(ask, [path, result])
        assert '"success":false' in told.replace(" ", ""), told
        assert "root:" not in told
    assert visit.page.evaluate("fetch('gradio_api/file=/etc/hostname').then(found => found.status)") in (403, 404)


def test_the_one_file_of_a_space(browser: Any, tmp_path: Path) -> None:
    """It is run as a Space runs it, on a machine where nothing but this machine can be reached."""
    guard = tmp_path / "sitecustomize.py"
    guard.write_text(GUARD, encoding="utf-8")
    port = server._free_port("127.0.0.1", 0)
    env = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(tmp_path), str(REPO)]),
        "GRADIO_SERVER_PORT": str(port),
        "TMPDIR": str(tmp_path),
    }
    app = subprocess.Popen(
        [sys.executable, str(REPO / "scripts" / "space" / "app.py")],
        env=env,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert _until(lambda: _answers(port) or app.poll() is not None, 120)
        visit = Visit(browser, f"http://127.0.0.1:{port}/")
        visit.page.click("#vz-generate")
        assert "The 8 frames that test_arc_tsm.motions saw" in visit.answer()
        assert visit.hosts - {""} == {f"127.0.0.1:{port}"}
        assert list(tmp_path.glob("videozoo-demo-*"))
        app.send_signal(signal.SIGTERM)
        told, _ = app.communicate(timeout=60)
        visit.close()
        assert "CALLED" not in told
        assert not list(tmp_path.glob("videozoo-demo-*"))
    finally:
        app.kill()


def _answers(port: int) -> bool:
    import socket

    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0

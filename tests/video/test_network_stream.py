"""Tests of network streams: served files, broken connections, unreachable ports."""

import contextlib
import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer
from typing import Any

import numpy as np
import pytest
from video_fixtures import write_gray_video

from videozoo.cli import main
from videozoo.video import VideoError, VideoReader, network_stream
from videozoo.video.live import address_frames, file_frames
from videozoo.video.network_stream import NetworkError, is_address, network_frames

Serve = Callable[..., str]


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty frames at 20 per second. Frame k has the gray value 10 k."""
    return write_gray_video(tmp_path_factory.mktemp("network") / "video.ts", "mpeg2video")


@pytest.fixture
def serve(video: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """Function that starts a web server. It sends the given number of bytes per request, then closes the connection."""
    monkeypatch.setattr(network_stream, "PAUSES_SEC", (0.01, 0.01))
    servers = []

    def start(*counts: int, has_size: bool) -> str:
        left = list(counts)
        data = video.read_bytes()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if not left:
                    self.send_error(404)
                    return
                self.send_response(200)
                if has_size:
                    self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data[: left.pop(0)])

            def log_message(self, *_: Any) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}/video.ts"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_a_served_file_gives_the_frames_of_the_file(video: Path, serve: Serve) -> None:
    address = serve(10**9, has_size=True)
    expected = list(file_frames(video, 10))
    found = list(address_frames(address, 10))
    assert [frame.time_sec for frame in found] == pytest.approx([frame.time_sec for frame in expected])
    assert all((a.image == b.image).all() for a, b in zip(found, expected, strict=True))


def test_a_stream_that_breaks_is_connected_again(video: Path, serve: Serve) -> None:
    size = video.stat().st_size
    address = serve(size * 3 // 4, size, has_size=False)
    times = []
    with pytest.raises(NetworkError, match="2 attempts to connect again failed"):
        times.extend(seconds for seconds, _ in network_frames(address))
    assert 25 < len(times) <= 40
    assert min(np.diff(times)) >= 0


def test_a_file_whose_connection_breaks_is_read_to_its_end(video: Path, serve: Serve) -> None:
    size = video.stat().st_size
    address = serve(size // 2, size, size, size, has_size=True)
    times = [seconds for seconds, _ in network_frames(address)]
    assert times[-1] == pytest.approx(19 / 20)
    assert min(np.diff(times)) > 0


def test_an_unreachable_address_fails_at_once(capfd: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        for scheme in ("rtsp", "http", "tcp"):
            model = ["--model", "test_dnr_tsn.motions"]
            assert main(["stream", "--source", f"{scheme}://me:secret@{place}/x", *model]) == 2
            err = capfd.readouterr().err
            assert f"{scheme}://{place}/x: no connection (Connection refused)" in err
            assert len(err.splitlines()) == 1


def test_a_server_that_is_silent_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network_stream, "OPEN_SEC", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}/x"
        with pytest.raises(NetworkError, match=r"no answer within 0\.2 s"):
            next(network_frames(address))


def test_a_stream_is_answered_from_the_command_line(
    video: Path, serve: Serve, capfd: pytest.CaptureFixture[str]
) -> None:
    address = serve(10**9, has_size=True)
    assert main(["stream", "--source", address, "--model", "test_dnr_tsn.motions", "--json", "--fps", "5"]) == 0
    rows = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert [row["time"] for row in rows] == pytest.approx([0, 0.2, 0.4, 0.6, 0.8])


def test_udp_packets_are_read(video: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    is_over = threading.Event()

    def send() -> None:
        data = video.read_bytes()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            while not is_over.is_set():
                for at in range(0, len(data), 1316):
                    sender.sendto(data[at : at + 1316], ("127.0.0.1", port))
                time.sleep(0.05)

    thread = threading.Thread(target=send)
    thread.start()
    try:
        frames = network_frames(f"udp://127.0.0.1:{port}")
        assert next(frames)[1].width == 64
        frames.close()
    finally:
        is_over.set()
        thread.join()


class Camera(StreamRequestHandler):
    """RTSP camera over one TCP connection that sends the server's ``data`` once."""

    def handle(self) -> None:
        while method := self.rfile.readline().decode().partition(" ")[0]:
            fields = dict(line.decode().strip().split(": ", 1) for line in iter(self.rfile.readline, b"\r\n"))
            session = "v=0\r\ns=x\r\nc=IN IP4 0.0.0.0\r\nm=video 0 RTP/AVP 33\r\na=control:track\r\n"
            body = session if method == "DESCRIBE" else ""
            answer = {
                "OPTIONS": "Public: DESCRIBE, SETUP, PLAY",
                "DESCRIBE": f"Content-Type: application/sdp\r\nContent-Length: {len(body)}",
                "SETUP": "Session: 1\r\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1",
            }.get(method, "Session: 1")
            self.wfile.write(f"RTSP/1.0 200 OK\r\nCSeq: {fields['CSeq']}\r\n{answer}\r\n\r\n{body}".encode())
            if method == "PLAY":
                return self.play(self.server.data)  # type: ignore[attr-defined]

    def play(self, data: bytes) -> None:
        for number, at in enumerate(range(0, len(data), 1316)):
            packet = struct.pack(">BBHII", 0x80, 33, number, 4500 * number, 1) + data[at : at + 1316]
            self.wfile.write(b"$\0" + struct.pack(">H", len(packet)) + packet)


def test_a_camera_is_read_by_rtsp_and_connected_again(
    video: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(network_stream, "PAUSES_SEC", (0.01, 0.01))
    with ThreadingTCPServer(("127.0.0.1", 0), Camera) as server:
        server.data = video.read_bytes()  # type: ignore[attr-defined]
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"rtsp://me:p@ss@127.0.0.1:{server.server_address[1]}/x"
        with contextlib.closing(network_frames(address)) as frames:
            found = [next(frames) for _ in range(25)]  # 20 are sent at a time
        server.shutdown()
    gray = [int(frame.to_ndarray(format="gray")[24, 32]) for _, frame in found]
    assert gray[:19] == pytest.approx([10 * k for k in range(19)], abs=4)
    assert min(np.diff([seconds for seconds, _ in found])) >= 0
    assert f"rtsp://127.0.0.1:{server.server_address[1]}/x: the connection ended" in caplog.text


def test_a_password_is_not_printed(video: Path, serve: Serve, capfd: pytest.CaptureFixture[str]) -> None:
    address = serve(10**9, has_size=True).replace("//", "//me:secret@")
    assert main(["stream", "--source", address, "--model", "test_dnr_tsn.motions", "--fps", "5"]) == 0
    assert "secret" not in "".join(capfd.readouterr())


def test_only_network_schemes_are_addresses(tmp_path: Path) -> None:
    assert is_address("RTSP://camera/1")
    for text in ("file:///etc/passwd", "concat:a|b", "subfile,,start,0,,:x", "clip.mp4", "rtsp:/x", "http://", "0"):
        assert not is_address(text)
    with pytest.raises(VideoError, match="no such file"):
        VideoReader("http://127.0.0.1:1/x.mp4")

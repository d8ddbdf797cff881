"""Tests that encrypted files are refused."""

from pathlib import Path

import av
import pytest
from video_fixtures import MakeVideo, copy_packets

from videozoo.data import VideoError, VideoReader, VideoRecord
from videozoo.jobs.check import check_video
from videozoo.video import open_file
from videozoo.video.encryption import ASF_ENCRYPTION, is_scrambled

KEYS = {
    "encryption_scheme": "cenc-aes-ctr",
    "encryption_key": "76a6c65c5ea762046bd749a2e632ccbb",
    "encryption_kid": "a7e61c373e219033c21091fa607bf3b8",
}


@pytest.mark.parametrize("entry", [b"encv", b"drmi"])
@pytest.mark.parametrize("options", [{}, {"movflags": "frag_keyframe+empty_moov"}, {"movflags": "faststart"}])
def test_encrypted_mp4(options: dict[str, str], entry: bytes, tmp_path: Path, make_video: MakeVideo) -> None:
    path = copy_packets(make_video(tmp_path / "clear.mp4", codec="libx264"), tmp_path / "x.mp4", **KEYS, **options)
    data = path.read_bytes().replace(b"encv", entry)
    path.write_bytes(data)
    with pytest.raises(VideoError, match="its video is encrypted"):
        VideoReader(path)
    assert "is encrypted" in check_video(VideoRecord(path, 0, "")).error
    path.write_bytes(b"\0" * 512 + data)
    with pytest.raises(VideoError, match="its video is encrypted"):
        VideoReader(path, member=(512, len(data)))


def test_encrypted_packets_are_noticed_where_the_container_is_not_looked_at(
    tmp_path: Path, make_video: MakeVideo, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = copy_packets(make_video(tmp_path / "clear.mp4", codec="libx264"), tmp_path / "x.mp4", **KEYS)
    monkeypatch.setattr(open_file, "is_encrypted", lambda *_: False)  # as for network streams
    with pytest.raises(VideoError, match="its video is encrypted"):
        VideoReader(path)


def test_encrypted_sound_is_no_matter(tmp_path: Path, make_video: MakeVideo) -> None:
    path = tmp_path / "x.mp4"
    with av.open(str(path), "w") as container:
        video, sound = container.add_stream("mpeg4", rate=25), container.add_stream("aac", rate=8000)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        for frame in [av.VideoFrame(64, 48, "yuv420p"), None]:
            container.mux(video.encode(frame))
        container.mux(sound.encode(None))
    path.write_bytes(path.read_bytes().replace(b"mp4a", b"enca", 1))
    with VideoReader(path) as reader:
        assert reader.num_frames == 1


@pytest.mark.parametrize(("packet", "first"), [(188, 0), (192, 4)])
def test_scrambled_transport_streams(packet: int, first: int, tmp_path: Path, make_video: MakeVideo) -> None:
    options = {"mpegts_m2ts_mode": "1"} if first else {"mpegts_m2ts_mode": "0"}
    path = copy_packets(make_video(tmp_path / "x.mp4", codec="mpeg2video"), tmp_path / "x.ts", **options)
    with av.open(str(path)) as container:
        pid = container.streams.video[0].id
    data = bytearray(path.read_bytes())
    assert not is_scrambled(bytes(data), "mpegts", pid)
    for at in range(first, len(data), packet):
        if int.from_bytes(data[at + 1 : at + 3], "big") & 0x1FFF == pid:
            data[at + 3] |= 0x80
    path.write_bytes(data)
    with pytest.raises(VideoError, match="its video is encrypted"):
        VideoReader(path)


def test_scrambled_program_streams_and_protected_wmv(tmp_path: Path, make_video: MakeVideo) -> None:
    path = copy_packets(make_video(tmp_path / "x.mp4", codec="mpeg2video"), tmp_path / "x.vob")
    data = bytearray(path.read_bytes())
    assert not is_scrambled(bytes(data), "mpeg", 0)
    at = data.index(b"\x00\x00\x01\xe0")
    data[at + 6] |= 0x30
    path.write_bytes(data)
    with pytest.raises(VideoError, match="its video is encrypted"):
        VideoReader(path)
    for guid in ASF_ENCRYPTION:
        assert is_scrambled(b"x" * 99 + guid, "asf", 0)

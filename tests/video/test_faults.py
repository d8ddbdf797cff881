"""Tests of the errors for files that are no videos and for wrong requests."""

import os
import pickle
import random
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from torch.utils.data import Dataset
from video_fixtures import MakeVideo

from videozoo.video import VideoError, VideoReader, av_stream, count_frames, read_frames


def _write_faults(folder: Path, make_video: MakeVideo) -> dict[str, str]:
    """Write files that are no videos and return the expected reasons."""
    whole = make_video(folder / "whole.mp4").read_bytes()
    (folder / "empty.mp4").touch()
    (folder / "text.mp4").write_text("not a video at all\n" * 20)
    (folder / "notes.txt").write_text("text that FFmpeg would draw as a picture\n" * 20)
    (folder / "noise.mp4").write_bytes(random.Random(0).randbytes(5000))
    start, stop = whole.index(b"mdat") + 4, whole.index(b"moov") - 4
    (folder / "cut.mp4").write_bytes(whole[:stop])
    (folder / "cut_index.mp4").write_bytes(whole[: stop + 200])
    (folder / "list.m3u8").write_text("#EXTM3U\n#EXTINF:5,\nhttp://127.0.0.1:9/x.ts\n#EXT-X-ENDLIST\n")
    (folder / "folder").mkdir()
    (folder / "folder" / "readme.md").write_text("nothing to see")
    (folder / "blank.mp4").write_bytes(whole[:start] + bytes(stop - start) + whole[stop:])
    with av.open(str(folder / "sound.wav"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        sound.rate = 8000
        container.mux(stream.encode(sound))
    return {
        "missing.mp4": "no such file",
        "empty.mp4": "empty",
        "text.mp4": "not a video",
        "notes.txt": "not a video",
        "noise.mp4": "not a video",
        "cut.mp4": "moov",
        "cut_index.mp4": "no video stream",
        "list.m3u8": "not a video",
        "folder": "without images",
        "blank.mp4": "no frame of it decodes",
        "sound.wav": "no video stream",
    }


def test_other_files_are_refused_with_the_reason_and_closed(tmp_path: Path, make_video: MakeVideo) -> None:
    faults = _write_faults(tmp_path, make_video)
    is_linux = os.path.isdir("/proc/self/fd")
    before = len(os.listdir("/proc/self/fd")) if is_linux else 0
    for name, reason in faults.items():
        with pytest.raises(VideoError, match=reason) as caught:
            VideoReader(tmp_path / name)
        assert caught.value.path == tmp_path / name
        assert str(caught.value) == f"{tmp_path / name}: {caught.value.reason}"
    with VideoReader(tmp_path / "whole.mp4") as reader:
        reader.read([3])
        reader.read([1])
    assert not is_linux or len(os.listdir("/proc/self/fd")) == before


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_forbidden_file(tmp_path: Path, make_video: MakeVideo) -> None:
    path = make_video(tmp_path / "x.mp4")
    path.chmod(0)
    with pytest.raises(VideoError, match="permission denied"):
        VideoReader(path)


def test_forbidden_file_by_the_system_s_word(
    tmp_path: Path, make_video: MakeVideo, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_video(tmp_path / "x.mp4")

    def refuse(*args: object, **kwargs: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(av_stream.av, "open", refuse)
    with pytest.raises(VideoError, match="permission denied"):
        VideoReader(path)


def test_video_error_survives_pickling_and_text() -> None:
    error = VideoError("/a b: c/x.mp4", "broken: quite")
    for other in (pickle.loads(pickle.dumps(error)), VideoError(f"Caught it.\n  ...\nvideozoo.VideoError: {error}\n")):
        assert (other.path, other.reason) == (Path("/a b: c/x.mp4"), "broken, quite")


class _Broken(Dataset[int]):
    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> int:
        return count_frames("/no/such: file.mp4")


def test_video_error_keeps_its_path_through_a_worker(video_error: Callable[..., VideoError]) -> None:
    error = video_error(_Broken(), num_workers=1)
    assert error.path == Path("/no/such: file.mp4")
    assert error.reason == "no such file or folder"


def test_indices_out_of_range(tmp_path: Path, make_video: MakeVideo) -> None:
    path = make_video(tmp_path / "x.mp4")
    with pytest.raises(IndexError, match=r"frame 12 asked of .*x\.mp4, which has 12 frames"):
        read_frames(path, [0, 12])
    with pytest.raises(IndexError, match="count from 0"):
        read_frames(path, [-1])
    with pytest.raises(TypeError):
        read_frames(path, [0.5])  # type: ignore[list-item]
    assert read_frames(path, []).shape == (0, 3, 48, 64)
    assert read_frames(path, np.array([3, 3])).shape == (2, 3, 48, 64)


def test_a_closed_reader_raises(tmp_path: Path, make_video: MakeVideo) -> None:
    with VideoReader(make_video(tmp_path / "x.mp4")) as reader:
        frames = reader.read([0, 1])
    assert frames.is_contiguous(memory_format=torch.channels_last)
    reader.close()
    with pytest.raises(ValueError, match="closed"):
        reader.read([0])


def test_titles_in_another_encoding(tmp_path: Path, make_video: MakeVideo) -> None:
    path = make_video(tmp_path / "x.mp4")
    data = path.read_bytes()
    path.write_bytes(data.replace(b"Lavf", b"La\xe4f"))
    assert path.read_bytes() != data
    assert count_frames(path) == 12

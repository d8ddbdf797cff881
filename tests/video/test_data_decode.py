"""Exact frames: painted numbers, every real clip, damage, errors."""

import contextlib
import csv
import itertools
import os
import pickle
import random
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from videozoo.video import VideoError, VideoReader, av_stream, count_frames, exact_frames, read_frames

ReadNumbers = Callable[[Tensor], list[int]]
MakeVideo = Callable[..., Path]

KINDS = {
    "mpeg4.mp4": {"codec": "mpeg4"},
    "mpeg4_bframes.avi": {"codec": "mpeg4", "bf": "2"},
    "h264.mp4": {"codec": "libx264"},
    "h264_bframes.mkv": {"codec": "libx264", "x264-params": "bframes=3:b-adapt=0"},
    "h264_open_gop.mp4": {"codec": "libx264", "x264-params": "bframes=3:b-adapt=0:open-gop=1:keyint=6:min-keyint=6"},
    "h264_refresh.mp4": {"codec": "libx264", "x264-params": "intra-refresh=1:keyint=6:bframes=0"},
    "h264.ts": {"codec": "libx264", "x264-params": "bframes=2:keyint=6"},
    "mjpeg.avi": {"codec": "mjpeg", "pix_fmt": "yuvj420p"},
    "mpeg2.mpg": {"codec": "mpeg2video"},
    "lossless.mkv": {"codec": "ffv1"},
    "vp9.webm": {"codec": "libvpx-vp9", "deadline": "realtime", "cpu-used": "8"},
    "gif.gif": {"codec": "gif"},
}


def _bare_decode(path: Path, wanted: set[int] | None = None) -> tuple[int, dict[int, np.ndarray]]:
    """Number of frames and the wanted ones as RGB, by a plain loop over the whole file."""
    frames: dict[int, np.ndarray] = {}
    count = 0
    with av.open(str(path), metadata_errors="replace") as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        for packet in container.demux(stream):
            try:
                decoded = packet.decode()
            except av.FFmpegError:
                continue
            for frame in decoded:
                if wanted is None or count in wanted:
                    frames[count] = np.rot90(frame.to_ndarray(format="rgb24"), frame.rotation // 90)
                count += 1
    return count, frames


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("keep_bytes", [2**28, 0])
def test_painted_numbers_come_back(
    name: str,
    keep_bytes: int,
    tmp_path: Path,
    make_video: MakeVideo,
    read_numbers: ReadNumbers,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(exact_frames, "KEEP_BYTES", keep_bytes)
    path = make_video(tmp_path / name, num_frames=40, **KINDS[name])
    wanted = [39, 0, 17, 17, 38, 5, 1]
    assert read_numbers(read_frames(path, wanted)) == wanted
    with VideoReader(path) as reader:
        assert reader.num_frames == 40
        assert (reader.height, reader.width) == (48, 64)
        assert read_numbers(reader.read(wanted)) == wanted
        for index in [30, 3, 33, 12]:
            assert read_numbers(reader.read([index])) == [index]
        assert read_numbers(reader.read(range(40))) == list(range(40))


def test_variable_frame_rate_counts_frames_not_seconds(
    tmp_path: Path, make_video: MakeVideo, read_numbers: ReadNumbers
) -> None:
    pts = list(itertools.accumulate(random.Random(0).choices([2, 4, 30, 200], k=20)))
    path = make_video(tmp_path / "vfr.mkv", num_frames=20, pts=pts)
    assert read_numbers(read_frames(path, [19, 7, 8])) == [19, 7, 8]


@pytest.mark.parametrize("turned", list(itertools.product([False, True], [1, -1], [1, -1])))
def test_display_matrix_turns_and_mirrors(turned: tuple[bool, int, int], tmp_path: Path, make_video: MakeVideo) -> None:
    # Stored: bars of number 1 (left end white). The matrix sends (x, y) to (a x + c y, b x + d y), y downwards.
    is_transposed, sign_x, sign_y = turned
    a, b, c, d = (0, sign_y, sign_x, 0) if is_transposed else (sign_x, 0, 0, sign_y)
    path = make_video(tmp_path / "x.mp4", num_frames=2)
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 44
    data[at : at + 36] = struct.pack(">9i", a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    with VideoReader(path) as reader:
        assert (reader.height, reader.width) == ((64, 48) if is_transposed else (48, 64))
        shown = reader.read([1])[0].float().mean(0).numpy()
    line = shown.mean(1) if is_transposed else shown.mean(0)
    white_end = (b if is_transposed else a) < 0
    assert int(line.argmax() > 32) == white_end


@pytest.mark.parametrize("is_large", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_every_clip_of_the_manifest(is_large: bool, shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clips = shared_data / "clips"
    with open(clips / "manifest.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    wrong = []
    for row in rows:
        path = clips / row["file"]
        if not row["frames_decoded"]:
            with pytest.raises(VideoError) as caught:
                VideoReader(path)
            assert caught.value.path == path
            continue
        if is_large != (int(row["width"]) * int(row["height"]) > 200_000):
            continue
        expected = int(row["frames_decoded"])
        rng = random.Random(row["file"])
        wanted = [expected - 1, 0, *(rng.randrange(expected) for _ in range(4))]
        count, frames = _bare_decode(path, set(wanted))
        assert count == expected, path
        for keep_bytes, is_exact, asks_count in [(0, False, True), (2**28, True, True), (0, True, False)]:
            monkeypatch.setattr(exact_frames, "KEEP_BYTES", keep_bytes)
            with VideoReader(path) as reader:
                if is_exact:
                    reader._source._fall_back()  # type: ignore[union-attr]
                if asks_count and reader.num_frames != expected:
                    wrong.append((row["file"], reader.num_frames, expected))
                got = reader.read(wanted).permute(0, 2, 3, 1).numpy()
                turned = row["rotation"] in ("90", "-90")
                stated = (int(row["width"]), int(row["height"]))
                assert (reader.height, reader.width) == (stated if turned else stated[::-1]), path
                assert reader.fps == pytest.approx(float(row["fps"]), abs=1e-3), path
            wrong += [(row["file"], i) for i, image in zip(wanted, got, strict=True) if (image != frames[i]).any()]
    assert not wrong
    assert len(rows) >= 40


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_files_give_what_decodes_or_one_error(
    data: st.DataObject, tmp_path: Path, make_video: MakeVideo
) -> None:
    name = data.draw(st.sampled_from(["a.mkv", "a.ts", "a.avi", "a.mp4"]))
    path = tmp_path / name
    codec = "mpeg4" if name == "a.avi" else "libx264"
    whole = make_video(tmp_path / "whole" / name, num_frames=20, codec=codec, movflags="faststart").read_bytes()
    # Places as fractions: the sizes of the files differ by some bytes from run to run.
    place = st.floats(0, 1, exclude_max=True)
    damaged = bytearray(whole[: 1 + int(data.draw(place) * len(whole))])
    for _ in range(data.draw(st.integers(0, 8))):
        damaged[int(data.draw(place) * len(damaged))] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(damaged)
    with contextlib.suppress(VideoError), VideoReader(path) as reader:
        try:
            first = reader.read(range(reader.num_frames))
        except IndexError:
            first = reader.read(range(reader.num_frames))
        count = len(first)
        assert count == reader.num_frames == _bare_decode(path, set())[0]
        assert torch.equal(first[[count - 1, 0]], reader.read([count - 1, 0]))
        assert torch.equal(first[[count // 2]], read_frames(path, [count // 2]))


def _write_faults(folder: Path, make_video: MakeVideo) -> dict[str, str]:
    """Files that are no videos, and what the reason must say."""
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


def test_what_is_no_video_says_why_and_leaves_nothing_open(tmp_path: Path, make_video: MakeVideo) -> None:
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


def test_a_closed_reader_says_so(tmp_path: Path, make_video: MakeVideo) -> None:
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


def test_odd_file_names(tmp_path: Path, make_video: MakeVideo, monkeypatch: pytest.MonkeyPatch) -> None:
    made = make_video(tmp_path / "plain.mp4")
    for name in ["with space.mp4", "http:x.mp4", "%03d.mp4", "grüße.MP4", "no_ending"]:
        shutil.copy(made, tmp_path / name)
        assert count_frames(tmp_path / name) == 12
    monkeypatch.chdir(tmp_path)
    assert count_frames("http:x.mp4") == 12


# Folders of images


def _paint_folder(folder: Path, numbers: list[int], pattern: str = "img_{}.png") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        image = np.zeros((48, 64, 3), np.uint8)
        for bit in range(8):
            image[:, 8 * bit : 8 * bit + 8] = 255 * (number >> bit & 1)
        Image.fromarray(image).save(folder / pattern.format(number))
    return folder


@pytest.mark.parametrize("ending", ["png", "jpg", "JPEG", "webp", "bmp"])
def test_folder_of_images_in_natural_order(ending: str, tmp_path: Path, read_numbers: ReadNumbers) -> None:
    folder = _paint_folder(tmp_path / "clip", [1, 2, 9, 10, 11, 100], "img_{}." + ending)
    (folder / ".hidden.png").write_text("")
    (folder / "notes.txt").write_text("")
    with VideoReader(folder) as reader:
        assert (reader.num_frames, reader.height, reader.width, reader.fps) == (6, 48, 64, 0.0)
        assert read_numbers(reader.read([0, 1, 2, 3, 4, 5, 0])) == [1, 2, 9, 10, 11, 100, 1]
        with pytest.raises(IndexError, match="has 6 frames"):
            reader.read([6])


def test_folder_faults_name_the_image(tmp_path: Path) -> None:
    folder = _paint_folder(tmp_path / "clip", [1, 2, 3])
    Image.new("RGB", (20, 10)).save(folder / "img_2.png")
    (folder / "img_3.png").write_bytes(b"no image")
    with VideoReader(folder) as reader:
        with pytest.raises(VideoError, match=r"img_2\.png is 20x10, the first one is 64x48"):
            reader.read([1])
        with pytest.raises(VideoError, match=r"img_3\.png cannot be read"):
            reader.read([2])
    (folder / "img_1.png").write_bytes(b"")
    with pytest.raises(VideoError, match=r"img_1\.png cannot be read"):
        VideoReader(folder)


def test_grey_and_transparent_images_become_rgb(tmp_path: Path) -> None:
    for name, mode in [("a", "L"), ("b", "RGBA"), ("c", "P"), ("d", "1")]:
        Image.new(mode, (8, 6)).save(tmp_path / f"{name}.png")
    assert read_frames(tmp_path, range(4)).shape == (4, 3, 6, 8)

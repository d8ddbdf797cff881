"""Tests of exact frames: painted numbers, real clips, damage, errors."""

import contextlib
import csv
import itertools
import random
import struct
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from video_fixtures import KINDS, MakeVideo, ReadNumbers

from videozoo.video import VideoError, VideoReader, exact_frames, read_frames
from videozoo.video.open_file import open_container


def _bare_decode(path: Path, wanted: set[int] | None = None) -> tuple[int, dict[int, np.ndarray]]:
    """Return the number of frames and the given frames as RGB, read by a plain loop over the file."""
    frames: dict[int, np.ndarray] = {}
    count = 0
    with open_container(str(path)) as container:
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
def test_damaged_files_give_frames_or_a_video_error(data: st.DataObject, tmp_path: Path, make_video: MakeVideo) -> None:
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

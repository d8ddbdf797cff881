"""Tests of cached indexes."""

import os
import shutil
from array import array
from pathlib import Path

import numpy as np
import pytest
import torch
from video_fixtures import MakeVideo, ReadNumbers

from videozoo.video import VideoReader, av_stream, index_cache
from videozoo.video.index_cache import IndexCache
from videozoo.video.packet_index import PacketIndex


@pytest.fixture(autouse=True)
def memory(monkeypatch: pytest.MonkeyPatch) -> IndexCache:
    """Empty index memory that also accepts files that were just written."""
    monkeypatch.setattr(index_cache, "FRESH_SEC", -60)
    monkeypatch.setattr(index_cache, "_memory", IndexCache(2**20))
    return index_cache._memory


@pytest.fixture
def num_packets(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """List with the number of packets that have been read."""
    count = [0]
    plain = av_stream.AvStream.packets

    def counting(self):  # type: ignore[no-untyped-def]
        for packet in plain(self):
            count[0] += 1
            yield packet

    monkeypatch.setattr(av_stream.AvStream, "packets", counting)
    return count


def read(path: Path, indices: list[int], folder: Path | None = None) -> torch.Tensor:
    """Return frames of a whole file."""
    with VideoReader(path, index_cache=folder) as reader:
        _ = reader.num_frames
        return reader.read(indices)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("x.mp4", {"codec": "libx264", "x264-params": "bframes=3:b-adapt=0"}),
        ("x.ts", {"codec": "libx264"}),
        ("x.mkv", {"codec": "ffv1"}),
        ("x.webm", {"codec": "libvpx", "deadline": "realtime"}),  # decoded from its start the first time
        ("x.flv", {"codec": "flv"}),
    ],
)
def test_the_second_read_decodes_only_the_needed_packets(
    name: str, options: dict, tmp_path: Path, make_video: MakeVideo, read_numbers: ReadNumbers, num_packets: list[int]
) -> None:
    path = make_video(tmp_path / name, num_frames=240, gop=12, **options)
    first = read(path, [17, 100, 231])
    assert num_packets[0] >= 240
    num_packets[0] = 0
    second = read(path, [17, 100, 231])
    assert num_packets[0] < 60
    assert torch.equal(first, second)
    assert read_numbers(second) == [17, 100, 231]
    with VideoReader(path, span_sec=(4, 8)) as reader:
        assert reader.num_frames == 100
        assert read_numbers(reader.read([0, 99, 50])) == [100, 199, 150]
    with VideoReader(path, frame_range=(30, 40)) as reader:
        assert read_numbers(reader.read([9])) == [39]


def test_a_file_that_was_changed_is_indexed_again(
    tmp_path: Path, make_video: MakeVideo, read_numbers: ReadNumbers
) -> None:
    path = make_video(tmp_path / "x.mp4", num_frames=40)
    assert read_numbers(read(path, [33])) == [33]
    other = make_video(tmp_path / "y.mp4", num_frames=30, pts=[4 * number + 9 for number in range(30)])
    shutil.copyfile(other, path)
    with VideoReader(path) as reader:
        assert reader.num_frames == 30
        assert read_numbers(reader.read([29])) == [29]


def test_the_index_of_a_changing_file_is_not_cached(
    tmp_path: Path, make_video: MakeVideo, monkeypatch: pytest.MonkeyPatch, memory: IndexCache
) -> None:
    monkeypatch.setattr(index_cache, "FRESH_SEC", 60)
    path = make_video(tmp_path / "x.mp4")
    os.utime(path, (0, 0))  # as copies with the times of their originals
    read(path, [3])
    assert not memory._kept


def test_an_index_of_another_file_under_the_same_key_gives_no_other_frames(
    tmp_path: Path, make_video: MakeVideo, read_numbers: ReadNumbers
) -> None:
    path = make_video(tmp_path / "x.mp4", num_frames=40, gop=7, codec="libx264", **{"x264-params": "bframes=2"})
    read(path, [3])
    old = os.stat(path)
    make_video(path, num_frames=40, gop=10)
    assert path.stat().st_size < old.st_size
    os.truncate(path, old.st_size)
    os.utime(path, ns=(old.st_atime_ns, old.st_mtime_ns))
    assert read_numbers(read(path, [5, 22, 39])) == [5, 22, 39]


def test_each_member_of_a_shard_has_its_index(
    tmp_path: Path, make_video: MakeVideo, read_numbers: ReadNumbers, memory: IndexCache
) -> None:
    names = [make_video(tmp_path / f"{count}.mp4", num_frames=count) for count in (20, 30)]
    shard = tmp_path / "x.tar"
    shard.write_bytes(b"".join(name.read_bytes() for name in names))
    sizes = [name.stat().st_size for name in names]
    for _ in range(2):
        for member, count in [((0, sizes[0]), 20), ((sizes[0], sizes[1]), 30)]:
            with VideoReader(shard, member=member) as reader:
                assert reader.num_frames == count
                assert read_numbers(reader.read([count - 1])) == [count - 1]
    assert len(memory._kept) == 2


def test_memory_is_bounded_and_the_last_used_stay() -> None:
    cache = IndexCache(5000)
    index = PacketIndex(array("q", range(30)), array("q", [0]), array("q", [0, -1, 0]), bytes(30), 0, 30)
    for key in "abc":
        cache.put(key, index)
    assert cache.get("a") is index
    cache.put("d", index)
    assert [key for key in "abcd" if cache.get(key)] == ["a", "c", "d"]
    for _ in range(9):
        cache.put("d", index)
    assert cache.get("a") is index


def entries(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_a_folder_keeps_indexes_for_other_processes(
    tmp_path: Path,
    make_video: MakeVideo,
    read_numbers: ReadNumbers,
    num_packets: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path, folder = make_video(tmp_path / "x.mp4", num_frames=240, gop=12), tmp_path / "new" / "cache"
    monkeypatch.setenv(index_cache.INDEX_CACHE_VARIABLE, str(folder))
    read(path, [7])
    (entry,) = entries(folder)
    good = entry.read_bytes()

    def read_as_another_process() -> int:
        monkeypatch.setattr(index_cache, "_memory", IndexCache(2**20))
        num_packets[0] = 0
        assert read_numbers(read(path, [7, 200])) == [7, 200]
        return num_packets[0]

    assert read_as_another_process() < 40
    other = np.load(entry)
    other[-3] += 1
    np.save(tmp_path / "other.npy", other)
    np.save(tmp_path / "objects.npy", np.array([{}]), allow_pickle=True)
    for bad in [
        *(
            b"",
            good[:90],
            good[:-8],
            b"PK\x03\x04" + good,
            good.replace(b"<i8", b"<f8"),
            good.replace(b"(", b"(9999999999"),
            bytes(500),
        ),
        *((tmp_path / name).read_bytes() for name in ("other.npy", "objects.npy")),
    ]:
        entry.write_bytes(bad)
        assert read_as_another_process() >= 240
        assert entry.read_bytes() == good
    # An entry under the name of another file's.
    second = make_video(tmp_path / "y.mp4", num_frames=40)
    read(second, [7])
    (foreign,) = [name for name in entries(folder) if name != entry]
    entry.write_bytes(foreign.read_bytes())
    assert read_as_another_process() >= 240
    assert len(entries(folder)) == 2  # nothing else is left


def test_an_unwritable_cache_folder_is_ignored(
    tmp_path: Path, make_video: MakeVideo, read_numbers: ReadNumbers
) -> None:
    path = make_video(tmp_path / "x.mp4")
    (tmp_path / "file").write_text("no folder")
    assert read_numbers(read(path, [7], tmp_path / "file" / "cache")) == [7]


def test_a_failed_seek_with_a_cached_index_reads_the_file_again(
    tmp_path: Path, make_video: MakeVideo, read_numbers: ReadNumbers, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_video(tmp_path / "x.mp4", num_frames=60)
    read(path, [7])
    plain, is_first = av_stream.AvStream.seek, [True]

    def failing_once(self, place, back_sec=0):  # type: ignore[no-untyped-def]
        if is_first[0]:
            is_first[0] = back_sec < 8
            return iter(())
        return plain(self, place, back_sec)

    monkeypatch.setattr(av_stream.AvStream, "seek", failing_once)
    with VideoReader(path) as reader:
        assert read_numbers(reader.read([20, 45])) == [20, 45]
        assert reader._source.index() is not None  # type: ignore[union-attr]

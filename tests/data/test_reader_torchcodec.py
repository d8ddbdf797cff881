"""torchcodec behind the reader: the same frames as PyAV's, or PyAV."""

import csv
import logging
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from videozoo.data import VideoReader, decode, read_frames, torchcodec_file

ReadNumbers = Callable[[Tensor], list[int]]
MakeVideo = Callable[..., Path]


@pytest.fixture
def fresh_load() -> Iterator[None]:
    """Whether torchcodec can be loaded is found out anew."""
    torchcodec_file.load_torchcodec.cache_clear()
    yield
    torchcodec_file.load_torchcodec.cache_clear()


def test_one_message_where_it_is_not_there(
    tmp_path: Path,
    make_video: MakeVideo,
    read_numbers: ReadNumbers,
    fresh_load: None,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setitem(sys.modules, "torchcodec.decoders", None)
    path = make_video(tmp_path / "x.mp4")
    with caplog.at_level(logging.WARNING, logger=torchcodec_file.__name__):
        for _ in range(3):
            with VideoReader(path, decoder="torchcodec") as reader:
                assert read_numbers(reader.read([3, 11])) == [3, 11]
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "torchcodec cannot be loaded" in caplog.text
    assert "PyAV" in caplog.text


class _Liar:
    """A decoder that refuses, or gives black frames at wrong times, of wrong sizes."""

    fault = ""

    def __init__(self, source: Any, **options: Any) -> None:
        if self.fault == "refuses":
            raise RuntimeError("I will not.")

    def get_frames_at(self, places: list[int]) -> Any:
        late = 0.5 if self.fault == "late" else 0.0
        size = (40, 60) if self.fault == "size" else (48, 64)
        times = torch.tensor([place / 25 + late for place in places], dtype=torch.float64)
        return SimpleNamespace(data=torch.zeros(len(places), *size, 3, dtype=torch.uint8), pts_seconds=times)


@pytest.mark.parametrize("fault", ["", "refuses", "late", "size"])
def test_what_it_gives_is_compared(
    fault: str, tmp_path: Path, make_video: MakeVideo, read_numbers: ReadNumbers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_Liar, "fault", fault)
    monkeypatch.setattr(decode, "load_torchcodec", lambda: _Liar)
    monkeypatch.setattr(torchcodec_file, "load_torchcodec", lambda: _Liar)
    with VideoReader(make_video(tmp_path / "x.mp4"), decoder="torchcodec") as reader:
        # Without a fault the black frames are believed: their times are right.
        assert read_numbers(reader.read([3, 11])) == ([3, 11] if fault else [0, 0])
        with pytest.raises(IndexError, match="has 12 frames"):
            reader.read([12])


# From here on with torchcodec itself.


@pytest.fixture
def _needs_torchcodec() -> None:
    pytest.importorskip("torchcodec")
    if torchcodec_file.load_torchcodec() is None:
        pytest.skip("torchcodec is installed, but finds no FFmpeg libraries")


@pytest.mark.usefixtures("_needs_torchcodec")
@pytest.mark.parametrize("codec", ["mpeg4", "libx264"])
def test_parts_and_odd_sizes(codec: str, tmp_path: Path, make_video: MakeVideo, read_numbers: ReadNumbers) -> None:
    path = make_video(tmp_path / "x.mp4", num_frames=50, codec=codec)
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        tar.add(path, "x.mp4")
    with tarfile.open(tmp_path / "x.tar") as tar:
        member = tar.getmembers()[0]
    parts: list[dict[str, Any]] = [
        {},
        {"span_sec": (0.8, 1.6)},
        {"frame_range": (20, 40)},
        {"member": (member.offset_data, member.size)},
    ]
    for part, first in zip(parts, [0, 20, 20, 0], strict=True):
        file = tmp_path / "x.tar" if "member" in part else path
        with VideoReader(file, decoder="torchcodec", **part) as reader:
            assert read_numbers(reader.read([19, 0, 7])) == [first + 19, first, first + 7]
            assert not reader._source._is_refused  # type: ignore[union-attr]
    odd = make_video(tmp_path / "odd.mp4", size=(50, 72), codec=codec)
    with VideoReader(odd, decoder="torchcodec") as reader:
        assert torch.equal(reader.read([0, 9]), read_frames(odd, [0, 9]))


@pytest.mark.slow
@pytest.mark.usefixtures("_needs_torchcodec")
def test_every_clip_of_the_manifest_by_torchcodec(shared_data: Path) -> None:
    with open(shared_data / "clips" / "manifest.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["frames_decoded"]]
    num_decoded = 0
    for row in rows:
        path, count = shared_data / "clips" / row["file"], int(row["frames_decoded"])
        wanted = [count - 1, 0, count // 2, count // 3]
        with VideoReader(path, decoder="torchcodec") as reader:
            assert reader.num_frames == count
            got = reader.read(wanted).float()
            num_decoded += not reader._source._is_refused  # type: ignore[union-attr]
        difference = (got - read_frames(path, wanted).float()).abs()
        # Chroma of 10 bits is interpolated otherwise; all else is equal to the bit.
        assert difference.mean() <= (4 if "10" in row["pix_fmt"] and row["codec"] != "prores" else 0), row["file"]
    assert num_decoded >= 30

"""Fixtures of video/, data/, jobs/ and inference/: videos that carry their number in their pixels, tiny weights."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from videozoo import Predictor
from videozoo.data import VideoDataset, VideoError, VideoSource, create_transform, open_record
from videozoo.data.motions import write_motions

BITS = 8
MODEL = "test_dnr_tsn.motions"


def paint_number(number: int, height: int, width: int) -> np.ndarray:
    """RGB image of BITS upright bars, black for 0 and white for 1, the lowest bit on the left."""
    bits = [255 * (number >> bit & 1) for bit in range(BITS)]
    row = np.repeat(np.array(bits, np.uint8), width // BITS)
    return np.broadcast_to(row[None, :, None], (height, row.size, 3)).copy()


@pytest.fixture(scope="session")
def read_numbers() -> Callable[[Tensor], list[int]]:
    """Numbers painted in uint8 frames (N, 3, H, W)."""

    def read(frames: Tensor) -> list[int]:
        bars = frames.float().mean((1, 2)).reshape(len(frames), BITS, -1).mean(-1) > 127
        return [sum(int(bar) << bit for bit, bar in enumerate(row)) for row in bars.tolist()]

    return read


@pytest.fixture(scope="session")
def video_error() -> Callable[..., VideoError]:
    """The VideoError that a loader raises; without its traceback, which would keep the workers waiting."""

    def catch(dataset: Dataset[Any], num_workers: int) -> VideoError:
        try:
            list(DataLoader(dataset, num_workers=num_workers))
        except VideoError as error:
            return error.with_traceback(None)
        raise AssertionError("no VideoError came")

    return catch


@pytest.fixture(scope="session")
def make_video() -> Callable[..., Path]:
    """Writes ``num_frames`` painted frames; ``pts`` gives their times in 1/100 s, else 25 frames a second."""

    def make(
        path: Path,
        num_frames: int = 12,
        codec: str = "mpeg4",
        size: tuple[int, int] = (48, 64),
        gop: int = 6,
        pts: list[int] | None = None,
        pix_fmt: str | None = None,
        **options: str,
    ) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        muxer = {"movflags": options.pop("movflags")} if "movflags" in options else {}
        with av.open(str(path), "w", options=muxer) as container:
            stream = container.add_stream(codec, rate=25, options=options)
            stream.height, stream.width = size
            stream.pix_fmt = pix_fmt or ("rgb8" if codec == "gif" else "yuv420p")
            stream.codec_context.gop_size = gop
            stream.codec_context.thread_count = 1
            if codec == "mpeg4":
                stream.bit_rate = 1_000_000
            for number in range(num_frames):
                frame = av.VideoFrame.from_ndarray(paint_number(number, *size), format="rgb24")
                frame.time_base = Fraction(1, 100)
                frame.pts = pts[number] if pts else 4 * number
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        return path

    return make


@pytest.fixture(scope="session")
def make_frames() -> Callable[..., None]:
    """Writes images, named from 1 on, that show ``numbers``."""

    def make(folder: Path, numbers: range, pattern: str = "{:05d}.jpg") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for place, number in enumerate(numbers, 1):
            Image.fromarray(paint_number(number, 48, 64)).save(folder / pattern.format(place), quality=95)

    return make


@pytest.fixture
def shown(read_numbers: Callable[[Tensor], list[int]]) -> Callable[[VideoSource], list[tuple[str, str, list[int]]]]:
    """Name, class and first and last painted number of each video; a clip of each is read on the way."""

    def look(source: VideoSource) -> list[tuple[str, str, list[int]]]:
        transform = create_transform(input_size=(3, 32, 32))
        dataset = VideoDataset(source.records, transform, num_frames=2)
        found = []
        for index, record in enumerate(source.records):
            item: dict[str, Any] = dataset[index]
            assert item["label"] == record.label
            assert item["video"].shape == (1, 3, 2, 32, 32)
            with open_record(record) as reader:
                frames = reader.read([0, reader.num_frames - 1])
            found.append((record.name, source.class_names[record.label], read_numbers(frames)))
        return found

    return look


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Twelve readable files."""
    root = write_motions(
        tmp_path_factory.mktemp("inference") / "motions",
        clips_per_class=1,
        val_clips_per_class=1,
        size=32,
        num_frames=8,
    )
    return sorted(root.rglob("*.mp4"))


@pytest.fixture(scope="session")
def predictor() -> Predictor:
    return Predictor(MODEL, device="cpu", batch_size=2)

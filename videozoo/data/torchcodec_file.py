"""Frames of a video file by torchcodec, an optional package."""

import functools
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np

from .av_file import AvFile
from .byte_window import ByteWindow
from .limits import TimeLimit
from .packet_index import PacketIndex

logger = logging.getLogger(__name__)


@functools.cache
def load_torchcodec() -> Any:
    """The class torchcodec.decoders.VideoDecoder, or None, with one warning, where it cannot be loaded."""
    try:
        from torchcodec.decoders import VideoDecoder

        reason = _why_no_library(VideoDecoder)
    except (ImportError, OSError, RuntimeError) as err:
        reason = str(err)
    if not reason:
        return VideoDecoder
    # Its own text goes on for pages.
    first_sentence = reason.strip().partition("\n")[0].partition(". ")[0]
    logger.warning(
        "torchcodec cannot be loaded (%s), so videos are decoded by PyAV, to the same frames. It needs "
        "`pip install torchcodec` and FFmpeg's shared libraries.",
        first_sentence,
    )
    return None


def _why_no_library(decoder: Any) -> str:
    """What its libraries say that are loaded with the first decoder; none where they are there."""
    try:
        decoder(b"no video")
    except (RuntimeError, ValueError, OSError) as err:
        return str(err) if "libtorchcodec" in str(err) else ""
    return ""


class TorchcodecFile:
    """One video file, indexed by PyAV and decoded by torchcodec.

    PyAV settles what there is to read (stream, size, rotation, number and times of frames, spans) and refuses what is
    no video of this machine; every frame that torchcodec gives is compared with its time stamp. What torchcodec refuses
    or gives at another time, files without an index (damaged ones among them) and mirrored ones are decoded by PyAV.

    Args:
        path, span_sec, member, limit: as for ``AvFile``. The limit cannot stop torchcodec in the middle of a read.
    Raises:
        VideoError: as for ``AvFile``.
    """

    def __init__(
        self,
        path: Path,
        *,
        span_sec: tuple[float, float] | None = None,
        member: tuple[int, int] | None = None,
        limit: TimeLimit,
    ) -> None:
        self._av = AvFile(path, span_sec=span_sec, member=member, limit=limit)
        self._limit = limit
        self._window = None if member is None else ByteWindow(path, member)
        self._source = path if self._window is None else self._window
        self._decoder: Any = None
        self._is_refused = self._av.is_mirrored
        self.width, self.height, self.fps = self._av.width, self._av.height, self._av.fps

    def close(self) -> None:
        """Close the file."""
        self._decoder = None
        self._av.close()
        if self._window is not None:
            self._window.close()

    def count(self) -> int:
        """Number of frames."""
        return self._av.count()

    def read_into(self, slots: dict[int, list[int]], out: np.ndarray) -> None:
        """Write frame ``i`` to ``out[slots[i]]`` as RGB.

        Args:
            slots: frame index to places in ``out``.
            out: uint8 (N, height, width, 3).
        Raises:
            IndexError: an index is not below the number of frames; its argument is that number.
            VideoError: a frame cannot be had.
        """
        if slots and not self._is_refused and max(slots) < self._av.count():
            try:
                images = self._decode(sorted(slots))
            except (RuntimeError, ValueError, IndexError, OSError) as err:
                logger.debug("%s: torchcodec refuses it (%s); PyAV reads it", self._av.path, err)
                self._is_refused = True
            else:
                self._limit.check()
                for index, image in zip(sorted(slots), images, strict=True):
                    out[slots[index]] = image
                return
        self._av.read_into(slots, out)

    def _decode(self, indices: list[int]) -> np.ndarray:
        """uint8 (N, H, W, 3); RuntimeError where it is not what the index says."""
        index = self._av.index()
        if index is None:
            raise RuntimeError("it has no index")
        if self._decoder is None:
            self._decoder = load_torchcodec()(
                self._source,
                stream_index=self._av.stream_index,
                dimension_order="NHWC",
                custom_frame_mappings=_frame_mappings(index),
            )
        places = [i + index.first for i in indices]
        batch = self._decoder.get_frames_at(places)
        unit = float(self._av.time_base)
        times = [index.pts[i] * unit for i in places]
        if not np.allclose(batch.pts_seconds.numpy(), times, rtol=0, atol=unit / 2):
            raise RuntimeError("its frames come at other times")
        if tuple(batch.data.shape[1:3]) != (self.height, self.width):
            raise RuntimeError("its frames are of another size")
        return batch.data.numpy()


def _frame_mappings(index: PacketIndex) -> bytes:
    """The index in the form that torchcodec takes instead of a pass of its own over all packets."""
    ends = [*index.pts[1:], index.pts[-1] + 1]
    keys = set(index.keys)
    frames = [
        {"pts": pts, "duration": end - pts, "key_frame": int(i in keys)}
        for i, (pts, end) in enumerate(zip(index.pts, ends, strict=True))
    ]
    return json.dumps({"frames": frames}).encode()

"""Frames of a video file by decoding it from its start, or from before a span: right for damaged files too."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import closing

from av.video.frame import VideoFrame

from .av_stream import AvStream
from .errors import NoSuchFrameError, VideoError

# Decoded frames that counting may keep for the read that follows, in bytes: 10 s of 340x256 take 40 MB.
KEEP_BYTES = 256 * 2**20

TakeFrame = Callable[[int, VideoFrame], None]


class ExactFrames:
    """Frame ``i`` is the i-th that really decodes, in the order in which the decoder puts them out.

    A packet that does not decode is skipped, as ffmpeg does. So what a damaged file holds is only known once the frames
    before have been decoded.

    Args:
        stream: just opened.
        open_again: opens the same file once more.
        span_sec: only the frames of [start, end) seconds, counted from its first one. None: all.
        begin: gives the frames of such a stream and their seconds, from its start or from before the span.
    """

    def __init__(
        self,
        stream: AvStream,
        open_again: Callable[[], AvStream],
        span_sec: tuple[float, float] | None = None,
        begin: Callable[[AvStream], Iterator[tuple[float, VideoFrame]]] = AvStream.shown,
    ) -> None:
        self._stream = stream
        self._open_again = open_again
        self._span_sec = span_sec
        self._begin = begin
        self._front = begin(stream)
        self._first = 0  # the span's first frame, among all
        self._num_decoded = 0
        self.damaged: set[int] = set()  # of the frames decoded so far, those that show damage, or may
        self._kept: dict[int, VideoFrame] = {}
        self._kept_bytes = 0
        if span_sec is not None:
            self._skip_to(span_sec[0])

    def close(self) -> None:
        """Close the file.

        Frames are no longer to be had.
        """
        self._kept.clear()
        self._front = iter(())
        self._stream.close()

    def count(self) -> int:
        """Return the number of frames.

        All are decoded on the first call.
        """
        for index, frame in self._advance():
            self._keep(index, frame)
        return self._num_decoded - self._first

    def read(self, indices: list[int], take: TakeFrame) -> bool:
        """Hand the frames of ascending indices to ``take``.

        True.

        Raises:
            NoSuchFrameError: an index is not below the number of frames.
            VideoError: a frame that decoded before is no longer to be had.
        """
        wanted = {i + self._first for i in indices}
        passed = {i for i in wanted if i < self._num_decoded}
        last = max(wanted, default=-1)
        if last >= self._num_decoded:
            for index, frame in self._advance():
                if index in wanted:
                    take(index - self._first, frame)
                if index == last:
                    break
        if last >= self._num_decoded:
            raise NoSuchFrameError(self._num_decoded - self._first)
        for index in sorted(passed & self._kept.keys()):
            take(index - self._first, self._kept[index])
        self._read_again(passed - self._kept.keys(), take)
        return True

    def _read_again(self, wanted: set[int], take: TakeFrame) -> None:
        if not wanted:
            return
        with closing(self._open_again()) as stream:
            for index, (_, frame) in enumerate(itertools.islice(self._begin(stream), max(wanted) + 1)):
                if index in wanted:
                    take(index - self._first, frame)
                    wanted.remove(index)
        if wanted:
            raise VideoError(stream.path, f"frame {min(wanted)} decoded once but not again; did the file change?")

    def _advance(self) -> Iterator[tuple[int, VideoFrame]]:
        """Yield frames decoded for the first time, with their place among all, up to the end of the span."""
        for seconds, frame in self._front:
            if self._span_sec is not None and seconds >= self._span_sec[1]:
                break
            self._num_decoded += 1
            if self._stream.shows_damage:
                self.damaged.add(self._num_decoded - 1 - self._first)
            yield self._num_decoded - 1, frame
        self._front = iter(())

    def _skip_to(self, start_sec: float) -> None:
        for seconds, frame in self._front:
            if seconds >= start_sec:
                self._front = itertools.chain([(seconds, frame)], self._front)
                break
            self._num_decoded += 1
        self._first = self._num_decoded

    def _keep(self, index: int, frame: VideoFrame) -> None:
        size = sum(plane.buffer_size for plane in frame.planes)
        if self._kept_bytes + size <= KEEP_BYTES:
            self._kept[index] = frame
            self._kept_bytes += size

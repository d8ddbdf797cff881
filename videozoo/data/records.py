"""Records: the entries of a source of labeled videos."""

import json
import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from videozoo.text import count_of
from videozoo.video.reader import VideoReader

# Endings by which videos are found in folders and shards. A list may name files of any ending.
VIDEO_EXTENSIONS = frozenset(
    f".{ending}"
    for ending in (
        *("mp4", "m4v", "mov", "qt", "3gp", "3g2", "f4v", "m4s", "cmfv", "ismv", "lrv", "insv", "360"),
        *("mkv", "mk3d", "webm", "avi", "divx", "xvid", "flv", "swf", "wmv", "asf", "wtv", "rm", "rmvb", "nsv"),
        *("mpg", "mpeg", "mpe", "mpv", "m1v", "m2v", "m2p", "vob", "mod", "tod", "ts", "m2t", "m2ts", "mts", "trp"),
        *("ogv", "ogg", "ogm", "mxf", "gxf", "nut", "dv", "dif", "dav", "amv", "gif", "apng", "mjpeg", "mjpg", "y4m"),
        *("h264", "264", "avc", "h265", "265", "hevc", "h266", "266", "vvc", "ivf", "obu", "av1"),
    )
)


@dataclass(frozen=True)
class VideoRecord:
    """One labeled video.

    Args:
        path: the file, or the folder of its frames.
        label: class index. -1 where unknown, and in a multi-label source.
        source: where it is listed, such as ``train.txt:12``, for errors.
        name: its path relative to the list, the data root or the class folders' root, with ``/``. The same wherever the
            data lies.
        span_sec: the part [start, end) of the file that is the video, in seconds. None: all of it.
        frame_range: the half-open range of its frames, or of the folder's images. None: all of them.
        member: (offset, size) in bytes of the file inside the tar shard ``path``. None: ``path`` is the file.
        labels: in a multi-label source, the class indices of the video, rising, perhaps none. None elsewhere.
        content: the video itself where it is in memory, as :class:`VideoReader` takes it. ``path`` is then but a name.
    """

    path: Path
    label: int
    source: str
    name: str = ""
    span_sec: tuple[float, float] | None = None
    frame_range: tuple[int, int] | None = None
    member: tuple[int, int] | None = None
    labels: tuple[int, ...] | None = None
    content: Any = field(default=None, compare=False, repr=False, kw_only=True)

    @property
    def classes(self) -> tuple[int, ...]:
        """Every class index of the video, one or several.

        None where it has no class or its class is unknown.
        """
        if self.labels is not None:
            return self.labels
        return (self.label,) if self.label >= 0 else ()

    @property
    def listed(self) -> str:
        """The end of an error that says where the video is listed.

        Empty where that is the video itself.
        """
        return "" if self.path.as_posix().endswith(self.source) else f" [listed in {self.source}]"

    @property
    def part(self) -> dict[str, Any]:
        """Return the part of ``path`` to read, or its substitute, as keywords of :class:`VideoReader`."""
        part = {"span_sec": self.span_sec, "frame_range": self.frame_range, "member": self.member}
        return {**part, "content": self.content}

    def stamp(self) -> str:
        """Return what changes with the video: its path and part, its file's size and time of change."""
        part = [os.path.abspath(self.path), self.span_sec, self.frame_range, self.member]
        return json.dumps([*part, *self.file_state()])

    def file_state(self) -> tuple[int, int]:
        """Return size in bytes and time of change in nanoseconds of its file, -1 each where it is not there."""
        try:
            status = os.stat(self.path)
        except (OSError, ValueError):
            return -1, -1
        return status.st_size, status.st_mtime_ns


@dataclass(frozen=True)
class VideoSource:
    """Labeled videos and the names of their classes.

    Args:
        records: the videos in the order listed.
        class_names: name of each label.
        data_format: one of ``DATA_FORMATS``. Empty where the source was put together by hand.
        warnings: what is odd but no fault, such as classes without a video.
        multi_label: whether a video may have any number of classes. They are in ``labels`` of its record then.
    """

    records: tuple[VideoRecord, ...]
    class_names: tuple[str, ...]
    data_format: str = ""
    warnings: tuple[str, ...] = ()
    multi_label: bool = False

    def summary(self) -> str:
        """Counts in a line: ``160 videos of 4 classes (path_list), 38 to 42 a class``."""
        counts = Counter(label for record in self.records for label in (record.classes or (-1,)))
        if self.multi_label:
            counts.pop(-1, None)
        videos, classes = count_of(self.records, "video"), count_of(self.class_names, "class", "classes")
        if not self.class_names:
            return f"{videos} without labels"
        kind = f" ({self.data_format})" if self.data_format else ""
        kind += ", several a video" if self.multi_label else ""
        spread = f", {min(counts.values())} to {max(counts.values())} a class" if counts else ""
        unused = len(self.class_names) - len(counts.keys() & set(range(len(self.class_names))))
        empty = f"; {unused} {'class has' if unused == 1 else 'classes have'} none" if unused else ""
        return f"{videos} of {classes}{kind}{spread}{empty}"


def open_record(record: VideoRecord) -> VideoReader:
    """Open a listed video: its file, or the part of a file that the record names.

    Args:
        record: what ``load_source(...).records`` gives.
    Raises:
        VideoError: the video cannot be read.
    """
    return VideoReader(record.path, **record.part)

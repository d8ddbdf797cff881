"""Lists of videos to be answered, with or without labels, in little memory however long they are."""

import codecs
import hashlib
import mmap
import os
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np

from videozoo.data import VIDEO_EXTENSIONS, SourceError, VideoRecord, load_source
from videozoo.data.comments import is_comment, warn_comments
from videozoo.data.files import find_videos, is_video_name
from videozoo.data.list_errors import SEVERAL_LABELS
from videozoo.data.list_text import expand_home

LABELLED_SUFFIXES = (".csv", ".tsv", ".json", ".jsonl", ".tar")


class Listing(Sequence[VideoRecord]):
    """Records that are created on access, and the key of their list.

    Args:
        digest: SHA-256 of what is listed. The same wherever the videos lie.
        num_repeats: lines left out because their video is listed further up.
        warnings: what else is odd about the list.
    """

    digest: str
    num_repeats: int = 0
    warnings: tuple[str, ...] = ()

    @overload
    def __getitem__(self, index: int) -> VideoRecord: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[VideoRecord]: ...
    def __getitem__(self, index: int | slice) -> VideoRecord | Sequence[VideoRecord]:
        if isinstance(index, slice):
            return [self._record(i) for i in range(len(self))[index]]
        return self._record(range(len(self))[index])

    def _record(self, index: int) -> VideoRecord:
        raise NotImplementedError


class Shard(Listing):
    """Share of one process: every ``num_shards``-th record of a list.

    ``places`` are their places in the list.
    """

    def __init__(self, listing: Sequence[VideoRecord], num_shards: int, shard: int) -> None:
        self.listing, self.places = listing, range(shard, len(listing), num_shards)

    def __len__(self) -> int:
        return len(self.places)

    def _record(self, index: int) -> VideoRecord:
        return self.listing[self.places[index]]


class PathList(Listing):
    """A text file of one path a line: 16 bytes of memory each, whatever its length.

    Args:
        path: UTF-8 text, or with the very bytes of files' names. Blank lines and comments are passed over, a path that
            comes again is left out.
        root: folder that relative paths start from. None: the list's own.
    Raises:
        SourceError: it cannot be read, is not UTF-8 text, or lists nothing.
    """

    def __init__(self, path: Path, root: Path | None = None) -> None:
        self.path = path
        self.root = path.parent if root is None else root
        try:
            with open(path, "rb") as file:
                self._text = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError:  # an empty file cannot be mapped
            raise SourceError(f"{path}: nothing is listed; write one path a line.") from None
        except OSError as err:
            raise SourceError(f"{path}: cannot be read ({err.strerror}).") from err
        self._end = b"\r" if self._text.find(b"\n") < 0 else b"\n"
        self._scan()
        if not len(self):
            raise SourceError(f"{path}: nothing is listed; write one path a line.")

    def _scan(self) -> None:
        starts, numbers, hashes, digest = array("q"), array("q"), array("q"), hashlib.sha256()
        comments: dict[str, str] = {}
        position = 0
        for number, line in enumerate(self._lines(), 1):
            text = _decode(line)
            if not text.isprintable() and not _is_utf8(line) and not os.path.lexists(self.root / text):
                raise SourceError(f"{self.path}:{number}: not UTF-8 text; pass a list with one path a line.")
            if "\0" in text:
                raise SourceError(f"{self.path}:{number}: not text (it holds zero bytes); pass one path a line.")
            if is_comment(text, self.root, [text]):
                comments[f"{self.path.name}:{number}"] = text
            elif text:
                starts.append(position)
                numbers.append(number)
                hashes.append(hash(os.path.normpath(text)))
                digest.update(os.fsencode(text) + b"\n")
            position += len(line)
        self._starts, self._numbers = np.array(starts), np.array(numbers)
        self.digest = digest.hexdigest()
        self.warnings = tuple(warn_comments(self.path, comments.items()))
        repeats = self._repeats(np.array(hashes))
        self._starts, self._numbers = np.delete(self._starts, repeats), np.delete(self._numbers, repeats)
        self.num_repeats = len(repeats)

    def _lines(self) -> Iterator[bytes]:
        """Yield lines with their ends. Lists of old Macs have CR alone."""
        start = 0
        while start < len(self._text):
            end = self._text.find(self._end, start) + 1 or len(self._text)
            yield self._text[start:end]
            start = end

    def _repeats(self, hashes: np.ndarray) -> list[int]:
        """Places of paths that stand further up too. Equal hashes are looked at."""
        order = np.argsort(hashes, kind="stable")
        is_again = np.flatnonzero(hashes[order][1:] == hashes[order][:-1]) + 1
        repeats, seen = [], {}
        for place in is_again:
            before, here = int(order[place - 1]), int(order[place])
            if place - 1 not in is_again:
                seen = {os.path.normpath(self._line(before)): before}
            if seen.setdefault(os.path.normpath(self._line(here)), here) != here:
                repeats.append(here)
        return repeats

    def _line(self, index: int) -> str:
        start = int(self._starts[index])
        end = self._text.find(self._end, start)
        return _decode(self._text[start : end if end >= 0 else len(self._text)])

    def __len__(self) -> int:
        return len(self._starts)

    def _record(self, index: int) -> VideoRecord:
        name = self._line(index)
        return VideoRecord(self.root / name, -1, f"{self.path.name}:{self._numbers[index]}", name)

    def __getstate__(self) -> dict[str, object]:
        return {key: value for key, value in self.__dict__.items() if key != "_text"}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        with open(self.path, "rb") as file:
            self._text = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _decode(line: bytes) -> str:
    """Return the path of a line. Names of files may be of any bytes."""
    return line.removeprefix(codecs.BOM_UTF8).decode("utf-8", "surrogateescape").strip()


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


class RecordList(Listing):
    """Records that `load_source` found."""

    def __init__(self, records: Sequence[VideoRecord], warnings: Sequence[str] = ()) -> None:
        self.records, self.warnings = records, tuple(warnings)
        digest = hashlib.sha256()
        for record in records:
            parts = (record.name or str(record.path), record.span_sec, record.frame_range, record.member)
            digest.update(f"{parts!r}\n".encode("utf-8", "surrogateescape"))
        self.digest = digest.hexdigest()

    def __len__(self) -> int:
        return len(self.records)

    def _record(self, index: int) -> VideoRecord:
        return self.records[index]


def open_listing(
    data: str | os.PathLike[str],
    *,
    data_root: str | os.PathLike[str] | None = None,
    **source_options: str | None,
) -> Listing:
    """Open a text file of one path a line, or anything labeled that `load_source` knows.

    A text file counts as one of paths if its first line is a path: it ends like a video, or is there. A folder with
    videos right inside is a list of all videos in it, at any depth. What is missing or empty costs its row only.

    Args:
        data: the list or folder.
        data_root: folder that its paths start from, instead of the list's own.
        source_options: for `load_source`. Naming a format settles that the list is labeled.
    Raises:
        SourceError: it cannot be read, or `load_source` refuses it.
    """
    path, root = Path(expand_home(data)), None if data_root is None else Path(expand_home(data_root))
    options = {key: value for key, value in source_options.items() if value is not None}
    if not options and path.is_file() and path.suffix.lower() not in (*LABELLED_SUFFIXES, *VIDEO_EXTENSIONS):
        listing = PathList(path, root)
        first = listing[0]
        if Path(first.name).suffix.lower() in VIDEO_EXTENSIONS or first.path.exists():
            return listing
    if not options and path.is_dir() and any(is_video_name(entry.name) for entry in path.iterdir()):
        videos = find_videos(path)
        return RecordList([VideoRecord(video, -1, str(video), video.relative_to(path).as_posix()) for video in videos])
    where: dict[str, Any] = {"data_root": data_root, "check_files": False, "needs_labels": False, **options}
    try:
        source = load_source(data, **where)
    except SourceError as error:
        if SEVERAL_LABELS not in str(error):
            raise
        try:
            source = load_source(data, multi_label=True, **where)
        except SourceError:
            raise error from None
    return RecordList(source.records, source.warnings)

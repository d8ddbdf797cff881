"""A data set written again for training: small videos with short GOPs, as files with a list or as tar shards."""

import hashlib
import io
import json
import os
import re
import shutil
import tarfile
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from videozoo.data.records import VIDEO_EXTENSIONS, VideoRecord, VideoSource
from videozoo.files import remove_leftovers
from videozoo.jobs.write_list import CLASSES, write_list
from videozoo.video.errors import VideoError

from .disk import hold_folder, write_whole
from .errors import JobError
from .journal import Journal, finish_journal
from .reencode import reencode

JOURNAL = "prepared.jsonl"
SETTINGS = "prepare.json"
LIST = "list.csv"
# Encoded videos on their way into shards.
WAITING = ".videos"
TAR_BLOCK = 512


@dataclass(frozen=True)
class Prepared:
    """Result of `prepare`.

    Args:
        written: the list, or the shards.
        num_videos: videos in it.
        broken: of those that could not be read, place in the list and reason.
    """

    written: tuple[Path, ...]
    num_videos: int
    broken: tuple[tuple[str, str], ...]


def prepare_source(
    source: VideoSource,
    folder: Path,
    *,
    short_side: int = 256,
    gop: int = 12,
    shard_bytes: int | None = None,
    workers: int = 2,
    limit_sec: float = 600.0,
    on_progress: Callable[[int, int], None] | None = None,
) -> Prepared:
    """Write every video of a source again.

    Killed and called again, it goes on with those that are not there yet.

    Args:
        source: what ``load_source`` gives.
        folder: for what is written. New, or of an earlier run with the same settings and list.
        short_side, gop: see ``reencode``.
        shard_bytes: size of tar shards, about. None writes files and ``list.csv``.
        workers: videos worked on at a time.
        limit_sec: processor time that one may take.
        on_progress: called with the videos done and the broken ones among them.
    Raises:
        JobError: the folder holds other things or another run's, another process writes it, a file changed in between,
            or the disk refused. Shards of a multi-label source.
    """
    if shard_bytes is not None and source.multi_label:
        raise JobError(f"{folder}: shards hold one class a video; prepare a multi-label list as files, without shards.")
    with hold_folder(folder, "prepared videos", alone=True), closing(Journal(folder / JOURNAL)) as journal:
        names = output_names(source.records, has_shards=shard_bytes is not None)
        _check_settings(folder, source, {"short_side": short_side, "gop": gop, "shard_bytes": shard_bytes})
        home = folder if shard_bytes is None else folder / WAITING
        remove_leftovers(folder.rglob(".*.tmp"))
        stamps = {name: record.stamp() for name, record in zip(names, source.records, strict=True)}
        done = _finished(journal, stamps, home, has_shards=_has_shards(folder))
        rest = {
            name: _Task(record, home / name, short_side, gop)
            for name, record in zip(names, source.records, strict=True)
            if name not in done
        }
        if rest and _has_shards(folder):
            raise JobError(f"{folder}: {len(rest)} videos changed since its shards were written; remove it first.")

        def to_line(name: str, entry: dict[str, Any]) -> dict[str, Any]:
            return {"name": name, "file": stamps[name], **entry}

        finish_journal(
            journal, done, rest, _encode, to_line, workers=workers, limit_sec=limit_sec, on_progress=on_progress
        )
        return _finish(source, folder, names, done, shard_bytes)


@dataclass(frozen=True)
class _Task:
    record: VideoRecord
    target: Path
    short_side: int
    gop: int


def _encode(task: _Task) -> dict[str, Any]:
    try:
        frames, size = reencode(task.record, task.target, short_side=task.short_side, gop=task.gop)
    except VideoError as error:
        return {"error": error.reason}
    except JobError:
        raise
    except Exception as error:  # whatever a file does to a decoder, it is this file's error
        return {"error": f"unexpected {type(error).__name__}, {error}"}
    return {"frames": frames, "bytes": size}


def output_names(records: Sequence[VideoRecord], *, has_shards: bool = False) -> list[str]:
    """Return each record's output path relative to the folder: its own relative name if possible, never outside.

    Args:
        records: names that differ in nothing but case, ending or part get numbers.
        has_shards: names for members of shards, whose key ends at the first dot.
    """
    taken: set[str] = set()
    folders: set[str] = set()
    names = []
    for record in records:
        stem = _safe_stem(record.name or record.path.name, has_shards)
        if not taken.isdisjoint(_parents(stem)):
            stem = stem.replace("/", "_")  # a folder of its path is a file by now
        name, number = f"{stem}.mp4", 1
        while name.casefold() in taken or name.casefold() in folders:
            number += 1
            name = f"{stem}_{number}.mp4"
        taken.add(name.casefold())
        folders.update(_parents(name))
        names.append(name)
    return names


def _parents(name: str) -> list[str]:
    return [str(parent).casefold() for parent in PurePosixPath(name).parents][:-1]


def _safe_stem(name: str, has_shards: bool) -> str:
    text = name.encode("utf-8", "replace").decode()
    text = re.sub(r'[\x00-\x1f\x7f\\:*?"<>|]', "_", text)
    parts = [part.strip() for part in text.split("/")]
    parts = [part for part in parts if part.strip(".")]
    folders, last = parts[:-1], parts[-1] if parts else "video"
    stem, ending = os.path.splitext(last)
    last = stem if ending.lower() in VIDEO_EXTENSIONS else last
    # Names that begin with a dot are passed over by readers.
    folders = [re.sub(r"^\.", "_", part) for part in folders]
    last = re.sub(r"^\.", "_", last)
    if has_shards:
        last = last.replace(".", "_")
        # Readers of shards pass over such names: they are for remarks.
        last = f"v{last}" if last.startswith("__") and last.endswith("__") else last
    return "/".join([*folders, last])


def _check_settings(folder: Path, source: VideoSource, settings: dict[str, Any]) -> None:
    """Refuse to mix two runs in a folder."""
    digest = hashlib.sha256("\n".join(source.class_names).encode("utf-8", "surrogateescape"))
    for record in source.records:
        parts: tuple[object, ...] = (os.path.abspath(record.path), record.label, record.span_sec, record.frame_range)
        parts += (record.member, *([] if record.labels is None else [record.labels]))
        digest.update(f"{parts!r}\n".encode("utf-8", "surrogateescape"))
    settings = {**settings, "list": digest.hexdigest()}
    path = folder / SETTINGS
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        write_whole(path, json.dumps(settings, indent=2))
        return
    for key, value in settings.items():
        if found.get(key) != value:
            what = "of another list" if key == "list" else f"with {key.replace('_', ' ')} {found.get(key)}, now {value}"
            raise JobError(f"{folder}: was begun {what}; give another --output.")


def _finished(journal: Journal, stamps: dict[str, Any], home: Path, *, has_shards: bool) -> dict[str, dict[str, Any]]:
    """Journal entries by name, of what is there and whose source is as it was."""
    done: dict[str, dict[str, Any]] = {}
    for entry in journal.read():
        name = entry.get("name")
        if name not in stamps:
            continue
        done.pop(name, None)
        if entry.get("file") == stamps[name]:
            done[name] = entry
    for name, entry in list(done.items()):
        if "error" not in entry and not has_shards and _size_of(home / name) != entry.get("bytes"):
            del done[name]
    return done


def _size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1


def _finish(
    source: VideoSource, folder: Path, names: Sequence[str], done: dict[str, dict[str, Any]], shard_bytes: int | None
) -> Prepared:
    records = [
        replace(record, path=folder / name, name=name, span_sec=None, frame_range=None, member=None)
        for record, name in zip(source.records, names, strict=True)
    ]
    good = [record for record in records if "error" not in done[record.name]]
    pairs = zip(source.records, records, strict=True)
    broken = tuple((old.source, done[new.name]["error"]) for old, new in pairs if "error" in done[new.name])
    if shard_bytes is None:
        write_list(folder / LIST, good, source.class_names)
        return Prepared((folder / LIST,), len(good), broken)
    write_whole(folder / CLASSES, "".join(f"{name}\n" for name in source.class_names))
    sizes = {record.name: done[record.name]["bytes"] for record in good}
    shards = _write_shards(folder, good, sizes, shard_bytes)
    return Prepared(tuple(shards), len(good), broken)


# Shards


def _has_shards(folder: Path) -> bool:
    return (folder / "000000.tar").exists()


def _write_shards(folder: Path, records: Sequence[VideoRecord], sizes: dict[str, int], limit: int) -> list[Path]:
    """Tars of KEY.mp4 and KEY.cls, in an order that mixes the classes. Each is there whole or not at all."""
    order = sorted(records, key=lambda record: hashlib.sha256(os.fsencode(record.name)).digest())
    groups: list[list[VideoRecord]] = []
    filled = 0
    for record in order:
        size = sizes[record.name] + 4 * TAR_BLOCK
        if not groups or filled + size > limit:
            groups.append([])
            filled = 0
        groups[-1].append(record)
        filled += size
    # The first one is written last: once it is there, all are.
    paths = [folder / f"{number:06d}.tar" for number in range(len(groups))]
    for path, group in reversed(list(zip(paths, groups, strict=True))):
        if not path.exists():
            _write_shard(path, folder / WAITING, group)
    shutil.rmtree(folder / WAITING, ignore_errors=True)
    return paths


def _write_shard(path: Path, home: Path, records: Sequence[VideoRecord]) -> None:
    def fill(file: BinaryIO) -> None:
        with tarfile.open(fileobj=file, mode="w") as tar:
            for record in records:
                video = home / record.name
                with open(video, "rb") as source:
                    tar.addfile(_member(record.name, video.stat().st_size), source)
                label = str(record.label).encode()
                tar.addfile(_member(f"{record.name.removesuffix('.mp4')}.cls", len(label)), io.BytesIO(label))

    write_whole(path, fill)


def _member(name: str, size: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o644
    return member

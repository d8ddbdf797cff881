"""Every file of a source decoded once: what it holds, and what is wrong with it."""

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from videozoo.data.records import VideoRecord, VideoSource
from videozoo.jobs.write_list import write_list
from videozoo.text import csv_text
from videozoo.video.errors import VideoError
from videozoo.video.file_warnings import ONE_FRAME
from videozoo.video.frame_clock import mean_rate
from videozoo.video.sequential_reader import WholeVideo
from videozoo.video.to_rgb import UprightRgb

from .disk import hold_folder, write_whole
from .journal import Journal, finish_journal

JOURNAL = "checked.jsonl"
REPORT = "report.csv"
CLASSES = "classes.csv"
CLEAN = "clean.csv"


@dataclass(frozen=True)
class Finding:
    """Result of checking one video.

    Args:
        frames: frames that decode.
        fps: mean frames per second. 0 for folders of images.
        width, height: of the first frame, after rotation.
        seconds: from the first frame to the end of the last. 0 for folders of images.
        error: why it cannot be used. Empty where it can.
        note: what is wrong with a video that can be used.
    """

    frames: int = 0
    fps: float = 0.0
    width: int = 0
    height: int = 0
    seconds: float = 0.0
    error: str = ""
    note: str = ""


@dataclass(frozen=True)
class ClassCount:
    """Number of readable and unreadable videos of a class."""

    name: str
    good: int
    broken: int


def check_video(record: VideoRecord) -> Finding:
    """Decode a video from its first frame to its last.

    Args:
        record: what ``load_source(...).records`` gives.
    """
    count, first, last = 0, None, None
    size = (0, 0)
    try:
        with WholeVideo(record.path, **record.part) as video:
            for frame in video.frames():
                if not count:
                    first = frame.time
                    to_rgb = UprightRgb(record.path, frame)
                    size = (to_rgb.width, to_rgb.height)
                    to_rgb(frame)  # fails where its pixels cannot be converted
                count, last = count + 1, frame.time
            fps = float(video.fps or 0)
            seconds = 0.0
            if fps:
                shown = (last or 0.0) - (first or 0.0)
                fps = mean_rate(fps, count, shown)
                seconds = shown + 1 / fps
            note = video.note
    except VideoError as error:
        return Finding(count, width=size[0], height=size[1], error=error.reason)
    except Exception as error:  # whatever a file does to a decoder, it is this file's error
        return Finding(count, width=size[0], height=size[1], error=f"unexpected {type(error).__name__}, {error}")
    return Finding(count, round(fps, 3), *size, round(seconds, 3), note=note)


def check_source(
    source: VideoSource,
    folder: Path,
    *,
    workers: int = 2,
    limit_sec: float = 300.0,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[Finding]:
    """Check every video of a source in parallel and write ``report.csv``, ``classes.csv`` and ``clean.csv``.

    Each finding is written to ``checked.jsonl`` at once: killed and called again, it checks the rest, and of what was
    checked only files of another size or time of change.

    Args:
        source: what ``load_source`` gives. ``check_files=False`` lets it list files that are not there.
        folder: for what is written. New, or of an earlier check.
        workers: processes. One that crashes marks its file.
        limit_sec: processor time that a file may take.
        on_progress: called with the videos checked and the broken ones among them.
    Raises:
        JobError: the folder holds other things, another process writes it, or the disk refused.
    """
    with hold_folder(folder, "a check of videos", alone=True), closing(Journal(folder / JOURNAL)) as journal:
        known = {entry["file"]: entry["found"] for entry in journal.read() if {"file", "found"} <= entry.keys()}
        stamps = [record.stamp() for record in source.records]
        done = {place: known[stamp] for place, stamp in enumerate(stamps) if stamp in known}
        rest = {place: record for place, record in enumerate(source.records) if place not in done}

        def to_line(place: int, found: dict[str, Any]) -> dict[str, Any]:
            return {"file": stamps[place], "found": asdict(Finding(**found))}

        finish_journal(
            journal, done, rest, _check, to_line, workers=workers, limit_sec=limit_sec, on_progress=on_progress
        )
        findings = [Finding(**done[place]) for place in range(len(source.records))]
        _write(folder, source, findings)
        return findings


def _check(record: VideoRecord) -> dict[str, Any]:
    return asdict(check_video(record))


def _write(folder: Path, source: VideoSource, findings: Sequence[Finding]) -> None:
    rows: list[list[object]] = [["path", "frames", "fps", "width", "height", "seconds", "error", "note"]]
    for record, finding in zip(source.records, findings, strict=True):
        numbers = (finding.frames, finding.fps, finding.width, finding.height, finding.seconds)
        name = record.name if record.member else record.path
        rows.append([name, *numbers, finding.error, finding.note])
    write_whole(folder / REPORT, csv_text(rows))
    counts = count_classes(source, findings)
    if counts:
        table = [(count.name, count.good, count.broken) for count in counts]
        write_whole(folder / CLASSES, csv_text([("class", "videos", "broken"), *table]))
    if not any(record.member for record in source.records):
        good = [record for record, finding in zip(source.records, findings, strict=True) if not finding.error]
        write_list(folder / CLEAN, good, source.class_names)


def count_classes(source: VideoSource, findings: Sequence[Finding]) -> list[ClassCount]:
    """Count the videos of each class, in the order of the classes.

    None where the source has no labels.
    """
    pairs = list(zip(source.records, findings, strict=True))
    good = Counter(label for record, finding in pairs if not finding.error for label in record.classes)
    broken = Counter(label for record, finding in pairs if finding.error for label in record.classes)
    return [ClassCount(name, good[label], broken[label]) for label, name in enumerate(source.class_names)]


def summary(findings: Sequence[Finding]) -> list[tuple[str, str]]:
    """Return the findings as names and values."""
    good = [finding for finding in findings if not finding.error]
    rows = [
        ("videos", str(len(findings))),
        ("broken", str(len(findings) - len(good))),
        ("damaged", f"{sum(f.note not in ('', ONE_FRAME) for f in good)} that can be used in part"),
    ]
    num_stills = sum(finding.note == ONE_FRAME for finding in good)
    if num_stills:
        rows.append(("stills", f"{num_stills} with one frame only"))
    if good:
        frames = sorted(finding.frames for finding in good)
        rows.append(("frames", f"{frames[0]} to {frames[-1]}, median {frames[len(frames) // 2]}"))
        sizes = Counter(f"{finding.width}x{finding.height}" for finding in good).most_common()
        more = f" and {len(sizes) - 5} other sizes" if len(sizes) > 5 else ""
        rows.append(("sizes", ", ".join(f"{size} ({count})" for size, count in sizes[:5]) + more))
    times = sorted(finding.seconds for finding in good if finding.seconds)
    if times:
        rows.append(
            (
                "seconds",
                f"{times[0]:.1f} to {times[-1]:.1f}, median {times[len(times) // 2]:.1f}, total {sum(times):,.0f}",
            )
        )
    errors = Counter(finding.error for finding in findings if finding.error).most_common(10)
    return rows + [("error", f"{count} x {error}") for error, count in errors]

"""``videozoo predict --segments`` and ``--annotate``: the classes of one video over time.

Heavy imports inside.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from videozoo.arguments import flag_of
from videozoo.cli.command import flag, group
from videozoo.cli.console import LOG_SEC, CommandError, print_error, print_result, print_status
from videozoo.files import write_file
from videozoo.text import csv_text
from videozoo.training.sizes import parse_views

if TYPE_CHECKING:
    from videozoo.inference import Predictor, Segment, WindowScores

OVER_TIME = group(
    "one long video over time",
    flag(
        "--segments",
        metavar="FILE.csv",
        help="write the segments (start, end, class, score), and beside it FILE-windows.csv, the scores of every "
        "window, and FILE.png, a plot",
    ),
    flag("--annotate", metavar="FILE.mp4", help="write the video with its current predictions drawn on it"),
    flag(
        "--window", type=float, metavar="SEC", help="length of a window in seconds; default: that of the model's clips"
    ),
    flag("--stride", type=float, metavar="SEC", help="seconds between the starts of windows; default: half a window"),
)
_COLUMNS = ("start", "end", "class", "score")
_HEADER = csv_text([_COLUMNS]).encode()
_FOR_LISTS = ("input", "output", "num_shards", "shard", "data_format", "split", "batch_size", "workers")
_FOR_SEEKING = ("max_frames", "index_cache")  # the video is read once, from first to last


def is_over_time(args: argparse.Namespace) -> bool:
    """Return whether the flags ask for the classes of one video over time.

    Raises:
        CommandError: a window or a stride, and nothing that has one.
    """
    if args.segments or args.annotate:
        return True
    for name in ("window", "stride"):
        if getattr(args, name) is not None:
            raise CommandError(f"predict: {flag_of(name)} is for --segments and --annotate.")
    return False


def answer_over_time(args: argparse.Namespace, videos: list[Path], make_predictor: "Callable[[], Predictor]") -> int:
    """Write the requested files, print the segments, and return the exit status.

    Args:
        videos: the files that the command names.
        make_predictor: loads the model.
    Raises:
        CommandError: flags that do not go together, an output that cannot be written.
    """
    outputs = _check(args, videos)
    args.batch_size, args.workers = 1, 0
    from videozoo.data import VideoError

    predictor, (video,) = make_predictor(), videos
    try:
        windows = predictor.windows(
            video, window_sec=args.window, stride_sec=args.stride, on_progress=_progress_logger(f"{video}: scored")
        )
        segments = windows.segments()
        _say_segments(segments, args.json)
        _log_sizes(windows, args.window, args.stride)
        if windows.note:
            print_status(f"{video}: {windows.note}")
        if args.segments:
            _write_segments(outputs, windows, segments, args.topk)
        if args.annotate:
            from videozoo.inference.annotate import annotate_video

            log_progress = _progress_logger(f"{args.annotate}: drawn")
            count = annotate_video(video, windows, Path(args.annotate), args.topk, on_progress=log_progress)
            print_status(f"{args.annotate}: {count} frames")
    except VideoError as error:
        print_error(f"{video}: {error.reason}")
        return 1
    return 0


def _check(args: argparse.Namespace, videos: list[Path]) -> list[Path]:
    """Return the three files of ``--segments``, if requested."""
    mode = "--segments" if args.segments else "--annotate"
    for name in (*_FOR_LISTS, *_FOR_SEEKING):
        if getattr(args, name, None) is not None:
            raise CommandError(f"predict: {flag_of(name)} has no effect with {mode}, which takes one video.")
    views = parse_views(args.views)
    if views is not None and views[0] > 1:
        raise CommandError(f"predict: --views is {args.views}; with {mode} windows are the clips, give 1x{views[1]}.")
    if len(videos) != 1:
        raise CommandError(f"predict: {mode} takes one video; {len(videos)} were given.")
    outputs: list[Path] = []
    for name, suffix in (("segments", ".csv"), ("annotate", ".mp4")):
        text = getattr(args, name)
        if text is None:
            continue
        path = Path(text)
        if path.suffix != suffix:
            raise CommandError(f"predict: {flag_of(name)} is {text!r}; its name must end in {suffix}.")
        outputs += [path, path.with_name(f"{path.stem}-windows.csv"), path.with_suffix(".png")][
            : 3 if suffix == ".csv" else 1
        ]
    for path in outputs:
        if path.exists() and not path.is_file():
            raise CommandError(f"{path}: is no file; give another name with {mode}.")
        if path.exists() and videos[0].exists() and path.samefile(videos[0]):
            raise CommandError(f"{path}: is the video itself; give another name.")
        if not path.parent.is_dir():
            raise CommandError(f"{path}: there is no folder {path.parent}; make it first.")
        if path.exists() and not _is_ours(path, outputs):
            raise CommandError(f"{path}: exists and is of something else; remove it, or give another name.")
    return outputs


def _is_ours(path: Path, outputs: list[Path]) -> bool:
    """Return whether an earlier run of the same command wrote a file, so that it may be replaced."""
    if path.suffix == ".mp4":
        from videozoo.inference.annotate import is_annotated

        return is_annotated(path)
    table = outputs[0]  # the others are beside it
    return table.is_file() and table.read_bytes().startswith(_HEADER)


def _say_segments(segments: "Iterable[Segment]", as_json: bool) -> None:
    for row in segments:
        if as_json:
            times = {"start": round(row.start_sec, 3), "end": round(row.end_sec, 3)}
            score = {"class": row.label, "label": row.class_index, "score": round(row.score, 6)}
            print_result(json.dumps({**times, **score}, ensure_ascii=False))
        else:
            print_result(f"{row.start_sec:8.1f} to {row.end_sec:.1f} s  {row.score:6.1%}  {row.label}")


def _log_sizes(windows: "WindowScores", window: float | None, stride: float | None) -> None:
    """Log the length and distance of the windows, and suggest --window if all is one segment."""
    length = float(windows.end_sec[0] - windows.start_sec[0])
    is_one = len(windows.scores) == 1
    step = stride or (window or length) / 2
    taken = f"one window of {length:.3g} s" if is_one else f"windows of {window or length:.3g} s, every {step:.3g} s"
    hint = ""
    if len(windows.segments()) == 1:
        hint = "; the whole video is one segment, a shorter --window may tell more"
    print_status(f"{taken}{hint}")


def _write_segments(outputs: list[Path], windows: "WindowScores", segments: "list[Segment]", topk: int) -> None:
    from videozoo.inference.segment_picture import plot_windows
    from videozoo.jobs.prediction import best_classes

    table, scores, picture = outputs[:3]
    rows = [(f"{row.start_sec:.3f}", f"{row.end_sec:.3f}", row.label, f"{row.score:.6f}") for row in segments]
    write_file(table, csv_text([_COLUMNS, *rows]))
    best = best_classes(windows.scores, topk)
    header = [text for k in range(1, best.shape[1] + 1) for text in (f"class_{k}", f"score_{k}")]
    lines: list[list[Any]] = [["start", "end", *header]]
    for start, end, row, labels in zip(windows.start_sec, windows.end_sec, windows.scores, best, strict=True):
        pairs = [text for k in labels for text in (windows.class_names[k], f"{row[k]:.6f}")]
        lines.append([f"{start:.3f}", f"{end:.3f}", *pairs])
    write_file(scores, csv_text(lines))
    plot_windows(picture, windows)
    print_status(f"{table}, {scores.name}, {picture.name}: {len(segments)} segments of {len(windows.scores)} windows")


def _progress_logger(what: str) -> Callable[[float], None]:
    """Return a function that now and then logs how many seconds of the video are done."""
    last = time.monotonic()

    def tell(seconds: float) -> None:
        nonlocal last
        if time.monotonic() - last >= LOG_SEC:
            last = time.monotonic()
            print_status(f"{what} {seconds:.0f} s")

    return tell

"""``videozoo predict``: predicts the classes of files, or of a list of any length."""

import argparse
import codecs
import functools
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from videozoo.arguments import check_ranges, flag_of
from videozoo.choices import SCORE_FILES
from videozoo.cli.command import Command, flag, group, switch
from videozoo.cli.console import CommandError, print_error, print_result, print_status, show_log
from videozoo.cli.flags import AMP, DEVICE, INDEX_CACHE, MAX_FRAMES, VIEWS_HELP, model_flag
from videozoo.cli.jobs import BATCH_SIZE, JOB_FLAGS, answer_options, run_job
from videozoo.cli.segments import OVER_TIME, answer_over_time, is_over_time
from videozoo.jobs.output_folders import refuse_inside_data
from videozoo.launch import num_processes

if TYPE_CHECKING:
    from videozoo.inference import JobResult, Listing, Prediction, Predictor


COMMAND = Command(
    help="classify video files, or a list of any length",
    description="Print the top classes of each file with their probabilities. They sum to 1 over all classes, except "
    "for multi-label models. A folder of jpg or png frames counts as one video, any other folder as the videos in it. "
    "Unreadable files are reported on stderr, the others are classified, and the exit status is 1. --output writes the "
    "predictions to a csv, jsonl or Parquet file, --input reads a list of any length. An interrupted run with --output "
    "continues with the same command.",
    epilog="Examples: videozoo predict --model run/best a.mp4 b.webm frames/ ; "
    "find . -name '*.mp4' | videozoo predict --model run/best - --output scores.jsonl ; "
    "videozoo predict --model run/best long.mp4 --segments parts.csv --annotate seen.mp4 ; "
    "videozoo predict --model run/best --input list.txt --output scores.parquet --num-shards 4 --shard 0",
    flags=(
        flag(
            "files",
            nargs="*",
            metavar="FILE",
            help="video files, folders of them, or folders of frames; - reads paths from standard input, one per line",
        ),
        model_flag("a FILE.onnx of `videozoo export`"),
        flag("--topk", type=int, default=5, metavar="K", help="number of top classes"),
        flag("--views", metavar="CLIPSxCROPS", help=f"{VIEWS_HELP}; default: the model's own"),
        AMP,
        DEVICE,
        MAX_FRAMES,
        INDEX_CACHE,
        switch(
            "--json",
            help="print a JSON object per line and file: file, predictions (class, label, score) or error, and "
            "a note where the video has a problem",
        ),
        OVER_TIME,
        group(
            "lists and output files",
            flag(
                "--input",
                metavar="LIST",
                help="instead of FILE: a text file with one path per line, a folder of videos, or labeled videos as "
                "for finetune",
            ),
            flag("--output", metavar="FILE", help="file to write (.csv, .jsonl, .parquet); one per shard"),
            *JOB_FLAGS,
        ),
    ),
)
STDIN = "-"


def run(args: argparse.Namespace) -> int:
    """Predict files one by one, a list into a file, or one video over time."""
    check_ranges("predict", vars(args))
    over_time = is_over_time(args)
    if bool(args.files) == bool(args.input):
        raise CommandError("predict: give video files, or --input LIST" + (", not both." if args.files else "."))
    if over_time:
        files = [path for _, path in _find_files(args.data_root, args.files)] if args.files else []
        return answer_over_time(args, files, lambda: _make_predictor(args))
    if args.json and (args.input or args.output):
        raise CommandError("predict: --json is for answers that are printed; here they go into --output FILE.")
    if args.input:
        return _answer_list(args)
    for name in ("data_format", "split"):
        if getattr(args, name) is not None:
            raise CommandError(f"predict: {flag_of(name)} is for --input LIST.")
    if args.output:
        return _answer_list(args)
    for name in ("num_shards", "shard"):
        if getattr(args, name) is not None:
            raise CommandError(f"predict: {flag_of(name)} is for --output FILE; these answers are printed.")
    return _answer_files(args)


def _answer_files(args: argparse.Namespace) -> int:
    """Predict files and print each result as soon as its batch is done."""
    from videozoo.data import VideoRecord

    files = _find_files(args.data_root, args.files)
    args.batch_size, args.workers = args.batch_size or BATCH_SIZE, args.workers or 0
    predictor = _make_predictor(args)
    records = [VideoRecord(path, -1, "") for _, path in files]
    num_broken = 0
    for number, ((file, _), answer) in enumerate(zip(files, predictor.stream(records), strict=True)):
        if not answer.ok:
            num_broken += 1
            print_error(f"{file}: {answer.error}")
            if args.json:
                print_result(json.dumps({"file": file, "error": answer.error}, ensure_ascii=False))
            continue
        best = best_rows(answer, args.topk)
        if answer.note:
            print_status(f"{file}: {answer.note}")
        if args.json:
            about = {"note": answer.note} if answer.note else {}
            print_result(json.dumps({"file": file, "predictions": best, **about}, ensure_ascii=False))
        else:
            _say_answers(file, best, is_first=number == 0)
    return 1 if num_broken else 0


def _find_files(data_root: str | None, names: Sequence[str]) -> list[tuple[str, Path]]:
    """Return names and paths of files. A folder without frames is replaced by the videos in it."""
    from videozoo.data.files import find_videos, trouble_with

    files: list[tuple[str, Path]] = []
    for name in _expand_stdin(names, data_root):
        path = Path(data_root or "", name).expanduser()
        videos = find_videos(path) if path.is_dir() and trouble_with(path) else []
        files += [(str(Path(name, video.relative_to(path))), video) for video in videos] or [(name, path)]
    return files


def _expand_stdin(names: Sequence[str], data_root: str | None) -> list[str]:
    """Replace ``-`` by the lines of standard input, without comments. File names may have any bytes.

    Raises:
        CommandError: there are none.
    """
    if STDIN not in names:
        return list(names)
    from videozoo.data.comments import is_comment

    text = sys.stdin.buffer.read().removeprefix(codecs.BOM_UTF8)  # as PowerShell writes
    lines = [os.fsdecode(line.strip()) for line in text.splitlines()]
    lines = [line for line in lines if line and not is_comment(line, data_root or "", [line])]
    if not lines:
        raise CommandError("predict: no path came on standard input; write one a line.")
    place = names.index(STDIN)
    return [*names[:place], *lines, *(name for name in names[place:] if name != STDIN)]


def _answer_list(args: argparse.Namespace) -> int:
    def open_work() -> "Callable[..., JobResult]":
        from videozoo.devices import describe_device
        from videozoo.inference import predict_list

        predictor = _make_predictor(args)
        print_status(describe_device(predictor.device, predictor.amp))
        return functools.partial(predict_list, predictor, topk=args.topk)

    return run_job("predict", args, SCORE_FILES, open_work, listing=_list_files(args) if args.files else None)


def _list_files(args: argparse.Namespace) -> "Listing":
    """Return the files that the command names, each once."""
    from videozoo.data import VideoRecord
    from videozoo.jobs.listing import RecordList

    for name in args.files:
        refuse_inside_data(Path(args.output), str(Path(args.data_root or "", name)), "FILE")
    if STDIN in args.files and (args.num_shards or num_processes()) > 1:
        raise CommandError(
            "predict: paths on standard input reach one process only; write them into a list, --input LIST."
        )
    files = dict(_find_files(args.data_root, args.files))
    return RecordList([VideoRecord(path, -1, name, name) for name, path in files.items()])


def _make_predictor(args: argparse.Namespace) -> "Predictor":
    from videozoo.inference import Predictor

    show_log()
    return Predictor(args.model, **answer_options(args))


def best_rows(answer: "Prediction", topk: int) -> list[dict[str, Any]]:
    """Return the best classes of a prediction as rows to print."""
    return [{"class": c.label, "label": c.class_index, "score": round(c.score, 6)} for c in answer.topk(topk)]


def _say_answers(file: str, answers: list[dict[str, Any]], *, is_first: bool) -> None:
    if not is_first:
        print_result()
    print_result(file)
    for answer in answers:
        print_result(f"  {answer['score']:6.1%}  {answer['class']}")

"""``videozoo predict``: the classes of single files, or of a list of any length."""

import argparse
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from videozoo.cli.console import CommandError, Parser, note, progress_bar, say, say_error, show_log

if TYPE_CHECKING:
    import numpy as np

    from videozoo.inference import Predictor


def add_parser(commands: "argparse._SubParsersAction[Parser]") -> None:
    """Add the sub-command."""
    parser = commands.add_parser(
        "predict",
        help="classify video files, or a list of millions",
        description="The best classes of each file, with scores that add up to 1 over all classes. A folder of jpg or "
        "png frames counts as a file. A file that cannot be read is a line on stderr, the others are still answered, "
        "and the exit status is 1. With --input the answers to a whole list go into a Parquet file: killed at any "
        "moment, the same command goes on where it was, and each file is answered once.",
        epilog="Examples: videozoo predict --model local-dir:run/best a.mp4 b.webm frames/ ; "
        "videozoo predict --model local-dir:run/best --input list.txt --output scores.parquet --num-shards 4 --shard 0",
    )
    parser.add_argument("files", nargs="*", metavar="FILE", help="video files or folders of frames")
    parser.add_argument(
        "--model", required=True, metavar="NAME", help="local-dir:RUN/best, hf-hub:ORG/NAME, or a name with weights"
    )
    parser.add_argument("--topk", type=int, default=5, metavar="K", help="classes to show")
    parser.add_argument("--views", metavar="CLIPSxCROPS", help="1x1, 10x3 and so on; default: the network's own")
    parser.add_argument("--amp", action="store_true", help="mixed precision (bfloat16)")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu"), help="auto takes a GPU if there is one")
    parser.add_argument(
        "--json",
        action="store_true",
        help="print one JSON object per file and line: file, and predictions (class, label, score) or error",
    )
    group = parser.add_argument_group("a list instead of files")
    group.add_argument(
        "--input", metavar="LIST", help="text file with one path a line, or labelled videos as for finetune"
    )
    group.add_argument("--output", metavar="FILE", help="scores.parquet; one per shard where there are several")
    group.add_argument("--num-shards", type=int, metavar="N", help="parts of the list; default: torchrun's processes")
    group.add_argument("--shard", type=int, metavar="K", help="the part to do, from 0; default: torchrun's rank")
    group.add_argument("--data-root", metavar="DIR", help="folder that paths in the list start from")
    group.add_argument("--data-format", metavar="NAME", help="format of labelled videos, where it is not recognised")
    group.add_argument("--split", metavar="NAME", help="split of labelled videos, where one file holds several")
    group.add_argument("-b", "--batch-size", type=int, default=8, metavar="N", help="videos per batch")
    group.add_argument("-j", "--workers", type=int, default=2, metavar="N", help="decoding processes")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Answer files one by one, or a list into a file."""
    for name, least in (("topk", 1), ("batch_size", 1), ("workers", 0)):
        if getattr(args, name) < least:
            flag = name.replace("_", "-")
            raise CommandError(f"predict: --{flag} is {getattr(args, name)}; it must be at least {least}.")
    if bool(args.files) == bool(args.input):
        raise CommandError("predict: give video files, or --input LIST" + (", not both." if args.files else "."))
    if args.input:
        return _answer_list(args)
    for flag in ("output", "num_shards", "shard"):
        if getattr(args, flag) is not None:
            raise CommandError(f"predict: --{flag.replace('_', '-')} is for --input LIST; single files are printed.")
    return _answer_files(args)


def _answer_files(args: argparse.Namespace) -> int:
    """Answer each file as soon as it is done."""
    predictor = _make_predictor(args, batch_size=1, workers=0)
    num_broken = 0
    for number, file in enumerate(args.files):
        (answer,) = predictor([file])
        if answer.scores is None:
            num_broken += 1
            say_error(f"{file}: {answer.error}")
            if args.json:
                say(json.dumps({"file": file, "error": answer.error}, ensure_ascii=False))
            continue
        best = _best(answer.scores, predictor.class_names, args.topk)
        if args.json:
            say(json.dumps({"file": file, "predictions": best}, ensure_ascii=False))
        else:
            _say_answers(file, best, is_first=number == 0)
    return 1 if num_broken else 0


def _answer_list(args: argparse.Namespace) -> int:
    output, num_shards, shard = _check_job(args)
    from videozoo.inference import open_listing, predict_list

    listing = open_listing(args.input, data_root=args.data_root, data_format=args.data_format, split=args.split)
    if listing.num_repeats:
        note(f"{args.input}: {listing.num_repeats} paths stand there again; each file is answered once")
    predictor = _make_predictor(args, batch_size=args.batch_size, workers=args.workers)
    total = len(range(shard, len(listing), num_shards))
    with progress_bar(total, f"shard {shard} of {num_shards}") as show:
        result = predict_list(
            predictor, listing, output, num_shards=num_shards, shard=shard, topk=args.topk, on_progress=show
        )
    before = f", {result.num_done_before} of them earlier" if result.num_done_before else ""
    print(f"{result.path}: {result.num_videos} videos{before}, {result.num_errors} could not be read", flush=True)
    # torchrun ends all processes when one of them ends with another status.
    is_started_by_torchrun = args.shard is None and num_shards > 1
    return 1 if result.num_errors and not is_started_by_torchrun else 0


def _check_job(args: argparse.Namespace) -> tuple[Path, int, int]:
    """Output, number of shards and shard."""
    if not args.output:
        raise CommandError("predict: --input needs --output FILE, such as scores.parquet.")
    output = Path(args.output)
    if output.suffix != ".parquet":
        raise CommandError(f"predict: --output is {args.output}; its name must end in .parquet.")
    if output.is_dir():
        raise CommandError(f"{output}: is a folder; --output needs a file.")
    if (args.num_shards is None) != (args.shard is None):
        raise CommandError("predict: give --num-shards and --shard both, or none of them.")
    num_shards, shard = args.num_shards, args.shard
    if num_shards is None:
        num_shards, shard = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    if num_shards < 1 or not 0 <= shard < num_shards:
        raise CommandError(f"predict: --shard is {shard}, --num-shards {num_shards}; shards count from 0 up to N - 1.")
    return output, num_shards, shard


def _make_predictor(args: argparse.Namespace, *, batch_size: int, workers: int) -> "Predictor":
    from videozoo.cli.videos import parse_views
    from videozoo.inference import Predictor
    from videozoo.models.load import is_source

    show_log()
    if not is_source(args.model) and Path(args.model).expanduser().is_dir():
        raise CommandError(f"--model {args.model} is a folder; write --model local-dir:{args.model}")
    return Predictor(
        args.model,
        device=args.device,
        views=parse_views(args.views),
        amp="bf16" if args.amp else "no",
        batch_size=batch_size,
        workers=workers,
    )


def _best(scores: "np.ndarray", names: tuple[str, ...], topk: int) -> list[dict[str, Any]]:
    values = scores.tolist()
    order = sorted(range(len(values)), key=lambda label: -values[label])[:topk]
    return [{"class": names[label], "label": label, "score": round(values[label], 6)} for label in order]


def _say_answers(file: str, answers: list[dict[str, Any]], *, is_first: bool) -> None:
    if not is_first:
        say()
    say(file)
    for answer in answers:
        say(f"  {answer['score']:6.1%}  {answer['class']}")

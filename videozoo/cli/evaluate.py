"""``videozoo evaluate``: accuracy of a network, or of several that vote, on labelled videos."""

import argparse
import contextlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from videozoo.choices import AVERAGES, is_onnx
from videozoo.cli.command import Command, flag, switch
from videozoo.cli.console import CommandError, say, say_text, show_log
from videozoo.cli.flags import AMP, DEVICE, MAX_FRAMES, check_ranges, flag_of
from videozoo.cli.measure import BATCH_SIZE, Setup
from videozoo.cli.outputs import hold_output, refuse_file, refuse_inside_data
from videozoo.launch import is_main_process, num_processes

if TYPE_CHECKING:
    from videozoo.engine import EvalResult, Scores

NAMED_UNREAD = 5
_OF_A_NEW_EVALUATION = (
    *("model", "data", "data_root", "data_format", "split", "views", "reverse"),
    *("batch_size", "workers", "amp", "max_frames"),
)


COMMAND = Command(
    help="measure a network, or several that vote, on labelled videos",
    description="Top-1, top-5 and mean-class accuracy; scores are averaged over the views of each video. A video "
    "that cannot be read is named and counted nowhere; the exit status is then 1 (in several processes 0). Killed at "
    "any moment, the same command with the same --output goes on where it was.",
    epilog="Examples: videozoo evaluate --model local-dir:run/best --data val.txt --views 10x3 --output result ; "
    "videozoo evaluate --model local-dir:run8/best --model local-dir:run16/best --data val.txt ; "
    "videozoo evaluate --scores result/scores.safetensors --groups groups.yaml --output again",
    flags=(
        flag(
            "--model",
            action="append",
            metavar="NAME",
            help="a folder such as RUN/best, hf-hub:ORG/NAME, a name with weights or a FILE.onnx; given several times, "
            "they vote, each with its own frames and size, and every file is read once",
        ),
        flag("--data", metavar="DIR_OR_LIST", help="labelled videos, as for finetune"),
        flag("--data-root", metavar="DIR", help="folder that paths in a list start from"),
        flag("--data-format", metavar="NAME", help="what --data is, where that cannot be told from it"),
        flag("--split", metavar="NAME", help="part of --data, where one file lists several"),
        flag(
            "--scores",
            action="append",
            metavar="FILE",
            help="instead of --model and --data: a scores.safetensors of an earlier evaluation, nothing is decoded; "
            "given several times, they vote",
        ),
        flag("--views", metavar="CLIPSxCROPS", help="1x1, 10x3 and so on; default: each network's own"),
        flag(
            "--average",
            choices=AVERAGES,
            help="over views and networks: the mean of the probabilities (default), or the softmax of the mean logits",
        ),
        switch(
            "--reverse",
            help="play every clip backwards: a network that looks at the order of frames then answers differently",
        ),
        flag(
            "--groups",
            metavar="FILE",
            help="json or yaml, group names with lists of classes: accuracy within each group",
        ),
        flag(
            "-b",
            "--batch-size",
            type=int,
            metavar="N",
            help=f"videos per batch; default: {BATCH_SIZE}, fewer for many views",
        ),
        flag("-j", "--workers", type=int, metavar="N", help="decoding processes; default: 2"),
        AMP,
        DEVICE,
        MAX_FRAMES,
        flag("--output", metavar="DIR", help="write results, tables, pictures and scores there"),
        switch("--json", help="print the results as JSON"),
    ),
)


def run(args: argparse.Namespace) -> int:
    """Evaluate, print, and write the results where they are wanted."""
    _check(args)
    show_log()
    with _hold_output(args), contextlib.ExitStack() as stack:  # found out before hours of decoding
        from videozoo.engine import join_scores, load_groups, load_scores

        if args.scores:
            members = [load_scores(Path(file), args.average) for file in args.scores]
            class_names: Sequence[str] = members[0].result.class_names
        else:
            setup = _set_up(args)
            class_names = setup.class_names
        groups = load_groups(Path(args.groups), class_names) if args.groups else {}
        if not args.scores:
            scored = setup.measure(
                views=args.views,
                is_reversed=args.reverse,
                batch_size=args.batch_size,
                workers=2 if args.workers is None else args.workers,
                amp="bf16" if args.amp else "no",
                average=args.average or "prob",
                folder=Path(args.output) if args.output else None,
            )
            members = stack.enter_context(scored)
        scores = members[0] if len(members) == 1 else join_scores(members, args.average)
        if is_main_process():
            _report(args, scores, members if len(members) > 1 else [], groups)
    # A launcher that sees another status ends the first process, which may still write, and reports a failure.
    return 1 if scores.result.unread and num_processes() == 1 else 0


def _set_up(args: argparse.Namespace) -> Setup:
    where = {"data_root": args.data_root, "data_format": args.data_format, "split": args.split}
    setup = Setup(args.model, args.data, device=args.device, **where)
    if args.data_root and setup.source.data_format in ("class_folders", "shards"):
        raise CommandError("evaluate: --data-root has no effect here; it is for the paths in lists.")
    return setup


def _check(args: argparse.Namespace) -> None:
    check_ranges("evaluate", vars(args))
    if args.output:
        _check_output(Path(args.output).expanduser(), args.data)
    if args.scores:
        values = {name: getattr(args, name, None) for name in _OF_A_NEW_EVALUATION}
        values["device"] = None if args.device == "auto" else args.device
        given = (name for name, value in values.items() if value is not None and value is not False)
        for flag in map(flag_of, given):
            raise CommandError(f"evaluate: --scores come from an evaluation that is done; {flag} has no part in it.")
    elif not args.model or not args.data:
        raise CommandError("evaluate: needs --model and --data, or --scores (see videozoo evaluate --help)")
    elif args.amp and any(map(is_onnx, args.model)):
        raise CommandError("evaluate: --amp is not for an ONNX file, which runs in the precision that it has.")


def _check_output(output: Path, data: str | None) -> None:
    refuse_file(output)
    run = output.resolve().parent
    if output.resolve().name in ("last", "best") and (run / "last").exists() and (run / "summary.csv").exists():
        raise CommandError(f"{output}: is replaced as a whole when the run {run} goes on; give another --output.")
    refuse_inside_data(output, data)


def _hold_output(args: argparse.Namespace) -> contextlib.AbstractContextManager[None]:
    if not args.output:
        return contextlib.nullcontext()
    return hold_output(Path(args.output), "an evaluation", beside=("the weights of a model",))


def _report(
    args: argparse.Namespace, scores: "Scores", members: "list[Scores]", groups: Mapping[str, Sequence[int]]
) -> None:
    from videozoo.engine import evaluation_dict, write_evaluation

    content = evaluation_dict(scores, groups, members)
    written = write_evaluation(Path(args.output), scores, groups, members) if args.output else []
    if args.json:
        say_text(json.dumps(content, indent=2, ensure_ascii=False))
        return
    for name, value in _table(content, scores.result):
        say(f"{name:<12}{value}")
    for name, group in content.get("groups", {}).items():
        shares = "no videos" if group["top1"] is None else f"{group['top1']:.1%}, within group {group['within']:.1%}"
        say(f"{'group':<12}{name}: {shares}, {group['num_videos']} videos of {len(group['classes'])} classes")
    if written:
        say(f"{'written':<12}{', '.join(written)} in {args.output}")


def _table(content: Mapping[str, Any], result: "EvalResult") -> list[tuple[str, str]]:
    num_classes = len(content["class_names"])
    members = content.get("models", [])
    rows = []
    for title, key in (("top-1", "top1"), ("top-5", "top5"), ("mean-class", "mean_class")):
        if key != "top5" or num_classes > 5:
            each = f"  ({', '.join(_percent(member[key]) for member in members)} each)" if members else ""
            rows.append((title, _percent(content[key]) + each))
    backwards = ", backwards" if content.get("is_reversed") else ""
    rows.append(("videos", f"{content['num_videos']} of {num_classes} classes{backwards}"))
    if content["unread"]:
        rows.append(("not read", f"{content['num_unread']}, counted nowhere:"))
        rows += [("", f"{row['name']}: {row['problem']}") for row in content["unread"][:NAMED_UNREAD]]
        if content["num_unread"] > NAMED_UNREAD:
            rows.append(("", f"and {content['num_unread'] - NAMED_UNREAD} more"))
    average = ", averaged as logits" if content["average"] == "logit" else ""
    counts = [str(member["num_views"]) for member in members] or [str(content["num_views"])]
    together = f", by {len(members)} models together" if members else ""
    rows.append(("views", f"{' + '.join(counts)} of each video{together}{average}"))
    if not content.get("scores"):
        rows.append(("seconds", f"{result.seconds:.1f}, of which {result.data_seconds:.1f} waiting for videos"))
    return rows


def _percent(value: float | None) -> str:
    return "none labelled" if value is None else f"{value:.1%}"

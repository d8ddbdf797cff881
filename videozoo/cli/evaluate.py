"""``videozoo evaluate``: accuracy of a model or an ensemble on labeled videos."""

import argparse
import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from videozoo.choices import AVERAGES
from videozoo.cli.accuracy import describe_average_precisions, describe_chance, describe_mistakes, describe_trust
from videozoo.cli.command import Command, flag, switch
from videozoo.cli.console import print_result, print_text, show_log
from videozoo.cli.flags import AMP, CLASS_NAMES, DEVICE, INDEX_CACHE, LIST_FLAGS, MAX_FRAMES, VIEWS_HELP
from videozoo.cli.jobs import job_bar
from videozoo.launch import is_main_process, num_processes
from videozoo.training.evaluation import Evaluation, EvaluationSettings, run_evaluation
from videozoo.training.measure import BATCH_SIZE

if TYPE_CHECKING:
    from videozoo.engine import EvalResult

NAMED_UNREAD = 5


COMMAND = Command(
    help="measure the accuracy of a model or an ensemble on labeled videos",
    description="Measure top-1, top-5 and mean-class accuracy, or the mAP of a multi-label model. Scores are averaged "
    "over the views of each video. Unreadable videos are reported and excluded from the metrics, and the exit status "
    "is 1 (0 in several processes). An interrupted run with --output continues with the same command.",
    epilog="Examples: videozoo evaluate --model run/best --data val.txt --views 10x3 --output result ; "
    "videozoo evaluate --model run8/best --model run16/best --data val.txt ; "
    "videozoo evaluate --scores result/scores.safetensors --groups groups.yaml --output again",
    flags=(
        flag(
            "--model",
            action="append",
            metavar="NAME",
            help="a folder such as RUN/best, hf-hub:ORG/NAME, a name with weights, or a FILE.onnx of `videozoo "
            "export`; repeat it to average the predictions of several models",
        ),
        flag("--data", metavar="DIR_OR_LIST", help="labeled videos, as for finetune"),
        *LIST_FLAGS,
        CLASS_NAMES,
        flag(
            "--scores",
            action="append",
            metavar="FILE",
            help="instead of --model and --data: scores.safetensors of an earlier evaluation, no video is decoded; "
            "repeat it to average several",
        ),
        flag("--views", metavar="CLIPSxCROPS", help=f"{VIEWS_HELP}; default: each model's own"),
        flag(
            "--average",
            choices=AVERAGES,
            help="average the probabilities or the logits of views and models; default: prob",
        ),
        switch(
            "--reverse",
            help="play every clip backwards, to see how much the model uses the order of frames",
        ),
        flag(
            "--groups",
            metavar="FILE",
            help="json or yaml file of group names with lists of classes, to measure accuracy within each group",
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
        INDEX_CACHE,
        flag("--output", metavar="DIR", help="folder for results, tables, plots and scores"),
        switch("--json", help="print the results as JSON"),
    ),
)


def run(args: argparse.Namespace) -> int:
    """Evaluate, print the results, and write them if requested."""
    show_log()
    given: dict[str, Any] = {entry.name: getattr(args, entry.name, None) for entry in fields(EvaluationSettings)}
    given |= {name: tuple(given[name] or ()) for name in ("model", "scores")}
    settings = EvaluationSettings(**given)
    with run_evaluation(settings, job_bar) as found:
        if is_main_process():
            _report(args, found)
    # A launcher that sees another status ends the first process, which may still write, and reports a failure.
    return 1 if found.scores.result.unread and num_processes() == 1 else 0


def _report(args: argparse.Namespace, found: Evaluation) -> None:
    content = found.to_dict()
    written = found.write(Path(args.output)) if args.output else []
    if args.json:
        print_text(json.dumps(content, indent=2, ensure_ascii=False))
        return
    for name, value in _table(content, found.scores.result):
        print_result(f"{name:<12}{value}")
    for name, group in content.get("groups", {}).items():
        shares = "no videos" if group["top1"] is None else f"{group['top1']:.1%}, within group {group['within']:.1%}"
        print_result(f"{'group':<12}{name}: {shares}, {group['num_videos']} videos of {len(group['classes'])} classes")
    if written:
        print_result(f"{'written':<12}{', '.join(written)} in {args.output}")


def _table(content: Mapping[str, Any], result: "EvalResult") -> list[tuple[str, str]]:
    num_classes = len(content["class_names"])
    members = content.get("models", [])
    rows = []
    for title, key in (("mAP", "map"), ("top-1", "top1"), ("top-5", "top5"), ("mean-class", "mean_class")):
        if key in content and (key != "top5" or num_classes > 5):
            each = f"  ({', '.join(_percent(member[key]) for member in members)} each)" if members else ""
            rows.append((title, _percent(content[key]) + each))
    if content["num_labelled"] and not result.multi_label:
        rows.insert(1, ("", describe_trust(content)))
        rows.append(("chance", "; ".join(describe_chance(content)).removeprefix("chance ")))
        rows += describe_mistakes(result.confusion, result.class_names)
    if result.multi_label:
        rows += describe_average_precisions(content)
    backwards = ", backwards" if content.get("is_reversed") else ""
    rows.append(("videos", f"{content['num_videos']} of {num_classes} classes{backwards}"))
    if content.get("num_without_class"):
        text = f"{content['num_without_class']} videos, a wrong answer for every class; mAP without them "
        rows.append(("no class", text + _percent(content["map_labelled"])))
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
    return "none labeled" if value is None else f"{value:.1%}"

"""``videozoo evaluate``: accuracy of a network on labelled videos."""

import argparse
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from videozoo.cli.console import CommandError, Parser, is_main_process, note, say, show_log

if TYPE_CHECKING:
    from videozoo.data import VideoSource
    from videozoo.engine import EvalResult


def add_parser(commands: "argparse._SubParsersAction[Parser]") -> None:
    """Add the sub-command."""
    parser = commands.add_parser(
        "evaluate",
        help="measure a network on labelled videos",
        description="Top-1, top-5 and mean-class accuracy; scores are averaged over the views of each video.",
        epilog="Example: videozoo evaluate --model local-dir:run/best --data val.txt --views 10x3",
    )
    parser.add_argument(
        "--model", required=True, metavar="NAME", help="local-dir:RUN/best, hf-hub:ORG/NAME, or a name with weights"
    )
    parser.add_argument("--data", required=True, metavar="DIR_OR_LIST", help="labelled videos, as for finetune")
    parser.add_argument("--data-root", metavar="DIR", help="folder that paths in a list start from")
    parser.add_argument("--views", metavar="CLIPSxCROPS", help="1x1, 10x3 and so on; default: the network's own")
    parser.add_argument(
        "--reverse",
        action="store_true",
        help="play every clip backwards: a network that looks at the order of frames then answers differently",
    )
    parser.add_argument("-b", "--batch-size", type=int, default=8, metavar="N", help="videos per batch")
    parser.add_argument("-j", "--workers", type=int, default=2, metavar="N", help="decoding processes")
    parser.add_argument("--amp", action="store_true", help="mixed precision (bfloat16)")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu"), help="auto takes a GPU if there is one")
    parser.add_argument("--output", metavar="DIR", help="write results.json, confusion.png and scores.csv there")
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Evaluate, print, and write the results where they are wanted."""
    for name, least in (("batch_size", 1), ("workers", 0)):
        if getattr(args, name) < least:
            flag = name.replace("_", "-")
            raise CommandError(f"evaluate: --{flag} is {getattr(args, name)}; it must be at least {least}.")
    if args.output and Path(args.output).exists() and not Path(args.output).is_dir():
        raise CommandError(f"{args.output}: is a file; --output needs a folder.")
    show_log()
    source, result = evaluate_model(
        args.model,
        args.data,
        data_root=args.data_root,
        views=args.views,
        is_reversed=args.reverse,
        batch_size=args.batch_size,
        workers=args.workers,
        amp="bf16" if args.amp else "no",
        device=args.device,
    )
    about = {"model": args.model, "data": args.data, "is_reversed": args.reverse}
    if args.output and is_main_process():
        _write(Path(args.output), about, source, result)
    if args.json:
        say(json.dumps(_as_dict(about, result), indent=2, ensure_ascii=False))
    else:
        _say_table(result, args.reverse, args.output)
    return 0


def evaluate_model(
    name: str,
    data: str | Path,
    *,
    data_root: str | None = None,
    views: str | None = None,
    is_reversed: bool = False,
    batch_size: int = 8,
    workers: int = 2,
    amp: str = "no",
    device: str = "auto",
) -> "tuple[VideoSource, EvalResult]":
    """Load a network with its weights and measure it on labelled videos.

    Raises:
        WeightsError, UnknownModelError: no such network.
        SourceError, VideoError: the videos.
        CommandError: wrong views, or classes that are not the network's.
    """
    from videozoo.cli.videos import VAL_FOLDERS, find_split, make_test_loader, parse_views
    from videozoo.data import load_source
    from videozoo.engine import evaluate

    num_views = parse_views(views)
    folder = find_split(Path(data), VAL_FOLDERS)
    if folder is not None:
        note(f"evaluating on {folder}")
    model = open_network(name)
    names = model.pretrained_cfg.get("label_names")
    source = load_source(folder or data, data_root=data_root, class_names=names)
    if len(source.class_names) > model.num_classes:
        raise CommandError(
            f"{data}: has {len(source.class_names)} classes, {name} tells {model.num_classes} apart and names none."
        )
    loader = make_test_loader(
        model, source.records, batch_size=batch_size, workers=workers, views=num_views, is_reversed=is_reversed
    )
    numbers = [str(label) for label in range(len(source.class_names), model.num_classes)]
    result = evaluate(model, loader, class_names=[*source.class_names, *numbers], amp=amp, device=device)
    return source, result


def open_network(name: str) -> Any:
    """A network with its weights, for use.

    Raises:
        WeightsError, UnknownModelError: no such network or weights.
        CommandError: a folder without the word that makes it a name.
    """
    import videozoo
    from videozoo.models.load import is_source

    if not is_source(name) and Path(name).expanduser().is_dir():
        raise CommandError(f"--model {name} is a folder; write --model local-dir:{name}")
    return videozoo.create_model(name, pretrained=True).eval()


def _as_dict(about: dict[str, Any], result: "EvalResult") -> dict[str, Any]:
    from videozoo.engine import result_dict

    return {**about, **result_dict(result)}


def _write(folder: Path, about: dict[str, Any], source: "VideoSource", result: "EvalResult") -> None:
    from videozoo.engine import plot_confusion, write_results

    folder.mkdir(parents=True, exist_ok=True)
    results = {**_as_dict(about, result), "date": time.strftime("%Y-%m-%dT%H:%M:%S%z")}
    write_results(folder / "results.json", results)
    plot_confusion(folder / "confusion.png", result.confusion, result.class_names)
    _write_scores(folder / "scores.csv", source, result)


def _write_scores(path: Path, source: "VideoSource", result: "EvalResult") -> None:
    """One line per video: path, true class, best class, then the score of every class; all results follow from it."""
    import csv
    import io

    from videozoo.engine.checkpoint import replace_file

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["path", "label", "prediction", *result.class_names])
    rows = zip(result.indices.tolist(), result.labels.tolist(), result.scores.tolist(), strict=True)
    for index, label, scores in rows:
        best = max(range(len(scores)), key=scores.__getitem__)
        true = result.class_names[label] if label >= 0 else ""
        values = [f"{score:.7g}" for score in scores]
        writer.writerow([source.records[index].path, true, result.class_names[best], *values])
    replace_file(path, text.getvalue())


def _say_table(result: "EvalResult", is_reversed: bool, output: str | None) -> None:
    rows = [("top-1", f"{result.top1:.1%}")]
    if len(result.class_names) > 5:
        rows.append(("top-5", f"{result.top5:.1%}"))
    rows += [
        ("mean-class", f"{result.mean_class:.1%}"),
        ("videos", f"{result.num_videos} of {len(result.class_names)} classes" + (", backwards" * is_reversed)),
        ("views", f"{result.num_views} of each"),
        ("seconds", f"{result.seconds:.1f}, of which {result.data_seconds:.1f} waiting for videos"),
    ]
    if output:
        rows.append(("written", f"results.json, confusion.png and scores.csv in {output}"))
    for name, value in rows:
        say(f"{name:<12}{value}")

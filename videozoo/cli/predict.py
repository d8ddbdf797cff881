"""``videozoo predict``: the classes of single files."""

import argparse
import json
from pathlib import Path
from typing import Any

from videozoo.cli.console import CommandError, Parser, say, say_error, show_log


def add_parser(commands: "argparse._SubParsersAction[Parser]") -> None:
    """Add the sub-command."""
    parser = commands.add_parser(
        "predict",
        help="classify video files",
        description="The best classes of each file, with scores that add up to 1 over all classes. A folder of jpg or "
        "png frames counts as a file. A file that cannot be read is a line on stderr, the others are still answered, "
        "and the exit status is 1.",
        epilog="Example: videozoo predict --model local-dir:run/best a.mp4 b.webm frames/",
    )
    parser.add_argument("files", nargs="+", metavar="FILE", help="video files or folders of frames")
    parser.add_argument(
        "--model", required=True, metavar="NAME", help="local-dir:RUN/best, hf-hub:ORG/NAME, or a name with weights"
    )
    parser.add_argument("--topk", type=int, default=5, metavar="K", help="classes to show")
    parser.add_argument("--views", metavar="CLIPSxCROPS", help="1x1, 10x3 and so on; default: the network's own")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu"), help="auto takes a GPU if there is one")
    parser.add_argument(
        "--json",
        action="store_true",
        help="print one JSON object per file and line: file, and predictions (class, label, score) or error",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Answer each file as soon as it is done."""
    if args.topk < 1:
        raise CommandError(f"predict: --topk is {args.topk}; it must be at least 1.")
    from videozoo.cli.evaluate import open_network
    from videozoo.cli.videos import parse_views
    from videozoo.data import VideoError

    show_log()
    views = parse_views(args.views)
    model = open_network(args.model).to(_device(args.device))
    names = model.pretrained_cfg.get("label_names") or [str(label) for label in range(model.num_classes)]
    num_broken = 0
    for number, file in enumerate(args.files):
        try:
            scores = _score(model, Path(file), views)
        except VideoError as error:
            num_broken += 1
            say_error(str(error))
            if args.json:
                say(json.dumps({"file": file, "error": error.reason}, ensure_ascii=False))
            continue
        answers = _best(scores, names, args.topk)
        if args.json:
            say(json.dumps({"file": file, "predictions": answers}, ensure_ascii=False))
        else:
            _say_answers(file, answers, is_first=number == 0)
    return 1 if num_broken else 0


def _device(wish: str) -> str:
    import torch

    return "cuda" if wish == "auto" and torch.cuda.is_available() else "cpu"


def _score(model: Any, path: Path, views: tuple[int, int] | None) -> list[float]:
    """Score of every class: softmax per view, averaged."""
    import torch

    from videozoo.cli.videos import make_test_dataset
    from videozoo.data import VideoError, VideoRecord

    dataset = make_test_dataset(model, [VideoRecord(path, -1, "")], views=views)
    try:
        video = dataset[0]["video"]
    except VideoError as error:
        raise VideoError(error.path, error.reason.removesuffix(" [listed in ]")) from error
    device = next(model.parameters()).device
    with torch.inference_mode():
        logits = torch.cat([model(clips.to(device)) for clips in video.split(8)])
        scores: list[float] = logits.float().softmax(dim=1).mean(dim=0).tolist()
    return scores


def _best(scores: list[float], names: list[str], topk: int) -> list[dict[str, Any]]:
    order = sorted(range(len(scores)), key=lambda label: -scores[label])[:topk]
    return [{"class": names[label], "label": label, "score": round(scores[label], 6)} for label in order]


def _say_answers(file: str, answers: list[dict[str, Any]], *, is_first: bool) -> None:
    if not is_first:
        say()
    say(file)
    for answer in answers:
        say(f"  {answer['score']:6.1%}  {answer['class']}")

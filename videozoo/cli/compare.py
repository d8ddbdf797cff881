"""``videozoo compare``: compares runs and evaluations in a table, a picture, csv or JSON."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from videozoo.cli.command import Command, flag, switch
from videozoo.cli.console import CommandError, print_result, print_status, print_text, show_log
from videozoo.text import columns_text, csv_text, first_line, json_text

if TYPE_CHECKING:
    from videozoo.engine.compare import ComparedRun

COMMAND = Command(
    help="compare runs: settings, accuracies, curves",
    description="Print a row for each run: model, start, frames x size, learning rate, epochs (the best of all), best "
    "top-1 with its 95 % interval and counts, top-1 of the last epoch, million parameters, GMACs of a view, minutes. "
    "Unreadable runs are reported and left out.",
    epilog="Example: videozoo compare runs/* --output compare.png",
    flags=(
        flag("runs", nargs="+", metavar="RUN", help="run folders of finetune, or folders of evaluate --output"),
        flag("--output", metavar="FILE", help="also write the curves (.png) or the table (.csv)"),
        switch("--json", help="print a JSON list of objects"),
    ),
)
ENDINGS = (".png", ".csv")


def run(args: argparse.Namespace) -> int:
    """Print the table, and write the picture or the csv."""
    from videozoo.engine import EngineError
    from videozoo.engine.checkpoint import replace_file
    from videozoo.engine.compare import describe_differences, name_runs, plot_runs, read_compared

    output = Path(args.output).expanduser() if args.output else None
    if output is not None and output.suffix not in ENDINGS:
        raise CommandError(f"compare: --output {output} must end in .png (curves) or .csv (table).")
    if output is not None and output.is_dir():
        raise CommandError(f"compare: --output {output} is a folder; give a file.")
    show_log()
    runs: list[ComparedRun] = []
    problems: list[str] = []
    for folder in dict.fromkeys(Path(text).expanduser() for text in args.runs):
        try:
            found = read_compared(folder)
        except EngineError as error:
            problems.append(str(error))
            continue
        if all(found.folder.resolve() != other.folder.resolve() for other in runs):
            runs.append(found)
    for problem in problems:
        print_status(f"left out: {problem}")
    if not runs:
        raise CommandError("compare: none of these folders can be compared.")
    names = name_runs(runs)
    costs = Costs()
    objects = [_as_object(name, one, costs) for name, one in zip(names, runs, strict=True)]
    if args.json:
        print_text(json_text(objects, 2))
    else:
        for line in columns_text(_HEAD, map(_cells, objects), _NUMBERS):
            print_result(line)
    for line in describe_differences(runs, names):
        print_status(f"note: {line}")
    if output is not None and output.suffix == ".png":
        plot_runs(output, runs, names)
    elif output is not None:
        replace_file(output, csv_text([list(objects[0]), *(_csv_cells(one) for one in objects)]))
    if output is not None:
        print_status(f"written: {output}")
    return 1 if problems else 0


def _as_object(name: str, run: "ComparedRun", costs: "Costs") -> dict[str, Any]:
    results, settings = run.results, run.settings
    params, macs, videos = costs.of(run.folder / "best")
    size = "x".join(str(side) for side in videos["input_size"][1:]) if videos else None
    last = run.row_value(run.history[-1]) if run.history else None
    low, high = run.interval or (None, None)
    hits, total = run.counts or (None, results.get("num_videos"))
    return {
        "run": name,
        "model": settings.get("model") or results.get("model"),
        "start": _start(settings) if settings else None,
        "frames": videos.get("num_frames") if videos else None,
        "size": size,
        "lr": settings.get("lr"),
        "best_epoch": results.get("epoch"),
        "epochs": len(run.history) or None,
        "planned_epochs": settings.get("epochs"),
        "metric": run.metric,
        "best": results[run.metric],
        "low": low,
        "high": high,
        "hits": hits,
        "videos": total,
        "last": last,
        "params": params,
        "macs": macs,
        "seconds": results.get("total_seconds", results.get("seconds")),
        "folder": str(run.folder),
    }


def _start(settings: Any) -> str:
    """Describe the start of a training in a few words."""
    from videozoo.models.load import is_location

    for name in ("initial_checkpoint", "init_from"):
        if settings.get(name):
            return _shorten(str(settings[name]))
    model = str(settings.get("model"))
    if is_location(model) or "." in model:
        return "its weights"
    if settings.get("pretrained"):
        return "published weights"
    return _shorten(str(settings.get("backbone_weights") or "scratch"))


def _shorten(name: str, longest: int = 28) -> str:
    return name if len(name) <= longest else "…" + name[1 - longest :]


class Costs:
    """Parameters and MACs of a view, and how a model wants its videos.

    Runs of the same model are counted once.
    """

    def __init__(self) -> None:
        self._known: dict[str, tuple[int | None, int | None, dict[str, Any]]] = {}

    def of(self, folder: Path) -> tuple[int | None, int | None, dict[str, Any]]:
        """Return those of the model in a folder.

        Nothing where there is none or it cannot be built.
        """
        from videozoo.hub import WeightsError

        try:
            content = json.loads((folder / "config.json").read_text(encoding="utf-8"))
            content["pretrained_cfg"].pop("metrics", None)
            key = json.dumps(content)
            if key not in self._known:
                self._known[key] = self._count(folder)
            return self._known[key]
        except FileNotFoundError:  # an evaluation
            return None, None, {}
        except (WeightsError, ValueError, RuntimeError, OSError, LookupError, TypeError, AttributeError) as error:
            print_status(f"note: the size of {folder} is unknown ({first_line(error)})")
            return None, None, {}

    def _count(self, folder: Path) -> tuple[int, int, dict[str, Any]]:
        import torch

        from videozoo.data import resolve_data_config
        from videozoo.models import create_model
        from videozoo.report import count_cost

        with torch.device("meta"):
            model = create_model(f"local-dir:{folder}", pretrained=False)
        cost = count_cost(model)
        return cost.params, cost.macs, resolve_data_config(model)


_HEAD = ("run", "model", "start", "clip", "lr", "epochs", "best", "95 %", "right", "last", "params", "GMACs", "time")

_NUMBERS = ("lr", "best", "right", "last", "params", "GMACs", "time")


def _cells(one: dict[str, Any]) -> Sequence[str]:
    planned, epochs = one["planned_epochs"], one["epochs"]
    minutes = None if one["seconds"] is None else one["seconds"] / 60
    return (
        one["run"],
        _shorten(str(one["model"] or ""), 32),
        one["start"] or "",
        f"{one['frames']} x {one['size']}" if one["frames"] else "",
        "" if one["lr"] is None else f"{one['lr']:.3g}",
        "" if epochs is None else f"{one['best_epoch']} of {epochs}" + (f" ({planned})" if planned != epochs else ""),
        f"{one['best']:.1%}" + (" mAP" if one["metric"] == "map" else ""),
        "" if one["low"] is None else f"{100 * one['low']:.1f} to {100 * one['high']:.1f}",
        f"{one['videos']} videos" if one["hits"] is None else f"{one['hits']} of {one['videos']}",
        "" if one["last"] is None else f"{one['last']:.1%}",
        "" if one["params"] is None else f"{one['params'] / 1e6:.2f}M",
        "" if one["macs"] is None else f"{one['macs'] / 1e9:.2f}",
        "" if minutes is None else f"{minutes:.1f} min" if minutes >= 1 else f"{one['seconds']:.0f} s",
    )


def _csv_cells(one: dict[str, Any]) -> list[Any]:
    return ["" if value is None else value for value in one.values()]

"""Measure training steps with and without each custom ``autograd.Function``, in turns, and their peak memory.

``python benchmarks/gradients.py`` writes ``gradients.json`` and prints the table of ``attempts.md``. ``--only WORDS``
measures the rows whose names contain one of the words and keeps the others. Run nothing else meanwhile.

``--sizes 64 224`` writes nothing. It prints the time of ARC's step over TSM's at these image sides, as `videozoo
finetune` runs them: contiguous, with each optimizer.
"""

import argparse
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

import torch
from pages import as_json, write
from speed_measure import Setting, keep_freed_memory, machine, make_step, measure, peak_of_tensors

from videozoo.augment.arc_products import ArcProducts
from videozoo.augment.standardize import _StandardizeAndScale
from videozoo.autograd import CustomGradient
from videozoo.layers.correlation import _Correlation
from videozoo.layers.temporal_conv import _MixNeighbors
from videozoo.layers.temporal_shift import _Shift

PATH = Path(__file__).resolve().parent / "gradients.json"
GRADIENTS: dict[str, tuple[type[CustomGradient], tuple[str, ...]]] = {
    "shift": (_Shift, ("tsm_r18", "tsm_r50")),
    "mix of neighbors": (_MixNeighbors, ("tanet_r18", "tanet_r50", "tdn_r18")),
    "correlation": (_Correlation, ("msn_r18", "msn_r50")),
    "standardize and scale": (_StandardizeAndScale, ("dnr_tsn_r18", "dnr_tsn_r50")),
    "ARC": (ArcProducts, ("arc_tsm_r18", "arc_tsm_r50")),
}
ALLOWED_DIFFERENCE = 1e-4  # of the largest output


@contextmanager
def without(gradient: type[CustomGradient]) -> Iterator[None]:
    """Replace a custom gradient by autograd's gradient of the plain form."""
    with patch.object(gradient, "apply", gradient.plain):
        yield


def compare(gradient: type[CustomGradient], model: str, setting: Setting, pairs: int) -> dict[str, Any]:
    """Return milliseconds of steps, taken in turns, and peaks in MB with and without the custom gradient.

    Raises:
        RuntimeError: the outputs differ.
    """
    step = make_step(model, setting)
    row: dict[str, Any] = {"ms_with": [], "ms_without": []}
    with without(gradient):
        plain = step().clone()
    difference = float((step() - plain).abs().max() / plain.abs().max())
    if difference > ALLOWED_DIFFERENCE:
        raise RuntimeError(f"{model}: the outputs with and without {gradient.__name__} differ by {difference:.1e}")
    for _ in range(pairs):
        row["ms_with"].append(round(measure(step, setting.device), 1))
        with without(gradient):
            row["ms_without"].append(round(measure(step, setting.device), 1))
    row["mb_with"] = round(peak_of_tensors(step))
    with without(gradient):
        row["mb_without"] = round(peak_of_tensors(step))
    return row


def arc_over_tsm(size: int, optimizer: str, batch: int, pairs: int) -> str:
    """Return a row of the table for ``--sizes``: milliseconds and MB of both models, taken in turns."""
    setting = Setting("training", batch, channels_last=False, size=size, optimizer=optimizer)
    tsm, arc = (make_step(name, setting) for name in ("tsm_r18", "arc_tsm_r18"))
    for step in (tsm, arc):
        step()  # the first one is slower
    times = [(measure(arc, setting.device), measure(tsm, setting.device)) for _ in range(pairs)]
    ratio = median(a / b for a, b in times)
    ms = " | ".join(f"{median(row):.0f}" for row in zip(*times, strict=True))
    return f"| {size}, {batch}, {optimizer} | {ms} | {ratio:.2f} | {peak_of_tensors(arc):.0f} |"


def table(rows: dict[str, dict[str, Any]]) -> str:
    """Return the rows as a table. The ratio of times is the median over the pairs of steps."""
    lines = [
        "| gradient, model | ms with | without | ratio | MB with | without | ratio |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for name, row in rows.items():
        ratio = median(a / b for a, b in zip(row["ms_with"], row["ms_without"], strict=True))
        times = f"{median(row['ms_with']):.0f} | {median(row['ms_without']):.0f} | {ratio:.3f}"
        memory = f"{row['mb_with']} | {row['mb_without']} | {row['mb_with'] / row['mb_without']:.3f}"
        lines.append(f"| {name} | {times} | {memory} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--only", nargs="+", metavar="WORDS", default=[""], help="measure rows whose names contain one of these"
    )
    parser.add_argument("--pairs", type=int, default=5, help="steps with and without")
    parser.add_argument("--batch", type=int, default=2, help="clips in a step")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--sizes", nargs="+", type=int, help="time ARC over TSM at these image sides instead")
    args = parser.parse_args()
    keep_freed_memory()
    os.environ["KINETO_LOG_LEVEL"] = "6"
    torch.set_num_threads(args.threads)
    if args.sizes:
        print("| side, clips, optimizer | ms of ARC | of TSM | ratio | MB of ARC |", "|---|--:|--:|--:|--:|", sep="\n")
        for size in args.sizes:
            for optimizer in ("adamw", "sgd"):
                print(arc_over_tsm(size, optimizer, args.batch, args.pairs), flush=True)
        return
    setting = Setting("training", args.batch)
    before = json.loads(PATH.read_text())["rows"] if PATH.exists() else {}
    rows: dict[str, dict[str, Any]] = {}
    for name, (gradient, models) in GRADIENTS.items():
        for model in models:
            key = f"{name}, {model}"
            if any(word in key for word in args.only):
                rows[key] = compare(gradient, model, setting, args.pairs)
            elif key in before:
                rows[key] = before[key]
    result = {**machine(setting.device, args.threads), "batch": args.batch, "pairs": args.pairs, "rows": rows}
    write(PATH, as_json(result))
    print(table(rows))


if __name__ == "__main__":
    main()

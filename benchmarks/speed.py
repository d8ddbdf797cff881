"""Measure time and memory of the models next to timm's backbones, plain references and other packages.

``python benchmarks/speed.py`` measures everything in one run, in turns, and writes ``speed.json`` and ``speed.md``. On
a GPU it writes ``speed_cuda.*`` and adds float16, CUDA graphs and compilation of every model.

``--only WORDS`` runs the sections whose names contain one of the words (``--list`` prints the names). Their results
replace those in the JSON. ``--check`` writes nothing: it compares with the JSON and prints the ratios that got worse.

Run nothing else on the machine meanwhile. Compilation takes most of the first run; later runs use torch's cache.
``--no-compile`` skips it.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from loader import CLIPS_PER_KIND, KINDS, write_video
from loader import compare as compare_loading
from pages import as_json, write
from speed_measure import DTYPES, Setting, compare, keep_freed_memory, machine, matrix_rate, peak_memory
from speed_models import Unavailable, count_macs, same_as, split_row
from speed_page import page
from speed_targets import BASE, TASKS, figures, worse

HERE = Path(__file__).resolve().parent
PEERS = ["torchvision r3d_18", "torchvision r2plus1d_18", "transformers timesformer", "transformers videomae"]
LOADING, MEMORY = "loading", "memory"


@dataclass(frozen=True)
class Section:
    """Group of rows that are timed in turns."""

    setting: Setting
    depth: str
    rows: tuple[str, ...]
    rounds: int
    note: str = ""

    @property
    def key(self) -> str:
        s = self.setting
        layout = "channels_last" if s.channels_last else "contiguous"
        return f"{s.task} {self.depth} batch {s.batch} {s.dtype} {layout}{self.note}"


def rows_of(depth: str, task: str, device: str, names: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Return the base and our models of one depth; if ``names`` is given, only these models."""
    ours = names or ("tsn", "tsm", "msn", "tanet", "tdn", "arc_tsm", "dnr_tsn")
    rows = [BASE[depth], *(f"{name}_{depth}" for name in ours)]
    if not names:
        rows += [f"plain arc_tsm_{depth}", f"plain dnr_tsn_{depth}"]
        if task == "inference":
            rows += [f"fuse {name}_{depth}" for name in ("tsn", "tsm", "arc_tsm", "dnr_tsn")]
        else:
            rows += [f"arc_tsm_{depth} n=4 recompute"]
    if device == "cuda":
        rows += [f"{row}, {mode}" for row in rows for mode in ("compiled", "graphs")]
    elif not names:
        # Only those with targets: a training step of this depth takes minutes to compile.
        compiled = ("tsm", "arc_tsm") if (depth, task) == ("r50", "training") else ("tsm", "arc_tsm", "tsn", "dnr_tsn")
        rows += [f"{name}_{depth}, compiled" for name in compiled]
    return tuple(rows)


# Rounds at batch 1 and 4. Slow steps are repeated less.
ROUNDS = {
    ("inference", "r18"): (9, 7),
    ("inference", "r50"): (7, 5),
    ("training", "r18"): (6, 4),
    ("training", "r50"): (5, 3),
}


def sections(device: str) -> list[Section]:
    """Return all sections. On a CPU, other types, layouts and batches have only the models with targets."""
    few = () if device == "cuda" else ("tsn", "tsm", "arc_tsm", "dnr_tsn")
    found = []
    for (task, depth), rounds in ROUNDS.items():
        base = Setting(task, device=device)
        found.append(Section(base, depth, rows_of(depth, task, device), rounds[0]))
        many = few if depth == "r18" or task == "inference" else few[:1] + few[3:]
        rows = rows_of(depth, task, device, many)
        if device == "cpu" and depth == "r18":
            rows += ("tsn_r18, compiled", "dnr_tsn_r18, compiled")
        found.append(Section(replace(base, batch=4), depth, rows, rounds[1]))
    for depth in BASE:
        for task in TASKS if device == "cuda" or depth == "r18" else TASKS[:1]:
            base = Setting(task, device=device)
            low = ("bfloat16", "float16") if device == "cuda" else ("bfloat16",)
            for dtype in low:
                for batch in (1, 4) if device == "cuda" else (1,):
                    setting = replace(base, dtype=dtype, batch=batch)
                    found.append(Section(setting, depth, rows_of(depth, task, device, few), 5))
            found.append(Section(replace(base, channels_last=False), depth, rows_of(depth, task, device, few), 5))
    for task in TASKS:
        peers = (BASE["r18"], "tsm_r18", "tsm_r50", *(PEERS if task == "inference" else PEERS[:2]))
        found.append(Section(Setting(task, device=device), "peers", peers, 3))
    return found


def memory_rows(task: str, batch: int) -> list[str]:
    """Return the models whose peak is measured. With several clips these are the ones with memory targets."""
    rows = []
    for depth in BASE if batch == 1 else ["r18"]:
        names = {
            "r18": ("tsm", "tsn", "msn", "tanet", "tdn", "arc_tsm", "dnr_tsn"),
            "r50": ("tsm", "arc_tsm", "dnr_tsn"),
        }
        rows.append(BASE[depth])
        if batch == 1:
            rows += [*(f"{name}_{depth}" for name in names[depth]), f"plain arc_tsm_{depth}", f"plain dnr_tsn_{depth}"]
        if task == "training":
            rows += [f"arc_tsm_{depth} n={n}{how}" for how in ("", " recompute") for n in (1, 4, 8) if n > 1 or not how]
    return rows


def measure_sections(result: dict[str, Any], chosen: list[Section], args: argparse.Namespace) -> None:
    """Time the chosen sections and count the MACs of new models."""
    for section in chosen:
        start = time.perf_counter()
        rows = [row for row in section.rows if args.compile or split_row(row)[1] == "eager"]
        rounds = args.rounds or section.rounds
        found = compare(rows, section.setting, rounds)
        layout = "channels_last" if section.setting.channels_last else "contiguous"
        result["sections"][section.key] = {
            "task": section.setting.task,
            "depth": section.depth,
            "batch": section.setting.batch,
            "dtype": section.setting.dtype,
            "layout": layout,
            "base": section.rows[0],
            "rounds": rounds,
            **found,
        }
        print(f"{section.key}: {time.perf_counter() - start:.0f} s", flush=True)
    names = {split_row(row)[0] for section in result["sections"].values() for row in section["rows"]}
    for name in sorted(names - set(result["macs"])):
        twin = same_as(name) or name
        result["macs"][name] = result["macs"].get(twin) or count_macs(name)


def measure_memory(result: dict[str, Any], args: argparse.Namespace, device: str) -> None:
    """Measure the peak memory of each model in its own process."""
    for task, batch in (("inference", 1), ("training", 1), ("training", 4)):
        rows = result["memory"].setdefault(f"{task} batch {batch}", {})
        for row in memory_rows(task, batch):
            try:
                rows[row] = peak_memory(row, Setting(task, batch, device=device), args.threads)
            except Unavailable as error:
                print(f"  {row}: skipped, {error}", flush=True)
    print("memory measured", flush=True)


def measure_loading(result: dict[str, Any], rounds: int) -> None:
    """Compare the dataset with a plain PyAV loop on one thread, as in a worker (see ``loader.py``)."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        for kind, options in KINDS.items():
            paths = [Path(folder) / f"{kind.replace(' ', '-')}{i}.mp4" for i in range(CLIPS_PER_KIND)]
            for i, path in enumerate(paths):
                write_video(path, seed=i, **options)  # type: ignore[arg-type]
            result["loading"][f"10 s of 340x256, {kind}"] = compare_loading(paths, rounds)


def run(args: argparse.Namespace, before: dict[str, Any]) -> dict[str, Any]:
    """Measure the sections of ``--only``, or all. Other sections keep their earlier results."""
    start = time.perf_counter()
    os.environ["KINETO_LOG_LEVEL"] = "6"
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.backends.cudnn.benchmark = True
    torch._dynamo.config.recompile_limit = 64  # many models of one class in one process
    result: dict[str, Any] = {**machine(device, args.threads), "threads": args.threads}
    result |= {key: dict(before.get(key, {})) for key in ("matrix_rate", "macs", "memory", "loading", "sections")}

    def is_wanted(key: str) -> bool:
        return not args.only or any(word in key for word in args.only)

    if is_wanted(MEMORY):
        measure_memory(result, args, device)
    torch.set_num_threads(args.threads)
    chosen = [section for section in sections(device) if is_wanted(section.key)]
    for dtype in DTYPES if device == "cuda" else ("float32", "bfloat16"):
        result["matrix_rate"][dtype] = matrix_rate(device, dtype)
    measure_sections(result, chosen, args)
    order = [section.key for section in sections(device)]
    result["sections"] = {key: result["sections"][key] for key in order if key in result["sections"]}
    if is_wanted(LOADING):
        measure_loading(result, args.rounds or 5)
    return {**result, "minutes": (time.perf_counter() - start) / 60}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="WORDS", help="run sections whose names contain one of these")
    parser.add_argument("--rounds", type=int, help="rounds of every section")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="threads on a CPU")
    parser.add_argument("--no-compile", dest="compile", action="store_false", help="skip compiled models")
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit with 1 if a ratio got worse beyond its spread"
    )
    parser.add_argument("--list", action="store_true", help="print the names of the sections")
    parser.add_argument("--out", type=Path, default=HERE, help="folder for the JSON and the page")
    args = parser.parse_args()
    keep_freed_memory()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if args.list:
        print("\n".join([MEMORY, *(section.key for section in sections(device)), LOADING]))
        return 0
    path = args.out / ("speed_cuda.json" if device == "cuda" else "speed.json")
    before = json.loads(path.read_text()) if path.exists() else {}
    if args.check and not before:
        print(f"there is no {path.name} in {args.out} to compare with; run without --check first", file=sys.stderr)
        return 2
    result = run(args, {} if args.check or not args.only else before)
    if not args.check:
        write(path, as_json(result))
        write(path.with_suffix(".md"), page(result))
        print(page(result))
        return 0
    lines = worse(before, result)
    shared = len(figures(before).keys() & figures(result).keys())
    print("\n".join([f"{shared} ratios compared, {len(lines)} got worse", *lines]))
    return int(bool(lines))


if __name__ == "__main__":
    raise SystemExit(main())

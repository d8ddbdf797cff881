"""Fine-tune models on order4, real clips in time-reversed pairs of classes.

Every row is three commands, which the page shows: finetune, evaluate, and evaluate with the clips played backwards.
``python benchmarks/order4.py --data FOLDER`` runs the rows that have no result yet, so you can interrupt it. With
``--processes 2`` it fills the second table instead: a few models with several seeds, trained by one process and by two
that torchrun starts and that share the batch and its statistics.

``FOLDER`` holds ``order4/train.txt``, ``order4/val.txt`` and ``weights/*.safetensors``.
"""

import argparse
import json
import os
import platform
import shlex
import statistics
import subprocess
import sys
from pathlib import Path

import torch
from pages import table, write_both

HERE = Path(__file__).resolve().parent
COMMON = ["--img-size", "64", "--epochs", "12", "-j", "1", "--hflip", "0.5"]
MOBILENET = [
    "--freeze-bn",
    "--lr",
    "2e-4",
    "--backbone-weights",
    "{data}/weights/mobilenetv2_imagenet_torchvision_names.safetensors",
]
SCRATCH = ["--from-scratch"]
ROWS: dict[str, list[str]] = {
    "tsn_mbv2": MOBILENET,
    "tsm_mbv2": MOBILENET,
    "tsn_r18": SCRATCH,
    "tsm_r18": SCRATCH,
    "arc_tsm_r18": SCRATCH,
    "dnr_tsn_r18": SCRATCH,
    "dnr_tsm_r18": SCRATCH,
    "msn_r18": SCRATCH,
    "arc_msn_r18": SCRATCH,
    "tanet_r18": SCRATCH,
    "tdn_r18": SCRATCH,
    "trn_r18": SCRATCH,
}
BATCH_SIZE = 8
SHARED_MODELS = ("tsm_r18", "dnr_tsn_r18")
SEEDS = (42, 43, 44)
Row = dict[str, float | str]


def finetune_args(name: str, data: str, run: str, processes: int = 1) -> list[str]:
    """Return the arguments of ``videozoo finetune`` for one row; several processes share the batch."""
    args = ["--model", name, "--data", f"{data}/order4/train.txt", "--val", f"{data}/order4/val.txt", "--output", run]
    args += [*COMMON, "-b", str(BATCH_SIZE // processes), *(["--sync-bn"] if processes > 1 else [])]
    return [*args, *(flag.format(data=data) for flag in ROWS[name])]


def torchrun(processes: int) -> list[str]:
    """Return the arguments that start the processes of a run."""
    return ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"] if processes > 1 else []


def videozoo(*args: str, processes: int = 1) -> str:
    """Print one command, run it and return its output."""
    command = [*torchrun(processes), "-m", "videozoo", *args]
    print("$ python", shlex.join(command), flush=True)
    done = subprocess.run([sys.executable, *command], stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout


def run_row(name: str, data: Path, runs: Path, seed: int | None = None, processes: int = 1) -> Row:
    """Train and evaluate one model; read the result if it exists."""
    own = "" if seed is None else f"_{processes}_processes_seed_{seed}"
    run, result = runs / f"{name}{own}", runs / f"{name}{own}.json"
    if result.exists():
        return json.loads(result.read_text())
    flags = [] if seed is None else ["--seed", str(seed)]
    flags += ["--resume"] if run.exists() else []
    videozoo("finetune", *finetune_args(name, str(data), str(run), processes), *flags, processes=processes)
    row: Row = {"model": name} if seed is None else {"model": name, "seed": seed, "processes": processes}
    for key, flags in (("", []), ("reversed_", ["--reverse"])):
        out = videozoo(
            "evaluate", "--model", f"local-dir:{run}/best", "--data", f"{data}/order4/val.txt", "--json", *flags
        )
        scores = json.loads(out)
        row |= {f"{key}top1": scores["top1"], f"{key}mean_class": scores["mean_class"]}
    result.write_text(json.dumps(row))
    return row


def shared_section(rows: list[Row]) -> list[str]:
    """Return the table of one process next to several."""
    if not rows:
        return []
    count = max(int(row["processes"]) for row in rows)
    lines = [
        f"## One process and {count} processes",
        "",
        f"The same models trained by one process and by {count}, with `-b {BATCH_SIZE // count}` each and "
        "`--sync-bn`. Both see the same",
        "clips and compute the same statistics in every step. Only the order of sums differs.",
        f"Mean and range of the best epoch's top-1 over {len({row['seed'] for row in rows})} seeds.",
        "",
    ]
    cells = []
    for model in dict.fromkeys(row["model"] for row in rows):
        for processes in (1, count):
            own = [row for row in rows if (row["model"], row["processes"]) == (model, processes)]
            scores = [float(row["top1"]) for row in own]
            back = statistics.mean(float(row["reversed_top1"]) for row in own)
            span = f"{min(scores):.3f} to {max(scores):.3f}"
            cells.append([f"`{model}`", str(processes), f"{statistics.mean(scores):.3f}", span, f"{back:.3f}"])
    lines += table(["model", "processes", "top-1", "lowest to highest", "top-1 reversed"], cells)
    name = str(rows[0]["model"])
    args = [*finetune_args(name, "DATA", f"runs/{name}_{count}", count), "--seed", str(SEEDS[0])]
    lines += [
        "",
        "```bash",
        f"torchrun --standalone --nproc-per-node={count} -m videozoo finetune {shlex.join(args)}",
        f"python benchmarks/order4.py --data DATA --processes {count}  # all models",
        "```",
        "",
    ]
    return lines


def page(rows: list[Row], shared: list[Row], machine: str) -> str:
    """Return the tables and the commands as Markdown."""
    lines = [
        "# order4: real clips whose classes differ in the order of their frames",
        "",
        "Only models with a temporal module can tell these classes apart. If a model uses the order of the "
        "frames, its top-1",
        "falls when the clips are played backwards.",
        "",
    ]
    keys = ("top1", "mean_class", "reversed_top1", "reversed_mean_class")
    head = ["model", "top-1", "mean class", "top-1 reversed", "mean class reversed"]
    lines += [
        *table(head, [[f"`{row['model']}`", *(f"{row[key]:.3f}" for key in keys)] for row in rows]),
        "",
        "* 198 clips of nine people (64x64, 9 to 30 frames): bending down and standing up, raising and "
        "lowering the arms.",
        "  They are split by person into 132 for training and 66 for validation.",
        "* `tsn_*` has no temporal module. `*_mbv2` starts from ImageNet weights with batch norm frozen. The "
        "others are",
        "  trained from scratch.",
        "* The scores are those of the best epoch on the validation clips, so they are optimistic.",
        "* *Reversed* is the same model on the same clips played backwards, against their forward labels.",
        "",
        f"{machine}. One seed (42).",
        "",
        "`DATA` is the folder of the clips. `python benchmarks/order4.py --data DATA` runs all these commands:",
        "",
    ]
    lines.append("```bash")
    for row in rows:
        name = str(row["model"])
        lines.append(f"videozoo finetune {shlex.join(finetune_args(name, 'DATA', f'runs/{name}'))}")
        for flags in ("", " --reverse"):
            lines.append(f"videozoo evaluate --model local-dir:runs/{name}/best --data DATA/order4/val.txt{flags}")
    lines += ["```", "", *shared_section(shared)]
    return "\n".join(lines)


def write(key: str, rows: list[Row], machine: str) -> None:
    """Write one of the two tables to order4.json, keep the other one, and write the page."""
    path = HERE / "order4.json"
    content = json.loads(path.read_text()) if path.exists() else {"rows": []}
    content |= {"machine": machine, key: rows}
    write_both(path, content, page(content["rows"], content.get("shared", []), machine))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with order4/ and weights/")
    parser.add_argument("--runs", type=Path, default=Path("runs/order4"), help="folder for the run folders")
    parser.add_argument("--models", nargs="+", choices=list(ROWS))
    parser.add_argument("--processes", type=int, default=1, help="fill the second table with this number of processes")
    args = parser.parse_args()
    args.runs.mkdir(parents=True, exist_ok=True)
    device = (
        torch.cuda.get_device_name()
        if torch.cuda.is_available()
        else f"{os.cpu_count()} CPU cores, {torch.get_num_threads()} thread(s)"
    )
    machine = f"{device}, torch {torch.__version__}, Python {platform.python_version()}"
    if args.processes > 1:
        each = [
            (name, seed, count)
            for name in args.models or SHARED_MODELS
            for count in (1, args.processes)
            for seed in SEEDS
        ]
        write("shared", [run_row(name, args.data, args.runs, seed, count) for name, seed, count in each], machine)
        return
    rows = [run_row(name, args.data, args.runs) for name in args.models or ROWS]
    for row in rows:
        print(row)
    if len(rows) == len(ROWS):
        write("rows", rows, machine)


if __name__ == "__main__":
    main()

"""Fine-tune networks on order4, real clips in time-reversed pairs of classes, and write the table of results.

Every row is three commands of the command line, which the page shows: finetune, evaluate, and evaluate with the test
clips played backwards. ``python benchmarks/order4.py --data FOLDER`` runs those rows that have no run yet, so a broken
run goes on where it stopped.

``FOLDER`` holds ``order4/train.txt``, ``order4/val.txt`` and ``weights/*.safetensors``.
"""

import argparse
import json
import os
import platform
import shlex
import subprocess
import sys
from pathlib import Path

import torch

HERE = Path(__file__).resolve().parent
COMMON = ["--img-size", "64", "--epochs", "12", "-b", "8", "-j", "1", "--hflip", "0.5"]
MOBILENET = [
    "--freeze-bn",
    "--lr",
    "2e-4",
    "--backbone-weights",
    "{data}/weights/mobilenetv2_imagenet_torchvision_names.safetensors",
]
ROWS: dict[str, list[str]] = {
    "tsn_mbv2": MOBILENET,
    "tsm_mbv2": MOBILENET,
    "tsn_r18": [],
    "tsm_r18": [],
    "arc_tsm_r18": [],
    "dnr_tsn_r18": [],
    "dnr_tsm_r18": [],
    "msn_r18": [],
    "arc_msn_r18": [],
    "tanet_r18": [],
    "tdn_r18": [],
    "trn_r18": [],
}


def finetune_args(name: str, data: str, run: str) -> list[str]:
    """Arguments of ``videozoo finetune`` for one row."""
    args = ["--model", name, "--data", f"{data}/order4/train.txt", "--val", f"{data}/order4/val.txt", "--output", run]
    return [*args, *COMMON, *(flag.format(data=data) for flag in ROWS[name])]


def videozoo(*args: str) -> str:
    """Run one command, show it, and return what it prints."""
    print("$ videozoo", shlex.join(args), flush=True)
    done = subprocess.run([sys.executable, "-m", "videozoo", *args], stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout


def run_row(name: str, data: Path, runs: Path) -> dict[str, float | str]:
    """Train and evaluate one network; a row that is there already is read back."""
    run, result = runs / name, runs / f"{name}.json"
    if result.exists():
        return json.loads(result.read_text())
    videozoo("finetune", *finetune_args(name, str(data), str(run)), *(["--resume"] if run.exists() else []))
    row: dict[str, float | str] = {"model": name}
    for key, flags in (("", []), ("reversed_", ["--reverse"])):
        out = videozoo(
            "evaluate", "--model", f"local-dir:{run}/best", "--data", f"{data}/order4/val.txt", "--json", *flags
        )
        scores = json.loads(out)
        row |= {f"{key}top1": scores["top1"], f"{key}mean_class": scores["mean_class"]}
    result.write_text(json.dumps(row))
    return row


def page(rows: list[dict[str, float | str]], machine: str) -> str:
    """The table and the commands as Markdown."""
    lines = [
        "# order4: real clips whose classes differ in the order of their frames",
        "",
        "198 clips of nine people (64x64, 9 to 30 frames; bending down and standing up, raising and lowering the arms)",
        "split by person into 132 for training and 66 for validation. `tsn_*` has no temporal module. `*_mbv2` starts",
        "from ImageNet weights with batch norm frozen, the others start at random. The scores are those of the best",
        "epoch on the validation clips, so they are optimistic by the choice among the epochs. *Reversed* is the same",
        "network on the same clips played backwards, against their forward labels.",
        "",
        f"{machine}; one seed (42).",
        "",
        "| network | top-1 | mean class | top-1 reversed | mean class reversed |",
        "|---|---|---|---|---|",
    ]
    keys = ("top1", "mean_class", "reversed_top1", "reversed_mean_class")
    for row in rows:
        cells = " | ".join(f"{row[key]:.3f}" for key in keys)
        lines.append(f"| `{row['model']}` | {cells} |")
    lines += [
        "",
        "Commands, with `DATA` the folder of the clips (`python benchmarks/order4.py --data DATA` runs them all):",
        "",
    ]
    lines.append("```bash")
    for row in rows:
        name = str(row["model"])
        lines.append(f"videozoo finetune {shlex.join(finetune_args(name, 'DATA', f'runs/{name}'))}")
        for flags in ("", " --reverse"):
            lines.append(f"videozoo evaluate --model local-dir:runs/{name}/best --data DATA/order4/val.txt{flags}")
    lines += ["```", ""]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with order4/ and weights/")
    parser.add_argument("--runs", type=Path, default=Path("runs/order4"), help="folder for the run folders")
    parser.add_argument("--models", nargs="+", default=list(ROWS), choices=list(ROWS))
    args = parser.parse_args()
    args.runs.mkdir(parents=True, exist_ok=True)
    device = (
        torch.cuda.get_device_name()
        if torch.cuda.is_available()
        else f"{os.cpu_count()} CPU cores, {torch.get_num_threads()} thread(s)"
    )
    machine = f"{device}, torch {torch.__version__}, Python {platform.python_version()}"
    rows = [run_row(name, args.data, args.runs) for name in args.models]
    for row in rows:
        print(row)
    if len(rows) == len(ROWS):
        (HERE / "order4.json").write_text(json.dumps({"machine": machine, "rows": rows}, indent=1) + "\n")
        (HERE / "order4.md").write_text(page(rows, machine))


if __name__ == "__main__":
    main()

"""Measure time and memory over frames, ARC steps, batch and image size, and the start-up time.

``python benchmarks/scaling.py`` writes ``scaling.json``, ``.md`` and ``.png`` (``scaling_cuda.*`` on a GPU). All points
of a curve are timed in turns. Peak memory is measured in separate processes. Start-up is timed in new processes that
take turns with timm's. ``--only frames steps batch size start-up`` measures parts and keeps the other results of the
JSON. Run nothing else on the machine meanwhile.
"""

import argparse
import io
import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from pages import as_json, table, write
from speed_measure import Setting, keep_freed_memory, machine, make_step, measure, peak_memory
from speed_models import count_macs
from speed_targets import TASKS, spread

HERE = Path(__file__).resolve().parent
MODELS = ("tsm_r18", "arc_tsm_r18", "dnr_tsn_r18")
CURVES: dict[str, tuple[int, ...]] = {
    "frames": (8, 16, 32, 64),
    "steps": (1, 2, 4, 8),
    "batch": (1, 2, 4),
    "size": (112, 160, 224, 288),
}
AXES = {"frames": "frames", "steps": "steps n of ARC", "batch": "clips in a batch", "size": "image side"}
START_UP = "start-up"
# Lines that each start-up process runs. The clock is read after every line.
IMPORT_TIMM = ["import timm", "m = timm.create_model('resnet18', num_classes=400).eval()"]
STARTS = {
    "timm resnet18": [*IMPORT_TIMM, "y = m(torch.zeros(8, 3, 224, 224))"],
    **{
        name: [
            "import videozoo",
            f"m = videozoo.create_model('{name}', num_classes=400).eval()",
            "y = m(torch.zeros(1, 3, 8, 224, 224))",
        ]
        for name in ("tsm_r18", "arc_tsm_r18", "dnr_tsn_r18")
    },
}
STEPS = ("import", "create_model", "first prediction")


def point(curve: str, model: str, value: int) -> tuple[str, Setting]:
    """Return the row and the setting of one point of a curve."""
    setting = Setting("inference")
    if curve == "steps":
        return f"{model} n={value}", setting
    field = {"frames": "num_frames", "batch": "batch", "size": "size"}[curve]
    return model, replace(setting, **{field: value})


def models_of(curve: str) -> tuple[str, ...]:
    """Return the models of a curve."""
    return ("arc_tsm_r18",) if curve == "steps" else MODELS


def measure_curve(curve: str, rounds: int, device: str) -> list[dict[str, Any]]:
    """Return all points of a curve with times, taken in turns, and the MACs of a batch."""
    points: list[dict[str, Any]] = []
    for task in TASKS:
        steps = []
        for model in models_of(curve):
            for value in CURVES[curve]:
                row, setting = point(curve, model, value)
                setting = replace(setting, task=task, device=device)
                step = make_step(row, setting)
                step()
                macs = count_macs(row, setting.num_frames, setting.size) * setting.batch
                points.append({"model": model, "task": task, "value": value, "macs": macs, "ms": []})
                steps.append((step, points[-1]["ms"]))
        for _ in range(rounds):
            for step, times in steps:
                times.append(round(measure(step, device), 3))
    return points


def peaks(curve: str, threads: int, device: str) -> dict[str, dict[str, float]]:
    """Return the peak memory of each point of a curve."""
    found = {}
    for task in TASKS:
        for model in models_of(curve):
            for value in CURVES[curve]:
                row, setting = point(curve, model, value)
                setting = replace(setting, task=task, device=device)
                found[f"{model} {task} {value}"] = peak_memory(row, setting, threads)
    return found


def start_up(rounds: int, threads: int) -> dict[str, list[list[float]]]:
    """Return the seconds of each step, by model, in new processes that take turns."""
    found: dict[str, list[list[float]]] = {name: [] for name in STARTS}
    for number in range(rounds + 1):
        for name, lines in STARTS.items():
            marked = "".join(f"{line}\ntimes.append(time.perf_counter())\n" for line in lines)
            program = f"import time\ntimes = [time.perf_counter()]\n{marked}"
            program = program.replace(
                "y = m", f"import torch; torch.set_num_threads({threads}); torch.no_grad().__enter__(); y = m"
            )
            program += "print(*(b - a for a, b in zip(times, times[1:])))"
            environment = {**os.environ, "PYTHONPATH": str(HERE.parent), "PYTHONWARNINGS": "ignore"}
            done = subprocess.run([sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE, check=True)
            if number > 0:  # the first run fills the disk cache
                found[name].append([round(float(word), 4) for word in done.stdout.split()])
    return found


def scaling_rows(points: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return time, MACs and memory of each point over those of the first point of its curve."""
    rows = []
    for entry in points:
        first = next(p for p in points if (p["model"], p["task"]) == (entry["model"], entry["task"]))
        time_ratio = spread([a / b for a, b in zip(entry["ms"], first["ms"], strict=True)]).median
        macs = entry["macs"] / first["macs"]
        rows.append(
            {
                **{key: entry[key] for key in ("model", "task", "value")},
                "ms": statistics.median(entry["ms"]),
                "mb": entry["tensors"],
                "time": time_ratio,
                "macs": macs,
                "over_macs": time_ratio / macs,
                "memory": entry["tensors"] / first["tensors"],
            }
        )
    return rows


def page(result: dict[str, Any], picture: str) -> str:
    """Return the result as Markdown."""
    lines = [
        "# Scaling with frames, batch and image size",
        "",
        "GPU." if result.get("device") == "cuda" else "CPU only: there are no GPU figures yet.",
        "With twice the frames or clips, time grows less than twofold, and memory less than time.",
        "",
        *_worst(result),
        "",
        f"![Time and memory of growing clips]({picture})",
        "",
        "## How this was measured",
        "",
        f"{result['machine']}. {result['versions']}, commit {result['commit']}. Medians of {result['rounds']} rounds.",
        "`python benchmarks/scaling.py` measures again and writes this page.",
        "",
        "One clip of 8 x 224 x 224, eager, float32, channels_last. Each table varies one of these. *Time*, *MACs* and",
        "*memory* are over the first row of the same model. A *time over MACs* of 1 means that time grows like the",
        "arithmetic (dotted in the picture). Memory is what torch had allocated at the peak of a step. It includes",
        "weights, momenta and the clip.",
    ]
    for curve, points in result["curves"].items():
        lines += [
            "",
            f"## {AXES[curve][0].upper()}{AXES[curve][1:]}",
            "",
        ]
        rows = []
        for row in scaling_rows(points):
            numbers = [row[key] for key in ("time", "macs", "over_macs", "memory")]
            cells = [row["model"], row["task"], str(row["value"]), f"{row['ms']:.0f}", f"{row['mb']:.0f}"]
            rows.append([*cells, *(f"{number:.2f}" for number in numbers)])
        head = ["model", "task", curve, "ms", "MB", "time", "MACs", "time over MACs", "memory"]
        lines += table(head, rows)
    if result.get("start_up"):
        lines += ["", "## Start-up", "", *_start_up_table(result["start_up"])]
    return "\n".join([*lines, ""])


def _worst(result: dict[str, Any]) -> list[str]:
    """Return a bullet for each curve with its largest time over MACs, and the start-up times."""
    lines = []
    for curve, points in result["curves"].items():
        row = max(scaling_rows(points), key=lambda row: row["over_macs"])
        what = f"{row['model']}, {row['task']}, {row['value']}"
        lines.append(f"* {AXES[curve]}: time grows at most {row['over_macs']:.2f} times as much as the MACs ({what})")
    for name, runs in list(result.get("start_up", {}).items())[1:]:
        own = result["start_up"]["timm resnet18"]
        ratios = [statistics.median(a[i] / b[i] for a, b in zip(runs, own, strict=True)) for i in range(len(STEPS))]
        times = ", ".join(f"{step} {ratio:.2f}" for step, ratio in zip(STEPS, ratios, strict=True))
        lines.append(f"* start-up of {name} over timm's resnet18: {times}")
    return lines


def _start_up_table(start: dict[str, list[list[float]]]) -> list[str]:
    lines = [
        "Seconds in new processes that take turns, and the ratio to timm's, round by round (median, quartiles). Each",
        "process runs `import` (which loads torch), `create_model` without weights, and a prediction for eight images.",
        "",
    ]
    rows = []
    own = next(iter(start.values()))
    for name, runs in start.items():
        cells = [name]
        for i in range(len(STEPS)):
            over = spread([run[i] / base[i] for run, base in zip(runs, own, strict=True)])
            cells += [f"{statistics.median(run[i] for run in runs):.3f}", str(over)]
        rows.append(cells)
    return [*lines, *table(["model", *(name for step in STEPS for name in (step, "over timm"))], rows)]


def plot(result: dict[str, Any], path: Path) -> None:
    """Plot time above memory, one column per curve. Dotted lines grow like the MACs."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    curves = result["curves"]
    figure = Figure(figsize=(4 * len(curves), 7), layout="constrained")
    axes = figure.subplots(2, len(curves), squeeze=False)
    colors = dict(zip(MODELS, ("#2f5f98", "#c44f00", "#008a64"), strict=True))
    for column, (curve, points) in enumerate(curves.items()):
        rows = scaling_rows(points)
        for model in models_of(curve):
            for task, style in zip(TASKS, ("--", "-"), strict=True):
                line = [row for row in rows if (row["model"], row["task"]) == (model, task)]
                values = [row["value"] for row in line]
                look = {"color": colors[model], "linestyle": style, "marker": "o", "markersize": 3}
                axes[0, column].plot(values, [row["ms"] / 1e3 for row in line], label=f"{model}, {task}", **look)
                arithmetic = [line[0]["ms"] / 1e3 * row["macs"] for row in line]
                axes[0, column].plot(values, arithmetic, color=colors[model], linestyle=":", linewidth=0.8)
                axes[1, column].plot(values, [row["mb"] for row in line], **look)
        for axis in axes[:, column]:
            axis.set_xlabel(AXES[curve])
            axis.set_xticks(CURVES[curve])
            axis.set_ylim(bottom=0)
            axis.grid(alpha=0.3)
    axes[0, 0].set_ylabel("seconds of a step")
    axes[1, 0].set_ylabel("peak memory (MB)")
    axes[0, 0].plot([], [], color="#555555", linestyle=":", linewidth=0.8, label="dotted: grows like the MACs")
    axes[0, 0].legend(fontsize="x-small", handlelength=3)
    about = f"{result['machine']}, float32, one clip of 8 x 224 x 224 unless the axis says otherwise"
    figure.suptitle(about, fontsize=10)
    picture = io.BytesIO()
    FigureCanvasAgg(figure).print_png(picture)
    write(path, picture.getvalue())


def run(args: argparse.Namespace, device: str, before: dict[str, Any]) -> dict[str, Any]:
    """Measure the parts of ``--only``, or all."""
    wanted = set(args.only or [*CURVES, START_UP])
    result = {**machine(device, args.threads), "rounds": args.rounds, "curves": dict(before.get("curves", {}))}
    result["start_up"] = before.get("start_up", {})
    chosen = [curve for curve in CURVES if curve in wanted]
    memory = {curve: peaks(curve, args.threads, device) for curve in chosen}  # before this process computes anything
    print("memory measured", flush=True)
    torch.set_num_threads(args.threads)
    if START_UP in wanted:
        result["start_up"] = start_up(args.rounds + 4, args.threads)
        print("start-up measured", flush=True)
    for curve in chosen:
        start = time.perf_counter()
        points = measure_curve(curve, args.rounds, device)
        for entry in points:
            entry |= memory[curve][f"{entry['model']} {entry['task']} {entry['value']}"]
        result["curves"][curve] = points
        print(f"{curve}: {time.perf_counter() - start:.0f} s", flush=True)
    result["curves"] = {curve: result["curves"][curve] for curve in CURVES if curve in result["curves"]}
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=[*CURVES, START_UP], help="parts to measure")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of the curves; start-up has four more")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="threads on a CPU")
    parser.add_argument("--out", type=Path, default=HERE, help="folder for the JSON, the page and the picture")
    args = parser.parse_args()
    keep_freed_memory()
    os.environ["KINETO_LOG_LEVEL"] = "6"
    device = "cuda" if torch.cuda.is_available() else "cpu"
    path = args.out / ("scaling_cuda.json" if device == "cuda" else "scaling.json")
    before = json.loads(path.read_text()) if args.only and path.exists() else {}
    result = run(args, device, before)
    picture = path.with_suffix(".png")
    write(path, as_json(result))
    write(path.with_suffix(".md"), page(result, picture.name))
    plot(result, picture)
    print(page(result, picture.name))


if __name__ == "__main__":
    main()

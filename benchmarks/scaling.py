"""How time and memory grow with frames, steps of ARC, batch and image size, and what start-up costs; writes the page.

``python benchmarks/scaling.py`` writes ``scaling.json``, ``.md`` and ``.png`` (``scaling_cuda.*`` on a GPU).
All points of a curve are timed in turns; memory is the peak of a process of its own. Start-up is timed in fresh
processes that take turns with timm's. ``--only frames steps batch size start-up`` takes parts, the rest stays as the
JSON has it. Nothing else should run on the machine meanwhile.
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
NETWORKS = ("tsm_r18", "arc_tsm_r18", "dnr_tsn_r18")
CURVES: dict[str, tuple[int, ...]] = {
    "frames": (8, 16, 32, 64),
    "steps": (1, 2, 4, 8),
    "batch": (1, 2, 4),
    "size": (112, 160, 224, 288),
}
AXES = {"frames": "frames", "steps": "steps n of ARC", "batch": "clips in a batch", "size": "image side"}
START_UP = "start-up"
# What each process of the start-up does, with the clock read after every line.
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


def point(curve: str, network: str, value: int) -> tuple[str, Setting]:
    """The row and the setting of one point of a curve."""
    setting = Setting("inference")
    if curve == "steps":
        return f"{network} n={value}", setting
    field = {"frames": "num_frames", "batch": "batch", "size": "size"}[curve]
    return network, replace(setting, **{field: value})


def networks(curve: str) -> tuple[str, ...]:
    """The networks of a curve."""
    return ("arc_tsm_r18",) if curve == "steps" else NETWORKS


def grow(curve: str, rounds: int, device: str) -> list[dict[str, Any]]:
    """All points of a curve: times in turns, peaks, and the multiply-adds of a batch."""
    points: list[dict[str, Any]] = []
    for task in TASKS:
        steps = []
        for network in networks(curve):
            for value in CURVES[curve]:
                row, setting = point(curve, network, value)
                setting = replace(setting, task=task, device=device)
                step = make_step(row, setting)
                step()
                macs = count_macs(row, setting.num_frames, setting.size) * setting.batch
                points.append({"network": network, "task": task, "value": value, "macs": macs, "ms": []})
                steps.append((step, points[-1]["ms"]))
        for _ in range(rounds):
            for step, times in steps:
                times.append(round(measure(step, device), 3))
    return points


def peaks(curve: str, threads: int, device: str) -> dict[str, dict[str, float]]:
    """Peak memory of the points of a curve, by what they are."""
    found = {}
    for task in TASKS:
        for network in networks(curve):
            for value in CURVES[curve]:
                row, setting = point(curve, network, value)
                setting = replace(setting, task=task, device=device)
                found[f"{network} {task} {value}"] = peak_memory(row, setting, threads)
    return found


def start_up(rounds: int, threads: int) -> dict[str, list[list[float]]]:
    """Seconds of each step in fresh processes that take turns, by network."""
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
            if number > 0:  # the first fills the disk's cache
                found[name].append([round(float(word), 4) for word in done.stdout.split()])
    return found


def scaling_rows(points: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """For each point: time and memory over those of the curve's first point, and over the growth of its arithmetic."""
    rows = []
    for entry in points:
        first = next(p for p in points if (p["network"], p["task"]) == (entry["network"], entry["task"]))
        time_ratio = spread([a / b for a, b in zip(entry["ms"], first["ms"], strict=True)]).median
        flops = entry["macs"] / first["macs"]
        rows.append(
            {
                **{key: entry[key] for key in ("network", "task", "value")},
                "ms": statistics.median(entry["ms"]),
                "mb": entry["tensors"],
                "time": time_ratio,
                "flops": flops,
                "over_flops": time_ratio / flops,
                "memory": entry["tensors"] / first["tensors"],
            }
        )
    return rows


def page(result: dict[str, Any], picture: str) -> str:
    """The result as Markdown."""
    lines = [
        "# Growth",
        "",
        f"{result['machine']}. {result['versions']}, commit {result['commit']}; medians of {result['rounds']} rounds.",
        "`python benchmarks/scaling.py` makes this page again.",
        "",
        f"![time and memory of growing clips]({picture})",
        "",
        "Eager, float32, channels_last, 8 frames of 224 x 224, one clip, but for what the table varies. *Time*,",
        "*FLOPs* and *memory* are over the first line of the same network; *time over FLOPs* of 1 is growth by",
        "arithmetic alone, dotted in the picture. Memory is what torch had allocated at the highest point of a step,",
        "weights, momenta and the clip included.",
        "",
        *_worst(result),
    ]
    for curve, points in result["curves"].items():
        lines += [
            "",
            f"## {AXES[curve][0].upper()}{AXES[curve][1:]}",
            "",
        ]
        rows = []
        for row in scaling_rows(points):
            numbers = [row[key] for key in ("time", "flops", "over_flops", "memory")]
            cells = [row["network"], row["task"], str(row["value"]), f"{row['ms']:.0f}", f"{row['mb']:.0f}"]
            rows.append([*cells, *(f"{number:.2f}" for number in numbers)])
        head = ["network", "task", curve, "ms", "MB", "time", "FLOPs", "time over FLOPs", "memory"]
        lines += table(head, rows)
    if result.get("start_up"):
        lines += ["", "## Start-up", "", *_start_up_table(result["start_up"])]
    return "\n".join([*lines, ""])


def _worst(result: dict[str, Any]) -> list[str]:
    """A line for each curve, and one for start-up: what grows most beyond its arithmetic."""
    lines = []
    for curve, points in result["curves"].items():
        row = max(scaling_rows(points), key=lambda row: row["over_flops"])
        what = f"{row['network']}, {row['task']}, {row['value']}"
        lines.append(f"* {AXES[curve]}: at most {row['over_flops']:.2f} times its arithmetic ({what})")
    for name, runs in list(result.get("start_up", {}).items())[1:]:
        own = result["start_up"]["timm resnet18"]
        ratios = [statistics.median(a[i] / b[i] for a, b in zip(runs, own, strict=True)) for i in range(len(STEPS))]
        times = ", ".join(f"{step} {ratio:.2f}" for step, ratio in zip(STEPS, ratios, strict=True))
        lines.append(f"* start-up of {name} over that of timm's resnet18: {times}")
    return lines


def _start_up_table(start: dict[str, list[list[float]]]) -> list[str]:
    lines = [
        "Seconds in fresh processes that take turns, and over timm's own, round by round (median, quartiles). Each",
        "does `import`, which brings torch in, `create_model` without weights, and a prediction of eight images.",
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
    return [*lines, *table(["network", *(name for step in STEPS for name in (step, "over timm"))], rows)]


def plot(result: dict[str, Any], path: Path) -> None:
    """Time above, memory below, one column for each curve; thin dotted lines are growth by arithmetic alone."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    curves = result["curves"]
    figure = Figure(figsize=(4 * len(curves), 7), layout="constrained")
    axes = figure.subplots(2, len(curves), squeeze=False)
    colours = dict(zip(NETWORKS, ("#2f5f98", "#c44f00", "#008a64"), strict=True))
    for column, (curve, points) in enumerate(curves.items()):
        rows = scaling_rows(points)
        for network in networks(curve):
            for task, style in zip(TASKS, ("--", "-"), strict=True):
                line = [row for row in rows if (row["network"], row["task"]) == (network, task)]
                values = [row["value"] for row in line]
                look = {"color": colours[network], "linestyle": style, "marker": "o", "markersize": 3}
                axes[0, column].plot(values, [row["ms"] / 1e3 for row in line], label=f"{network}, {task}", **look)
                arithmetic = [line[0]["ms"] / 1e3 * row["flops"] for row in line]
                axes[0, column].plot(values, arithmetic, color=colours[network], linestyle=":", linewidth=0.8)
                axes[1, column].plot(values, [row["mb"] for row in line], **look)
        for axis in axes[:, column]:
            axis.set_xlabel(AXES[curve])
            axis.set_xticks(CURVES[curve])
            axis.set_ylim(bottom=0)
            axis.grid(alpha=0.3)
    axes[0, 0].set_ylabel("seconds of a step")
    axes[1, 0].set_ylabel("peak memory (MB)")
    axes[0, 0].plot([], [], color="#555555", linestyle=":", linewidth=0.8, label="dotted: growth of the MACs")
    axes[0, 0].legend(fontsize="x-small", handlelength=3)
    about = f"{result['machine']}, float32; one clip of 8 x 224 x 224 where the axis varies nothing of it"
    figure.suptitle(about, fontsize=10)
    picture = io.BytesIO()
    FigureCanvasAgg(figure).print_png(picture)
    write(path, picture.getvalue())


def run(args: argparse.Namespace, device: str, before: dict[str, Any]) -> dict[str, Any]:
    """Measure what ``--only`` names, everything without it."""
    wanted = set(args.only or [*CURVES, START_UP])
    result = {**machine(device, args.threads), "rounds": args.rounds, "curves": dict(before.get("curves", {}))}
    result["start_up"] = before.get("start_up", {})
    chosen = [curve for curve in CURVES if curve in wanted]
    memory = {curve: peaks(curve, args.threads, device) for curve in chosen}  # before anything computes here
    print("memory measured", flush=True)
    torch.set_num_threads(args.threads)
    if START_UP in wanted:
        result["start_up"] = start_up(args.rounds + 4, args.threads)
        print("start-up measured", flush=True)
    for curve in chosen:
        start = time.perf_counter()
        points = grow(curve, args.rounds, device)
        for entry in points:
            entry |= memory[curve][f"{entry['network']} {entry['task']} {entry['value']}"]
        result["curves"][curve] = points
        print(f"{curve}: {time.perf_counter() - start:.0f} s", flush=True)
    result["curves"] = {curve: result["curves"][curve] for curve in CURVES if curve in result["curves"]}
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=[*CURVES, START_UP], help="parts to measure")
    parser.add_argument("--rounds", type=int, default=3, help="of the curves; start-up has four more")
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

"""The page ``speed.md`` from a result of ``speed.py``; every figure on it is computed from what was measured."""

from typing import Any

from pages import table
from speed_targets import BASE, over_flops, ratio, spread, targets

Result = dict[str, Any]


def page(result: Result) -> str:
    """The result as Markdown."""
    lines = [
        "# Speed and memory",
        "",
        f"{result['machine']}. {result['versions']}, commit {result['commit']}; {result['minutes']:.0f} minutes.",
        f"A large matrix product or convolution: {_rates(result['matrix_rate'])} thousand million multiply-adds/s.",
        "`python benchmarks/speed.py` makes this page again, `--check` compares with it, `--only WORDS` takes parts.",
        "",
        "Clips of 8 x 224 x 224 (TDN: 40 images for its 8 time steps), 400 classes, random weights. The rows of a",
        "table are timed in turns, A B A B; times are medians with quartiles, ratios are taken round by round. *Base*:",
        "timm's backbone alone on the same images. *FLOPs*: multiply-adds over those of the base. *Time over FLOPs*:",
        "what a network costs beside its arithmetic. *Rate*: share of the rate of a large matrix product on this",
        "machine in the same type (a training step counts three times the forward). *Differs*: largest difference over",
        "largest output from the same network run plainly. `plain` networks are written straight from the equations,",
        "in `benchmarks/reference/`; a training step is forward, backward and SGD with momentum.",
        "",
        "## Targets",
        "",
    ]
    rows = []
    for target in targets(result):
        value = "" if target.value is None else _target_value(target.value, target.limit)
        rows.append([target.what, target.where, value, f"{target.limit:g}", target.verdict])
    lines += table(["what", "where", "measured", "target", ""], rows)
    for key, section in result["sections"].items():
        lines += ["", f"## {key[0].upper()}{key[1:]}", "", *_section(result, section)]
    if result.get("memory"):
        lines += ["", "## Peak memory", "", *_memory(result)]
    return "\n".join([*lines, ""])


def _rates(rates: dict[str, float]) -> str:
    return ", ".join(f"{dtype} {rate / 1e9:,.0f}" for dtype, rate in rates.items())


def _target_value(value: Any, limit: float) -> str:
    if limit < 0.01:
        return f"{value.median:.1e}"
    return (
        f"{value.median:.2f}"
        if value.low == value.high
        else f"{value.median:.2f} ({value.low:.2f} to {value.high:.2f})"
    )


def _section(result: Result, section: Result) -> list[str]:
    base = section["base"]
    rows = []
    rate = result["matrix_rate"].get(section["dtype"])
    for row, entry in section["rows"].items():
        time = spread(entry["ms"])
        over = ratio(section, row, base)
        per_flops = over_flops(result, over, row, base) if over else None
        macs = result["macs"].get(row.partition(", ")[0])
        done = (macs or 0) * section["batch"] * (3 if section["task"] == "training" else 1)
        cells = [
            row,
            f"{time.median:.1f} ({time.low:.1f} to {time.high:.1f})",
            f"{section['batch'] / time.median * 1e3:.1f}",
            f"{over.median:.3f} ({over.low:.3f} to {over.high:.3f})" if over else "",
            f"{over.median / per_flops.median:.3f}" if over and per_flops else "",
            f"{per_flops.median:.3f}" if per_flops else "",
            f"{done / (time.median / 1e3) / rate:.0%}" if rate and macs else "",
            f"{entry['difference']:.0e}" if "difference" in entry else "",
        ]
        rows.append(cells)
    head = ["network", "ms", "clips/s", "over base", "FLOPs", "time over FLOPs", "rate", "differs"]
    lines = [f"{section['rounds']} rounds. Base: {base}.", "", *table(head, rows)]
    if section["skipped"]:
        lines += ["", *(f"* left out: {row} ({why})" for row, why in section["skipped"].items())]
    return lines


def _memory(result: Result) -> list[str]:
    lines = [
        "MB at the highest point of a step, float32, channels_last, eager, each network in a process",
        "of its own, weights, momenta and the clip included. *Tensors*: what torch had allocated, the same in every",
        "run. *Resident*: what the process grew by, on a CPU.",
        "",
    ]
    cells = []
    for task, rows in result["memory"].items():
        for row, entry in rows.items():
            base = rows.get(BASE["r50" if "50" in row else "r18"])
            over = f"{entry['tensors'] / base['tensors']:.2f}" if base else ""
            resident = f"{entry['resident']:.0f}" if "resident" in entry else ""
            cells.append([row, task, f"{entry['tensors']:.0f}", over, resident])
    return [*lines, *table(["network", "task", "tensors", "over base", "resident"], cells)]

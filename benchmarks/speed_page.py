"""Functions that write ``speed.md`` from a result of ``speed.py``."""

import statistics
from typing import Any

from pages import table
from speed_targets import BASE, find, over_macs, ratio, spread, targets

Result = dict[str, Any]


def page(result: Result) -> str:
    """Return the result as Markdown; every figure is computed from what was measured."""
    lines = [
        "# Speed and memory",
        "",
        "## Which model for which budget",
        "",
        *_budgets(result),
        "",
        "## How this was measured",
        "",
        f"{result['machine']}. {result['versions']}, commit {result['commit']}. "
        f"The run took {result['minutes']:.0f} minutes.",
        f"A large matrix product or convolution reaches {_rates(result['matrix_rate'])} GMACs/s.",
        "",
        "* `python benchmarks/speed.py` measures again and writes this page. `--check` compares with it.",
        "* Clips are 8 x 224 x 224 (TDN: 40 images for its 8 time steps). Models have 400 classes and random weights.",
        "* The rows of a table take turns: A B A B. Times are medians with quartiles. Ratios are taken round by round.",
        "* A training step is forward, backward and SGD with momentum.",
        "* What was tried to make it faster, and what did not help: [attempts.md](attempts.md).",
        "",
        "| column | meaning |",
        "|---|---|",
        "| over base | time over that of timm's backbone alone on the same images |",
        "| MACs | multiply-accumulates over those of the base |",
        "| time over MACs | what a model costs beyond its arithmetic |",
        "| rate | fraction of the rate of a large matrix product of that type (a training step counts as 3 forwards) |",
        "| differs | largest difference over largest output, compared with the same model run plainly |",
        "",
        "`plain` models are written directly from the equations, in `benchmarks/reference/`. `fuse` is",
        "`videozoo.fuse(model)`. `compiled` is `torch.compile(model)`.",
        "",
        "## Targets",
        "",
    ]
    rows = []
    for target in targets(result):
        value = "" if target.value is None else _target_value(target.value, target.limit)
        rows.append([target.what, target.where, value, f"{target.limit:g}", target.verdict])
    lines += [f"{sum(row[-1] == 'met' for row in rows)} of {len(rows)} are met.", ""]
    lines += table(["what", "where", "measured", "target", ""], rows)
    for key, section in result["sections"].items():
        lines += ["", f"## {key[0].upper()}{key[1:]}", "", *_section(result, section)]
    if result.get("memory"):
        lines += ["", "## Peak memory", "", *_memory(result)]
    return "\n".join([*lines, ""])


def _budgets(result: Result) -> list[str]:
    """Return the cost of each model, cheapest first."""
    inference, training = ({d: find(result, task=task, depth=d) for d in BASE} for task in ("inference", "training"))
    memory = result.get("memory", {}).get("training batch 1", {})
    found = []
    for depth, section in inference.items():
        for row in section["rows"] if section else {}:
            if row == BASE[depth] or " " in row:
                continue
            ms = _median(section, row)
            assert ms is not None
            macs = result["macs"].get(row)
            cells = [
                f"`{row}`",
                f"{macs / 1e9:.1f}" if macs else "",
                f"{ms:.0f}",
                _rounded(_median(section, f"fuse {row}")),
                _rounded(_median(training[depth], row)),
                _rounded(memory.get(row, {}).get("tensors")),
            ]
            found.append((ms, cells))
    device = "On a GPU." if result.get("device") == "cuda" else "CPU only: there are no GPU figures yet."
    head = ["model", "GMACs", "ms per clip", "ms with `fuse`", "ms per training step", "MB in training"]
    return [
        f"{device} Take the last row that fits your time.",
        "[Choose a model](../docs/guides/choose.md) compares accuracy.",
        "",
        *table(head, [cells for _, cells in sorted(found)]),
        "",
        "One clip of 8 x 224 x 224, float32, channels_last, eager. MB are the tensors at the peak of a training step.",
        "",
        "Inference time over the plain backbone (ResNet-18, ResNet-50):",
        "",
        *_over_backbone(inference),
    ]


def _over_backbone(sections: dict[str, Result | None]) -> list[str]:
    """Return a bullet with the relative times of each kind of model."""
    lines = []
    for name in ("tsn", "tsm", "tanet", "dnr_tsn", "msn", "tdn", "arc_tsm"):
        found = [ratio(section, f"{name}_{depth}", BASE[depth]) for depth, section in sections.items() if section]
        if any(found):
            lines.append(f"* `{name}`: {', '.join(f'{value.median:.2f}' for value in found if value)}")
    return lines


def _median(section: Result | None, row: str) -> float | None:
    return statistics.median(section["rows"][row]["ms"]) if section and row in section["rows"] else None


def _rounded(value: float | None) -> str:
    return "" if value is None else f"{value:.0f}"


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
        per_macs = over_macs(result, over, row, base) if over else None
        macs = result["macs"].get(row.partition(", ")[0])
        done = (macs or 0) * section["batch"] * (3 if section["task"] == "training" else 1)
        cells = [
            row,
            f"{time.median:.1f} ({time.low:.1f} to {time.high:.1f})",
            f"{section['batch'] / time.median * 1e3:.1f}",
            f"{over.median:.3f} ({over.low:.3f} to {over.high:.3f})" if over else "",
            f"{over.median / per_macs.median:.3f}" if over and per_macs else "",
            f"{per_macs.median:.3f}" if per_macs else "",
            f"{done / (time.median / 1e3) / rate:.0%}" if rate and macs else "",
            f"{entry['difference']:.0e}" if "difference" in entry else "",
        ]
        rows.append(cells)
    head = ["model", "ms", "clips/s", "over base", "MACs", "time over MACs", "rate", "differs"]
    lines = [f"{section['rounds']} rounds. Base: {base}.", "", *table(head, rows)]
    if section["skipped"]:
        lines += ["", *(f"* skipped: {row} ({why})" for row, why in section["skipped"].items())]
    return lines


def _memory(result: Result) -> list[str]:
    lines = [
        "MB at the peak of a step in float32, channels_last, eager. Each model runs in its own process. Weights,",
        "momenta and the clip are included. *Tensors* is what torch had allocated. It is the same in every run.",
        "*Resident* is what the process grew by on a CPU.",
        "",
    ]
    cells = []
    for task, rows in result["memory"].items():
        for row, entry in rows.items():
            base = rows.get(BASE["r50" if "50" in row else "r18"])
            over = f"{entry['tensors'] / base['tensors']:.2f}" if base else ""
            resident = f"{entry['resident']:.0f}" if "resident" in entry else ""
            cells.append([row, task, f"{entry['tensors']:.0f}", over, resident])
    return [*lines, *table(["model", "task", "tensors", "over base", "resident"], cells)]

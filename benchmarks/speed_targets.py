"""Functions that compute ratios, targets and regressions from a result of ``speed.py``."""

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

Result = dict[str, Any]
BASE = {"r18": "timm resnet18", "r50": "timm resnet50"}
TASKS = ("inference", "training")
# Runs on different days differ by as much as this.
TOLERANCE = 0.05
ARC_TARGETS = {
    ("inference", "r18"): 1.20,
    ("inference", "r50"): 1.15,
    ("training", "r18"): 1.35,
    ("training", "r50"): 1.25,
}


@dataclass(frozen=True)
class Spread:
    """Median and quartiles."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.3f} ({self.low:.3f} to {self.high:.3f})"


@dataclass(frozen=True)
class Target:
    """Row of the table of targets; ``value`` is None if it was not measured."""

    what: str
    where: str
    limit: float
    value: Spread | None

    @property
    def verdict(self) -> str:
        if self.value is None:
            return "not measured"
        return "met" if self.value.median <= self.limit else "not met"


def spread(values: Sequence[float]) -> Spread:
    """Return the median and the quartiles."""
    if len(values) == 1:
        return Spread(values[0], values[0], values[0])
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return Spread(median, low, high)


def ratio(section: Result, row: str, over: str) -> Spread | None:
    """Return the time of one row over that of another, round by round; None if one was not measured."""
    rows = section["rows"]
    if row not in rows or over not in rows:
        return None
    return spread([a / b for a, b in zip(rows[row]["ms"], rows[over]["ms"], strict=True)])


def fastest(section: Result, name: str) -> str | None:
    """Return the row of a model in its fastest mode: eager, compiled or fused."""
    modes = [row for row in section["rows"] if row.partition(", ")[0].removeprefix("fuse ") == name]
    return min(modes, key=lambda row: statistics.median(section["rows"][row]["ms"]), default=None)


def find(result: Result, **wanted: Any) -> Result | None:
    """Return the section with these settings; batch 1, float32 and channels_last by default."""
    wanted = {"batch": 1, "dtype": "float32", "layout": "channels_last", **wanted}
    matching = (s for s in result["sections"].values() if all(s[key] == value for key, value in wanted.items()))
    return next(matching, None)


def targets(result: Result) -> list[Target]:
    """Return all targets with their measured values."""
    return [
        *_plain_targets(result),
        *_arc_targets(result),
        *_dnr_targets(result),
        *_family_targets(result),
        *_fuse_targets(result),
        *_loading_targets(result),
    ]


def _over(result: Result, row: str, over: str, **wanted: Any) -> Spread | None:
    section = find(result, **wanted)
    return None if section is None else ratio(section, row, over)


def _cases(result: Result, name: str, batches: Sequence[int] = (1,)) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield task, depth and batch: the given batches, and every measured section with the model."""
    for task in TASKS:
        for depth in BASE:
            for batch in (1, 4):
                section = find(result, task=task, depth=depth, batch=batch)
                if batch in batches or (section and f"{name}_{depth}" in section["rows"]):
                    yield f"{task}, batch {batch}", {"task": task, "depth": depth, "batch": batch}


def _plain_targets(result: Result) -> Iterator[Target]:
    for name in ("tsn", "tsm"):
        for where, case in _cases(result, name):
            row, base = f"{name}_{case['depth']}", BASE[case["depth"]]
            yield Target(f"{row} over {base}", where, 1.05, _over(result, row, base, **case))


def _arc_targets(result: Result) -> Iterator[Target]:
    for where, case in _cases(result, "arc_tsm"):
        depth = case["depth"]
        section = find(result, **case)
        arc, tsm = (fastest(section, f"{name}_{depth}") if section else None for name in ("arc_tsm", "tsm"))
        value = ratio(section, arc, tsm) if section and arc and tsm else None
        modes = f" ({_mode(arc)} over {_mode(tsm)})" if arc and tsm else ""
        limit = ARC_TARGETS[case["task"], depth]
        yield Target(f"arc_tsm_{depth} over tsm_{depth}, each at its fastest", where + modes, limit, value)
    for depth in BASE:
        rows = [f"arc_tsm_{depth} n={n}" for n in (1, 4, 8)]
        one, four, eight = rows[0], f"{rows[1]} recompute", f"{rows[2]} recompute"
        for batch in (1, 4):
            for row, over, limit in ((four, one, 1.25), (eight, four, 1.05)):
                value = _memory_over(result, f"training batch {batch}", row, over)
                if value is not None or batch == 1:
                    yield Target(f"{row} over {over}", f"peak memory, training, batch {batch}", limit, value)
        plain = f"arc_tsm_{depth}"
        time = _over(result, four, plain, task="training", depth=depth)
        yield Target(f"{four} over {plain}", "training step, batch 1", 1.25, time)


def _mode(row: str) -> str:
    return row.partition(", ")[2] or ("fused" if row.startswith("fuse ") else "eager")


def _memory_over(result: Result, key: str, row: str, over: str) -> Spread | None:
    rows = result.get("memory", {}).get(key, {})
    if row not in rows or over not in rows:
        return None
    return spread([rows[row]["tensors"] / rows[over]["tensors"]])


def _dnr_targets(result: Result) -> Iterator[Target]:
    for mode, limit in (("", 1.10), (", compiled", 1.20)):
        for where, case in _cases(result, "dnr_tsn", (1, 4)):
            row, over = (f"{name}_{case['depth']}{mode}" for name in ("dnr_tsn", "tsn"))
            yield Target(f"{row} over {over}", where, limit, _over(result, row, over, **case))


def _family_targets(result: Result) -> Iterator[Target]:
    for name in ("msn", "tanet", "tdn"):
        for where, case in _cases(result, name):
            row, over = (f"{word}_{case['depth']}" for word in (name, "tsm"))
            value = _over(result, row, over, **case)
            if value is not None:
                value = over_macs(result, value, row, over)
            yield Target(f"{row} over {over}, over the ratio of MACs", where, 1.1, value)


def over_macs(result: Result, value: Spread, row: str, over: str) -> Spread | None:
    """Return a ratio of times over the ratio of MACs; None if one was not counted."""
    a, b = (result["macs"].get(name.partition(", ")[0]) for name in (row, over))
    if not a or not b:
        return None
    macs = a / b
    return Spread(value.median / macs, value.low / macs, value.high / macs)


def _fuse_targets(result: Result) -> Iterator[Target]:
    for name in ("tsn", "tsm", "arc_tsm", "dnr_tsn"):
        for depth in BASE:
            row = f"{name}_{depth}"
            section = find(result, task="inference", depth=depth)
            value = ratio(section, f"fuse {row}", row) if section else None
            yield Target(f"fuse {row} over {row}", "inference, batch 1", 0.85, value)
            entry = section["rows"].get(f"fuse {row}", {}) if section else {}
            same = spread([entry["difference"]]) if "difference" in entry else None
            yield Target(f"fuse {row}: largest difference over largest output", "inference, batch 1", 1e-4, same)


def _loading_targets(result: Result) -> Iterator[Target]:
    rows = result.get("loading") or {"8 frames of 10 s of 340x256": None}
    for kind, row in rows.items():
        value = Spread(row["time_ratio"], row["time_ratio_low"], row["time_ratio_high"]) if row else None
        yield Target("decoding and transforms over a bare PyAV loop", kind, 1.15, value)


def figures(result: Result) -> dict[str, Spread]:
    """Return every ratio that a later run is compared with, by its name."""
    found: dict[str, Spread] = {}
    for key, section in result["sections"].items():
        for row in section["rows"]:
            value = ratio(section, row, section["base"])
            if row != section["base"] and value is not None:
                found[f"{key}: time of {row} over {section['base']}"] = value
    for task, rows in result.get("memory", {}).items():
        for row, entry in rows.items():
            base = rows.get(BASE["r50" if "50" in row else "r18"])
            if base and row not in BASE.values():
                found[f"{task}: memory of {row} over timm"] = spread([entry["tensors"] / base["tensors"]])
    for kind, row in result.get("loading", {}).items():
        found[f"loading {kind}"] = Spread(row["time_ratio"], row["time_ratio_low"], row["time_ratio_high"])
    return found


def worse(before: Result, now: Result) -> list[str]:
    """Return a line for each ratio whose median grew by more than the tolerance and whose quartiles do not overlap."""
    old, new = figures(before), figures(now)
    lines = []
    for name, value in new.items():
        if name not in old:
            continue
        was = old[name]
        if value.median > was.median * (1 + TOLERANCE) and value.low > was.high:
            lines.append(f"{name}: {was} -> {value}")
    return lines

"""Compare the cost tables of the papers with the measured cost of the models."""

import json
from collections.abc import Mapping
from importlib import resources
from typing import Any, cast

from videozoo.models import list_models
from videozoo.report.cost import Accounting
from videozoo.report.cost_cache import Meter
from videozoo.report.table_models import Setup, architecture_of

__all__ = ["load_papers", "paper_report"]

_TOLERANCE = 0.005
_FIGURES = {"gflops_per_view": "G", "params_m": "M"}  # printed fields and their units


def load_papers() -> dict[str, Any]:
    """Return ``papers.json``: the rows as printed, and the rules to build their models and to compare the figures."""
    text = resources.files("videozoo.report").joinpath("papers.json").read_text("utf-8")
    return cast(dict[str, Any], json.loads(text))


def paper_report(paper: str | None = None) -> list[dict[str, Any]]:
    """Measure every row of the papers' tables.

    A figure matches if the measured value rounds to the printed digits, or if the two differ by at most 0.5 %. A row's
    verdict is ``"match"`` if all its figures match, ``"differs"`` if not, and ``"no figure"`` if the paper prints none.
    A row whose model is not in the zoo has the verdict ``"not built"`` and a reason, and none of the fields below but
    ``architecture``, which is None.
    A cause is named only if its figure was computed and rounds to the printed digits. Papers print MACs as "FLOPs".

    Args:
        paper: ``"arc"``, ``"dnr"``, or None for both.
    Returns:
        the rows of the tables, in order; each has the row's own fields and

        - ``architecture``: the zoo's name,
        - ``clip_shape``: [C, T, H, W] of one view,
        - ``measured_gmacs``: per view, counted as the paper counts (:meth:`~videozoo.report.cost_cache.Meter.gmacs`),
        - ``executed_gmacs``: per view, as the model runs,
        - ``measured_params_m``: million parameters,
        - ``gmacs_difference``, ``params_difference``: measured / printed - 1, or None,
        - ``verdict``, and ``reason`` (empty unless the verdict is ``"differs"``).
    Raises:
        ValueError: an unknown paper.
    """
    data = load_papers()
    if paper is not None and paper not in data["papers"]:
        raise ValueError(f"paper_report: unknown paper {paper!r}; choose one of {', '.join(data['papers'])}.")
    meter = Meter()
    registered = set(list_models())
    rows = []
    for row in data["rows"]:
        name = architecture_of(row, data["backbones"], data["names"])
        if paper not in (None, row["paper"]):
            continue
        if not row["in_zoo"]:
            why = next(other["reason"] for other in data["not_built"] if _fits(row, other["when"]))
            rows.append({**row, "architecture": None, "verdict": "not built", "reason": why})
        elif name in registered:
            rows.append(_measured_row(row, _setup(row, name, data["clips"]), data, meter))
    return rows


def _setup(row: Mapping[str, Any], name: str, clips: list[dict[str, Any]]) -> Setup:
    printed = row.get("frames")
    clip = next((clip for clip in clips if _fits(row, clip["when"])), {})
    frames = clip.get("num_frames", printed)
    setup = Setup(name, row["num_classes"], frames if isinstance(frames, int) else None, size=clip.get("size", 224))
    return setup.change({"options": row.get("options", {})})


def _measured_row(row: Mapping[str, Any], setup: Setup, data: Mapping[str, Any], meter: Meter) -> dict[str, Any]:
    accounting: Accounting = data["papers"][row["paper"]]["accounting"]
    measured = {field: meter.figure(field, setup, accounting) for field in _FIGURES}
    printed = {field: row[field] for field in _FIGURES if row.get(field) is not None}
    reasons = [
        _reason(field, row, setup, measured[field], data, meter)
        for field in printed
        if not _is_match(measured[field], printed[field])
    ]
    difference = {field: round(measured[field] / value - 1, 5) for field, value in printed.items()}
    return {
        **row,
        "architecture": setup.architecture,
        "clip_shape": list(meter.clip_shape(setup)),
        "measured_gmacs": round(measured["gflops_per_view"], 6),
        "executed_gmacs": round(meter.gmacs(setup, "executed"), 6),
        "measured_params_m": round(measured["params_m"], 6),
        "gmacs_difference": difference.get("gflops_per_view"),
        "params_difference": difference.get("params_m"),
        "verdict": "differs" if reasons else "match" if printed else "no figure",
        "reason": "; ".join(reasons),
    }


def _has_digits(measured: float, printed: float) -> bool:
    """Return whether ``measured`` equals ``printed`` when it is rounded to the same number of digits."""
    scale = 10 ** len(str(printed).partition(".")[2])
    return round(measured * scale) == round(printed * scale)


def _is_match(measured: float, printed: float) -> bool:
    return _has_digits(measured, printed) or abs(measured / printed - 1) <= _TOLERANCE


def _fits(row: Mapping[str, Any], when: Mapping[str, Any]) -> bool:
    return all(row.get(key) == value for key, value in when.items())


def _reason(
    field: str, row: Mapping[str, Any], setup: Setup, measured: float, data: Mapping[str, Any], meter: Meter
) -> str:
    """Return the first known cause that gives the printed figure, or a text that the cause is unknown."""
    unit, printed = _FIGURES[field], row[field]
    own = data["papers"][row["paper"]]["accounting"]
    for cause in data["known"]:
        if cause["figure"] != field or not _fits(row, cause["when"]):
            continue
        if "beside" in cause:
            words = _addition(field, row, setup, measured, cause, data, meter)
        elif "instead" not in cause:  # no cause, but other figures were compared
            words = {"difference": f"{measured / printed - 1:+.3%}"}
        else:
            instead = dict(cause["instead"])
            accounting = instead.pop("accounting", own)
            times = instead.pop("times", 1)  # the authors multiplied a rounded figure
            explained = meter.figure(field, setup.change(instead), accounting)
            is_cause = _has_digits(explained, printed if times == 1 else printed / times)
            words = {"explained": f"{explained:.2f} {unit}"} if is_cause else {}
        if words:
            for key, other in cause.get("also", {}).items():
                changes = {"accounting": own, **other}
                accounting = changes.pop("accounting")
                words[key] = f"{meter.figure(field, setup.change(changes), accounting):.2f} {unit}"
            return str(cause["reason"]).format(
                printed=printed, measured=f"{measured:.2f} {unit}", num_classes=setup.num_classes, **words
            )
    return f"{printed} {unit} is printed, {measured:.2f} {unit} measured ({measured / printed - 1:+.3%}); cause unknown"


def _addition(
    field: str,
    row: Mapping[str, Any],
    setup: Setup,
    measured: float,
    cause: Mapping[str, Any],
    data: Mapping[str, Any],
    meter: Meter,
) -> dict[str, str]:
    """Return the words of a reason if the figure is that of another row plus a constant, else an empty dict."""
    same = ("paper", "table", "backbone", "dataset", "frames")
    when = {**{key: row.get(key) for key in same}, **cause["beside"]}
    beside = next((other for other in data["rows"] if _fits(other, when)), None)
    if beside is None or round(row[field] - beside[field], 6) != cause["plus"]:
        return {}
    base = architecture_of(beside, data["backbones"], data["names"])
    own = data["papers"][row["paper"]]["accounting"]
    added = measured - meter.figure(field, setup.change({"architecture": base}), own)
    return {"beside": str(beside[field]), "base": base, "added": f"{added:.2f} {_FIGURES[field]}"}

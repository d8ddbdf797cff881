"""Write evidence.md and its figure from evidence.csv: ``python benchmarks/evidence_page.py``."""

import re
import statistics
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from evidence import CSV, read_csv
from evidence_runs import (
    BATCH_MODELS,
    COMMON,
    INIT_FROM,
    LONG,
    LONG_ADDON,
    MODELS,
    PAIRS,
    PRINTED,
    SAME,
    SETS,
    VARIANTS,
    all_runs,
)
from evidence_text import (
    ABLATIONS_NOTE,
    BATCHES_NOTE,
    EQUAL_TIME_NOTE,
    FOUND,
    INTRODUCTION,
    LONGER_NOTE,
    PICTURES_NOTE,
    PREDICTION,
    RECIPE,
    STARTS_NOTE,
)
from pages import table, write
from scipy import stats

FOLDER, PAGE, FIGURE = CSV.parent, CSV.with_suffix(".md"), CSV.with_suffix(".png")
PICTURES = {
    "evidence_cam.png": "Grad-CAM heat maps of ARC-TSM and TSM over the frames of the clip",
    "evidence_states.png": "Input states of a layer of ARC-TSM, and what each step changes in them",
}
POWER = 0.8
TITLES = {
    "strokes": "Strokes: 38 classes in pairs, five folds by person",
    "hard_motions": "Hard motions: 20 generated classes, a run a seed",
    "grid_words": "GRID words: 51 words of one speaker",
}
STARTS_SHOWN = {
    "tsm, 16 epochs": ("starts", "tsm", "--epochs 16"),
    "arc_tsm, 16 epochs": ("starts", "arc_tsm", "--epochs 16"),
    "arc_tsm from tsm": ("starts", "arc_tsm", INIT_FROM),
    "dnr_tsn": ("models", "dnr_tsn", ""),
    "dnr_tsn, keep_affine": ("starts", "dnr_keep_affine", ""),
}
"""Study, model and flags of the lines in the section about the start."""
STARTS_PAIRS = (
    *(("arc_tsm from tsm", f"{model}, 16 epochs") for model in ("arc_tsm", "tsm")),
    ("arc_tsm, 16 epochs", "tsm, 16 epochs"),
    ("dnr_tsn, keep_affine", "dnr_tsn"),
)
Scores = dict[str, dict[int, dict[str, str]]]  # line of the csv by model and split


@dataclass(frozen=True)
class Difference:
    """Paired difference of two models over the splits that both have.

    Args:
        mean, error: in points, with the standard error of the mean.
        low, high: 95 % interval of Student's t.
        p: of the paired t test, two-sided.
        visible: smallest true difference that the test finds in four of five cases.
        wins: splits in which the first is better, and all.
    """

    mean: float
    error: float
    low: float
    high: float
    p: float
    visible: float
    wins: tuple[int, int]


def compare(ours: Sequence[float], base: Sequence[float]) -> Difference | None:
    """Return the paired difference of two lists of accuracies in [0, 1], or None for fewer than two pairs."""
    points = [100 * (one - other) for one, other in zip(ours, base, strict=True)]
    if len(points) < 2:
        return None
    mean, error, freedom = statistics.mean(points), statistics.stdev(points) / len(points) ** 0.5, len(points) - 1
    half = float(stats.t.ppf(0.975, freedom)) * error
    visible = float(stats.t.ppf(0.975, freedom) + stats.t.ppf(POWER, freedom)) * error
    p = float(stats.ttest_rel(ours, base).pvalue)
    return Difference(mean, error, mean - half, mean + half, p, visible, (sum(x > 0 for x in points), len(points)))


def scores_of(lines: Sequence[dict[str, str]], study: str, clips: str) -> Scores:
    """Return the lines of one study on one set, by model and split."""
    found: Scores = defaultdict(dict)
    for line in lines:
        if (line["study"], line["clips"]) == (study, clips):
            found[line["model"]][int(line["split"])] = line
    return found


def values(scores: Scores, model: str, column: str, splits: Sequence[int] | None = None) -> list[float]:
    """Return a column of one model, split by split."""
    rows = scores[model]
    return [float(rows[split][column]) for split in sorted(rows if splits is None else splits) if rows[split][column]]


def mean_and_error(numbers: Sequence[float]) -> str:
    """Return ``61.2 ± 1.3`` in points, the mean alone for one number, or an empty cell for none."""
    if not numbers:
        return ""
    text = f"{100 * statistics.mean(numbers):.1f}"
    return text if len(numbers) == 1 else f"{text} ± {100 * statistics.stdev(numbers) / len(numbers) ** 0.5:.1f}"


def accuracy_table(scores: Scores, models: Sequence[str]) -> list[str]:
    """Return the table of accuracies of one set, over the splits that all models have."""
    rows = []
    shared = sorted(set.intersection(*(set(scores[model]) for model in models if model != SAME)))
    for model in models:
        splits = [split for split in shared if split in scores[model]]
        cells = [
            mean_and_error(values(scores, model, key, splits))
            for key in ("top1", "mean_class", "reversed_top1", "partner")
        ]
        seconds = values(scores, model, "train_seconds", splits)
        minutes = f"{statistics.mean(seconds) / 60:.1f}" if seconds else ""
        rows.append([f"`{model}`", *cells, str(len(splits)), minutes])
    head = ["model", "top-1", "mean class", "top-1 reversed", "taken for the partner", "runs", "minutes"]
    return table(head, rows)


def found_differences(
    scores: Scores, bases: Scores | None = None, column: str = "top1", pairs: Sequence[tuple[str, str]] = PAIRS
) -> Iterator[tuple[str, Difference]]:
    """Yield the pairs, where two splits or more have both. The second of a pair can be of another study."""
    bases = scores if bases is None else bases
    for model, base in pairs:
        splits = sorted(set(scores.get(model, {})) & set(bases.get(base, {})))
        if len(splits) < 2:
            continue
        found = compare(values(scores, model, column, splits), values(bases, base, column, splits))
        if found:
            yield f"{model} - {base}", found


def difference_table(
    scores: Scores, bases: Scores | None = None, column: str = "top1", pairs: Sequence[tuple[str, str]] = PAIRS
) -> list[str]:
    """Return the table of paired differences, empty if there are none."""
    rows = []
    for label, gap in found_differences(scores, bases, column, pairs):
        cells = [f"{gap.mean:+.1f} ± {gap.error:.1f}", f"{gap.low:+.1f} to {gap.high:+.1f}", f"{gap.p:.3f}"]
        rows.append([f"`{label}`", *cells, "{} of {}".format(*gap.wins), f"{gap.visible:.1f}"])
    what, wins = ("top-1", "better in") if column == "top1" else ("clips taken for the partner", "more in")
    head = [f"difference in {what}", "mean ± standard error", "95 % interval", "p", wins, "visible from"]
    return table(head, rows) if rows else []


def kinds_table(scores: Scores, models: Sequence[str]) -> list[str]:
    """Return the table of accuracies on the classes with and without a partner, empty where all or none have one."""
    columns = {"with_partner": "top-1 of classes with a partner", "without_partner": "of classes without"}
    cells = {model: [mean_and_error(values(scores, model, column)) for column in columns] for model in models}
    rows = [[f"`{model}`", *own] for model, own in cells.items() if all(own)]
    return table(["model", *columns.values()], rows) if rows else []


def ablation_table(lines: Sequence[dict[str, str]], kind: str) -> list[str]:
    """Return the table of one add-on's ablations on strokes, each against the paper's default on the same folds."""
    models, ablations = scores_of(lines, "models", "strokes"), scores_of(lines, "ablations", "strokes")
    default = {"arc": "arc_tsm", "dnr": "dnr_tsn"}[kind]
    rows = []
    for name, variant in VARIANTS.items():
        splits = sorted(set(ablations.get(name, {})) & set(models.get(default, {})))
        if not name.startswith(kind) or not splits:
            continue
        own, full = (values(scores, key, "top1", splits) for scores, key in ((ablations, name), (models, default)))
        gap = 100 * (statistics.mean(own) - statistics.mean(full))
        printed = None if variant.printed is None else variant.printed - PRINTED[kind]
        paper = ["", ""] if printed is None else [f"{printed:+.1f}", "yes" if gap * printed > 0 else "no"]
        rows.append([f"`{name}`", variant.tables, mean_and_error(own), f"{gap:+.1f}", *paper])
    head = ["model", "table", "top-1", f"against `{default}`", "in the paper", "same direction"]
    return table(head, rows) if rows else []


def equal_time_section(lines: Sequence[dict[str, str]]) -> list[str]:
    """Return the section about trainings of equal time, empty if there are none."""
    models, short = scores_of(lines, "models", "strokes"), scores_of(lines, "equal_time", "strokes")
    if not short:
        return []
    bases = {base: models[base] for base in ("tsn", "tsm", "msn") if base in models}
    shown = {**bases, **short}
    order = [model for model in MODELS if model in shown]
    return ["## Strokes, equal training time", "", EQUAL_TIME_NOTE, "", *accuracy_table(shown, order), "",
            *difference_table(short, bases), ""]  # fmt: skip


def longer_section(lines: Sequence[dict[str, str]]) -> list[str]:
    """Return the section about narrow networks that were trained for longer, empty if there are none."""
    scores = {name.removeprefix("narrow_"): rows for name, rows in scores_of(lines, "longer", "strokes").items()}
    if not scores:
        return []
    order = [model for model in MODELS if model in scores]
    note = LONGER_NOTE.format(flags=LONG, addon=LONG_ADDON)
    return ["## Strokes, a narrow ResNet-18 trained for longer", "", note, "", *accuracy_table(scores, order), "",
            *difference_table(scores), ""]  # fmt: skip


def start_scores(lines: Sequence[dict[str, str]]) -> Scores:
    """Return the lines of `STARTS_SHOWN`, by label and fold."""
    scores: Scores = defaultdict(dict)
    for line in lines:
        for label, run in STARTS_SHOWN.items():
            if (line["study"], line["model"], line["flags"], line["clips"]) == (*run, "strokes"):
                scores[label][int(line["split"])] = line
    return scores


def starts_section(lines: Sequence[dict[str, str]]) -> list[str]:
    """Return the section about the start of ARC and DNR, empty if there are no runs."""
    scores = start_scores(lines)
    order = [label for label in STARTS_SHOWN if label in scores]
    if not any(STARTS_SHOWN[label][0] == "starts" for label in order):
        return []
    return ["## Start of ARC and DNR", "", STARTS_NOTE, "", *accuracy_table(scores, order), "",
            *difference_table(scores, pairs=STARTS_PAIRS), ""]  # fmt: skip


def batches_section(lines: Sequence[dict[str, str]]) -> list[str]:
    """Return the section about small batches, empty if there are none."""
    if not any(line["study"] == "batches" for line in lines):
        return []
    found: dict[str, dict[int, str]] = defaultdict(dict)
    for line in lines:
        is_whole = line["study"] in ("models", "ablations") and not line["flags"]
        if line["study"] == "batches" or (is_whole and (line["clips"], line["split"]) == ("strokes", "1")):
            size = re.search(r"--batch-size (\d+)", line["flags"] or COMMON)
            assert size
            found[line["model"]][int(size[1])] = f"{100 * float(line['top1']):.1f}"
    sizes = (1, 2, 4, 16)
    rows = [[f"`{model}`", *(found[model].get(size, "") for size in sizes)] for model in BATCH_MODELS]
    return ["## Small batches", "", BATCHES_NOTE, "", *table(["clips a step", *map(str, sizes)], rows), ""]


def panels_of(lines: Sequence[dict[str, str]]) -> list[str]:
    """Return the sets on which an add-on and its base have three runs or more: intervals of two are very wide."""
    found = {clips: list(found_differences(scores_of(lines, "models", clips))) for clips in TITLES}
    return [clips for clips, gaps in found.items() if any(gap.wins[1] > 2 for _, gap in gaps)]


def draw(lines: Sequence[dict[str, str]], path: Path) -> None:
    """Draw the paired differences with their intervals, one panel per set of `panels_of`."""
    panels = panels_of(lines)
    figure, axes = plt.subplots(1, len(panels), figsize=(4.4 * len(panels), 2.6), sharey=True, squeeze=False)
    for axis, clips in zip(axes[0], panels, strict=False):
        found = list(found_differences(scores_of(lines, "models", clips)))
        for place, (_, gap) in enumerate(found):
            axis.errorbar(gap.mean, -place, xerr=[[gap.mean - gap.low], [gap.high - gap.mean]], fmt="o", capsize=3)
            axis.text(gap.mean, -place + 0.15, f"{gap.mean:+.1f}", ha="center", fontsize=8)
        axis.axvline(0, color="0.6", linewidth=1)
        axis.set_yticks([-place for place in range(len(found))], [label for label, _ in found])
        axis.set_title(TITLES[clips].partition(":")[0], fontsize=10)
        axis.set_xlabel("difference in top-1, points")
        axis.set_ylim(-len(found) + 0.5, 0.6)
    figure.tight_layout()
    figure.savefig(path, dpi=150)
    plt.close(figure)


def page(lines: Sequence[dict[str, str]]) -> str:
    """Return the tables as Markdown."""
    text = ["# What ARC and DNR add", "", INTRODUCTION, ""]
    count = len(list(all_runs()))
    if len(lines) < count:
        text += [f"**{len(lines)} of {count} runs are made so far.** Tables without runs are left out.", ""]
    text += ["## What came out", "", FOUND, ""]
    if panels_of(lines):
        text += [f"![Differences in top-1 between models with and without ARC or DNR]({FIGURE.name})", ""]
    for clips, title in TITLES.items():
        scores = scores_of(lines, "models", clips)
        models = [model for model in (*MODELS, SAME) if model in scores]
        if models:
            text += [f"## {title}", "", *accuracy_table(scores, models), ""]
            more = [difference_table(scores, column="partner")] if clips == "strokes" else [kinds_table(scores, models)]
            for rows in (difference_table(scores), *more):
                text += [*rows, ""] if rows else []
    for kind, title in (("arc", "Parts of ARC"), ("dnr", "Parts of DNR")):
        rows = ablation_table(lines, kind)
        text += [f"## {title}", "", ABLATIONS_NOTE, "", *rows, ""] if rows else []
    text += longer_section(lines)
    text += equal_time_section(lines)
    text += batches_section(lines)
    text += starts_section(lines)
    if all((FOLDER / name).is_file() for name in PICTURES):
        text += ["## One clip", "", PICTURES_NOTE, "", *(f"![{about}]({name})\n" for name, about in PICTURES.items())]
    text += ["## Predicted before the runs", "", PREDICTION, "", "## Recipe", "", RECIPE, "", *recipe_table(lines), ""]
    flags = COMMON.format(split="FOLD_OR_SEED")
    text += ["All runs of the tables have these flags:", "", "```bash"]
    text += [f"videozoo finetune --model MODEL_r18 --data TRAIN --val VAL {flags}"]
    text += [f"# {clips}: {own}" for clips, own in SETS.items()]
    text += ["python benchmarks/evidence.py --data FOLDER  # all runs; evidence.csv has a line of each", "```", ""]
    return "\n".join(text)


def recipe_table(lines: Sequence[dict[str, str]]) -> list[str]:
    """Return the table of the trials of the recipe."""
    trials = [line for line in lines if line["study"] == "recipe"]
    cells = [[f"`{line['model']}`", f"`{line['flags']}`", *accuracies(line)] for line in trials]
    return table(["model", "flags", "training clips", "validation clips"], cells)


def accuracies(line: dict[str, str]) -> list[str]:
    """Return the top-1 on training and validation clips in the last epoch, in points."""
    return [f"{100 * float(line[key]):.1f}" for key in ("train_top1", "last_val_top1")]


def main() -> None:
    lines = read_csv(CSV)
    if panels_of(lines):
        draw(lines, FIGURE)
    write(PAGE, page(lines))


if __name__ == "__main__":
    main()

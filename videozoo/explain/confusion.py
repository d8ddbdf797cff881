"""Confusion within groups of classes, of one evaluation or of several beside each other."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from videozoo.engine import EngineError, GroupResult, Scores, load_scores, measure_group, plot_confusion, plot_group
from videozoo.engine.checkpoint import replace_file
from videozoo.engine.evaluation_folder import SCORES, file_stems, model_title
from videozoo.names import clean_name
from videozoo.text import csv_text, some

__all__ = [
    "evaluation_titles",
    "group_confusion",
    "load_evaluation",
    "write_confusions",
    "write_matrices",
]


def load_evaluation(path: Path) -> Scores:
    """Return the scores of an evaluation.

    They are read from a folder that ``videozoo evaluate --output`` wrote, or from its file of scores.

    Raises:
        EngineError: there are none, or they are damaged.
    """
    if path.is_dir() and not (path / SCORES).is_file():
        raise EngineError(
            f"{path}: no {SCORES} in this folder; make it with videozoo evaluate --model ... --data ... --output DIR."
        )
    return load_scores(path / SCORES if path.is_dir() else path)


def group_confusion(scores: Sequence[Scores], labels: Sequence[int]) -> list[GroupResult]:
    """Return the part of each evaluation that is about one group of classes.

    Args:
        scores: evaluations with the same classes, in any order. They may be of different videos.
        labels: numbers of the group's k classes in the first evaluation.
    Returns:
        one for each evaluation. ``counts`` are int64 (k, k + 1): videos by true class (rows) and best class (columns),
        the last column for classes outside the group.
    Raises:
        EngineError: the evaluations have different classes.
    """
    first = [clean_name(name) for name in scores[0].result.class_names]
    parts = []
    for part in scores:
        numbers = {clean_name(name): label for label, name in enumerate(part.result.class_names)}
        differ = sorted(numbers.keys() ^ set(first))
        if differ:
            named = some([*map(repr, differ)], 4)
            raise EngineError(f"confusion: not all evaluations have the classes {named}; compare those with the same.")
        parts.append(measure_group(part.result, [numbers[first[label]] for label in labels]))
    return parts


def evaluation_titles(scores: Sequence[Scores]) -> list[str]:
    """Return a title for each evaluation: the last part of its model's name, or of its file's folder."""
    titles = [model_title(str(part.about.get("model") or "")) for part in scores]
    if "" in titles or len(set(titles)) < len(titles):
        titles = [Path(str(part.about.get("scores", ""))).parent.name for part in scores]
    return titles if len(set(titles)) == len(titles) else [f"{k}: {title}" for k, title in enumerate(titles, 1)]


def write_confusions(folder: Path, titles: Sequence[str], groups: Mapping[str, Sequence[GroupResult]]) -> list[str]:
    """Write GROUP.png and GROUP.csv of each group into a folder.

    In the csv the evaluations stand below each other.

    Args:
        titles: what each evaluation is called.
        groups: what ``group_confusion`` gives, by the group's name.
    Returns:
        the names of the files.
    Raises:
        CheckpointError: the disk refused.
    """
    written = []
    for stem, (name, parts) in zip(file_stems(groups), groups.items(), strict=True):
        plot_group(folder / f"{stem}.png", name, list(zip(titles, parts, strict=True)))
        rows = [["evaluation", "true class", *parts[0].class_names, "other classes"]]
        for title, part in zip(titles, parts, strict=True):
            rows += [[title, label, *row] for label, row in zip(part.class_names, part.counts.tolist(), strict=True)]
        replace_file(folder / f"{stem}.csv", csv_text(rows))
        written += [f"{stem}.png", f"{stem}.csv"]
    return written


def write_matrices(folder: Path, titles: Sequence[str], parts: Sequence[GroupResult]) -> list[str]:
    """Write EVALUATION.png and EVALUATION.csv of each evaluation into a folder: its whole confusion matrix.

    Args:
        titles: what each evaluation is called.
        parts: what ``group_confusion`` gives for all classes.
    Returns:
        the names of the files.
    Raises:
        CheckpointError: the disk refused.
    """
    written = []
    for stem, part in zip(file_stems(titles), parts, strict=True):
        counts = part.counts[:, :-1]
        plot_confusion(folder / f"{stem}.png", counts, part.class_names)
        rows = [[label, *row] for label, row in zip(part.class_names, counts.tolist(), strict=True)]
        replace_file(folder / f"{stem}.csv", csv_text([["true class", *part.class_names], *rows]))
        written += [f"{stem}.png", f"{stem}.csv"]
    return written

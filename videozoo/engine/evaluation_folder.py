"""Folder of an evaluation: results, tables, pictures, and the scores they follow from."""

import json
import re
import shutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from videozoo.engine.checkpoint import explain_disk, replace_file
from videozoo.engine.eval_result import EvalResult
from videozoo.engine.groups import GroupResult, group_dict, measure_group
from videozoo.engine.metrics import class_accuracies, rank_classes
from videozoo.engine.plots import plot_confusion, plot_group
from videozoo.engine.results import metrics_in, result_dict, write_results
from videozoo.engine.scores import Scores, save_scores
from videozoo.files import replace_folder
from videozoo.text import csv_text

RESULTS, SCORES, CONFUSIONS = "results.json", "scores.safetensors", ("confusion.csv", "confusion.png")
_OF_A_MEMBER = ("loss", "num_views")


def evaluation_dict(
    scores: Scores, groups: Mapping[str, Sequence[int]] | None = None, members: Sequence[Scores] = ()
) -> dict[str, Any]:
    """Return the content of results.json.

    It has ``about``, ``result_dict`` with the names of unread videos, groups and members.

    Args:
        groups: numbers of each group's classes.
        members: members of an ensemble. Each is listed in ``models``.
    """
    result = scores.result
    content = {**scores.about, **result_dict(result)}
    content["unread"] = [{"name": scores.names[row["index"]], **row} for row in content["unread"]]
    if groups:
        content["groups"] = group_dict({name: measure_group(result, labels) for name, labels in groups.items()})
    if members:
        content["models"] = [_member_dict(member, groups) for member in members]
    return content


def _member_dict(member: Scores, groups: Mapping[str, Sequence[int]] | None) -> dict[str, Any]:
    content = evaluation_dict(member, groups)
    kept = [*member.about, *metrics_in(content), *_OF_A_MEMBER, *(["groups"] if groups else [])]
    return {key: content[key] for key in kept}


def write_evaluation(
    folder: Path,
    scores: Scores,
    groups: Mapping[str, Sequence[int]] | None = None,
    members: Sequence[Scores] = (),
) -> list[str]:
    """Write an evaluation: results.json, videos.csv, per_class.csv, confusion.csv and .png, scores.safetensors.

    Of each group ``groups/NAME.csv`` and ``.png``, which shows the members of an ensemble beside the whole. Each member
    has the same files, but groups, in a folder ``member_1``, ``member_2``, ... Each file is written in one piece,
    results.json last. Groups and members of an earlier evaluation in this folder are removed. A multi-label evaluation
    has no confusion.

    Returns:
        the names of what was written.
    Raises:
        CheckpointError: the disk refused.
    """
    folder.mkdir(parents=True, exist_ok=True)
    result = scores.result
    written = ["videos.csv", "per_class.csv", *([] if result.multi_label else CONFUSIONS), SCORES]
    save_scores(folder / SCORES, scores)
    _write_csv(folder / "videos.csv", _video_rows(scores))
    _write_csv(folder / "per_class.csv", _class_rows(result))
    for name in CONFUSIONS if result.multi_label else ():  # of an earlier evaluation
        (folder / name).unlink(missing_ok=True)
    if not result.multi_label:
        _write_csv(folder / CONFUSIONS[0], [["", *result.class_names], *_named_rows(result)])
        plot_confusion(folder / CONFUSIONS[1], result.confusion, result.class_names)
    if groups:
        _replace(folder / "groups", lambda new: _write_groups(new, scores, groups, members))
        written.append("groups/")
    for number, member in enumerate(members, 1):
        _replace(folder / f"member_{number}", partial(write_evaluation, scores=member))
        written.append(f"member_{number}/")
    _remove_earlier(folder, bool(groups), len(members))
    content = {**evaluation_dict(scores, groups, members), "date": time.strftime("%Y-%m-%dT%H:%M:%S%z")}
    write_results(folder / RESULTS, content)
    return [RESULTS, *written]


def _replace(folder: Path, fill: Callable[[Path], Any]) -> None:
    with explain_disk(folder):
        replace_folder(folder, fill)


def _remove_earlier(folder: Path, has_groups: bool, num_members: int) -> None:
    """Remove the groups and members that the results in a folder name and the new ones lack."""
    try:
        earlier = json.loads((folder / RESULTS).read_text(encoding="utf-8"))
        names = [] if has_groups or not earlier.get("groups") else ["groups"]
        names += [f"member_{number}" for number in range(num_members + 1, len(earlier.get("models") or ()) + 1)]
    except (OSError, ValueError, AttributeError, TypeError):
        return
    for name in names:
        shutil.rmtree(folder / name, ignore_errors=True)


def _video_rows(scores: Scores) -> Iterable[list[Any]]:
    """Yield a row for each video in the order of the data, the unread ones with their problem."""
    result = scores.result
    if result.multi_label:
        yield from _multi_label_rows(scores)
        return
    names = result.class_names
    best = rank_classes(result.scores)[:, 0].tolist()
    rows: dict[int, list[Any]] = {index: ["", "", "", "", problem] for index, problem in result.unread}
    pairs = zip(result.indices.tolist(), result.labels.tolist(), best, result.scores, strict=True)
    for index, label, guess, row in pairs:
        own = f"{float(row[label]):.6g}" if label >= 0 else ""
        rows[index] = [names[label] if label >= 0 else "", names[guess], f"{float(row[guess]):.6g}", own, ""]
    yield ["name", "label", "prediction", "score", "label_score", "problem"]
    for index in sorted(rows):
        yield [scores.names[index], *rows[index]]


def _multi_label_rows(scores: Scores) -> Iterable[list[Any]]:
    """Yield a row for each video: its classes, joined by ``|`` as in lists, and its best class."""
    result = scores.result
    names = result.class_names
    best = rank_classes(result.scores)[:, 0].tolist()
    rows: dict[int, list[Any]] = {index: ["", "", "", problem] for index, problem in result.unread}
    for index, labels, guess, row in zip(result.indices.tolist(), result.labels, best, result.scores, strict=True):
        own = "|".join(names[label] for label in labels.nonzero()[:, 0].tolist())
        rows[index] = [own, names[guess], f"{float(row[guess]):.6g}", ""]
    yield ["name", "labels", "prediction", "score", "problem"]
    for index in sorted(rows):
        yield [scores.names[index], *rows[index]]


def _class_rows(result: EvalResult) -> Iterable[list[Any]]:
    if result.multi_label:
        yield ["class", "videos", "average_precision"]
        totals = result.labels.sum(dim=0).tolist()
        for name, total, value in zip(result.class_names, totals, result.average_precisions, strict=True):
            yield [name, total, "" if value is None else f"{value:.6g}"]
        return
    confusion = result.confusion
    columns = (confusion.sum(dim=1).tolist(), confusion.diagonal().tolist(), class_accuracies(confusion))
    yield ["class", "videos", "correct", "accuracy"]
    for name, total, hits, accuracy in zip(result.class_names, *columns, strict=True):
        yield [name, total, hits, "" if accuracy is None else f"{accuracy:.6g}"]


def _named_rows(result: EvalResult) -> Iterable[list[Any]]:
    for name, row in zip(result.class_names, result.confusion.tolist(), strict=True):
        yield [name, *row]


def _write_groups(folder: Path, scores: Scores, groups: Mapping[str, Sequence[int]], members: Sequence[Scores]) -> None:
    for stem, (name, labels) in zip(file_stems(groups), groups.items(), strict=True):
        whole = measure_group(scores.result, labels)
        _write_csv(folder / f"{stem}.csv", _group_rows(whole))
        panels = [
            (model_title(str(member.about.get("model", ""))), measure_group(member.result, labels))
            for member in members
        ]
        plot_group(folder / f"{stem}.png", name, [*panels, ("together" if members else "", whole)])


def _group_rows(group: GroupResult) -> Iterable[list[Any]]:
    yield ["", *group.class_names, "other classes"]
    for name, row in zip(group.class_names, group.counts.tolist(), strict=True):
        yield [name, *row]


def model_title(name: str) -> str:
    """Return the end of what a model is called: the part that differs between runs beside each other."""
    run = re.sub(r"/(best|last)$", "", name.removesuffix("/"))
    return run.rpartition("/")[2].removeprefix("local-dir:")


def file_stems(names: Iterable[str]) -> list[str]:
    """File names that stay in their folder and differ, whatever the groups are called."""
    stems: list[str] = []
    for name in names:
        stem = re.sub(r"\W+", "_", name).strip("_")[:80] or "group"
        taken = {other.casefold() for other in stems}
        count = 2
        unique = stem
        while unique.casefold() in taken:
            unique, count = f"{stem}_{count}", count + 1
        stems.append(unique)
    return stems


def _write_csv(path: Path, rows: Iterable[Sequence[Any]]) -> None:
    replace_file(path, csv_text(rows))

"""Groups of classes that are easily taken for each other, and how well a network tells them apart."""

import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from torch import Tensor

from videozoo.engine.errors import EngineError
from videozoo.engine.eval_result import EvalResult
from videozoo.engine.metrics import rank_classes


@dataclass(frozen=True)
class GroupResult:
    """The part of an evaluation that is about one group of classes.

    Args:
        class_names: of the group's k classes.
        counts: int64 (k, k + 1): videos by true class (rows) and best class (columns), the last for classes outside.
        top1: share of the group's videos whose best class, of all classes, is the true one; None without videos.
        within: the same where only the group's classes may be chosen.
    """

    class_names: tuple[str, ...]
    counts: Tensor
    top1: float | None
    within: float | None

    @property
    def num_videos(self) -> int:
        return int(self.counts.sum())


def load_groups(path: Path, class_names: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Read groups of classes: a json or yaml file with lists of class names or indices by the group's name.

    Args:
        class_names: of the network; what is no name of theirs and no index is an error.
    Returns:
        the classes' numbers by the group's name, in the order of the file.
    Raises:
        EngineError: not readable, another form, or a class that is unknown (the nearest names are given) or twice in
            its group; all such problems of the file at once.
    """
    content = _read(path)
    if not isinstance(content, dict) or not content:
        raise EngineError(f"{path}: needs group names with lists of classes, such as pouring: [pour in, pour out].")
    problems: list[str] = []
    groups: dict[str, tuple[int, ...]] = {}
    for name, entries in content.items():
        if not isinstance(entries, list) or len(entries) < 2:
            problems.append(f"group {name!r} is not a list of two classes or more")
            continue
        found = [_find(entry, class_names, str(name), problems) for entry in entries]
        labels = tuple(label for label in found if label is not None)
        problems += [f"group {name!r}: {class_names[n]!r} is there twice" for n in set(labels) if labels.count(n) > 1]
        groups[str(name)] = labels
    if problems:
        more = [f"and {len(problems) - 20} more"] if len(problems) > 20 else []
        raise EngineError("\n  ".join([f"{path}: {len(problems)} problems:", *problems[:20], *more]))
    return groups


def measure_group(result: EvalResult, labels: Sequence[int]) -> GroupResult:
    """The rows and columns of the confusion matrix that belong to a group, and the accuracies in it.

    Args:
        labels: numbers of the group's classes.
    """
    of_group = list(labels)
    rows = result.confusion[of_group]
    inside = rows[:, of_group]
    counts = inside.new_zeros(len(of_group), len(of_group) + 1)
    counts[:, :-1] = inside
    counts[:, -1] = rows.sum(dim=1) - inside.sum(dim=1)
    total = int(counts.sum())
    hits = 0
    for place, label in enumerate(of_group):
        best = rank_classes(result.scores[result.labels == label][:, of_group])[:, 0]
        hits += int((best == place).sum())
    return GroupResult(
        class_names=tuple(result.class_names[label] for label in of_group),
        counts=counts,
        top1=int(inside.trace()) / total if total else None,
        within=hits / total if total else None,
    )


def _read(path: Path) -> Any:
    try:
        text = path.read_text(encoding="utf-8")
        return json.loads(text) if path.suffix.lower() == ".json" else yaml.safe_load(text)
    except FileNotFoundError as error:
        raise EngineError(f"{path}: no such file; groups are a json or yaml file.") from error
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
        raise EngineError(f"{path}: not readable as {path.suffix.lstrip('.') or 'yaml'} ({error}).") from error


def _find(entry: Any, class_names: Sequence[str], group: str, problems: list[str]) -> int | None:
    """The number of a class; a problem is noted."""
    if isinstance(entry, str) and entry in class_names:
        return list(class_names).index(entry)
    if isinstance(entry, int) and not isinstance(entry, bool):
        if 0 <= entry < len(class_names):
            return entry
        problems.append(f"group {group!r}: no class {entry}; they go from 0 to {len(class_names) - 1}")
        return None
    near = difflib.get_close_matches(str(entry), class_names, n=3)
    hint = f"; the nearest: {', '.join(map(repr, near))}" if near else ""
    problems.append(f"group {group!r}: unknown class {entry!r}{hint}")
    return None


def group_dict(groups: Mapping[str, GroupResult]) -> dict[str, Any]:
    """The JSON form: classes, num_videos, top1 and within by the group's name."""
    return {
        name: {
            "classes": list(group.class_names),
            "num_videos": group.num_videos,
            "top1": group.top1,
            "within": group.within,
        }
        for name, group in groups.items()
    }

"""Groups of similar classes, and a model's accuracy within them."""

import json
import re
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from torch import Tensor

from videozoo.engine.errors import EngineError
from videozoo.engine.eval_result import EvalResult
from videozoo.engine.metrics import rank_classes
from videozoo.names import clean_name
from videozoo.text import cause, count_of, first_few, near_names


@dataclass(frozen=True)
class GroupResult:
    """Part of an evaluation for one group of classes.

    Args:
        class_names: of the group's k classes.
        counts: int64 (k, k + 1): videos by true class (rows) and best class (columns), the last for classes outside.
        top1: share of the group's videos whose best class, of all classes, is the true one. None without videos.
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
        class_names: of the model. What is no name of theirs and no index is an error.
    Returns:
        the classes' numbers by the group's name, in the order of the file.
    Raises:
        EngineError: not readable, another form, or a class that is unknown (the nearest names are given) or twice in
            its group. All such problems of the file at once.
    """
    content = _read(path)
    if not isinstance(content, dict) or not content:
        raise EngineError(f"{path}: needs group names with lists of classes, such as pouring: [pour in, pour out].")
    problems: list[str] = []
    groups: dict[str, tuple[int, ...]] = {}
    for name, entries in content.items():
        if not isinstance(entries, list) or len(entries) < 2:
            problems.append(f"group {reprlib.repr(name)} is not a list of two classes or more")
            continue
        found = [_find(entry, class_names, str(name), problems) for entry in entries]
        labels = tuple(label for label in found if label is not None)
        problems += [f"group {name!r}: {class_names[n]!r} is there twice" for n in set(labels) if labels.count(n) > 1]
        groups[str(name)] = labels
    if problems:
        raise EngineError("\n  ".join([f"{path}: {count_of(problems, 'problem')}:", *first_few(problems)]))
    return groups


def measure_group(result: EvalResult, labels: Sequence[int]) -> GroupResult:
    """Return the rows and columns of the confusion matrix that belong to a group, and the accuracies in it.

    Args:
        labels: numbers of the group's classes.
    Raises:
        EngineError: a multi-label evaluation.
    """
    if result.multi_label:
        raise EngineError(
            "a multi-label evaluation has no confusion: a video may have several classes, and a high score for one "
            "takes nothing from another; per_class.csv has the average precision of each class."
        )
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


class _Unquoted(str):
    """Unquoted yaml text that reads as a number, a date or a word such as no."""


class _PlainLoader(yaml.SafeLoader):
    """Loader of yaml without aliases, since a few lines of them can expand to any size.

    Numbers stay as they are written, since 010 may be the name of a class.
    """

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()
            raise yaml.YAMLError(f"aliases such as *{event.anchor} are not read; write the classes out")
        return super().compose_node(parent, index)


for _tag in ("int", "float", "bool", "null", "timestamp"):
    _PlainLoader.add_constructor(f"tag:yaml.org,2002:{_tag}", lambda _loader, node: _Unquoted(node.value))


def _read(path: Path) -> Any:
    try:
        text = path.expanduser().read_text(encoding="utf-8-sig")
        return json.loads(text) if path.suffix.lower() == ".json" else yaml.load(text, _PlainLoader)
    except FileNotFoundError as error:
        raise EngineError(f"{path}: no such file; groups are a json or yaml file.") from error
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
        raise EngineError(f"{path}: not readable as {path.suffix.lstrip('.') or 'yaml'} ({cause(error)}).") from error


def _find(entry: Any, class_names: Sequence[str], group: str, problems: list[str]) -> int | None:
    """Return the number of a class, of its name or index. A problem is noted."""
    text = str(entry) if isinstance(entry, str | int | float) and not isinstance(entry, bool) else ""
    by_name = _number_of(text, class_names) if text else None
    is_quoted = isinstance(entry, str) and not isinstance(entry, _Unquoted)
    is_index = not is_quoted and re.fullmatch("0|[1-9][0-9]{0,8}", text) is not None
    by_index = int(text) if is_index and int(text) < len(class_names) else None
    if None not in (by_name, by_index) and by_name != by_index:
        other = class_names[by_index or 0]
        problems.append(
            f"group {group!r}: {text} is class {text!r} as a name and class {other!r} as an index; write {text!r} or "
            f"{other!r}, in quotes"
        )
        return None
    if by_name is None and by_index is None:
        what = f"no class {text}; they go from 0 to {len(class_names) - 1}" if is_index else ""
        hint = near_names(text, class_names, "; the nearest: {}", show=repr)
        problems.append(f"group {group!r}: {what or f'unknown class {reprlib.repr(entry)}{hint}'}")
    return by_index if by_name is None else by_name


def _number_of(name: str, class_names: Sequence[str]) -> int | None:
    name = clean_name(name)
    return next((label for label, other in enumerate(class_names) if clean_name(other) == name), None)


def group_dict(groups: Mapping[str, GroupResult]) -> dict[str, Any]:
    """Return the JSON form: classes, num_videos, top1 and within by the group's name."""
    return {
        name: {
            "classes": list(group.class_names),
            "num_videos": group.num_videos,
            "top1": group.top1,
            "within": group.within,
        }
        for name, group in groups.items()
    }

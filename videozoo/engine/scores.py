"""Files of scores, from which all results follow without the videos, and ensembles of them."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from videozoo.choices import AVERAGES
from videozoo.engine.checkpoint import replace_file
from videozoo.engine.errors import EngineError
from videozoo.engine.eval_result import EvalResult
from videozoo.text import cause, json_text, some

SCORES_FORMAT = "videozoo.scores.1"
_TENSORS = ("log_probs", "logits", "labels", "indices")
_FEW = 3  # examples in an error


@dataclass(frozen=True)
class Scores:
    """Evaluation with video names, which can be saved, read and joined with another.

    Args:
        result: the evaluation.
        names: the name of each video by its index, also of unreadable ones. Names are unique.
        about: what was measured: ``model``, ``data``, ``is_reversed`` and so on, as JSON holds it.
    """

    result: EvalResult
    names: Mapping[int, str]
    about: Mapping[str, Any] = field(default_factory=dict)


def name_videos(names: Sequence[str]) -> dict[int, str]:
    """Return names by index.

    A repeated name, as of another part of the same file, gets a number.
    """
    counts: dict[str, int] = {}
    taken = set(names)
    found: dict[int, str] = {}
    for index, name in enumerate(names):
        counts[name] = counts.get(name, 0) + 1
        unique = name if counts[name] == 1 else f"{name} ({counts[name]})"
        while counts[name] > 1 and unique in taken:
            counts[name] += 1
            unique = f"{name} ({counts[name]})"
        found[index] = unique
        taken.add(unique)
    return found


def save_scores(path: Path, scores: Scores) -> None:
    """Write a safetensors file, in one piece.

    Tensors: ``scores`` (N, C), what was counted. ``log_probs`` and ``logits`` (N, C), the averages over the views that
    they follow from. ``labels`` (N,), -1 where unlabeled, or multi-hot (N, C). ``indices`` (N,). Metadata: ``names``
    of the N videos and ``class_names`` as JSON lists, ``unread`` as a list of [index, name, problem], ``average``,
    ``num_views``, ``about``.

    Raises:
        CheckpointError: the disk refused.
    """
    result = scores.result
    indices = result.indices.tolist()
    tensors = {name: getattr(result, name).contiguous() for name in ("scores", *_TENSORS)}
    metadata = {
        "format": SCORES_FORMAT,
        "names": json_text([scores.names[index] for index in indices]),
        "class_names": json_text(list(result.class_names)),
        "unread": json_text([[index, scores.names[index], problem] for index, problem in result.unread]),
        "average": result.average,
        "num_views": str(result.num_views),
        "about": json_text(dict(scores.about)),
    }
    replace_file(path, save({name: tensor.clone() for name, tensor in tensors.items()}, metadata=metadata))


def load_scores(path: Path, average: str | None = None) -> Scores:
    """Read a file of `save_scores`.

    Args:
        average: ``prob`` or ``logit`` instead of the one that was counted when the file was written.
    Raises:
        EngineError: absent, damaged, of another kind, or its parts do not fit together.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != SCORES_FORMAT:
                raise EngineError(
                    f"{path}: not scores of videozoo evaluate (format {metadata.get('format')!r}, needed: "
                    f"{SCORES_FORMAT}); pass a scores.safetensors that it wrote."
                )
            tensors = {name: file.get_tensor(name) for name in _TENSORS}
        names, class_names, unread, about = (
            json.loads(metadata[key]) for key in ("names", "class_names", "unread", "about")
        )
        by_index = dict(zip(tensors["indices"].tolist(), names, strict=True))
        by_index |= {index: name for index, name, _ in unread}
        result = EvalResult(
            **tensors,
            class_names=tuple(class_names),
            num_views=int(metadata["num_views"]),
            average=average or metadata["average"],
            unread=tuple((index, problem) for index, _, problem in unread),
        )
        _check(result, by_index, about)
    except FileNotFoundError as error:
        raise EngineError(
            f"{path}: no such file; videozoo evaluate --output DIR writes a scores.safetensors."
        ) from error
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise EngineError(f"{path}: damaged, or not scores of videozoo evaluate ({cause(error)}).") from error
    return Scores(result, by_index, {**about, "scores": str(path)})


def join_scores(parts: Sequence[Scores], average: str | None = None) -> Scores:
    """Average the predictions of several models: the mean of their probabilities, and of their logits.

    Videos are matched by name. One that a part could not read is unread in the whole.

    Args:
        parts: of the same videos with the same labels and classes. The first one gives the order.
        average: ``prob`` or ``logit``. None for the parts' own.
    Raises:
        EngineError: parts of other videos, labels or classes, or with different averages and none given. It names
            some.
    """
    first = parts[0]
    if average is None and len({part.result.average for part in parts}) > 1:
        kinds = ", ".join(f"{_title(k, part)}: {part.result.average}" for k, part in enumerate(parts))
        raise EngineError(f"the scores were averaged in different ways ({kinds}); say which, prob or logit.")
    if len({part.result.multi_label for part in parts}) > 1:
        raise EngineError(
            "some of the scores are of multi-label evaluations and some are not; they cannot be averaged."
        )
    if len({bool(part.about.get("is_reversed")) for part in parts}) > 1:
        raise EngineError("some of the scores are of clips played backwards and some are not; they cannot be averaged.")
    rows = [{part.names[index]: row for row, index in enumerate(part.result.indices.tolist())} for part in parts]
    for k, part in enumerate(parts[1:], 1):
        _check_same(first, part, f"{_title(0, first)} and {_title(k, part)}")
    unread = {part.names[index]: problem for part in reversed(parts) for index, problem in part.result.unread}
    shared = [name for name in rows[0] if name not in unread]
    if not shared:
        raise EngineError(
            f"none of the {len(first.names)} videos was read for all of the scores; there is nothing to average."
        )
    picked = [torch.tensor([of_part[name] for name in shared]) for of_part in rows]
    log_probs = torch.stack([part.result.log_probs[row] for part, row in zip(parts, picked, strict=True)])
    logits = torch.stack([part.result.logits[row] for part, row in zip(parts, picked, strict=True)])
    missing = tuple((index, unread[name]) for index, name in sorted(first.names.items()) if name in unread)
    result = replace(
        first.result,
        log_probs=log_probs.logsumexp(dim=0) - math.log(len(parts)),
        logits=logits.mean(dim=0),
        labels=first.result.labels[picked[0]],
        indices=first.result.indices[picked[0]],
        num_views=sum(part.result.num_views for part in parts),
        average=average or first.result.average,
        unread=missing,
    )
    return Scores(result, first.names, {**first.about, **_joint_about(parts)})


def _joint_about(parts: Sequence[Scores]) -> dict[str, Any]:
    """Join the metadata of the parts. Values that differ become lists."""
    keys = dict.fromkeys(key for part in parts for key in part.about)
    values = {key: [part.about.get(key) for part in parts] for key in keys}
    is_same = {key: key != "model" and all(other == value[0] for other in value) for key, value in values.items()}
    return {key: value[0] if is_same[key] else value for key, value in values.items()}


def _check_same(one: Scores, other: Scores, who: str) -> None:
    if one.result.class_names != other.result.class_names:
        pairs = zip(one.result.class_names, other.result.class_names, strict=False)
        where = next((f"class {k} is {a!r} and {b!r}" for k, (a, b) in enumerate(pairs) if a != b), None)
        count = f"{len(one.result.class_names)} and {len(other.result.class_names)} classes"
        raise EngineError(
            f"{who} have other classes: {where or count}; only models with the same classes can be averaged."
        )
    for few, many, place in ((other, one, "second"), (one, other, "first")):
        lacking = sorted(set(many.names.values()) - set(few.names.values()))
        if lacking:
            examples = ", ".join(lacking[:_FEW]) + (", ..." if len(lacking) > _FEW else "")
            raise EngineError(
                f"{who} are of other videos: {len(lacking)} are not in the {place} ({examples}); evaluate both on the "
                "same list."
            )
    labels = _labels(one)
    differing = [name for name, label in _labels(other).items() if labels.get(name, label) != label]
    if differing:
        raise EngineError(
            f"{who} give {len(differing)} videos other labels, such as {some(differing, _FEW)}; use one list."
        )


def _labels(part: Scores) -> dict[str, int | list[int]]:
    pairs = zip(part.result.indices.tolist(), part.result.labels.tolist(), strict=True)
    return {part.names[index]: label for index, label in pairs}


def _title(k: int, part: Scores) -> str:
    return str(part.about.get("scores") or part.about.get("model") or f"part {k + 1}")


def _check(result: EvalResult, names: Mapping[int, str], about: Any) -> None:
    """Raise ValueError for parts that do not fit together, whoever wrote them."""
    num_videos, num_classes = len(result.indices), len(result.class_names)
    shapes: dict[str, tuple[Tensor, tuple[int, ...], torch.dtype]] = {
        "log_probs": (result.log_probs, (num_videos, num_classes), torch.float32),
        "logits": (result.logits, (num_videos, num_classes), torch.float32),
        "labels": (result.labels, (num_videos, num_classes) if result.multi_label else (num_videos,), torch.int64),
        "indices": (result.indices, (num_videos,), torch.int64),
    }
    for name, (tensor, shape, dtype) in shapes.items():
        if tensor.shape != shape or tensor.dtype != dtype:
            raise ValueError(f"{name} is {tensor.dtype} {tuple(tensor.shape)}, needed: {dtype} {shape}")
    if not num_videos:
        raise ValueError("no videos")
    least, most = (0, 1) if result.multi_label else (-1, num_classes - 1)
    if ((result.labels < least) | (result.labels > most)).any():
        raise ValueError("labels out of range")
    if result.log_probs.isnan().any() or result.logits.isnan().any():
        raise ValueError("scores are not finite")
    texts = [*names.values(), *result.class_names, *(problem for _, problem in result.unread)]
    if not all(isinstance(text, str) for text in texts) or not isinstance(about, dict):
        raise ValueError("names are not text")
    if len(set(names.values())) != num_videos + len(result.unread):
        raise ValueError("a video's index or name occurs twice")
    if result.average not in AVERAGES or result.num_views < 1:
        raise ValueError(f"average {result.average!r}, {result.num_views} views")

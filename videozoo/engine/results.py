"""Files of a run's results: summary.csv and results.json."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from videozoo.engine.checkpoint import replace_file
from videozoo.engine.eval_result import EvalResult
from videozoo.engine.metrics import class_accuracies, worst_confusions
from videozoo.text import json_text

METRICS, MULTI_LABEL_METRICS = ("top1", "top5", "mean_class"), ("map",)


@dataclass(frozen=True)
class EpochRow:
    """Row of summary.csv.

    ``epoch`` counts from 1, accuracies are ratios, ``seconds`` take in the evaluation.

    A multi-label run has ``val_map`` in place of the accuracies, which are None there.
    """

    epoch: int
    lr: float
    train_loss: float
    train_top1: float | None
    val_loss: float
    val_top1: float | None
    val_top5: float | None
    val_mean_class: float | None
    val_map: float | None = field(default=None, kw_only=True)
    seconds: float
    data_seconds: float


@dataclass(frozen=True)
class FitResult:
    """Result of a finished training.

    Args:
        output: the run folder.
        best_epoch: counted from 1.
        best: the content of results.json.
        history: a row per epoch.
        stopped_early: whether ``patience`` ended the run before its last epoch.
    Example:
        >>> import videozoo
        >>> result = videozoo.finetune(model="test_arc_tsm", data="videos", output="runs/mine", epochs=1, device="cpu")
        >>> result.best_epoch, len(result.history), result.best_model
        (1, 1, 'local-dir:runs/mine/best')
    """

    output: Path
    best_epoch: int
    best: dict[str, Any]
    history: tuple[EpochRow, ...]
    stopped_early: bool = False

    def __repr__(self) -> str:
        name = "map" if "map" in self.best else "top1"
        label, value = {"map": "mAP", "top1": "top-1"}[name], self.best.get(name)
        score = "unknown" if value is None else f"{value:.1%}"
        return f"FitResult({label} {score}, best epoch {self.best_epoch} of {len(self.history)}, {str(self.output)!r})"

    @property
    def best_model(self) -> str:
        """Weights of the best epoch, for `create_model` (with ``pretrained=True``), `Predictor` and `evaluate`."""
        return f"local-dir:{self.output / 'best'}"


def result_dict(result: EvalResult) -> dict[str, Any]:
    """Return the JSON form of an evaluation: ratios in [0, 1], None where there is nothing to measure.

    Keys: top1, top5 (top-C where C < 5), mean_class, loss, num_videos (those that were read), num_labelled, num_unread,
    num_views, num_clips (videos times views), average, seconds, class_names, per_class (accuracies in the order of
    class_names), unread (index and problem of each video that could not be read). Further num_correct and top1_interval
    (95 %), chance (1 / C), largest_class (the share of the most frequent class), and confusions (the worst ten: label,
    prediction, num_videos, of). A multi-label evaluation has map, map_labelled and chance in place of the accuracies
    and these, average precisions in per_class, and num_without_class.
    """
    return {
        **{name: _finite(getattr(result, name)) for name in metrics_of(result.multi_label)},
        **(_trust_of_map(result) if result.multi_label else _trust(result)),
        "loss": _finite(result.loss),
        "num_videos": result.num_videos,
        "num_labelled": result.num_labelled,
        **({"num_without_class": result.num_without_class} if result.multi_label else {}),
        "num_unread": len(result.unread),
        "num_views": result.num_views,
        "num_clips": result.num_videos * result.num_views,
        "average": result.average,
        "seconds": round(result.seconds, 3),
        "class_names": list(result.class_names),
        "per_class": result.average_precisions if result.multi_label else class_accuracies(result.confusion),
        "unread": [{"index": index, "problem": problem} for index, problem in result.unread],
    }


def _trust_of_map(result: EvalResult) -> dict[str, Any]:
    return {"map_labelled": _finite(result.map_labelled), "chance": _finite(result.chance)}


def _trust(result: EvalResult) -> dict[str, Any]:
    """Return the fields on the reliability of the accuracies, and the confusions."""
    names = result.class_names
    return {
        "num_correct": result.num_correct,
        "top1_interval": [_finite(end) for end in result.top1_interval],
        "chance": result.chance,
        "largest_class": _finite(result.largest_class),
        "confusions": [
            {"label": names[one.true], "prediction": names[one.taken], "num_videos": one.count, "of": one.total}
            for one in worst_confusions(result.confusion)
        ],
    }


def metrics_of(multi_label: bool) -> tuple[str, ...]:
    """Return what an evaluation measures, by the names in results.json."""
    return MULTI_LABEL_METRICS if multi_label else METRICS


def metrics_in(results: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the same for the content of a results.json."""
    return metrics_of(MULTI_LABEL_METRICS[0] in results)


def write_results(path: Path, results: dict[str, Any]) -> None:
    """Write results.json in one piece.

    Raises:
        CheckpointError: the disk refused.
    """
    replace_file(path, json_text(results, 2, allow_nan=False) + "\n")


def write_summary(path: Path, history: Sequence[EpochRow]) -> None:
    """Write summary.csv in one piece: a header and a line per finished epoch.

    Raises:
        CheckpointError: the disk refused.
    """
    text = io.StringIO()
    names = [
        one.name
        for one in fields(EpochRow)
        if not history or any(getattr(row, one.name) is not None for row in history)
    ]
    writer = csv.DictWriter(text, names, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    for row in history:
        values = asdict(row).items()
        writer.writerow({key: f"{value:.6g}" if isinstance(value, float) else value for key, value in values})
    replace_file(path, text.getvalue())


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None

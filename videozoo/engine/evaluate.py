"""One evaluation for training time and afterwards: scores per video, averaged over its views."""

import math
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from videozoo.engine.device import make_accelerator
from videozoo.engine.errors import TrainingError
from videozoo.engine.interrupts import Interrupts
from videozoo.engine.loaders import Batch, prepare_loader, release_loader, take, timed_batches
from videozoo.engine.metrics import confusion_matrix, mean_class_accuracy, topk_accuracy


@dataclass(frozen=True)
class EvalResult:
    """Scores of every video, in the order of ``indices``, and what follows from them.

    Args:
        scores: float32 (N, C) on the CPU: softmax per view, averaged over the views.
        labels: int64 (N,), -1 where unlabelled.
        indices: int64 (N,), rising: each video's place in its data set.
        class_names: C names.
        num_views: views of one video that were averaged.
        loss: mean of -log(score of the label) over the labelled videos; nan where there are none.
        seconds, data_seconds: time taken, and the part of it spent waiting for the loader.
    """

    scores: Tensor
    labels: Tensor
    indices: Tensor
    class_names: tuple[str, ...]
    num_views: int
    loss: float
    seconds: float
    data_seconds: float

    @property
    def num_videos(self) -> int:
        return len(self.scores)

    @property
    def num_labelled(self) -> int:
        return int((self.labels >= 0).sum())

    @property
    def top1(self) -> float:
        return topk_accuracy(self.scores, self.labels, 1)

    @property
    def top5(self) -> float:
        """Top-5, or top-C where there are fewer than five classes."""
        return topk_accuracy(self.scores, self.labels, 5)

    @property
    def mean_class(self) -> float:
        return mean_class_accuracy(self.confusion)

    @property
    def confusion(self) -> Tensor:
        """Counts, int64 (C, C): a row per true class, a column per best class."""
        return confusion_matrix(self.scores, self.labels)


def evaluate(
    model: nn.Module,
    loader: Iterable[Batch],
    *,
    class_names: Sequence[str],
    amp: str = "no",
    device: str = "auto",
    max_clips: int = 32,
    accelerator: Accelerator | None = None,
) -> EvalResult:
    """Score every video of a loader once and measure the accuracies.

    Works with any network that turns (B, 3, T, H, W) into (B, C). It is moved to the device; the training mode of each
    of its modules is put back afterwards. With several processes each gets the whole result, every video counted once.

    Args:
        loader: a DataLoader (or, in one process, any iterable with a length) of dicts: ``video`` float
            (B, V, 3, T, H, W), or (B, 3, T, H, W) for a single view; ``label`` (B,), -1 where unlabelled;
            ``index`` (B,), each video's own number.
        amp, device: as in ``make_accelerator``; ignored where ``accelerator`` is given.
        max_clips: views that go through the network at a time, so that many views of many videos need no more memory.
    Raises:
        ValueError: an empty loader, a batch without a tensor that is needed, two videos with one index, labels or
            network outputs that do not fit ``class_names``.
        TrainingError: a score is not finite.
    """
    accelerator = accelerator or make_accelerator(amp, device)
    loader = prepare_loader(loader, accelerator, "evaluate")
    _rewind(loader)
    started = time.perf_counter()
    rows: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []
    data_seconds, num_views = 0.0, 1
    model.to(accelerator.device)
    try:
        with Interrupts() as interrupts, evaluation_mode(model), torch.no_grad():
            for batch, waited in timed_batches(loader, accelerator.device):
                data_seconds += waited
                labels = _check_labels(take(batch, "label", "evaluate"), len(class_names))
                video = take(batch, "video", "evaluate")
                num_views = video.shape[1] if video.ndim == 6 else 1
                log_scores = _log_scores(model, video, len(class_names), max_clips, accelerator)
                losses = -log_scores.gather(1, labels.clamp(min=0)[:, None])[:, 0]
                row = (take(batch, "index", "evaluate"), labels, losses, log_scores.exp())
                rows.append(tuple(tensor.cpu() for tensor in row))  # type: ignore[arg-type]
                interrupts.check()
    finally:
        release_loader(loader)
    indices, labels, losses, scores = _join(rows, accelerator)
    if not scores.isfinite().all():
        first = int(indices[~scores.isfinite().all(dim=1)][0])
        raise TrainingError(
            f"evaluate: the network's scores for video {first} are not finite; the weights are broken, or {amp!r} "
            "precision overflows: try amp='no'."
        )
    is_labelled = labels >= 0
    return EvalResult(
        scores=scores,
        labels=labels,
        indices=indices,
        class_names=tuple(class_names),
        num_views=num_views,
        loss=losses[is_labelled].double().mean().item(),
        seconds=time.perf_counter() - started,
        data_seconds=data_seconds,
    )


def _log_scores(model: nn.Module, video: Tensor, num_classes: int, max_clips: int, accelerator: Accelerator) -> Tensor:
    """Log of the softmax averaged over views: (B, V, 3, T, H, W) or (B, 3, T, H, W) -> float32 (B, C)."""
    if video.ndim == 5:
        video = video[:, None]
    if video.ndim != 6:
        raise ValueError(f"evaluate: video is {tuple(video.shape)}; needed: (B, V, 3, T, H, W) or (B, 3, T, H, W).")
    num_videos, num_views = video.shape[:2]
    with accelerator.autocast():
        logits = torch.cat([model(clips) for clips in video.flatten(0, 1).split(max_clips)])
    if logits.shape != (num_videos * num_views, num_classes):
        raise ValueError(
            f"evaluate: the network gave {tuple(logits.shape)} for {num_videos} videos of {num_views} views; needed: "
            f"a row per view of {num_classes} classes; make it with num_classes={num_classes}."
        )
    log_probabilities = logits.float().log_softmax(dim=-1).reshape(num_videos, num_views, num_classes)
    return log_probabilities.logsumexp(dim=1) - math.log(num_views)


def _check_labels(labels: Tensor, num_classes: int) -> Tensor:
    if ((labels < -1) | (labels >= num_classes)).any():
        raise ValueError(
            f"evaluate: labels go from {int(labels.min())} to {int(labels.max())}; needed: 0 to {num_classes - 1} "
            f"for the {num_classes} class names, or -1 for unlabelled."
        )
    return labels


def _join(rows: list[tuple[Tensor, Tensor, Tensor, Tensor]], accelerator: Accelerator) -> tuple[Tensor, ...]:
    """Concatenate, bring the processes' rows together, order by index; each video stays once."""
    joined = [torch.cat(column) for column in zip(*rows, strict=True)]
    if accelerator.num_processes > 1:
        # Shares may differ in length; padding has index -1. Accelerate repeats videos to even the shares out.
        moved = [column.to(accelerator.device) for column in joined]
        padded = [accelerator.pad_across_processes(column, dim=0, pad_index=-1) for column in moved]
        joined = [column.cpu() for column in accelerator.gather(padded)]
        joined = [column[joined[0] >= 0] for column in joined]
    indices = joined[0]
    order = indices.argsort(stable=True)
    ordered = indices[order]
    is_first = torch.ones_like(ordered, dtype=torch.bool)
    is_first[1:] = ordered[1:] != ordered[:-1]
    if accelerator.num_processes == 1 and not is_first.all():
        twice = int(ordered[~is_first][0])
        raise ValueError(f"evaluate: index {twice} came twice; each video needs its own index, to be counted once.")
    return tuple(column[order][is_first] for column in joined)


def _rewind(loader: Iterable[Batch]) -> None:
    """An evaluation has no epochs: whatever draws by epoch draws as in epoch 0. No seed is touched."""
    if hasattr(loader, "set_epoch"):
        loader.set_epoch(0)


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Evaluation mode inside, and afterwards each module's own mode again (frozen norms stay frozen)."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, was_training in modes:
            module.training = was_training

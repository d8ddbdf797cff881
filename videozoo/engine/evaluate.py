"""Evaluation during and after training: scores per video, averaged over its views."""

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor, nn

from videozoo.batched_forward import BatchedForward, is_out_of_memory
from videozoo.engine.device import make_accelerator
from videozoo.engine.distributed import explain_lost_process
from videozoo.engine.errors import EngineError, TrainingError
from videozoo.engine.eval_result import EvalResult, check_average
from videozoo.engine.evaluation_mode import evaluation_mode
from videozoo.engine.interrupts import Interrupts
from videozoo.engine.loaders import Batch, prepare_loader, take, timed_batches
from videozoo.probabilities import log_probabilities

Prepare = Callable[[Tensor], Tensor]


def evaluate(
    model: nn.Module,
    loader: Iterable[Batch],
    *,
    class_names: Sequence[str],
    amp: str = "no",
    device: str = "auto",
    max_clips: int = 32,
    accelerator: Accelerator | None = None,
    prepare_batch: Prepare | None = None,
    average: str = "prob",
    multi_label: bool = False,
) -> EvalResult:
    """Evaluate any clip model on the videos of a loader.

    Works with any module that turns (B, 3, T, H, W) into (B, C). It is moved to the device. The training mode of each
    of its modules is restored afterwards. With several processes each gets the whole result, with every video counted
    once. A video that the loader could not read is listed in ``unread`` and counted nowhere else.

    Args:
        model: the model.
        loader: a DataLoader (or, in one process, any iterable with a length) of dicts: ``video`` (B, V, 3, T, H, W), or
            (B, 3, T, H, W) for a single view, or None if no video of the batch could be read, ``label`` (B,), -1 if
            unlabeled, or multi-hot (B, C), ``index`` (B,), each video's own number, and perhaps ``broken``, a list of
            (index, problem) of the videos that could not be read.
        class_names: one name per output of the model.
        amp, device: as in ``make_accelerator``, ignored if ``accelerator`` is given.
        max_clips: views in one forward pass, so that many views of many videos need no more memory. It is halved when
            memory runs out.
        accelerator: of a training that runs.
        prepare_batch: turns views (N, 3, T, H, W) as the loader gives them (bytes, for example), on the device, into
            the input of the model. None if they are that already.
        average: of the views of a video: ``prob``, the mean of the softmax, or ``logit``, the softmax of the mean.
        multi_label: a video may have several classes: the sigmoid takes the place of the softmax.
    Raises:
        ValueError: an empty loader, a batch without a tensor that is needed, two videos with one index, labels or
            outputs of the model that do not fit ``class_names``, or an unknown average.
        TrainingError: a score is not finite, or no video could be read.
        EngineError: no memory for a single view.
    Example:
        >>> import torch
        >>> from torch.nn import AdaptiveAvgPool3d, Flatten, Linear, Sequential
        >>> from videozoo.engine import evaluate
        >>> model = Sequential(AdaptiveAvgPool3d(1), Flatten(), Linear(3, 2))
        >>> batch = {"video": torch.randn(2, 3, 8, 16, 16), "label": torch.tensor([0, 1]), "index": torch.arange(2)}
        >>> evaluate(model, [batch], class_names=["a", "b"], device="cpu").num_videos
        2
    """
    check_average(average)
    accelerator = accelerator or make_accelerator(amp, device)
    loader = prepare_loader(loader, accelerator, "evaluate")
    _rewind(loader)
    started = time.perf_counter()
    rows: list[tuple[Tensor, ...]] = []
    unread: dict[int, str] = {}
    data_seconds, num_views = 0.0, 1
    score = VideoScorer(
        model, len(class_names), accelerator, prepare=prepare_batch, max_clips=max_clips, multi_label=multi_label
    )
    with Interrupts() as interrupts, evaluation_mode(model), torch.no_grad():
        for batch, waited in timed_batches(loader, accelerator.device):
            data_seconds += waited
            unread.update(_broken(batch))
            if _has_videos(batch):
                video = _views_of(batch)
                index, label = (take(batch, key, "evaluate") for key in ("index", "label"))
                num_views = video.shape[1]
                row = (index, _check_labels(label, len(class_names), multi_label), *score(video))
                rows.append(tuple(tensor.cpu() for tensor in row))
            interrupts.check()
    return join_results(
        rows,
        unread,
        class_names=class_names,
        num_views=[num_views],
        average=average,
        accelerator=accelerator,
        seconds=(time.perf_counter() - started, data_seconds),
        multi_label=multi_label,
    )[0]


class VideoScorer:
    """Scorer of videos: averages a model's outputs over their views.

    Args:
        model: turns (N, 3, T, H, W) into (N, C). It is moved to the accelerator's device.
        num_classes: C.
        accelerator: for its device and precision.
        prepare: turns views as they come into what the model takes. None where they are that already.
        max_clips: views that go through the model at a time, halved where memory runs out.
        multi_label: take the sigmoid in place of the softmax.
    Shape:
        (B, V, 3, T, H, W) on the device to twice float32 (B, C): log of the mean softmax, and mean of the outputs.
    Raises:
        EngineError: no memory for a single view.
        ValueError: outputs of another shape.
    """

    def __init__(
        self,
        model: nn.Module,
        num_classes: int,
        accelerator: Accelerator,
        *,
        prepare: Prepare | None = None,
        max_clips: int = 32,
        multi_label: bool = False,
    ) -> None:
        self.model, self.num_classes, self.prepare = model.to(accelerator.device), num_classes, prepare
        self.accelerator, self.multi_label = accelerator, multi_label
        self.batched_forward = BatchedForward(self._forward, max(1, max_clips))

    def __call__(self, video: Tensor) -> tuple[Tensor, Tensor]:
        num_videos, num_views = video.shape[:2]
        try:
            logits = self.batched_forward(video.flatten(0, 1))
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            raise EngineError(
                f"evaluate: out of memory with a single view of {' x '.join(map(str, video.shape[2:]))}; free memory, "
                "take a smaller model, fewer frames or smaller frames, or evaluate on the CPU."
            ) from error
        logits = logits.reshape(num_videos, num_views, self.num_classes)
        logs = log_probabilities(logits, self.multi_label)
        return logs.logsumexp(dim=1) - math.log(num_views), logits.mean(dim=1)

    def _forward(self, views: Tensor) -> Tensor:
        with self.accelerator.autocast():
            logits: Tensor = self.model(views if self.prepare is None else self.prepare(views))
        if logits.shape != (len(views), self.num_classes):
            raise ValueError(
                f"evaluate: the model gave {tuple(logits.shape)} for {len(views)} views; needed: a row per view of "
                f"{self.num_classes} classes; make it with num_classes={self.num_classes}."
            )
        return logits.float()


def join_results(
    rows: Sequence[tuple[Tensor, ...]],
    unread: Mapping[int, str],
    *,
    class_names: Sequence[str],
    num_views: Sequence[int],
    average: str,
    accelerator: Accelerator,
    seconds: tuple[float, float],
    multi_label: bool = False,
) -> list[EvalResult]:
    """Return a result per model, of the videos of all processes, each counted once.

    Args:
        rows: of some videos each, on the CPU: index (B,), label (B,) or, if multi-label, int64 (B, C), and for each
            model the two of `VideoScorer`.
        unread: the problem of each video that could not be read, by index.
        num_views: of each model.
        seconds: time taken, and the part of it spent waiting for videos.
    Raises:
        ValueError: two videos with one index.
        TrainingError: a score is not finite, or no video could be read.
    """
    with explain_lost_process():
        count = len(class_names)
        no_labels = torch.zeros((0, count) if multi_label else 0, dtype=torch.int64)
        nothing = (torch.zeros(0, dtype=torch.int64), no_labels, *[torch.zeros(0, count)] * 2 * len(num_views))
        (indices, labels, *scores), missing = _join([nothing, *rows], unread, accelerator)
    results = [
        EvalResult(
            log_probs=scores[2 * k],
            logits=scores[2 * k + 1],
            labels=labels,
            indices=indices,
            class_names=tuple(class_names),
            num_views=count,
            average=average,
            unread=missing,
            seconds=seconds[0],
            data_seconds=seconds[1],
        )
        for k, count in enumerate(num_views)
    ]
    _check(results, accelerator.mixed_precision)
    return results


def _broken(batch: Batch) -> dict[int, str]:
    found = batch.get("broken") if isinstance(batch, dict) else None
    return {int(index): str(problem) for index, problem in found or ()}


def _has_videos(batch: Batch) -> bool:
    """Return whether a video of the batch was read. ``take`` reports a batch without the key."""
    return not isinstance(batch, dict) or "video" not in batch or batch["video"] is not None


def _views_of(batch: Batch) -> Tensor:
    """Return the views (B, V, 3, T, H, W)."""
    video = take(batch, "video", "evaluate")
    video = video[:, None] if video.ndim == 5 else video
    if video.ndim != 6:
        raise ValueError(f"evaluate: video is {tuple(video.shape)}; needed: (B, V, 3, T, H, W) or (B, 3, T, H, W).")
    return video


def _check_labels(labels: Tensor, num_classes: int, multi_label: bool) -> Tensor:
    if multi_label or labels.ndim > 1:
        if not multi_label or labels.shape[1:] != (num_classes,) or ((labels != 0) & (labels != 1)).any():
            needed = f"(B, {num_classes}) of zeros and ones" if multi_label else "(B,) of class indices"
            raise ValueError(
                f"evaluate: labels are {tuple(labels.shape)}; needed: {needed}, as multi_label is {multi_label}."
            )
        return labels.long()
    if ((labels < -1) | (labels >= num_classes)).any():
        raise ValueError(
            f"evaluate: labels go from {int(labels.min())} to {int(labels.max())}; needed: 0 to {num_classes - 1} "
            f"for the {num_classes} class names, or -1 for unlabeled."
        )
    return labels


def _join(
    rows: Sequence[tuple[Tensor, ...]], unread: Mapping[int, str], accelerator: Accelerator
) -> tuple[list[Tensor], tuple[tuple[int, str], ...]]:
    """Concatenate rows, gather them from all processes and sort them by index. Each video is kept once."""
    joined = [torch.cat(column) for column in zip(*rows, strict=True)]
    if accelerator.num_processes > 1:
        # Shares may differ in length; padding has index -1. Accelerate repeats videos to even the shares out.
        moved = [column.to(accelerator.device) for column in joined]
        padded = [accelerator.pad_across_processes(column, dim=0, pad_index=-1) for column in moved]
        joined = [column.cpu() for column in accelerator.gather(padded)]
        joined = [column[joined[0] >= 0] for column in joined]
        unread = dict(gather_object(list(unread.items())))
    indices = joined[0]
    order = indices.argsort(stable=True)
    ordered = indices[order]
    is_first = torch.ones_like(ordered, dtype=torch.bool)
    is_first[1:] = ordered[1:] != ordered[:-1]
    if accelerator.num_processes == 1 and not is_first.all():
        twice = int(ordered[~is_first][0])
        raise ValueError(f"evaluate: index {twice} came twice; each video needs its own index, to be counted once.")
    # A repeated video may have been read once and not the other time.
    read = set(indices.tolist())
    missing = sorted((index, text) for index, text in unread.items() if index not in read)
    return [column[order][is_first] for column in joined], tuple(missing)


def _check(results: Sequence[EvalResult], amp: str) -> None:
    for result in results:
        if not result.num_videos:
            index, problem = (result.unread or ((0, "the loader gave none"),))[0]
            raise TrainingError(
                f"evaluate: none of {len(result.unread)} videos could be read; the first is number {index}: {problem}"
            )
        if not result.scores.isfinite().all():
            first = int(result.indices[~result.scores.isfinite().all(dim=1)][0])
            raise TrainingError(
                f"evaluate: the model's scores for video {first} are not finite; the weights are broken, or {amp!r} "
                "precision overflows: try amp='no'."
            )


def _rewind(loader: Iterable[Batch]) -> None:
    """Set samplers to epoch 0, since an evaluation has no epochs. No seed is changed."""
    if hasattr(loader, "set_epoch"):
        loader.set_epoch(0)

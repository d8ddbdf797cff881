"""One epoch of training, down to the single optimizer step."""

import contextlib
import time
from collections.abc import Iterator
from itertools import islice
from signal import SIGINT, SIGTERM
from typing import Any

import torch
from accelerate.utils import gather_object
from timm.loss import BinaryCrossEntropy
from torch import Tensor
from torch.nn import functional

from videozoo.engine.aux_loss import training_logits
from videozoo.engine.errors import TrainingError
from videozoo.engine.freeze import freeze
from videozoo.engine.interrupts import Stopped
from videozoo.engine.loaders import Batch, take
from videozoo.engine.optim import current_lr
from videozoo.engine.run import Run
from videozoo.engine.train_loader import mix_seed, seed_step

Group = list[tuple[Batch, float]]  # the batches of an optimizer step, each with the seconds spent waiting for it


def train_epoch(run: Run) -> None:
    """Train to the end of the epoch under way, from the step it has come to.

    ``run.progress.current`` moves along.

    Raises:
        Stopped: a stop was requested. The step before it has been kept.
    """
    config, state, epoch = run.config, run.progress.current, run.progress.epoch
    run.model.train()
    run.progress_lines.start_epoch()
    freeze(run.net, config)  # train() woke the statistics of norms
    batches = run.train_loader.batches(epoch, first=state.step * config.grad_accum_steps)
    clock = time.perf_counter()
    while True:
        group = _next_group(run, batches)
        # All processes stop, save and go on together, and all know the weight of all their clips.
        weight, stop, is_save_due = _sync_step_state(run, group)
        if stop:
            if state.step:  # else the epoch before has just been kept
                run.save_last(run.progress)
            raise Stopped(stop)
        if is_save_due:
            run.save_last(run.progress)
        if not group:
            break
        num_updates = epoch * run.updates_per_epoch + state.step
        if run.scheduler is not None:
            run.scheduler.step_update(num_updates)
        seed_step(mix_seed(config.seed, epoch, state.step, run.accelerator.process_index, 1), run.accelerator.device)
        lr = current_lr(run.optimizer)
        where = f"epoch {epoch + 1}, step {state.step + 1}, lr {lr:.3g}"
        with run.step_times.measure():
            loss, correct, clips = _step(run, group, weight, where)
        if run.ema is not None:
            run.ema.update(run.net, step=num_updates + 1)
        state.step += 1
        state.sums = [old + new for old, new in zip(state.sums, (loss, weight, correct, clips), strict=True)]
        waited = sum(seconds for _, seconds in group)
        took, clock = time.perf_counter() - clock, time.perf_counter()
        state.seconds, state.data_seconds = state.seconds + took, state.data_seconds + waited
        if run.progress_lines.is_due(state.step, run.updates_per_epoch):
            top1 = "" if config.multi_label else f", top-1 {state.top1:.1%}"
            run.log("epoch %d/%d step %d/%d: loss %.4f%s, lr %.2e, step %.3f s (data %.3f s)%s", epoch + 1,
                 config.epochs, state.step, run.updates_per_epoch, state.loss, top1, lr, took, waited,
                 _describe_left(run))  # fmt: skip
            measured = {} if config.multi_label else {"train/top1": state.top1}
            run.trackers.log({"train/loss": state.loss, **measured, "lr": lr}, num_updates + 1)
        if line := run.step_times.describe_wait():
            run.log("%s", line)
    if not state.step:
        raise ValueError(
            f"fit: the training loader gave no batch in epoch {epoch + 1}; it must start again each epoch."
        )


def _describe_left(run: Run) -> str:
    seconds = run.progress.history[-1].seconds if run.progress.history else None
    epochs_left = run.config.epochs - run.progress.epoch - 1
    left = run.progress_lines.describe_left(run.progress.current.step, run.updates_per_epoch, epochs_left, seconds)
    return f", {left}" if left else ""


def _next_group(run: Run, batches: Iterator[tuple[Batch, float]]) -> Group:
    """Return the batches of the next optimizer step. None at the end, and when a stop was requested."""
    if run.interrupts.stop_signal:
        return []
    try:
        return list(islice(batches, run.config.grad_accum_steps))
    except RuntimeError:
        if run.interrupts.stop_signal:  # the signal has killed the loader's workers too
            return []
        raise


def _sync_step_state(run: Run, group: Group) -> tuple[float, int, bool]:
    """Exchange the state of all processes before a step.

    Returns:
        the weight of all clips of the step, the number of the signal that requested a stop or 0, whether to save.
    Raises:
        TrainingError: no video of a batch could be read, or too many are broken.
    """
    batches = [batch for batch, _ in group]
    new_failures: dict[int, str] = {}
    unread, weight = 0, 0.0
    for batch in batches:
        new_failures.update(run.broken.new_failures(batch) if isinstance(batch, dict) else {})
        if isinstance(batch, dict) and "video" in batch and batch["video"] is None:
            unread += 1
        else:
            weight += _weight(run, take(batch, "label", "fit"))
    stop_signal, save = run.interrupts.stop_signal, run.is_main and run.is_save_due()
    counts = [
        weight,
        unread,
        len(new_failures),
        float(save),
        float(stop_signal == SIGINT),
        float(stop_signal == SIGTERM),
    ]
    if run.accelerator.num_processes > 1:
        counts = run.accelerator.reduce(torch.tensor(counts, device=run.accelerator.device), "sum").tolist()
    weight, num_unread, num_news, num_saves, interrupts, terminations = counts
    if num_news:
        run.broken.add(gather_object([new_failures]), run.is_main)
    if num_unread:
        raise TrainingError(
            f"fit: no video of a batch could be read, nor any that was to take its place: {run.broken.examples()}. See "
            "whether the folder of the videos is still there; resume then, the last checkpoint is intact."
        )
    return weight, SIGTERM if terminations else SIGINT if interrupts else 0, bool(num_saves)


def _weight(run: Run, labels: Tensor) -> float:
    """Return the weight of a batch in the loss: its clips, or the sum of their classes' weights."""
    _check_labels(labels, run.num_classes, run.config.multi_label)
    return len(labels) if run.class_weights is None else run.class_weights[labels].sum().item()


def _step(run: Run, group: Group, weight: float, where: str) -> tuple[float, float, float]:
    """Return one optimizer step over one or more batches, as if they were one.

    Each clip counts by its class's weight alone, however the clips are spread over batches and processes.

    Args:
        weight: of all clips of the step, over all processes.
    Returns:
        the loss, the right answers and the clips, summed over all processes.
    """
    accelerator, config = run.accelerator, run.config
    # Processes average their gradients: each clip's share is one in all, times the processes.
    share = accelerator.num_processes / weight if weight else 0.0
    sums = torch.zeros(3, device=accelerator.device)
    for number, (batch, _) in enumerate(group, start=1):
        video, labels = take(batch, "video", "fit"), take(batch, "label", "fit")
        video, target = (video, labels) if run.calls.train_batch is None else run.calls.train_batch(video, labels)
        with contextlib.nullcontext() if number == len(group) else accelerator.no_sync(run.model):
            outputs = training_logits(run.model, run.net, video)
            for logits, _ in outputs:
                _check_logits(logits, video, run.num_classes)
            loss = torch.stack([part * _loss(run, logits, target) for logits, part in outputs]).sum()
            accelerator.backward(loss * share)
        logits = outputs[0][0]
        if run.config.multi_label:  # there is no one right answer
            correct = loss.new_zeros(())
        else:
            answer = target.argmax(dim=1) if target.is_floating_point() else target
            correct = (logits.argmax(dim=1) == answer).sum()
        sums += torch.stack([loss.detach().float(), correct.float(), sums.new_tensor(len(labels))])
    sums = accelerator.reduce(sums, "sum").cpu().double()
    if not sums[0].isfinite():
        raise TrainingError(f"fit: the loss is {sums[0] / (weight or 1):.3g} at {where}. {run.describe_way_out()}")
    if config.clip_grad is not None:
        accelerator.clip_grad_norm_(run.model.parameters(), config.clip_grad)
    run.optimizer.step()
    run.optimizer.zero_grad()
    loss_sum, num_correct, num_clips = sums.tolist()
    return loss_sum, num_correct, num_clips


def _loss(run: Run, logits: Tensor, target: Tensor) -> Tensor:
    """Cross entropy, summed over the clips. Targets that are shares of the classes bring their own smoothing.

    Binary cross entropy is the mean over the classes, summed over the clips.
    """
    config = run.config
    if config.multi_label or config.bce_loss:
        # What has been mixed is smooth already; multi-hot targets that are not mixed are whole numbers.
        is_whole = config.multi_label and config.smoothing > 0 and bool(((target == 0) | (target == 1)).all())
        criterion = BinaryCrossEntropy(
            config.smoothing, config.bce_target_thresh, reduction="sum", smooth_dense=is_whole
        )
        entropy: Tensor = criterion(logits, target.to(logits.dtype) if target.is_floating_point() else target)
        return entropy / run.num_classes
    weights = None if run.class_weights is None else run.class_weights.to(logits.dtype)
    options: dict[str, Any] = {"weight": weights, "reduction": "sum"}
    if target.is_floating_point():
        return functional.cross_entropy(logits, target.to(logits.dtype), **options)
    return functional.cross_entropy(logits, target, label_smoothing=run.config.smoothing, **options)


def _check_labels(labels: Tensor, num_classes: int, multi_label: bool) -> None:
    if labels.ndim != 1 + multi_label or (multi_label and labels.shape[1] != num_classes):
        needed = f"(B, {num_classes}) of zeros and ones" if multi_label else "(B,) of class indices"
        raise ValueError(
            f"fit: training labels are {tuple(labels.shape)}; needed: {needed}, as multi_label is {multi_label}."
        )
    if multi_label:
        return
    if ((labels < 0) | (labels >= num_classes)).any():
        raise ValueError(
            f"fit: training labels go from {int(labels.min())} to {int(labels.max())}; needed: 0 to {num_classes - 1} "
            f"for the {num_classes} class names; take unlabeled videos out of the training set."
        )


def _check_logits(logits: Tensor, video: Tensor, num_classes: int) -> None:
    if logits.shape != (len(video), num_classes):
        raise ValueError(
            f"fit: the model gave {tuple(logits.shape)} for clips of shape {tuple(video.shape)}; needed: "
            f"({len(video)}, {num_classes}) for the {num_classes} class names; make it with num_classes={num_classes}."
        )

"""One epoch of training, down to the single optimiser step."""

import contextlib
import logging
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice

import torch
from accelerate import Accelerator
from timm.scheduler.scheduler import Scheduler
from timm.utils import ModelEmaV3
from torch import Tensor, nn
from torch.nn import functional

from videozoo.engine.config import FitConfig
from videozoo.engine.errors import TrainingError
from videozoo.engine.interrupts import Interrupts
from videozoo.engine.loaders import Batch, start_epoch, take, timed_batches
from videozoo.engine.optim import current_lr, freeze_norms
from videozoo.engine.run_folder import Progress, RunFolder

_log = logging.getLogger(__name__)


@dataclass
class Run:
    """What the loop holds on to. ``net`` is the bare network, ``model`` what accelerate made of it."""

    accelerator: Accelerator
    config: FitConfig
    net: nn.Module
    model: nn.Module
    optimizer: torch.optim.Optimizer
    scheduler: Scheduler | None
    ema: ModelEmaV3 | None
    train_loader: Iterable[Batch]
    val_loader: Iterable[Batch]
    folder: RunFolder
    updates_per_epoch: int
    is_new: bool
    progress: Progress
    interrupts: Interrupts = field(default_factory=Interrupts)
    drawn_at: float = field(default_factory=time.perf_counter)  # when the pictures were last drawn

    @property
    def num_classes(self) -> int:
        return len(self.folder.class_names)

    @property
    def measured_net(self) -> nn.Module:
        """The network whose accuracy is reported and whose weights go into model.safetensors."""
        return self.net if self.ema is None else self.ema.module

    def say(self, message: str, *values: object) -> None:
        """Log a line, once however many processes there are."""
        if self.accelerator.is_main_process:
            _log.info(message, *values)


@dataclass(frozen=True)
class Trained:
    loss: float
    top1: float
    lr: float
    data_seconds: float


def train_epoch(run: Run, epoch: int) -> Trained:
    """One pass over the training loader."""
    config = run.config
    start_epoch(run.train_loader, config.seed, epoch)
    run.model.train()
    if config.freeze_bn:
        freeze_norms(run.net)  # train() woke their statistics
    sums = torch.zeros(3, dtype=torch.float64)  # loss, correct, clips
    data_seconds = 0.0
    batches = timed_batches(run.train_loader, run.accelerator.device)
    num_updates = epoch * run.updates_per_epoch
    started = time.perf_counter()
    # The last group may be smaller; `_step` weighs every clip alike.
    for step, group in enumerate(iter(lambda: list(islice(batches, config.grad_accum_steps)), []), start=1):
        if run.scheduler is not None:
            run.scheduler.step_update(num_updates)
        lr = current_lr(run.optimizer)
        sums += _step(run, [batch for batch, _ in group], f"epoch {epoch + 1}, step {step}, lr {lr:.3g}")
        num_updates += 1
        if run.ema is not None:
            run.ema.update(run.net, step=num_updates)
        run.interrupts.check()
        waited = sum(seconds for _, seconds in group)
        data_seconds += waited
        if step % config.log_interval == 0 or step == run.updates_per_epoch:
            took = time.perf_counter() - started
            run.say("epoch %d/%d step %d/%d: loss %.4f, top-1 %.1f %%, lr %.2e, step %.3f s (data %.3f s)", epoch + 1,
                 config.epochs, step, run.updates_per_epoch, sums[0] / sums[2], 100 * sums[1] / sums[2], lr, took,
                 waited)  # fmt: skip
        started = time.perf_counter()
    if not sums[2]:
        raise ValueError(f"fit: the training loader gave no batch in epoch {epoch + 1}; it must start anew each epoch.")
    loss, correct, clips = sums.tolist()
    return Trained(loss / clips, correct / clips, lr, data_seconds)


def _step(run: Run, group: Sequence[Batch], where: str) -> Tensor:
    """One optimiser step over one or more batches, as if they were one; gives (loss, correct, clips) summed.

    Each clip has the same weight, however the clips are spread over batches and processes.
    """
    accelerator, config = run.accelerator, run.config
    num_clips = torch.tensor(sum(len(take(batch, "label", "fit")) for batch in group), device=accelerator.device)
    # Processes average their gradients: each clip's share is one in all clips, times the processes.
    weight = accelerator.num_processes / accelerator.reduce(num_clips, "sum").item()
    sums = torch.zeros(3, device=accelerator.device)
    for number, batch in enumerate(group, start=1):
        video, labels = take(batch, "video", "fit"), take(batch, "label", "fit")
        _check_labels(labels, run.num_classes)
        with contextlib.nullcontext() if number == len(group) else accelerator.no_sync(run.model):
            logits = run.model(video)
            _check_logits(logits, video, run.num_classes)
            loss = functional.cross_entropy(logits, labels, label_smoothing=config.smoothing, reduction="sum")
            accelerator.backward(loss * weight)
        correct = (logits.argmax(dim=1) == labels).sum()
        sums += torch.stack([loss.detach().float(), correct.float(), labels.new_tensor(len(labels)).float()])
    sums = accelerator.reduce(sums, "sum").cpu().double()
    if not sums[0].isfinite():
        raise TrainingError(
            f"fit: the loss is {sums[0] / sums[2]:.3g} at {where}. The last checkpoint is intact. Try a lower lr, more "
            f"warmup_epochs, clip_grad (now {config.clip_grad}) or amp='no' (now {config.amp!r}); if the first step "
            "fails already, look for broken values in the videos or the weights."
        )
    if config.clip_grad is not None:
        accelerator.clip_grad_norm_(run.model.parameters(), config.clip_grad)
    run.optimizer.step()
    run.optimizer.zero_grad()
    return sums


def _check_labels(labels: Tensor, num_classes: int) -> None:
    if ((labels < 0) | (labels >= num_classes)).any():
        raise ValueError(
            f"fit: training labels go from {int(labels.min())} to {int(labels.max())}; needed: 0 to {num_classes - 1} "
            f"for the {num_classes} class names; take unlabelled videos out of the training set."
        )


def _check_logits(logits: Tensor, video: Tensor, num_classes: int) -> None:
    if logits.shape != (len(video), num_classes):
        raise ValueError(
            f"fit: the network gave {tuple(logits.shape)} for clips of shape {tuple(video.shape)}; needed: "
            f"({len(video)}, {num_classes}) for the {num_classes} class names; make it with num_classes={num_classes}."
        )

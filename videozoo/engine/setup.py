"""Set-up of a run before the first step: checks, construction and, in a continued run, loading."""

import contextlib
import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor, nn

from videozoo.engine.bad_videos import BrokenVideos
from videozoo.engine.checkpoint import load_weights
from videozoo.engine.device import make_accelerator
from videozoo.engine.distributed import sync_norms
from videozoo.engine.errors import CheckpointError
from videozoo.engine.freeze import freeze
from videozoo.engine.loaders import Batch, prepare_loader
from videozoo.engine.optim import make_ema, make_optimizer, make_scheduler
from videozoo.engine.progress import Progress
from videozoo.engine.progress_lines import ProgressLines
from videozoo.engine.resume import digest_names, restore_progress
from videozoo.engine.run import Callbacks, Run
from videozoo.engine.run_folder import RunFolder
from videozoo.engine.speed import compile_forward, use_channels_last
from videozoo.engine.state_dicts import is_sharded, load_optimizer
from videozoo.engine.step_times import StepTimes
from videozoo.engine.trackers import Trackers
from videozoo.engine.train_loader import TrainLoader
from videozoo.fit_config import FitConfig

_log = logging.getLogger(__name__)


def start_run(
    net: nn.Module,
    train_loader: Iterable[Batch],
    val_loader: Iterable[Batch],
    config: FitConfig,
    folder: RunFolder,
    calls: Callbacks,
    resume: bool,
    train_names: Sequence[str] | None,
    stack: contextlib.ExitStack,
) -> Run:
    """Make the run for `fit`, see there.

    ``stack`` gives the folder back to other processes.
    """
    accelerator = make_accelerator(config.amp, config.device)
    with accelerator.main_process_first():  # it puts in order what a killed run has left
        if accelerator.is_main_process:
            stack.enter_context(folder.hold())
        state = folder.open(resume)
    if len(set(gather_object([state is None]))) > 1:
        raise CheckpointError(f"{folder.path}: not every process sees the run there; give a folder that all share.")
    train = TrainLoader(train_loader, accelerator, config.seed)
    val = prepare_loader(val_loader, accelerator, "fit: validation")
    class_weights = _class_weights(config, len(folder.class_names), accelerator)
    digest = None if train_names is None else digest_names(train_names)
    layout = train.layout(config.grad_accum_steps)
    progress = Progress() if state is None else restore_progress(folder.path, state, config, layout, digest)
    if state is not None:
        _warn_of_other_validation(folder, progress, val)
    updates_per_epoch = math.ceil(len(train) / config.grad_accum_steps)
    _prepare_net(net, config, accelerator)
    if state is not None:
        folder.load_net(net, state)
    if is_sharded(accelerator) and config.model_ema:
        raise ValueError("fit: model_ema needs the whole model in each process; leave it out, or train without FSDP.")
    optimizer = make_optimizer(net, config)
    scheduler = make_scheduler(optimizer, config, updates_per_epoch)
    ema = make_ema(net, config)
    if ema is not None and state is not None:
        ema.module.load_state_dict(load_weights(folder.path / "last"))
    if config.compile:
        for module in (net,) if ema is None else (net, ema.module):
            compile_forward(module)
    model, optimizer = accelerator.prepare(net, optimizer)
    if state is not None:
        _load_states(state, model if is_sharded(accelerator) else net, optimizer, accelerator)
    # They write: nothing is written before the run has been accepted.
    trackers = Trackers(config.log_with, folder.path, vars(config), accelerator.is_main_process)
    run = Run(
        accelerator=accelerator,
        config=config,
        net=net,
        model=model,
        optimizer=optimizer,
        scheduler=scheduler,
        ema=ema,
        train_loader=train,
        val_loader=val,
        calls=calls,
        class_weights=class_weights,
        folder=folder,
        updates_per_epoch=updates_per_epoch,
        is_new=state is None,
        progress=progress,
        broken=BrokenVideos(
            folder.path, train.num_videos, config.max_bad_frac, train_names, [] if state is None else state["broken"]
        ),
        trackers=trackers,
        step_times=StepTimes(accelerator.device.type == "cpu" and accelerator.num_processes == 1),
        progress_lines=ProgressLines(config.log_interval),
        names_digest=digest,
    )
    if state is not None:
        within = f" and step {progress.current.step} of {updates_per_epoch}" if progress.current.step else ""
        is_done = progress.epoch >= config.epochs
        more = "; the run is complete, a higher --epochs goes on with it" if is_done else ""
        run.log("resumed after epoch %d of %d%s%s", progress.epoch, config.epochs, within, more)
    return run


def _class_weights(config: FitConfig, num_classes: int, accelerator: Accelerator) -> Tensor | None:
    if config.class_weights is None:
        return None
    if len(config.class_weights) != num_classes:
        raise ValueError(
            f"fit: class_weights has {len(config.class_weights)} numbers; needed: one for each of the "
            f"{num_classes} classes."
        )
    return torch.tensor(config.class_weights, device=accelerator.device)


def _prepare_net(net: nn.Module, config: FitConfig, accelerator: Accelerator) -> None:
    net.to(accelerator.device)
    if config.channels_last:
        use_channels_last(net)
    lines = []
    if config.sync_bn:
        lines.append(f"sync_bn: {len(sync_norms(net))} norms take their statistics over {accelerator.num_processes} "
                    "processes")  # fmt: skip
    lines += freeze(net, config)
    if accelerator.is_main_process:
        for line in lines:
            _log.info(line)


def _load_states(
    state: Mapping[str, Any], net: nn.Module, optimizer: torch.optim.Optimizer, accelerator: Accelerator
) -> None:
    load_optimizer(optimizer, net, state["optimizer"], accelerator)
    if accelerator.scaler is not None and state["scaler"] is not None:
        accelerator.scaler.load_state_dict(state["scaler"])


def _warn_of_other_validation(folder: RunFolder, progress: Progress, val: Iterable[Batch]) -> None:
    """Log that the best epoch was found on another number of validation videos, if that is known."""
    try:
        count = len(val.dataset)  # type: ignore[attr-defined]
    except (AttributeError, TypeError):  # any iterable, or a data set that streams
        return
    best = progress.best or {}
    before = best.get("num_videos", count) + best.get("num_unread", 0)
    if best and before != count:
        _log.warning(
            "%s: epoch %d, the best so far, was measured on %d validation videos, now there are %d; its accuracy and "
            "those of the coming epochs cannot be compared", folder.path, best["epoch"], before, count
        )  # fmt: skip

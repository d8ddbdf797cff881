"""The training loop: one function to call, and the few it is made of, in the order they run."""

import logging
import math
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from torch import Tensor, nn

from videozoo.engine.config import FitConfig
from videozoo.engine.device import make_accelerator
from videozoo.engine.evaluate import evaluate
from videozoo.engine.loaders import Batch, prepare_loader, release_loader
from videozoo.engine.optim import freeze_norms, make_ema, make_optimizer, make_scheduler
from videozoo.engine.results import EpochRow, FitResult, result_dict
from videozoo.engine.run_folder import Progress, RunFolder
from videozoo.engine.train import Run, train_epoch

_log = logging.getLogger(__name__)


def fit(
    model: nn.Module,
    train_loader: Iterable[Batch],
    val_loader: Iterable[Batch],
    config: FitConfig,
    output: Path,
    *,
    class_names: Sequence[str],
    model_config: dict[str, Any],
    resume: bool = False,
    on_epoch: Callable[[EpochRow], None] | None = None,
    train_batch: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] | None = None,
    eval_batch: Callable[[Tensor], Tensor] | None = None,
    train_names: Sequence[str] | None = None,
) -> FitResult:
    """Train a network and keep a run folder that can be continued, loaded and read.

    Works with any network that turns (B, 3, T, H, W) into (B, C). It is trained in place and ends with the last
    epoch's weights on accelerate's device; the best ones lie in ``output/best``.

    Epochs are the unit of continuation. A checkpoint is written before the first epoch and after each; Ctrl-C, a crash
    or a killed process lose at most the epoch they hit, and ``resume=True`` does it again. Random draws are functions
    of (seed, epoch) alone, so on the CPU a continued run ends with the very weights of one that was never stopped.

    ``last`` and ``best`` hold the weights that were evaluated: the averaged ones with ``model_ema``, else the trained
    ones; with ``model_ema`` the trained ones lie in ``last/train_state.safetensors``. The best epoch is the one with
    the highest ``config.eval_metric``; among equals the lowest validation loss, then the earliest.

    Args:
        train_loader: a torch DataLoader of dicts ``video`` float (B, 3, T, H, W), ``label`` int64 (B,), shuffled by
            its own sampler. Its generators are seeded anew each epoch and ``set_epoch(epoch)`` is called on its
            samplers and data set; draws in the data set must depend on that or on torch's, NumPy's or Python's global
            state. With persistent workers ``set_epoch`` must reach them (by shared memory) and draws must not depend
            on their global state. With several processes accelerate shares its batches out, so its batch size is that
            of one process. In one process any iterable with a length will do (a list of batches); its order is then
            its own affair.
        val_loader: as for `evaluate`.
        output: the run folder, made if absent.
        class_names: as many as the network has outputs.
        model_config: goes into each ``config.json`` as it is, with ``pretrained_cfg.metrics`` added.
        resume: continue the run in ``output``; with nothing there, start one.
        train_batch: turns (video, label) on the device, as the loader gives them, into what the network takes and the
            target of the loss: int64 (B,) classes or float (B, C) shares. None: they are that already.
        eval_batch: the same for an evaluation's video alone.
        train_names: what to call the training videos, by index, where one is broken.
        on_epoch: called with each finished epoch's row, after everything is on the disk (first process only).
    Raises:
        ValueError: loaders, labels or network outputs that do not fit.
        TrainingError: a loss or score is not finite; the last checkpoint stays.
        CheckpointError: ``output`` has a run and ``resume`` is off; it cannot be continued; the disk refused.
        KeyboardInterrupt: Ctrl-C, after the folder is in order.
    """
    folder = RunFolder(Path(output), tuple(class_names), model_config)
    accelerator = make_accelerator(config.amp, config.device)
    run = _start(model, train_loader, val_loader, config, folder, accelerator, resume)
    try:
        with run.interrupts:
            _fit_epochs(run, on_epoch)
    except KeyboardInterrupt:
        run.say("interrupted: %d of %d epochs are kept; resume to go on", run.progress.epoch, config.epochs)
        _write_reports(run)
        raise
    finally:
        release_loader(run.train_loader)
        _unwrap(accelerator, run.model, run.net)
    accelerator.wait_for_everyone()
    return folder.result(run.progress)


def _start(
    net: nn.Module,
    train_loader: Iterable[Batch],
    val_loader: Iterable[Batch],
    config: FitConfig,
    folder: RunFolder,
    accelerator: Accelerator,
    resume: bool,
) -> Run:
    """Check everything that can be checked, put the parts together, load what is to be continued."""
    state = folder.open(resume)
    train_loader = prepare_loader(train_loader, accelerator, "fit: training")
    val_loader = prepare_loader(val_loader, accelerator, "fit: validation")
    updates_per_epoch = math.ceil(len(train_loader) / config.grad_accum_steps)  # type: ignore[arg-type]
    net.to(accelerator.device)
    if config.freeze_bn:
        _log.info("freeze_bn: %d norms keep their statistics and affine pairs", len(freeze_norms(net)))
    if state is not None:
        folder.load_net(net, state)
    optimizer = make_optimizer(net, config)
    scheduler = make_scheduler(optimizer, config, updates_per_epoch)
    ema = make_ema(net, config)
    progress = Progress()
    if state is not None:
        progress = folder.restore(state, config, optimizer, accelerator.scaler, ema)
    model, optimizer = accelerator.prepare(net, optimizer)
    run = Run(
        accelerator=accelerator,
        config=config,
        net=net,
        model=model,
        optimizer=optimizer,
        scheduler=scheduler,
        ema=ema,
        train_loader=train_loader,
        val_loader=val_loader,
        folder=folder,
        updates_per_epoch=updates_per_epoch,
        is_new=state is None,
        progress=progress,
    )
    if state is not None:
        run.say("resumed after epoch %d of %d", progress.epoch, config.epochs)
    return run


def _fit_epochs(run: Run, on_epoch: Callable[[EpochRow], None] | None) -> None:
    """The loop itself."""
    if run.is_new:
        _save_last(run)  # a folder that cannot be written to is found out now, not an epoch later
    for epoch in range(run.progress.epoch, run.config.epochs):
        row = _fit_epoch(run, epoch)
        if on_epoch is not None and run.accelerator.is_main_process:
            on_epoch(row)
        run.interrupts.check()
    _write_reports(run)


def _fit_epoch(run: Run, epoch: int) -> EpochRow:
    """Train, evaluate, write; ``run.progress`` moves on once the checkpoint is on the disk."""
    started = time.perf_counter()
    trained = train_epoch(run, epoch)
    result = evaluate(run.measured_net, run.val_loader, class_names=run.folder.class_names, accelerator=run.accelerator)
    run.interrupts.check()
    if result.num_labelled == 0:
        raise ValueError("fit: no validation video has a label, so no epoch can be the best; give labelled videos.")
    row = EpochRow(
        epoch=epoch + 1,
        lr=trained.lr,
        train_loss=trained.loss,
        train_top1=trained.top1,
        val_loss=result.loss,
        val_top1=result.top1,
        val_top5=result.top5,
        val_mean_class=result.mean_class,
        seconds=time.perf_counter() - started,
        data_seconds=trained.data_seconds + result.data_seconds,
    )
    results = {**result_dict(result), "epoch": epoch + 1, "weights": "trained" if run.ema is None else "averaged"}
    progress = run.progress.add(row, results, result.confusion, run.config.eval_metric)
    if progress.best is results and run.accelerator.is_main_process:
        run.folder.save_best(run.measured_net, results)
    _save_last(run, progress)
    run.progress = progress
    _report_epoch(run, row)
    return row


def _save_last(run: Run, progress: Progress | None = None) -> None:
    if run.accelerator.is_main_process:
        scaler = run.accelerator.scaler
        run.folder.save_last(progress or run.progress, run.config, run.net, run.optimizer, scaler, run.ema)


def _report_epoch(run: Run, row: EpochRow) -> None:
    """Log the epoch and bring the tables up to date; pictures are drawn at most twice a minute."""
    best_epoch = run.progress.best["epoch"] if run.progress.best else 0
    left = (run.config.epochs - row.epoch) * row.seconds
    run.say("epoch %d/%d done: train loss %.4f top-1 %.1f %%, val loss %.4f top-1 %.1f %% mean-class %.1f %%, %.1f s "
         "(data %.1f s), best epoch %d, about %.0f s left", row.epoch, run.config.epochs, row.train_loss,
         100 * row.train_top1, row.val_loss, 100 * row.val_top1, 100 * row.val_mean_class, row.seconds,
         row.data_seconds, best_epoch, left)  # fmt: skip
    if not run.accelerator.is_main_process:
        return
    if time.perf_counter() - run.drawn_at > 30:
        _write_reports(run)
        run.drawn_at = time.perf_counter()
    else:
        run.folder.write_tables(run.progress)


def _write_reports(run: Run) -> None:
    if run.accelerator.is_main_process:
        run.folder.write_reports(run.progress)


def _unwrap(accelerator: Accelerator, model: nn.Module, net: nn.Module) -> None:
    """Take accelerate's marks off the network, so that it can be trained, copied and saved again like any other."""
    accelerator.unwrap_model(model, keep_fp32_wrapper=False)
    for name in ("forward", "_is_accelerate_prepared"):
        net.__dict__.pop(name, None)

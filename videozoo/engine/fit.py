"""Training loop: the function to call, and its parts in the order they run."""

import contextlib
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from videozoo.engine.chance import describe_chance
from videozoo.engine.distributed import broadcast_buffers, explain_lost_process
from videozoo.engine.errors import TrainingError
from videozoo.engine.eval_result import EvalResult
from videozoo.engine.evaluate import evaluate
from videozoo.engine.interrupts import Interrupts, Stopped
from videozoo.engine.loaders import Batch
from videozoo.engine.optim import current_lr
from videozoo.engine.progress_lines import describe_seconds
from videozoo.engine.results import EpochRow, FitResult, result_dict
from videozoo.engine.run import Callbacks, Run
from videozoo.engine.run_folder import RunFolder
from videozoo.engine.setup import start_run
from videozoo.engine.speed import explain_compiler
from videozoo.engine.state_dicts import is_sharded
from videozoo.engine.train import train_epoch
from videozoo.fit_config import FitConfig


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
    on_start: Callable[[], None] | None = None,
    on_epoch: Callable[[EpochRow], None] | None = None,
    on_result: Callable[[EpochRow, EvalResult, bool], None] | None = None,
    train_batch: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] | None = None,
    eval_batch: Callable[[Tensor], Tensor] | None = None,
    train_names: Sequence[str] | None = None,
) -> FitResult:
    """Train any clip model from data loaders and write a run folder that can be continued and loaded.

    Works with any module that turns (B, 3, T, H, W) into (B, C). It is trained in place and ends with the weights of
    the last epoch on accelerate's device. The best weights are in ``output/best``. A model with an attribute
    ``aux_weight`` above 0 (`VideoNet` with TPN) is called with ``with_aux=True`` and returns a pair. The loss of the
    second logits is added with that weight.

    A checkpoint is written before the first epoch, after each epoch, and every ``checkpoint_minutes`` within one.
    Ctrl-C and SIGTERM stop at the next optimizer step, in all processes together, and write a checkpoint. A killed
    process loses what came after its last checkpoint. ``resume=True`` continues from there and does not read again what
    was trained on. Random draws are functions of (seed, epoch, step, process) alone. So on the CPU, with the same
    number of processes, a continued run ends with the very weights of one that was never stopped.

    Training videos that a batch lists as ``broken`` are logged once and listed in ``output/broken.csv``. More than
    ``max_bad_frac`` of them end the run.

    ``last`` and ``best`` hold the weights that were evaluated: the averaged ones with ``model_ema``, else the trained
    ones. With ``model_ema`` the trained ones are in ``last/train_state.safetensors``. The best epoch is the one with
    the highest ``config.eval_metric``, among equals the one with the lowest validation loss, then the earliest.

    Args:
        model: the model, on any device.
        train_loader: a torch DataLoader of dicts ``video`` (B, 3, T, H, W), ``label`` int64 (B,) and perhaps
            ``broken``, a list of (index, problem). Its own sampler shuffles: its generators are seeded again in each
            epoch and ``set_epoch(epoch)`` is called on its samplers and data set. With persistent workers that must
            reach them (by shared memory). Draws of the data set from torch's, NumPy's and Python's global state are
            seeded for each batch. With several processes its batches are distributed, so its batch size is that of one
            process. In one process any iterable with a length works (a list of batches). Its order is then up to you,
            and a continued epoch reads it from the start.
        val_loader: as for `videozoo.engine.evaluate`.
        config: the settings of the training.
        output: the run folder, created if it does not exist.
        class_names: one name per output of the model.
        model_config: written to each ``config.json`` as it is, with ``pretrained_cfg.metrics`` added.
        resume: continue the run in ``output``. If there is none, start one.
        train_batch: turns (video, label) on the device, as the loader gives them, into the input of the model and the
            target of the loss: int64 (B,) classes or float (B, C) probabilities. None: they are that already. With
            ``config.multi_label`` labels and targets are float (B, C).
        eval_batch: the same for the video alone in an evaluation.
        train_names: names of the training videos, by index, for messages about broken ones.
        on_start: called when the run is accepted, before anything is written to ``output`` (first process only).
        on_epoch: called with the row of each finished epoch, after everything is on the disk (first process only).
        on_result: called before ``on_epoch`` with the row, its evaluation, and whether it is the best so far (first
            process only).
    Raises:
        ValueError: loaders, labels or outputs of the model that do not fit.
        TrainingError: a loss or score is not finite, too many videos are broken, or the model does not compile. The
            last checkpoint stays.
        CheckpointError: ``output`` has a run and ``resume`` is off, the run cannot be continued, another process trains
            into it, it holds another kind of result, or the disk refused.
        Stopped: (a KeyboardInterrupt) Ctrl-C or SIGTERM, after the checkpoint is written.
    Example:
        >>> from pathlib import Path
        >>> import torch
        >>> from torch.nn import AdaptiveAvgPool3d, Flatten, Linear, Sequential
        >>> from videozoo import FitConfig, fit
        >>> model = Sequential(AdaptiveAvgPool3d(1), Flatten(), Linear(3, 2))
        >>> batch = {"video": torch.randn(2, 3, 8, 16, 16), "label": torch.tensor([0, 1]), "index": torch.arange(2)}
        >>> config = FitConfig(epochs=2, lr=1e-3, device="cpu")
        >>> result = fit(model, [batch], [batch], config, Path("run"), class_names=["a", "b"], model_config={})
        >>> len(result.history)
        2
    """
    folder = RunFolder(Path(output), tuple(class_names), model_config)
    calls = Callbacks(train_batch, eval_batch, on_start, on_epoch, on_result)
    with contextlib.ExitStack() as stack:
        with explain_lost_process():
            run = start_run(model, train_loader, val_loader, config, folder, calls, resume, train_names, stack)
        try:
            with Interrupts() as run.interrupts, explain_compiler(config.compile), explain_lost_process():
                _fit_epochs(run)
        except KeyboardInterrupt as stop:
            _report_stop(run, stop)
            raise
        finally:
            run.trackers.close()
            _unwrap(run)
    run.accelerator.wait_for_everyone()
    return folder.result(run.progress)


def _fit_epochs(run: Run) -> None:
    if run.calls.on_start is not None and run.is_main:
        run.calls.on_start()
    if run.is_new:
        run.save_last(run.progress)  # a folder that cannot be written to is found out now, not an epoch later
    run.drop_epochs()  # left by a run that was killed before it could
    while not run.progress.is_over(run.config):
        row = _fit_epoch(run)
        if run.calls.on_epoch is not None and run.is_main:
            run.calls.on_epoch(row)
    run.progress = replace(run.progress, stopped_early=run.progress.epoch < run.config.epochs)
    if run.progress.stopped_early:
        run.log("stopped after epoch %d of %d: patience is %s epochs, and none since epoch %d was better",
                run.progress.epoch, run.config.epochs, run.config.patience,
                run.folder.result(run.progress).best_epoch)  # fmt: skip
    _write_reports(run)


def _fit_epoch(run: Run) -> EpochRow:
    """Train, evaluate and write. ``run.progress`` advances once the checkpoint is on the disk."""
    train_epoch(run)
    started = time.perf_counter()
    result = _evaluate(run)
    if result.num_labelled == 0:
        raise ValueError("fit: no validation video has a label, so no epoch can be the best; give labeled videos.")
    if result.multi_label and not result.labels.any():
        raise ValueError(
            "fit: no validation video has a class, so that mAP cannot be measured; give some that have one."
        )
    trained, epoch = run.progress.current, run.progress.epoch + 1
    is_multi = result.multi_label
    row = EpochRow(
        epoch=epoch,
        lr=current_lr(run.optimizer),
        train_loss=trained.loss,
        train_top1=None if is_multi else trained.top1,
        val_loss=result.loss,
        val_top1=None if is_multi else result.top1,
        val_top5=None if is_multi else result.top5,
        val_mean_class=None if is_multi else result.mean_class,
        val_map=result.map if is_multi else None,
        seconds=trained.seconds + time.perf_counter() - started,
        data_seconds=trained.data_seconds + result.data_seconds,
    )
    results = {**result_dict(result), "epoch": epoch, "weights": "trained" if run.ema is None else "averaged"}
    results |= {"num_train_videos": run.train_loader.num_videos, "eval_metric": run.config.eval_metric}
    confusion = None if is_multi else result.confusion
    progress = run.progress.add(row, results, confusion, run.config.eval_metric)
    run.save_measured(results, progress)
    run.save_last(progress)
    run.progress = progress
    run.drop_epochs()
    _report_epoch(run, row)
    if run.calls.on_result is not None and run.is_main:
        run.calls.on_result(row, result, progress.best is results)
    if confusion is not None and (line := describe_chance(progress.history, confusion)):
        run.log("%s", line)
    return row


def _evaluate(run: Run) -> EvalResult:
    """Evaluate after an epoch's training. If it is interrupted, the training of the epoch is kept."""
    broadcast_buffers(run.measured_net, run.accelerator)  # running statistics are each process's own
    try:
        return evaluate(
            run.measured_net,
            run.val_loader,
            class_names=run.folder.class_names,
            accelerator=run.accelerator,
            prepare_batch=run.calls.eval_batch,
            multi_label=run.config.multi_label,
        )
    except TrainingError as error:  # no video could be read, or what the training has made is of no use
        if run.find_broken(run.measured_net.state_dict()):
            raise TrainingError(f"{error} {run.describe_way_out()}") from error
        raise
    except Stopped as stop:
        # Where the model is sharded, saving would need all processes here, and not all may have received the signal.
        if stop.is_safe and not is_sharded(run.accelerator):
            run.save_last(run.progress)
        raise


def _report_stop(run: Run, stop: KeyboardInterrupt) -> None:
    """Log what is kept, and update the reports."""
    epoch, step = run.progress.epoch, run.progress.current.step
    if step and isinstance(stop, Stopped) and stop.is_safe:
        run.log("interrupted: %d of %d epochs and %d of %d steps are kept; resume to go on", epoch, run.config.epochs,
                step, run.updates_per_epoch)  # fmt: skip
    else:
        run.log("interrupted: %d of %d epochs are kept; resume to go on", epoch, run.config.epochs)
    _write_reports(run)


def _report_epoch(run: Run, row: EpochRow) -> None:
    """Log the epoch and bring the tables up to date. Pictures are drawn at most twice a minute."""
    best_epoch = run.progress.best["epoch"] if run.progress.best else 0
    left = (run.config.epochs - row.epoch) * row.seconds
    run.log("epoch %d/%d done: train loss %.4f%s, val loss %.4f%s, %.1f s (data %.1f s), best epoch %d, about %s "
         "left", row.epoch, run.config.epochs, row.train_loss, _percent("top-1", row.train_top1), row.val_loss,
         _percent("top-1", row.val_top1) + _percent("mean-class", row.val_mean_class) + _percent("mAP", row.val_map),
         row.seconds, row.data_seconds, best_epoch, describe_seconds(left))  # fmt: skip
    run.trackers.log({name: value for name, value in asdict(row).items() if name != "epoch" and value is not None},
                     row.epoch * run.updates_per_epoch)  # fmt: skip
    if not run.accelerator.is_main_process:
        return
    if time.monotonic() - run.drawn_at > 30:
        _write_reports(run)
        run.drawn_at = time.monotonic()
    else:
        run.folder.write_tables(run.progress)


def _percent(name: str, value: float | None) -> str:
    return "" if value is None else f" {name} {100 * value:.1f} %"


def _write_reports(run: Run) -> None:
    if run.accelerator.is_main_process:
        run.folder.write_reports(run.progress)


def _unwrap(run: Run) -> None:
    """Remove accelerate's wrappers, so that the model can be trained, copied and saved again."""
    run.accelerator.unwrap_model(run.model, keep_fp32_wrapper=False)
    for name in ("forward", "_is_accelerate_prepared"):
        run.net.__dict__.pop(name, None)

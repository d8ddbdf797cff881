"""State of the training loop, and its checkpoints."""

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from accelerate import Accelerator
from timm.scheduler.scheduler import Scheduler
from timm.utils import ModelEmaV3
from torch import Tensor, nn

from videozoo.engine.bad_videos import BrokenVideos
from videozoo.engine.errors import TrainingError
from videozoo.engine.eval_result import EvalResult
from videozoo.engine.interrupts import Interrupts
from videozoo.engine.loaders import Batch
from videozoo.engine.progress import Progress
from videozoo.engine.progress_lines import ProgressLines
from videozoo.engine.results import EpochRow
from videozoo.engine.run_folder import RunFolder
from videozoo.engine.state_dicts import is_sharded, optimizer_state, weights_of
from videozoo.engine.step_times import StepTimes
from videozoo.engine.trackers import Trackers
from videozoo.engine.train_loader import TrainLoader
from videozoo.fit_config import FitConfig

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Callbacks:
    """Callbacks of `fit`, documented there."""

    train_batch: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] | None = None
    eval_batch: Callable[[Tensor], Tensor] | None = None
    on_start: Callable[[], None] | None = None
    on_epoch: Callable[[EpochRow], None] | None = None
    on_result: Callable[[EpochRow, EvalResult, bool], None] | None = None


@dataclass
class Run:
    """Running training.

    ``net`` is the bare model, ``model`` what accelerate made of it.
    """

    accelerator: Accelerator
    config: FitConfig
    net: nn.Module
    model: nn.Module
    optimizer: torch.optim.Optimizer
    scheduler: Scheduler | None
    ema: ModelEmaV3 | None
    train_loader: TrainLoader
    val_loader: Iterable[Batch]
    calls: Callbacks
    class_weights: Tensor | None
    folder: RunFolder
    updates_per_epoch: int
    is_new: bool
    progress: Progress
    broken: BrokenVideos
    trackers: Trackers
    step_times: StepTimes
    progress_lines: ProgressLines
    names_digest: str | None = None
    interrupts: Interrupts = field(default_factory=Interrupts)
    saved_at: float = field(default_factory=time.monotonic)
    drawn_at: float = field(default_factory=time.monotonic)  # when the pictures were last drawn

    @property
    def num_classes(self) -> int:
        return len(self.folder.class_names)

    @property
    def is_main(self) -> bool:
        return self.accelerator.is_main_process

    @property
    def measured_net(self) -> nn.Module:
        """The model whose accuracy is reported and whose weights go into model.safetensors."""
        if self.ema is not None:
            return self.ema.module
        return self.model if is_sharded(self.accelerator) else self.net

    def log(self, message: str, *values: object) -> None:
        """Log a line, once however many processes there are."""
        if self.is_main:
            _log.info(message, *values)

    def find_broken(self, weights: Mapping[str, Tensor]) -> str:
        """Return the name of a weight that is not finite, or of a buffer with a nan in it, empty if there is none."""
        parameters = {name for name, _ in self.net.named_parameters()}
        for name, tensor in weights.items():
            if tensor.isnan().any() or (name in parameters and tensor.isinf().any()):
                return name
        return ""

    def describe_way_out(self) -> str:
        """Describe from which checkpoint a diverged run can be started again.

        Its own settings cannot change.
        """
        best = self.folder.path / "best"
        start = f"from the weights in {best}" if best.exists() else "with another output folder"
        return (
            f"Resumed with its settings it would come to the same point. Start a new run {start}, with a lower "
            f"learning rate (lr), a longer warm-up (warmup_epochs), gradient clipping (clip_grad, now "
            f"{self.config.clip_grad}) or full precision (amp, now {self.config.amp!r}). If its first step fails "
            "already, look for broken values in the videos or the weights."
        )

    def is_save_due(self) -> bool:
        """Return whether the last checkpoint is ``checkpoint_minutes`` old."""
        return time.monotonic() - self.saved_at >= 60 * self.config.checkpoint_minutes

    def save_last(self, progress: Progress) -> None:
        """Write ``last`` at the end of an epoch, or of a step in the middle of one.

        All processes call it together.

        Raises:
            CheckpointError: the disk refused. The ``last`` before is intact.
            TrainingError: the weights are not finite: no run could go on from them, and the ``last`` before is kept.
        """
        net = self.model if is_sharded(self.accelerator) else self.net
        trained = weights_of(net, self.accelerator)
        broken = self.find_broken(trained)
        if broken:
            raise TrainingError(f"fit: the values of {broken} are not finite any more. {self.describe_way_out()}")
        state: dict[str, Any] = {
            "optimizer": optimizer_state(self.optimizer, net, self.accelerator),
            "scaler": None if self.accelerator.scaler is None else self.accelerator.scaler.state_dict(),
            # Without averaging model.safetensors holds them already.
            "trained_weights": None if self.ema is None else dict(trained),
            "layout": self.train_loader.layout(self.config.grad_accum_steps),
            "names_digest": self.names_digest,
            "broken": self.broken.rows(),
        }
        if self.is_main:
            measured = trained if self.ema is None else self.ema.module.state_dict()
            self.folder.save_last(measured, progress, self.config, state)
        self.saved_at = time.monotonic()

    def save_measured(self, results: dict[str, Any], progress: Progress) -> None:
        """Write ``best`` and ``epoch-K`` if an epoch is to be kept there.

        All processes call it together.

        Args:
            results: of the epoch that has just been evaluated.
            progress: after it.
        Raises:
            CheckpointError: the disk refused. What was kept before is intact.
        """
        is_best, count = progress.best is results, self.config.checkpoint_hist
        if not is_best and count == 1:
            return
        weights = weights_of(self.measured_net, self.accelerator) if self.ema is None else self.ema.module.state_dict()
        if not self.is_main:
            return
        if is_best:
            self.folder.save_best(weights, results)
        if progress.epoch in self._kept_epochs(progress):
            self.folder.save_epoch(weights, results)

    def drop_epochs(self) -> None:
        """Remove the ``epoch-K`` folders that are no longer among the best, once ``last`` is written."""
        if self.is_main:
            self.folder.drop_epochs(self._kept_epochs(self.progress))

    def _kept_epochs(self, progress: Progress) -> set[int]:
        count = self.config.checkpoint_hist
        epochs = {*self.folder.saved_epochs(), progress.epoch}
        return progress.best_epochs(epochs, count, self.config.eval_metric) if count > 1 else set()

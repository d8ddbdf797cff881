"""Pictures of clips in a run folder: the first training clips, and the errors of the best epoch."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path

from torch import Tensor, nn

from videozoo.data import TrainBatch, VideoRecord
from videozoo.engine import CheckpointError, EpochRow, EvalResult
from videozoo.engine.fonts import number_names
from videozoo.explain.mosaic import MOST_ROWS, ClipRow, clip_reader, describe_target, plot_clips, plot_errors
from videozoo.launch import is_main_process

__all__ = ["ERRORS", "TRAIN_CLIPS", "RunPictures"]

_log = logging.getLogger(__name__)
TRAIN_CLIPS, ERRORS = "train_clips.png", "val_errors.png"
_DRAWN_EVERY_SEC = 120.0


@dataclass
class RunPictures:
    """Draw ``train_clips.png`` at the first step and ``val_errors.png`` of the best epoch.

    In the first process alone.

    A picture that the disk refuses is logged and the run goes on. No random number is drawn.

    Args:
        folder: of the run.
        model: for the sampling and the crop of its clips.
        make_batch: makes batches ready to train on. It is called by `train_batch`.
        class_names: of the labels.
        val: records of the validation videos.
        is_continued: whether the run was begun earlier. Its picture of the first clips stays.
    """

    folder: Path
    model: nn.Module
    make_batch: TrainBatch
    _: KW_ONLY
    class_names: Sequence[str]
    val: Sequence[VideoRecord]
    is_continued: bool = False
    _is_begun: bool = field(default=False, init=False)
    _due: tuple[EvalResult, int] | None = field(default=None, init=False)
    _drawn_at: float = field(default=0.0, init=False)

    def train_batch(self, video: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """Prepare a batch, and draw it if it is the first of the run."""
        video, target = self.make_batch(video, label)
        if not self._is_begun:
            self._is_begun = True
            path = self.folder / TRAIN_CLIPS
            if is_main_process() and not (self.is_continued and path.exists()):
                _try(lambda: self._draw_first(path, video[:MOST_ROWS], target[:MOST_ROWS].cpu()))
        return video, target

    def on_result(self, row: EpochRow, result: EvalResult, is_best: bool) -> None:
        """Remember the errors of a best epoch, and draw them if the last picture is two minutes old."""
        if is_best:
            self._due = (result, row.epoch)
        if self._due is not None and time.monotonic() - self._drawn_at > _DRAWN_EVERY_SEC:
            self.close()

    def close(self) -> None:
        """Draw what is not drawn yet, at the end of a run or where it was stopped."""
        if self._due is None or not is_main_process():
            return
        (result, epoch), self._due = self._due, None
        names = [record.name or str(record.path) for record in self.val]
        what = f"validation, epoch {epoch} (the best so far)"
        path, read = self.folder / ERRORS, clip_reader(self.model, self.val)
        _try(lambda: plot_errors(path, result, names.__getitem__, read, what))
        self._drawn_at = time.monotonic()

    def _draw_first(self, path: Path, video: Tensor, target: Tensor) -> None:
        clips = self.make_batch.normalizer.to_bytes(video).cpu().permute(0, 2, 3, 4, 1)  # (B, T, H, W, 3)
        names, numbered = number_names(self.class_names)
        rows = [ClipRow([describe_target(one, names)], clip) for one, clip in zip(target, clips, strict=True)]
        title = "the first training clips as the model sees them, after cropping, flipping and mixing"
        plot_clips(path, rows, "\n".join(filter(None, [title, numbered])))


def _try(draw: Callable[[], object]) -> None:
    try:
        draw()
    except CheckpointError as error:
        _log.warning("%s The run goes on without this picture.", error)

"""Training and evaluation with accelerate, for any model from (B, 3, T, H, W) to (B, C)."""

from videozoo.engine.checkpoint import load_train_state, load_weights, save_checkpoint
from videozoo.engine.distributed import sync_norms
from videozoo.engine.errors import CheckpointError, EngineError, TrainingError
from videozoo.engine.eval_result import EvalResult
from videozoo.engine.evaluate import evaluate
from videozoo.engine.evaluation_folder import evaluation_dict, write_evaluation
from videozoo.engine.fit import fit
from videozoo.engine.freeze import freeze_norms
from videozoo.engine.groups import GroupResult, load_groups, measure_group
from videozoo.engine.interrupts import Stopped
from videozoo.engine.plots import plot_confusion, plot_curves, plot_group
from videozoo.engine.results import EpochRow, FitResult, result_dict, write_results
from videozoo.engine.run_record import RunRecord, read_evaluation, read_run
from videozoo.engine.scores import Scores, join_scores, load_scores, name_videos, save_scores
from videozoo.fit_config import FitConfig

__all__ = [
    "CheckpointError",
    "EngineError",
    "EpochRow",
    "EvalResult",
    "FitConfig",
    "FitResult",
    "GroupResult",
    "RunRecord",
    "Scores",
    "Stopped",
    "TrainingError",
    "evaluate",
    "evaluation_dict",
    "fit",
    "freeze_norms",
    "join_scores",
    "load_groups",
    "load_scores",
    "load_train_state",
    "load_weights",
    "measure_group",
    "name_videos",
    "plot_confusion",
    "plot_curves",
    "plot_group",
    "read_evaluation",
    "read_run",
    "result_dict",
    "save_checkpoint",
    "save_scores",
    "sync_norms",
    "write_evaluation",
    "write_results",
]

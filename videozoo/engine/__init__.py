"""Training and evaluation on accelerate, for any network that turns (B, 3, T, H, W) into (B, C)."""

from videozoo.engine.checkpoint import load_train_state, load_weights, save_checkpoint
from videozoo.engine.config import FitConfig
from videozoo.engine.errors import CheckpointError, EngineError, TrainingError
from videozoo.engine.eval_result import EvalResult
from videozoo.engine.evaluate import evaluate, evaluate_together
from videozoo.engine.fit import fit
from videozoo.engine.plots import plot_confusion, plot_curves
from videozoo.engine.results import EpochRow, FitResult, result_dict, write_results
from videozoo.engine.run_record import RunRecord, read_evaluation, read_run

__all__ = [
    "CheckpointError",
    "EngineError",
    "EpochRow",
    "EvalResult",
    "FitConfig",
    "FitResult",
    "RunRecord",
    "TrainingError",
    "evaluate",
    "evaluate_together",
    "fit",
    "load_train_state",
    "load_weights",
    "plot_confusion",
    "plot_curves",
    "read_evaluation",
    "read_run",
    "result_dict",
    "save_checkpoint",
    "write_results",
]

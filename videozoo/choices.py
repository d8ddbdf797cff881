"""The words that settings may have, away from the libraries behind them: the command line shows them at once."""

__all__ = [
    "AMP_KINDS",
    "AVERAGES",
    "ERASE_MODES",
    "EVAL_METRICS",
    "EXPORT_FORMATS",
    "FEATURE_FILES",
    "FREE_ON_RESUME",
    "SCHEDULES",
    "SCORE_FILES",
    "TRACKERS",
    "TRAIN_CROPS",
    "is_onnx",
]

# Training.
SCHEDULES = ("cosine", "constant", "step", "multistep", "poly", "tanh", "wsd", "rsqrt", "none")
EVAL_METRICS = ("top1", "mean_class", "map")
AMP_KINDS = ("no", "bf16", "fp16")
TRACKERS = ("tensorboard", "wandb")
TRAIN_CROPS = ("multiscale", "rrc")
ERASE_MODES = ("const", "rand", "pixel")
# What may differ between a run and its continuation; anything else would make it another run.
FREE_ON_RESUME = frozenset(
    {
        *("epochs", "log_interval", "device", "max_bad_frac", "checkpoint_hist", "checkpoint_minutes", "patience"),
        *("compile", "log_with"),
    }
)

# Results.
AVERAGES = ("prob", "logit")
SCORE_FILES = (".csv", ".jsonl", ".parquet")
FEATURE_FILES = (".parquet", ".npy", ".safetensors")
EXPORT_FORMATS = {"onnx": ".onnx", "torch-export": ".pt2", "state-dict": ".safetensors"}  # how the file's name ends


def is_onnx(model: str) -> bool:
    """Return whether a model's name is that of an ONNX file."""
    return model.lower().endswith(EXPORT_FORMATS["onnx"])

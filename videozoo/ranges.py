"""The range of every number of the command line and of the training.

Those of a model's config are in ``bounds``.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

from videozoo.bounds import COUNTS, NUMBERS, SIDE

__all__ = ["RANGES", "Range", "check_count", "describe_problem"]


@dataclass(frozen=True)
class Range:
    """The numbers that a setting may have.

    ``nan`` and infinities are in no range.

    Args:
        least, most: the smallest and the largest one.
        above, below: bounds that are themselves outside.
    """

    least: float | None = None
    most: float | None = None
    above: float | None = None
    below: float | None = None

    def holds(self, value: float) -> bool:
        """Return whether a number is in the range."""
        return (
            math.isfinite(value)
            and (self.least is None or value >= self.least)
            and (self.most is None or value <= self.most)
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
        )

    def __str__(self) -> str:
        parts = (("at least", self.least), ("more than", self.above), ("at most", self.most), ("less than", self.below))
        return " and ".join(f"{words} {bound:,}" for words, bound in parts if bound is not None)


_COUNT = Range(least=1, most=1_000_000)
_PROBABILITY = Range(least=0, most=1)
_RATE = Range(above=0, most=1000)
_RATE_OR_ZERO = Range(least=0, most=1000)
_SECONDS = Range(least=0.01, most=1_000_000)
_BELOW_ONE = Range(least=0, below=1)

# By the names of settings, which are those of flags: --batch-size is batch_size.
RANGES: dict[str, Range] = {
    # videos and run
    "val_frac": Range(above=0, below=1),
    "max_bad_frac": _PROBABILITY,
    "checkpoint_hist": _COUNT,
    "checkpoint_minutes": Range(least=0, most=1_000_000),
    "batch_size": _COUNT,
    "workers": Range(least=0, most=1024),
    "max_frames": Range(least=1, most=1_000_000_000),
    "num_shards": _COUNT,
    "shard": Range(least=0, below=1_000_000),
    "topk": _COUNT,
    "average": _COUNT,
    "short_side": Range(least=2),
    "window": _SECONDS,
    "stride": _SECONDS,
    "gop": _COUNT,
    # model
    "drop": _BELOW_ONE,
    "drop_path": _BELOW_ONE,
    # training
    "epochs": _COUNT,
    "grad_accum_steps": _COUNT,
    "lr": _RATE,
    "lr_base": _RATE,
    "lr_base_size": _COUNT,
    "weight_decay": _RATE_OR_ZERO,
    "momentum": _BELOW_ONE,
    "opt_betas": _BELOW_ONE,
    "opt_eps": Range(above=0, most=1),
    "layer_decay": Range(above=0, most=1),
    "head_lr_scale": _RATE,
    "addon_lr_scale": _RATE,
    "warmup_epochs": Range(least=0, most=1_000_000),
    "warmup_lr": _RATE_OR_ZERO,
    "min_lr": _RATE_OR_ZERO,
    "decay_milestones": Range(above=0, most=1_000_000),
    "decay_epochs": Range(above=0, most=1_000_000),
    "decay_rate": Range(above=0, most=1),
    "clip_grad": Range(above=0, most=1e9),
    "smoothing": _BELOW_ONE,
    "bce_target_thresh": _BELOW_ONE,
    "class_weights": Range(least=0, most=1e9),
    "model_ema_decay": _BELOW_ONE,
    "patience": _COUNT,
    "seed": Range(least=0, below=2**63),
    "log_interval": _COUNT,
    # clips
    "num_frames": Range(*COUNTS["num_frames"]),
    "img_size": Range(least=1, most=SIDE),
    "test_crop_size": Range(least=1, most=SIDE),
    "frame_stride": Range(*COUNTS["frame_stride"]),
    "crop_pct": Range(*NUMBERS["crop_pct"]),
    # augmentation
    "scale": Range(above=0, most=1),
    "ratio": Range(above=0, most=100),
    "hflip": _PROBABILITY,
    "vflip": _PROBABILITY,
    "color_jitter": Range(least=0, most=10),
    "reprob": _PROBABILITY,
    "mixup": _RATE_OR_ZERO,
    "cutmix": _RATE_OR_ZERO,
    "mixup_prob": _PROBABILITY,
    "mixup_switch_prob": _PROBABILITY,
}


def describe_problem(name: str, value: float | Iterable[float] | None) -> str | None:
    """Return what is wrong with the value of a setting, such as ``"is -1; it must be more than 0"``.

    Args:
        name: one of ``RANGES``.
        value: a number, several of them, or None for a setting that is not set.
    Returns:
        None where nothing is wrong.
    """
    values = () if value is None else value if isinstance(value, Iterable) and not isinstance(value, str) else (value,)
    for number in values:
        if not isinstance(number, Real):
            return f"is {number!r}; it must be a number, {RANGES[name]}"
        if not RANGES[name].holds(number):
            text = f"{number:g}" if isinstance(number, float) else str(number)
            return f"is {text}; it must be {RANGES[name]}"
    return None


def check_count(what: str, value: Any, least: int = 1) -> None:
    """Refuse an argument that is not a whole number.

    Args:
        what: function and argument, such as ``"topk: k"``.
        value: the argument.
        least: the smallest number that it may be.
    Raises:
        ValueError: it is none, or too small.
    """
    if not isinstance(value, Integral) or value < least:
        raise ValueError(f"{what} is {value!r}; it must be a whole number, at least {least}.")

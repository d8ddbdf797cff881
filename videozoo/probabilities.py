"""From a model's outputs to what it says of the classes: one of them, or each by itself."""

import math
from typing import Any

from torch import Tensor
from torch.nn import functional

__all__ = ["is_multi_label", "join_logits", "log_probabilities", "probabilities"]


def is_multi_label(model: Any) -> bool:
    """Return whether a video may have several of a model's classes.

    Its config (or the given one) says so.
    """
    cfg = getattr(model, "pretrained_cfg", model)
    value = cfg.get("multi_label") if hasattr(cfg, "get") else getattr(cfg, "multi_label", None)
    return bool(value)


def probabilities(logits: Tensor, multi_label: bool) -> Tensor:
    """Return the probability of each class: softmax over the classes, or each one's own sigmoid.

    Shape: logits (..., C). Returns the same.
    """
    return logits.sigmoid() if multi_label else logits.softmax(-1)


def log_probabilities(logits: Tensor, multi_label: bool) -> Tensor:
    """Return the logarithm of `probabilities`, exact where these are too small for their type.

    Shape: logits (..., C). Returns the same.
    """
    return functional.logsigmoid(logits) if multi_label else logits.log_softmax(-1)


def join_logits(logits: Tensor, multi_label: bool) -> Tensor:
    """Return the logits whose probabilities are the mean of those of several models.

    Shape: logits (M, ..., C) of M models. Returns (..., C).
    """
    mean = _log_mean(log_probabilities(logits, multi_label))
    return mean - _log_mean(functional.logsigmoid(-logits)) if multi_label else mean


def _log_mean(logs: Tensor) -> Tensor:
    return logs.logsumexp(0) - math.log(len(logs))

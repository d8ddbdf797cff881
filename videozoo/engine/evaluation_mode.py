"""Evaluation mode of models for a while."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

__all__ = ["evaluation_mode"]


@contextmanager
def evaluation_mode(*models: nn.Module) -> Iterator[None]:
    """Set evaluation mode inside, and restore each module's own mode afterwards (frozen norms stay frozen)."""
    modes = [(module, module.training) for model in models for module in model.modules()]
    for model in models:
        model.eval()
    try:
        yield
    finally:
        for module, was_training in modes:
            module.training = was_training

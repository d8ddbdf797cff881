"""The first running statistics of norms that have none yet."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

_Before = tuple[Any, int, tuple[Tensor, Tensor]]


class FirstStatistics:
    """Averages the first batch statistics of fresh norms evenly.

    Running statistics start at mean 0 and variance 1 and move by a momentum m, 0.1 as a rule: after 10 steps a third of
    that start is left in them, and a validation after a short epoch is at chance although the training is not. Here the
    n-th step of a run has the weight max(1/n, m), so that nothing is left of the start. Statistics that came with
    weights move as ever. Nothing in the training depends on them.

    Args:
        net: the network that is trained.
        names: of its fresh norms, as `fresh_norms` gives them when the run begins.
    """

    def __init__(self, net: nn.Module, names: Iterable[str]) -> None:
        self._norms: dict[str, Any] = {name: net.get_submodule(name) for name in names}

    def names(self, num_updates: int) -> list[str]:
        """Return the norms that are not done after so many steps; a continued run needs them."""
        return [name for name, norm in self._norms.items() if (num_updates + 1) * norm.momentum < 1]

    @contextmanager
    def follow(self, step: int) -> Iterator[None]:
        """Correct the statistics after the optimizer step with this number, from 1 in a run."""
        befores: list[_Before] = [
            (norm, int(norm.num_batches_tracked), (norm.running_mean.clone(), norm.running_var.clone()))
            for norm in map(self._norms.__getitem__, self.names(step - 1))
        ]
        yield
        for norm, count, (mean, var) in befores:
            batches = int(norm.num_batches_tracked) - count  # several where batches are accumulated
            own_weight = 1 - (1 - norm.momentum) ** batches
            if batches and step * own_weight < 1:
                # What the batches have moved them by, as if they had had the weight 1 / step.
                with torch.no_grad():
                    norm.running_mean.copy_(mean.lerp(norm.running_mean, 1 / (step * own_weight)))
                    norm.running_var.copy_(var.lerp(norm.running_var, 1 / (step * own_weight)).clamp_(min=0))


def fresh_norms(net: nn.Module) -> list[str]:
    """Return the names of the norms whose running statistics are still those they are made with."""
    return [name for name, module in net.named_modules() if _is_fresh(module)]


def _is_fresh(module: Any) -> bool:
    values = [getattr(module, name, None) for name in ("running_mean", "running_var", "num_batches_tracked")]
    if any(value is None for value in values) or not getattr(module, "momentum", None):
        return False
    return not module.running_mean.any() and bool((module.running_var == 1).all())

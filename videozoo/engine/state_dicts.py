"""State dicts of model and optimizer, gathered on the first process if they are sharded."""

from collections.abc import Mapping
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_optimizer_state_dict,
    set_optimizer_state_dict,
)

_WHOLE = StateDictOptions(full_state_dict=True, cpu_offload=True)


def is_sharded(accelerator: Accelerator) -> bool:
    """Return whether each process holds a part of the model only.

    Then all must take part in the calls below.
    """
    return accelerator.distributed_type == DistributedType.FSDP


def weights_of(net: nn.Module, accelerator: Accelerator) -> Mapping[str, Tensor]:
    """Return the model's weights under its own keys.

    Nothing is copied where they are not sharded.
    """
    return accelerator.get_state_dict(net) if is_sharded(accelerator) else net.state_dict()


def optimizer_state(optimizer: torch.optim.Optimizer, net: nn.Module, accelerator: Accelerator) -> dict[str, Any]:
    """Return the optimizer's state, which `load_optimizer` takes."""
    if is_sharded(accelerator):
        if not _bare(optimizer).state:  # torch would make one by a step of its own, which starts momenta and counts
            return {}
        return dict(get_optimizer_state_dict(net, _bare(optimizer), options=_WHOLE))
    return optimizer.state_dict()


def load_optimizer(
    optimizer: torch.optim.Optimizer, net: nn.Module, state: dict[str, Any], accelerator: Accelerator
) -> None:
    """Load what `optimizer_state` gave.

    The optimizer has been prepared by accelerate.
    """
    if is_sharded(accelerator):
        if state:
            set_optimizer_state_dict(net, _bare(optimizer), state, options=_WHOLE)
        return
    optimizer.load_state_dict(state)
    # Files hold rows innermost. The order in memory is part of the result: it is the order in which norms are summed.
    bare = _bare(optimizer)
    for parameter, values in getattr(bare, "_base_optimizer", bare).state.items():  # timm's Lookahead has one inside
        for name, value in values.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape and value.stride() != parameter.stride():
                values[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def _bare(optimizer: Any) -> torch.optim.Optimizer:
    """Return the optimizer inside accelerate's."""
    bare: torch.optim.Optimizer = getattr(optimizer, "optimizer", optimizer)
    return bare

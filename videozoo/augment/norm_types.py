"""Norms that DNR can replace, and a base class that lets DNR's norms be converted like batch norms."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from timm.layers import BatchNormAct2d, GroupNormAct, SyncBatchNormAct
from timm.layers import GroupNorm as TimmGroupNorm
from timm.layers.norm_act import FrozenBatchNorm2d
from torch import Tensor, distributed, nn

from videozoo.surgery.pre_conv import has_hooks

__all__ = ["NORM_NAMES", "NORM_TYPES", "ShownAsBatchNorm", "Synchronized", "channels_of", "check_norm"]

# Only these exact classes: a subclass may have extra state that would be lost.
NORM_TYPES: tuple[type[nn.Module], ...] = (
    nn.BatchNorm2d,
    nn.BatchNorm3d,
    nn.SyncBatchNorm,
    nn.GroupNorm,
    TimmGroupNorm,
    BatchNormAct2d,
    SyncBatchNormAct,
    GroupNormAct,
)
NORM_NAMES = ", ".join(dict.fromkeys(kind.__name__ for kind in NORM_TYPES))
_STATE_HOOKS = (
    "_state_dict_hooks",
    "_state_dict_pre_hooks",
    "_load_state_dict_pre_hooks",
    "_load_state_dict_post_hooks",
)
_SHOWN = "batch_norm"


def channels_of(norm: nn.Module) -> int:
    """Return the number of channels of a norm, or 0 for any other module."""
    return int(getattr(norm, "num_features", 0) or getattr(norm, "num_channels", 0))


def check_norm(norm: nn.Module) -> None:
    """Raise if a norm cannot be replaced without loss.

    Raises:
        ValueError: the class is unknown, or the norm has hooks.
    """
    if type(norm) not in NORM_TYPES:
        raise ValueError(f"DNR: cannot replace a {type(norm).__name__}; known are {NORM_NAMES}.")
    if has_hooks(norm) or any(getattr(norm, hooks) for hooks in _STATE_HOOKS):
        raise ValueError(
            f"DNR: this {type(norm).__name__} has hooks, which a norm in its place cannot take over; remove them "
            "first and register them again afterwards."
        )


@dataclass(frozen=True)
class Synchronized:
    """``F.batch_norm`` that uses torch's ``SyncBatchNorm`` in training: statistics over all processes of a group."""

    process_group: Any

    def __call__(
        self, x: Tensor, running_mean: Tensor, running_var: Tensor, *, training: bool, momentum: float, eps: float
    ) -> Tensor:
        if not training or not distributed.is_available() or not distributed.is_initialized():
            return F.batch_norm(x, running_mean, running_var, training=training, momentum=momentum, eps=eps)
        norm = nn.SyncBatchNorm(x.shape[1], eps, momentum, affine=False, process_group=self.process_group)
        norm.running_mean, norm.running_var, norm.num_batches_tracked = running_mean, running_var, None
        y: Tensor = norm(x)
        return y


class ShownAsBatchNorm(nn.Module):
    """Base class of norms that list a temporary batch norm as a child and follow its conversion.

    torch's and timm's ``convert_sync_batchnorm`` and timm's ``freeze_batch_norm_2d`` and ``unfreeze_batch_norm_2d``
    iterate over ``named_children`` and replace batch norms with ``add_module``. The child is created on demand and has
    no parameters or buffers, so the state dict does not change.
    """

    is_folded = True
    is_frozen = False
    batch_norm_function: Callable[..., Tensor] = staticmethod(F.batch_norm)
    num_features: int
    num_groups: int
    eps: float
    weight: nn.Parameter | None
    bias: nn.Parameter

    def named_children(self) -> Iterator[tuple[str, nn.Module]]:
        """Yield the children, followed by a temporary batch norm unless this is a group norm."""
        yield from super().named_children()
        if not self.num_groups and _SHOWN not in self._modules:
            yield _SHOWN, self._shown()

    def _shown(self) -> nn.Module:
        kind: Any = FrozenBatchNorm2d if self.is_frozen else nn.BatchNorm2d if self.is_folded else nn.BatchNorm3d
        norm = kind(self.num_features, eps=self.eps)
        norm.affine, norm.track_running_stats, norm.training = False, False, self.training
        norm.num_features = self.num_features  # FrozenBatchNorm2d does not store it
        for name in [*norm._parameters, *norm._buffers]:  # as plain attributes they are in no state dict
            own = getattr(self, name, None)
            norm.__dict__[name] = (getattr(norm, name) if own is None else own).detach()
        norm._parameters.clear()
        norm._buffers.clear()
        return norm  # type: ignore[no-any-return]

    def add_module(self, name: str, module: nn.Module | None) -> None:
        """Apply the conversion if the temporary batch norm is replaced (synchronize or freeze). Else add a child."""
        if name != _SHOWN:
            super().add_module(name, module)
        elif isinstance(module, nn.SyncBatchNorm):
            self.batch_norm_function = Synchronized(module.process_group)  # type: ignore[method-assign]
        else:
            self.is_frozen = isinstance(module, FrozenBatchNorm2d)
            if not self.is_frozen:
                self.batch_norm_function = F.batch_norm  # type: ignore[method-assign]
            for trained in (self.weight, self.bias):
                if trained is not None:
                    trained.requires_grad_(not self.is_frozen)

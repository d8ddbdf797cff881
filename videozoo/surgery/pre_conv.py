"""Layers that first run a module on their input, and keep their own parameters and keys."""

from typing import Self, TypeVar

from torch import Tensor, nn

__all__ = ["PreConv2d", "PreConv3d", "adopt", "has_hooks"]

M = TypeVar("M", bound=nn.Module)
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def has_hooks(module: nn.Module) -> bool:
    """Whether something runs before or after the module's forward or backward."""
    return any(getattr(module, hooks) for hooks in _HOOKS)


def adopt(cls: type[M], module: nn.Module) -> M:
    """A new ``cls`` that shares every attribute, parameter, buffer and child of ``module``.

    The objects are shared, not copied: an optimiser that was made for ``module`` stays valid.

    Raises:
        ValueError: ``module`` has hooks, which would be lost or run twice.
    """
    if has_hooks(module):
        raise ValueError(
            f"adopt: this {type(module).__name__} has hooks, which {cls.__name__} cannot take over; "
            "remove them first and register them again afterwards."
        )
    new = cls.__new__(cls)
    nn.Module.__init__(new)
    for key, value in module.__dict__.items():
        new.__dict__[key] = value.copy() if isinstance(value, dict) else value
    return new


class PreConv2d(nn.Conv2d):
    """``conv(pre(x))`` under the convolution's own name: ``weight`` keeps its key, what is new lies under ``pre``.

    Shape:
        input and output of the convolution; ``pre`` must keep the shape.
    """

    pre: nn.Module

    @classmethod
    def from_conv(cls, conv: nn.Conv2d, pre: nn.Module) -> Self:
        """Take over ``conv``, sharing its parameters.

        Raises:
            ValueError: ``conv`` is not exactly an ``nn.Conv2d`` (a subclass may compute something else), or has hooks.
        """
        if type(conv) is not nn.Conv2d:
            raise ValueError(
                f"PreConv2d: cannot take over a {type(conv).__name__}, whose forward may differ; need an nn.Conv2d."
            )
        new = adopt(cls, conv)
        new.pre = pre
        return new

    def forward(self, input: Tensor) -> Tensor:
        return self._conv_forward(self.pre(input), self.weight, self.bias)


class PreConv3d(nn.Conv3d):
    """:class:`PreConv2d` on clips (B, C, T, H, W)."""

    pre: nn.Module

    @classmethod
    def from_conv(cls, conv: nn.Conv3d, pre: nn.Module) -> Self:
        """Take over ``conv``, sharing its parameters.

        Raises:
            ValueError: ``conv`` is not exactly an ``nn.Conv3d``, or has hooks.
        """
        if type(conv) is not nn.Conv3d:
            raise ValueError(
                f"PreConv3d: cannot take over a {type(conv).__name__}, whose forward may differ; need an nn.Conv3d."
            )
        new = adopt(cls, conv)
        new.pre = pre
        return new

    def forward(self, input: Tensor) -> Tensor:
        return self._conv_forward(self.pre(input), self.weight, self.bias)

"""Convolutions that run another module on their input or output and keep their parameters and keys."""

from collections.abc import Callable
from typing import Any, Self, TypeVar

from timm.layers import Conv2dSame
from timm.layers.padding import pad_same
from torch import Tensor, nn

__all__ = ["PostConv2d", "PreConv2d", "PreConv3d", "adopt", "has_hooks", "is_same_conv"]

M = TypeVar("M", bound=nn.Module)
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def has_hooks(module: nn.Module) -> bool:
    """Return whether a module has forward or backward hooks."""
    return any(getattr(module, hooks) for hooks in _HOOKS)


def adopt(cls: type[M], module: nn.Module) -> M:
    """Return a new ``cls`` that shares every attribute, parameter, buffer and child of ``module``.

    The objects are shared, not copied: an optimizer that was made for ``module`` stays valid.

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


class _PreConv(nn.Module):
    """``conv(pre(x))`` under the name of the convolution. ``weight`` keeps its key, new keys are under ``pre``.

    It has the attributes of a convolution but is deliberately not a subclass. Tools that search for ``nn.Conv2d``
    (LoRA, quantization, re-parameterization) take its weight, build their own layer and would drop ``pre``.
    """

    pre: nn.Module
    weight: Any
    bias: Any
    in_channels: int
    out_channels: int
    kernel_size: Any
    stride: Any
    padding: Any
    dilation: Any
    groups: int
    padding_mode: Any
    pads_same: bool  # TensorFlow's padding, which depends on the size of the input
    known: tuple[type[nn.Module], ...]  # exact classes: another subclass may compute something else
    _conv_forward: Any

    @classmethod
    def from_conv(cls, conv: Any, pre: nn.Module) -> Any:
        """Return a layer that runs ``pre``, then ``conv``, and shares the parameters of ``conv``.

        A ``conv`` of this class without a ``pre`` (an identity) keeps its exact class.

        Raises:
            ValueError: ``conv`` is of another class, already has a ``pre``, or has hooks.
        """
        if isinstance(conv, _PreConv) and type(conv.pre) is not nn.Identity:
            raise ValueError(f"{cls.__name__}: this {type(conv).__name__} already runs a {type(conv.pre).__name__}.")
        if type(conv) not in cls.known and not isinstance(conv, cls):
            known = cls.known[0].__name__
            raise ValueError(
                f"{cls.__name__}: cannot take over a {type(conv).__name__}, whose forward may differ; need an "
                f"nn.{known}."
            )
        new: Any = adopt(type(conv) if isinstance(conv, cls) else cls, conv)
        new.pads_same = is_same_conv(conv)
        new.pre = pre
        return new

    def forward(self, input: Tensor) -> Tensor:
        out: Tensor = self._conv_forward(self.pre(input), self.weight, self.bias)
        return out


def is_same_conv(conv: Any) -> bool:
    """Return whether a convolution uses TensorFlow's "same" padding: timm's ``Conv2dSame``."""
    return type(conv) is Conv2dSame or getattr(conv, "pads_same", False)


class PreConv2d(_PreConv):
    """A 2-D convolution with a module before it.

    See :class:`_PreConv`.

    Shape:
        input and output of the convolution. ``pre`` must keep the shape.
    """

    known: tuple[type[nn.Module], ...] = (nn.Conv2d, Conv2dSame)
    reset_parameters: Any = nn.Conv2d.reset_parameters  # both use only attributes that this class has
    extra_repr: Any = nn.Conv2d.extra_repr

    def _conv_forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if self.pads_same:
            x = pad_same(x, self.kernel_size, self.stride, self.dilation)
        return nn.Conv2d._conv_forward(self, x, weight, bias)  # type: ignore[arg-type]


class PostConv2d(PreConv2d):
    """A 2-D convolution with a module behind it and before its norm: ``post(conv(pre(x)))``.

    New keys are under ``post``. A class of its own, so that no norm is folded into the convolution past ``post``.

    Shape:
        input and output of the convolution. ``post`` must keep the shape.
    """

    post: nn.Module

    @classmethod
    def after(cls, conv: Any, make: Callable[[Any], nn.Module]) -> Self:
        """Return a layer that runs ``conv``, then ``make(conv)``, and shares the parameters of ``conv``.

        Raises:
            ValueError: ``conv`` is of another class, already runs another module, or has hooks.
        """
        if isinstance(conv, _PreConv):
            raise ValueError(f"{cls.__name__}: this {type(conv).__name__} already runs another module.")
        new: Self = cls.from_conv(conv, nn.Identity())
        new.post = make(conv).to(conv.weight.device, conv.weight.dtype)
        return new

    def forward(self, input: Tensor) -> Tensor:
        out: Tensor = self.post(super().forward(input))
        return out


class PreConv3d(_PreConv):
    """:class:`PreConv2d` on clips (B, C, T, H, W)."""

    known: tuple[type[nn.Module], ...] = (nn.Conv3d,)
    reset_parameters: Any = nn.Conv3d.reset_parameters
    extra_repr: Any = nn.Conv3d.extra_repr

    def _conv_forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return nn.Conv3d._conv_forward(self, x, weight, bias)  # type: ignore[arg-type]

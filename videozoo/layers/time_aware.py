"""Temporal properties of layers and functions that read them."""

from collections.abc import Iterator
from typing import Protocol, cast

from torch import nn

__all__ = [
    "TimeAware",
    "check_num_segments",
    "mixes_time",
    "set_num_segments",
    "takes_frames",
    "takes_maps",
    "time_aware_layers",
]


class TimeAware(Protocol):
    """A module with an attribute ``num_segments``: a layer on folded frames (B*S, C, H, W), or a head.

    The other attributes are optional. A module sets one, on its class or instance, if it differs from the default
    here. No base class is needed. Modules without ``num_segments`` may set ``mixes_time``, ``takes_frames`` and
    ``takes_maps`` too.

    Attributes:
        num_segments: time steps S, an int. :func:`set_num_segments` changes it.
        fixed_segments: the only S that its weights support. None: any.
        min_segments: smallest S that it supports.
        mixes_time: whether its output depends on the order of frames.
        takes_frames: a head that takes the features of every frame (B, S, F) instead of their mean.
        takes_maps: a head that takes the feature maps of every frame (B, S, C, H, W).
    """

    num_segments: int
    fixed_segments: int | None = None
    min_segments: int = 1
    mixes_time: bool = False
    takes_frames: bool = False
    takes_maps: bool = False


def time_aware_layers(net: nn.Module, prefix: str = "") -> Iterator[tuple[str, TimeAware]]:
    """Yield the names and modules (``net`` included) that have ``num_segments``."""
    for name, module in net.named_modules(prefix=prefix):
        if hasattr(module, "num_segments"):
            yield name, cast(TimeAware, module)


def check_num_segments(net: nn.Module, num_segments: int, num_frames: int, prefix: str = "") -> None:
    """Raise if a module of a model does not support this number of time steps.

    Args:
        net: the model, or a part of it.
        num_segments: time steps S.
        num_frames: frames of the clip, for the message.
        prefix: name of the part in the model, for the message.
    Raises:
        ValueError: a module has weights for another number of time steps, or needs more.
    """
    for name, layer in time_aware_layers(net, prefix):
        where = f"set_num_frames: {type(layer).__name__}{f' at {name}' if name else ''}"
        fixed = getattr(layer, "fixed_segments", TimeAware.fixed_segments)
        if fixed not in (None, num_segments):
            raise ValueError(
                f"{where} has weights for {fixed} time steps, not {num_segments}; build the model with "
                f"num_frames={num_frames} instead."
            )
        least = getattr(layer, "min_segments", TimeAware.min_segments)
        if num_segments < least:
            raise ValueError(f"{where} needs {least} time steps or more, not {num_segments}.")


def set_num_segments(net: nn.Module, num_segments: int) -> None:
    """Set the number of time steps of every module that has ``num_segments``."""
    for _, layer in time_aware_layers(net):
        layer.num_segments = num_segments


def mixes_time(net: nn.Module) -> bool:
    """Return whether the output of some module depends on the order of frames."""
    return any(getattr(module, "mixes_time", TimeAware.mixes_time) for module in net.modules())


def takes_frames(head: nn.Module) -> bool:
    """Return whether a head, or a module in it, takes the features of every frame (B, S, F) instead of the mean."""
    return any(getattr(module, "takes_frames", TimeAware.takes_frames) for module in head.modules())


def takes_maps(head: nn.Module) -> bool:
    """Return whether a head, or a module in it, takes the feature maps of every frame (B, S, C, H, W)."""
    return any(getattr(module, "takes_maps", TimeAware.takes_maps) for module in head.modules())

"""One door to the converters: a checkpoint of any known source under our names."""

import pickle
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from videozoo.hub.convert import (
    bninception,
    dnr,
    mmaction_2d,
    mmaction_3d,
    msnet,
    pyslowfast,
    tanet,
    tdn,
    tea,
    torchvision_r2plus1d,
    trn,
    tsm,
)
from videozoo.hub.convert.base import Converted, ConvertError
from videozoo.hub.files import WeightsError, read_safetensors

__all__ = ["SOURCES", "convert_checkpoint", "open_checkpoint", "unwrap"]

# Two rows of one source share its name; the keys tell which of them it is.
_CONVERTERS: list[tuple[str, ModuleType]] = [
    ("trn", trn),  # before those whose networks it is built on
    ("tsm", tsm),
    ("tsm", bninception),
    ("tanet", tanet),
    ("tdn", tdn),
    ("motionsqueeze", msnet),
    ("dnr", dnr),
    ("tea", tea),
    ("mmaction2", mmaction_3d),
    ("mmaction2", mmaction_2d),
    ("pyslowfast", pyslowfast),
    ("torchvision", torchvision_r2plus1d),
]
SOURCES: tuple[str, ...] = tuple(dict.fromkeys(name for name, _ in _CONVERTERS))

_WRAPPERS = ("state_dict", "model_state", "model_state_dict", "model")
_AVERAGED = ("state_dict_ema", "model_ema", "ema_state_dict", "ema")
_COUNTERS = ("n_averaged", "steps")  # of a moving average, beside its weights (PyTorch's, MMEngine's)


def open_checkpoint(path: Path) -> Any:
    """What a checkpoint file holds: tensors and plain containers only.

    This is the one place where a pickle is opened, and PyTorch's restricted unpickler refuses everything that is not a
    tensor or a plain container.

    Raises:
        WeightsError: no such file, or one that holds more than that.
    """
    if path.suffix == ".safetensors":
        return read_safetensors(path)
    if not path.is_file():
        raise WeightsError("no such file", source=str(path))
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise WeightsError(
            f"not a checkpoint of tensors alone ({reason}); save its state dict with torch.save and try again",
            source=str(path),
        ) from error


def unwrap(checkpoint: Any, *, averaged: bool = False) -> dict[str, Tensor]:
    """The state dict inside what a training script saved.

    Args:
        checkpoint: a state dict, or a mapping that holds one under a usual name.
        averaged: take the moving average of the weights.
    Returns:
        tensors by key, without the ``module.`` of data-parallel training and the ``_orig_mod.`` of a compiled network.
    Raises:
        ConvertError: there is no state dict, or no average.
    """
    names = _AVERAGED if averaged else _WRAPPERS
    state = checkpoint
    if isinstance(checkpoint, Mapping):
        state = next((checkpoint[name] for name in names if isinstance(checkpoint.get(name), Mapping)), checkpoint)
    if averaged and state is checkpoint:
        raise ConvertError(f"the checkpoint holds no averaged weights under any of {', '.join(_AVERAGED)}.")
    if not isinstance(state, Mapping) or not state:
        raise ConvertError(f"a {type(checkpoint).__name__} holds no state dict.")
    foreign = [str(key) for key, value in state.items() if not isinstance(value, Tensor)]
    if foreign:
        raise ConvertError(f"no state dict: {', '.join(foreign[:8])} are no tensors.")
    return {re.sub(r"^(?:module\.|_orig_mod\.)+", "", str(key)): value for key, value in state.items()}


def convert_checkpoint(state: Mapping[str, Tensor], source: str | None = None) -> tuple[Converted, str]:
    """Bring a state dict of another code base under our names.

    Args:
        state: tensors by the source's keys, as :func:`unwrap` gives them.
        source: one of ``SOURCES``; None recognises it from the keys.
    Returns:
        the converted checkpoint and the name of its source.
    Raises:
        ConvertError: an unknown source, or keys that have no place; lists some of them.
    """
    if source is not None and source not in SOURCES:
        raise ConvertError(f"unknown source {source!r}; known are {', '.join(SOURCES)}.")
    counters = tuple(key for key in _COUNTERS if key in state)
    weights = {key: value for key, value in state.items() if key not in counters}
    for name, converter in _CONVERTERS:
        if source in (None, name) and converter.matches(weights):
            converted: Converted = converter.convert(weights)
            return replace(converted, dropped=(*converted.dropped, *counters)), name
    shown = ", ".join(list(state)[:8])
    wanted = f"{source}'s" if source else f"any known source's ({', '.join(SOURCES)})"
    raise ConvertError(f"the keys are not {wanted}; the first of {len(state)}: {shown}")

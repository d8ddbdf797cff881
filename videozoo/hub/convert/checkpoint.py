"""Entry point of the converters: a checkpoint of any known source with videozoo's keys."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import Tensor

from videozoo.hub.convert import (
    abm,
    actionnet,
    blvnet,
    bninception,
    dnr,
    eco,
    gsm,
    gst,
    hiera,
    i3d_inception,
    inception_v3,
    mmaction_2d,
    mmaction_3d,
    mmaction_csn,
    mmaction_mvit,
    mmaction_swin,
    mmaction_tpn,
    mmaction_transformers,
    mmaction_x3d,
    movinet,
    msnet,
    mvfnet,
    pyslowfast,
    pyslowfast_caffe2,
    pyslowfast_x3d,
    pytorchvideo,
    pytorchvideo_mvit,
    rubiksnet,
    s3d,
    s3dg,
    smallbig,
    tanet,
    tdn,
    tea,
    timesformer,
    timesformer_hf,
    tin,
    torchvision_mvit,
    torchvision_resnet3d,
    torchvision_s3d,
    torchvision_swin3d,
    tpn,
    trn,
    tsm,
    uniformer,
    video_swin,
    videomae,
    vits_hf,
    vjepa_hf,
)
from videozoo.hub.convert.base import Converted, ConvertError
from videozoo.hub.convert.inert_pickle import Array, Inert
from videozoo.hub.convert.torch_file import read_torch_file
from videozoo.hub.files import WeightsError, read_safetensors, refuse_no_file
from videozoo.text import first_line

__all__ = ["SOURCES", "config_text", "convert_checkpoint", "open_checkpoint", "unwrap", "without_prefix"]

# Two rows of one source share its name; the keys tell which of them it is.
_CONVERTERS: list[tuple[str, ModuleType]] = [
    ("trn", trn),  # before those whose models it is built on
    ("gst", gst),  # before those whose keys it shares
    ("actionnet", actionnet),
    ("tin", tin),
    ("mvfnet", mvfnet),
    ("tpn", tpn),
    ("mmaction2", mmaction_tpn),
    ("gsm", gsm),
    ("blvnet", blvnet),
    ("eco", eco),
    ("tsm", tsm),
    ("tsm", bninception),
    ("tsm", inception_v3),
    ("tanet", tanet),
    ("tdn", tdn),
    ("motionsqueeze", msnet),
    ("dnr", dnr),
    ("tea", tea),
    ("rubiksnet", rubiksnet),
    ("smallbig", smallbig),
    ("abm", abm),
    ("movinet", movinet),
    ("mmaction2", mmaction_3d),
    ("mmaction2", mmaction_csn),
    ("mmaction2", mmaction_x3d),
    ("mmaction2", mmaction_transformers),
    ("mmaction2", mmaction_swin),
    ("mmaction2", mmaction_mvit),
    ("mmaction2", mmaction_2d),
    ("pyslowfast", pyslowfast),
    ("pyslowfast", pyslowfast_x3d),
    ("pyslowfast", pyslowfast_caffe2),
    ("pytorchvideo", pytorchvideo),
    ("pytorchvideo", pytorchvideo_mvit),
    ("uniformer", uniformer),
    ("s3d", s3d),
    ("s3dg", s3dg),
    ("i3d_inception", i3d_inception),
    ("timesformer", timesformer),
    ("transformers", timesformer_hf),
    ("torchvision", torchvision_resnet3d),
    ("transformers", vits_hf),
    ("transformers", vjepa_hf),
    ("videomae", videomae),
    ("hiera", hiera),
    ("torchvision", torchvision_s3d),
    ("torchvision", torchvision_swin3d),
    ("torchvision", torchvision_mvit),
    ("video_swin", video_swin),
]
SOURCES: tuple[str, ...] = tuple(dict.fromkeys(name for name, _ in _CONVERTERS))

_WRAPPERS = ("state_dict", "model_state", "model_state_dict", "model", "module", "blobs")
_AVERAGED = ("state_dict_ema", "model_ema", "ema_state_dict", "ema")
_MOST_NESTED = 64  # modules in modules
_COUNTERS = ("n_averaged", "steps")  # of a moving average, beside its weights (PyTorch's, MMEngine's)


def open_checkpoint(path: Path) -> Any:
    """Read a checkpoint file: tensors, plain containers, and placeholders for objects of other classes.

    This is the one place where a pickle is opened, and nothing in it is run: see `inert_pickle`.

    Args:
        path: a ``.safetensors`` file, or one of ``torch.save`` or ``pickle.dump`` whatever its name.
    Raises:
        WeightsError: no such file, or not a checkpoint.
    """
    if path.suffix == ".safetensors":
        return read_safetensors(path)
    refuse_no_file(path)
    try:
        return read_torch_file(path)
    except Exception as error:  # whatever a damaged file makes of a reader
        reason = f"{type(error).__name__}: {first_line(error) or 'no message'}"
        raise WeightsError(
            f"not a checkpoint that can be read ({reason}); get it again, or save its state dict with torch.save",
            source=str(path),
        ) from error


def unwrap(checkpoint: Any, *, averaged: bool = False) -> dict[str, Tensor]:
    """Return the state dict inside what a training script saved.

    Args:
        checkpoint: a state dict, a mapping that holds one under a usual name, or a whole model, as `open_checkpoint`
            gives them.
        averaged: take the moving average of the weights.
    Returns:
        tensors by key, without the ``module.`` of data-parallel training and the ``_orig_mod.`` of a compiled model.
    Raises:
        ConvertError: there is no state dict, or no average.
    """
    names = _AVERAGED if averaged else _WRAPPERS
    state = checkpoint
    if isinstance(checkpoint, Mapping):
        state = next((checkpoint[name] for name in names if isinstance(checkpoint.get(name), Mapping)), checkpoint)
    if averaged and state is checkpoint:
        raise ConvertError(f"the checkpoint holds no averaged weights under any of {', '.join(_AVERAGED)}.")
    if isinstance(state, Inert) and not state:
        state = dict(_weights_of(state)) or state
    if not isinstance(state, Mapping) or not state:
        raise ConvertError(f"{_kind(checkpoint)} holds no state dict.")
    try:
        tensors = {str(key): value.tensor() if isinstance(value, Array) else value for key, value in state.items()}
    except (IndexError, TypeError, ValueError) as error:
        raise ConvertError(f"{_kind(checkpoint)} holds an array that cannot be read ({error}).") from error
    foreign = [f"{key} ({_kind(value)})" for key, value in tensors.items() if not isinstance(value, Tensor)]
    if foreign:
        raise ConvertError(f"no state dict: {', '.join(foreign[:8])} are no tensors.")
    return {re.sub(r"^(?:module\.|_orig_mod\.)+", "", key): value for key, value in tensors.items()}


def config_text(checkpoint: Any) -> str:
    """Return the training config that a checkpoint holds as text, or an empty text.

    MMEngine has it in ``meta``, PySlowFast under ``cfg``.
    """
    if not isinstance(checkpoint, Mapping):
        return ""
    meta = checkpoint.get("meta")
    config = meta.get("cfg") or meta.get("config") if isinstance(meta, Mapping) else checkpoint.get("cfg")
    return config if isinstance(config, str) else ""


def without_prefix(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the state dict without the first part of its keys if all share it: Lightning's ``model.``."""
    first = {key.partition(".")[0] for key in state}
    return {key.partition(".")[2]: value for key, value in state.items()} if len(first) == 1 else dict(state)


def _kind(value: Any) -> str:
    return value.name if isinstance(value, Inert) else f"a {type(value).__name__}"


def _weights_of(module: Inert, prefix: str = "", depth: int = 0) -> Iterator[tuple[str, Tensor]]:
    """Yield the state dict of a whole model that was saved: parameters and buffers of its modules."""
    state = module.state if isinstance(module.state, dict) else {}
    skipped = state.get("_non_persistent_buffers_set") or ()
    for kind in ("_parameters", "_buffers"):
        for name, value in (state.get(kind) or {}).items():
            if isinstance(value, Tensor) and not (kind == "_buffers" and name in skipped):
                yield prefix + str(name), value
    for name, child in (state.get("_modules") or {}).items():
        if isinstance(child, Inert) and depth < _MOST_NESTED:
            yield from _weights_of(child, f"{prefix}{name}.", depth + 1)


def convert_checkpoint(state: Mapping[str, Tensor], source: str | None = None) -> tuple[Converted, str]:
    """Bring a state dict of another code base under our names.

    Args:
        state: tensors by the source's keys, as :func:`unwrap` gives them.
        source: one of ``SOURCES``. None recognizes it from the keys.
    Returns:
        the converted checkpoint and the name of its source.
    Raises:
        ConvertError: an unknown source, or keys that have no place. Lists some of them.
    """
    if source is not None and source not in SOURCES:
        raise ConvertError(f"unknown source {source!r}; known are {', '.join(SOURCES)}.")
    counters = tuple(key for key in _COUNTERS if key in state)
    weights = {key: value for key, value in state.items() if key not in counters}
    for tried in (weights, without_prefix(weights)):
        for name, converter in _CONVERTERS:
            if source in (None, name) and _matches(converter, tried):
                converted = _convert(converter, name, tried)
                return replace(converted, dropped=(*converted.dropped, *counters)), name
    shown = ", ".join(list(state)[:8])
    wanted = f"{source}'s" if source else f"any known source's ({', '.join(SOURCES)})"
    raise ConvertError(f"the keys are not {wanted}; the first of {len(state)}: {shown}")


# What reading options from the shapes of a damaged checkpoint raises.
_DAMAGED = (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError)


def _matches(converter: ModuleType, state: Mapping[str, Tensor]) -> bool:
    try:
        return bool(converter.matches(state))
    except _DAMAGED:  # a tensor of other dimensions than this source's
        return False


def _convert(converter: ModuleType, name: str, state: Mapping[str, Tensor]) -> Converted:
    try:
        converted: Converted = converter.convert(state)
    except ConvertError:
        raise
    except _DAMAGED as error:
        reason = f"{type(error).__name__}: {first_line(error)}"
        raise ConvertError(
            f"{name}: a tensor that shows the structure is missing or has another number of dimensions ({reason}); "
            "get the checkpoint again."
        ) from error
    return converted

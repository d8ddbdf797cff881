"""What travels with an exported file: classes, sampling and preprocessing, as one JSON text."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from videozoo.data import resolve_data_config
from videozoo.names import clean_names
from videozoo.version import __version__

from .errors import ExportError

__all__ = ["EXTRA_FILE", "KEY", "FileInfo", "describe", "read_description"]

# Key of the text in an ONNX file's metadata_props and a safetensors file's header; torch.export has a file for it.
KEY = "videozoo"
EXTRA_FILE = "videozoo.json"
_FORMAT = 1
# A file from anywhere must not make a reader ask for all memory.
_LARGEST = {"side": 4096, "num_frames": 4096, "test_num_clips": 1000, "num_classes": 1_000_000}
_SMALLEST_CROP_PCT = 0.1


@dataclass(frozen=True)
class FileInfo:
    """What an exported file says of itself, checked.

    Args:
        num_classes: columns of the logits.
        label_names: name of each class; None where the network has no names.
        data: how videos are sampled and transformed, as ``resolve_data_config`` gives it.
    """

    num_classes: int
    label_names: tuple[str, ...] | None
    data: dict[str, Any]


def describe(model: Any, *, fused: bool = False) -> str:
    """The JSON text for a network.

    Args:
        model: a network of videozoo.
        fused: whether its norms are folded into its convolutions.
    Raises:
        ValueError: the network does not take videos of three channels.
    """
    cfg = model.pretrained_cfg
    names = cfg.get("label_names")
    content = {
        "format": _FORMAT,
        "videozoo_version": __version__,
        "architecture": cfg.get("architecture"),
        "spec": model.spec.to_dict(),
        "fused": fused,
        "num_classes": model.num_classes,
        "label_names": list(names) if names else None,
        "data": resolve_data_config(model),
    }
    return json.dumps(content, ensure_ascii=False)


def read_description(text: str | None, source: str) -> FileInfo:
    """Check a text that `describe` made, or that somebody else did.

    Args:
        text: what stands in the file; None where nothing does.
        source: the file, for the message.
    Raises:
        ExportError: it is missing, damaged, of a newer version, or a value is out of range.
    """
    if text is None:
        raise ExportError(
            f"{source}: has no metadata of videozoo (labels, sampling, mean and std) that say how it wants its videos; "
            "use a file that `videozoo export` wrote."
        )
    try:
        content = json.loads(text)
        if not isinstance(content, dict):
            raise ValueError("not a JSON object")
        if content.get("format") != _FORMAT:
            raise ValueError(f"format {content.get('format')!r}; videozoo {__version__} reads format {_FORMAT}")
        return _checked(content)
    except (ArithmeticError, LookupError, RecursionError, TypeError, ValueError) as error:
        raise ExportError(f"{source}: its metadata of videozoo cannot be used: {error}") from error


def _checked(content: Mapping[str, Any]) -> FileInfo:
    num_classes = _count(content, "num_classes")
    names = content.get("label_names")
    if names is not None:
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise ValueError("label_names is not a list of names")
        if len(names) != num_classes:
            raise ValueError(f"{len(names)} label_names for {num_classes} classes")
        names = clean_names(names, "label_names")
    data = content.get("data")
    if not isinstance(data, dict):
        raise ValueError("data is not a JSON object")
    return FileInfo(num_classes, None if names is None else tuple(names), _checked_data(data))


def _checked_data(data: Mapping[str, Any]) -> dict[str, Any]:
    for key in ("mean", "std"):
        values = data.get(key)
        if not isinstance(values, list) or len(values) != 3 or not all(_is_number(value) for value in values):
            raise ValueError(f"{key} is {values!r}, not three numbers")
    if min(data["std"]) <= 0:
        raise ValueError(f"std is {data['std']!r}; each must be above 0")
    for key in ("interpolation", "channel_order", "frame_sampling"):
        if not isinstance(data.get(key), str):
            raise ValueError(f"{key} is {data.get(key)!r}, not a word")
    for key in ("num_frames", "frame_stride", "frames_per_segment", "test_num_clips", "test_num_crops"):
        _count(data, key)
    if not _is_number(data.get("crop_pct")) or data["crop_pct"] < _SMALLEST_CROP_PCT:
        raise ValueError(f"crop_pct is {data.get('crop_pct')!r}, not a number in [{_SMALLEST_CROP_PCT}, 1]")
    for key in ("input_size", "test_crop_size", "test_resize"):
        value = data.get(key)
        sides = [] if value is None else value if isinstance(value, list) else [value]
        if any(type(side) is not int or side > _LARGEST["side"] for side in sides):
            raise ValueError(f"{key} is {value!r}; sides are whole numbers up to {_LARGEST['side']}")
    return resolve_data_config(data)


def _count(content: Mapping[str, Any], key: str) -> int:
    value = content.get(key)
    if type(value) is not int or not 1 <= value <= _LARGEST.get(key, 1_000_000):
        raise ValueError(f"{key} is {value!r}, not a whole number from 1 to {_LARGEST.get(key, 1_000_000)}")
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)

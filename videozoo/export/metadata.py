"""Metadata of an exported file: classes, sampling and preprocessing, as one JSON text."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from videozoo.bounds import check_fields
from videozoo.data import resolve_data_config
from videozoo.data.config import DATA_DEFAULTS
from videozoo.names import clean_names
from videozoo.probabilities import is_multi_label
from videozoo.text import json_text
from videozoo.version import __version__

from .errors import ExportError

__all__ = ["EXTRA_FILE", "KEY", "FileInfo", "describe", "read_description"]

# Key of the text in an ONNX file's metadata_props and a safetensors file's header; torch.export has a file for it.
KEY = "videozoo"
EXTRA_FILE = "videozoo.json"
_FORMAT = 1
# Of multi-label models: an earlier version would take the softmax of their logits.
_MULTI_LABEL_FORMAT = 2


@dataclass(frozen=True)
class FileInfo:
    """Checked metadata of an exported file.

    Args:
        num_classes: columns of the logits.
        label_names: name of each class. None where the model has no names.
        data: how videos are sampled and transformed, as ``resolve_data_config`` gives it.
        multi_label: whether each class has a probability of its own, the sigmoid of its logit.
    """

    num_classes: int
    label_names: tuple[str, ...] | None
    data: dict[str, Any]
    multi_label: bool = False


def describe(model: Any, *, fused: bool = False) -> str:
    """Return the JSON text for a model.

    Args:
        model: a model of videozoo.
        fused: whether its norms are folded into its convolutions.
    Raises:
        ValueError: the model does not take videos of three channels.
    """
    cfg = model.pretrained_cfg
    names = cfg.get("label_names")
    is_multi = is_multi_label(model)
    content = {
        "format": _MULTI_LABEL_FORMAT if is_multi else _FORMAT,
        "videozoo_version": __version__,
        "architecture": cfg.get("architecture"),
        "spec": model.spec.to_dict(),
        "fused": fused,
        "num_classes": model.num_classes,
        "label_names": list(names) if names else None,
        **({"multi_label": True} if is_multi else {}),
        "data": resolve_data_config(model),
    }
    return json_text(content)


def read_description(text: str | None, source: str) -> FileInfo:
    """Check a text that `describe` made, or that somebody else did.

    Args:
        text: the text in the file, or None.
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
        if content.get("format") not in (_FORMAT, _MULTI_LABEL_FORMAT):
            known = f"{_FORMAT} and {_MULTI_LABEL_FORMAT}"
            raise ValueError(f"format {content.get('format')!r}; videozoo {__version__} reads formats {known}")
        return _checked(content)
    except (ArithmeticError, LookupError, RecursionError, TypeError, ValueError) as error:
        raise ExportError(f"{source}: its metadata of videozoo cannot be used: {error}") from error


def _checked(content: Mapping[str, Any]) -> FileInfo:
    num_classes, names, data = (content.get(key) for key in ("num_classes", "label_names", "data"))
    check_fields({"num_classes": num_classes, "multi_label": content.get("multi_label")})
    if not num_classes:
        raise ValueError("num_classes is 0, must be at least 1")
    if names is not None:
        if not isinstance(names, list) or len(names) != num_classes:
            raise ValueError(f"label_names must be a list of {num_classes} names")
        names = clean_names(names, "label_names")
    if not isinstance(data, dict):
        raise ValueError("data is not a JSON object")
    check_fields({key: data.get(key) for key in DATA_DEFAULTS})
    return FileInfo(num_classes, names, resolve_data_config(data), is_multi_label(content))

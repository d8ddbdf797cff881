"""GST and GST-Large of their authors' repository."""

from collections.abc import Mapping

from torch import Tensor

from videozoo.hub.convert.base import Converted, compose, rename_all, resnet_name

__all__ = ["convert", "matches"]

SOURCE = "GST authors"
_BLOCK = r"base_model\.(layer\d\.\d+)"
_RULES = [
    (r"base_model\.(conv1|bn1)", r"backbone.\1"),
    (rf"{_BLOCK}\.conv2", r"backbone.\1.conv2.spatial"),
    (rf"{_BLOCK}\.Tconv", r"backbone.\1.conv2.temporal"),
    (rf"{_BLOCK}\.((?:conv|bn)\d|downsample\.[01])", r"backbone.\1.\2"),
    (r"new_fc|base_model\.fc", "fc"),
]
_SPATIAL, _TEMPORAL = "base_model.layer1.0.conv2.weight", "base_model.layer1.0.Tconv.weight"


def matches(state: Mapping[str, Tensor]) -> bool:
    """Return whether the keys are those of the authors' GST."""
    return _TEMPORAL in state and _SPATIAL in state


def convert(state: Mapping[str, Tensor]) -> Converted:
    """Convert the checkpoint to videozoo's keys.

    Their convolutions without a kernel over time become 2-D. ``alpha`` and ``beta`` are read from the shapes. The
    number of frames cannot be read from the keys. 8 is assumed.

    Raises:
        ConvertError: a key has no place.
    """
    new, dropped = rename_all(state, _RULES, SOURCE)
    flat = {k: v.squeeze(2) if v.ndim == 5 and not k.endswith(".temporal.weight") else v for k, v in new.items()}
    spatial, temporal = state[_SPATIAL], state[_TEMPORAL]
    width = len(spatial) + len(temporal)
    options = {"name": "gst", "alpha": width // len(temporal), "beta": width // temporal.shape[1]}
    return compose(flat, dropped, resnet_name(flat, SOURCE), options)

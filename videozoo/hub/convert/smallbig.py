"""SmallBigNet of its authors' repository."""

from collections.abc import Mapping

from torch import Tensor

from videozoo.hub.convert.base import Converted, compose, rename_all, resnet_name

__all__ = ["convert", "matches"]

SOURCE = "SmallBigNet authors"
_BLOCK = r"(layer\d\.\d+)"
_RULES = [
    (r"(conv1|bn1|layer\d\.\d+\.(?:(?:conv|bn)\d|downsample\.[01]))", r"backbone.\1"),
    (rf"{_BLOCK}\.big([123])\.1", r"backbone.\1.big\2.norm"),
    (rf"{_BLOCK}\.big4_1", r"backbone.\1.whole.reduce"),
    (rf"{_BLOCK}\.big4_2\.0", r"backbone.\1.whole.expand"),
    (rf"{_BLOCK}\.big4_2\.1", r"backbone.\1.whole.norm"),
    (r"fc", "fc"),
]


def matches(state: Mapping[str, Tensor]) -> bool:
    """Return whether the keys are those of the authors' SmallBigNet."""
    return "layer2.0.big1.1.weight" in state


def convert(state: Mapping[str, Tensor]) -> Converted:
    """Convert the checkpoint to videozoo's keys.

    Their convolutions, none of which has a kernel over time, become 2-D. The number of frames cannot be read from the
    keys. 8 is assumed.

    Raises:
        ConvertError: a key has no place.
    """
    new, dropped = rename_all(state, _RULES, SOURCE)
    flat = {key: value.squeeze(2) if value.ndim == 5 else value for key, value in new.items()}
    temporal = {"name": "smallbig", "extra": "layer2.0.big4_1.weight" in state}
    return compose(flat, dropped, resnet_name(flat, SOURCE), temporal)

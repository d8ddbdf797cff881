"""Base of the converters: their result, renaming of keys, and errors for keys that do not fit."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from videozoo.text import printable, some

__all__ = [
    "Alternative",
    "ConvertError",
    "Converted",
    "Rules",
    "compose",
    "depth_of",
    "rename",
    "rename_all",
    "resnet_name",
]

# (pattern, replacement) of the keys without their last part, which stays; "" drops a tensor that only training needs.
Rules = Sequence[tuple[str, str]]
_LEAVES = (
    *("weight", "bias", "running_mean", "running_var", "num_batches_tracked"),
    *("cls_token", "pos_embed", "time_embed"),  # parameters of a transformer itself
    *("class_token", "class_pos", "spatial_pos", "temporal_pos"),  # of MViT
    *("rel_pos_h", "rel_pos_w", "rel_pos_t", "relative_position_bias_table"),  # of its attention, and Swin's
    *("q_bias", "v_bias"),  # and of an attention
)
_RESNETS: dict[tuple[int, ...], tuple[str, str]] = {  # of plain blocks, of bottlenecks
    (2, 2, 2, 2): ("resnet18", ""),
    (3, 4, 6, 3): ("resnet34", "resnet50"),
    (3, 4, 23, 3): ("", "resnet101"),
}


class ConvertError(ValueError):
    """Keys or shapes of a checkpoint that a converter cannot place.

    Control characters in a key are escaped.
    """

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


@dataclass(frozen=True)
class Alternative:
    """Another model that the same keys and shapes fit.

    Args:
        spec: the fields of ``Converted.spec`` that differ.
        mark: text that only this model's config has, as the authors' code stores it in the file (``"ResNetC2D"``).
            Empty if no config shows it.
        state: the tensors, if this model has them in other shapes (weights of 2-D and 3-D convolutions). None for those
            of ``Converted.state``.
    """

    spec: dict[str, Any]
    mark: str = ""
    state: dict[str, Tensor] | None = None


@dataclass(frozen=True)
class Converted:
    """A checkpoint of another code base, converted to the names of videozoo.

    Args:
        state: all tensors of the model, by the keys of ``VideoNet``.
        spec: fields of ``ModelSpec.to_dict`` that the checkpoint implies. Fields that no key or shape shows (the number
            of frames) get the usual value of the source.
        dropped: names of tensors that only training needs and that have no counterpart.
        cfg: fields of the model's config that the source implies (mean, std).
        alternatives: other models of the same keys and shapes.
    """

    state: dict[str, Tensor]
    spec: dict[str, Any]
    dropped: tuple[str, ...] = ()
    cfg: dict[str, Any] = field(default_factory=dict)
    alternatives: tuple[Alternative, ...] = ()


def rename(key: str, rules: Rules) -> str | None:
    """Return our key by the first rule whose pattern is the whole key but its last part, or None if none is."""
    start, _, leaf = key.rpartition(".")
    for pattern, replacement in rules:
        match = re.fullmatch(pattern, start)
        if match and not replacement:
            return ""
        if match and leaf in _LEAVES:
            return f"{match.expand(replacement)}.{leaf}"
    return None


def rename_all(state: Mapping[str, Tensor], rules: Rules, source: str) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Rename every key.

    Args:
        state: tensors by the source's key.
        rules: as for `rename`.
        source: who wrote the checkpoint, for the error.
    Returns:
        the state under our keys, and the keys that were dropped.
    Raises:
        ConvertError: keys without a place, or two keys for one place.
    """
    names = {key: rename(key, rules) for key in state}
    left = [key for key, name in names.items() if name is None]
    if left:
        raise ConvertError(f"{source}: no place for {some(left, 12)}; is it another architecture?")
    taken: dict[str, str] = {}
    for key, name in names.items():
        if name and name in taken:
            raise ConvertError(f"{source}: {key} and {taken[name]} would both become {name}.")
        if name:
            taken[name] = key
    return {name: state[key] for name, key in taken.items()}, tuple(key for key, name in names.items() if name == "")


def compose(
    state: dict[str, Tensor],
    dropped: tuple[str, ...],
    backbone: str,
    temporal: str | Mapping[str, Any] = "tsn",
    num_frames: int = 8,
    cfg: Mapping[str, Any] | None = None,
) -> Converted:
    """Put state and composition together.

    The classes are counted on the classifier.

    Args:
        state, dropped: as `rename_all` gives them.
        backbone: its name.
        temporal: the temporal module, by name or with its options.
        num_frames: of a clip.
        cfg: see `Converted`.
    """
    spec: dict[str, Any] = {
        "backbone": backbone,
        "temporal": {"name": temporal} if isinstance(temporal, str) else dict(temporal),
        "augmenters": [],
        "num_frames": num_frames,
    }
    if "fc.weight" in state:
        spec["num_classes"] = state["fc.weight"].shape[0]
    return Converted(state, spec, dropped, dict(cfg or {}))


def depth_of(state: Iterable[str], known: Mapping[tuple[int, ...], int], source: str, path: str = "") -> int:
    """Return the depth of the 3-D ResNet whose renamed keys these are.

    Args:
        known: depths by how many blocks the stages have.
        path: the pathway, ``slow.`` or ``fast.``, that follows the stage in the keys.
    Raises:
        ConvertError: no such depth is known.
    """
    counts = _stage_depths(state, path)
    if counts not in known:
        where = f" of {path[:-1]}" if path else ""
        raise ConvertError(f"{source}: stages of {counts} blocks{where}; known are {list(known)}.")
    return known[counts]


def _stage_depths(state: Iterable[str], path: str = "") -> tuple[int, ...]:
    found = [re.match(rf"backbone\.layer(\d)\.{path}(\d+)\.", key) for key in state]
    blocks = {match.groups() for match in found if match}
    return tuple(sum(stage == str(number) for stage, _ in blocks) for number in (1, 2, 3, 4))


def resnet_name(state: Mapping[str, Tensor], source: str) -> str:
    """Return timm's name of the ResNet whose renamed keys these are.

    Raises:
        ConvertError: no ResNet of these depths is known.
    """
    depths = _stage_depths(state)
    name = _RESNETS.get(depths, ("", ""))["backbone.layer1.0.conv3.weight" in state]
    if not name:
        raise ConvertError(f"{source}: stages of {depths} blocks are no ResNet-18, 34, 50 or 101.")
    return name

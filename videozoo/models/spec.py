"""Everything that is needed to build a network again, as plain data."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Protocol, runtime_checkable

from torch import nn

from videozoo.augment import AUGMENTERS
from videozoo.temporal import TEMPORAL, TSN

__all__ = ["Augmenter", "ModelSpec", "TemporalModule"]


@runtime_checkable
class TemporalModule(Protocol):
    """A frozen dataclass that gives a 2-D network time."""

    def apply(self, net: nn.Module, num_segments: int) -> list[str]: ...


# The same verb, another place in the order of building.
Augmenter = TemporalModule


@dataclass(frozen=True)
class ModelSpec:
    """One composition: backbone, temporal module, augmenters, and the shape of what goes in and comes out.

    Args:
        backbone: name of a timm CNN, without a tag.
        temporal: for example ``TSN()`` or ``TSM(shift_div=8)``.
        augmenters: for example ``(ARC(num_steps=4),)``, applied in this order.
        num_frames: frames T of a clip.
        num_classes: classes; 0 for pooled features.
        in_chans: channels of a frame.
        drop_rate: dropout before the classifier.
        drop_path_rate: stochastic depth of the backbone.
    """

    backbone: str
    temporal: TemporalModule = TSN()
    augmenters: tuple[Augmenter, ...] = ()
    num_frames: int = 8
    num_classes: int = 400
    in_chans: int = 3
    drop_rate: float = 0.0
    drop_path_rate: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; parts become ``{"name": "arc", <options>}``."""
        parts = {"temporal": _part_to_dict(self.temporal, TEMPORAL)}
        plain = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("temporal", "augmenters")}
        return {**plain, **parts, "augmenters": [_part_to_dict(part, AUGMENTERS) for part in self.augmenters]}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "ModelSpec":
        """The inverse of :meth:`to_dict`.

        Raises:
            ValueError: an unknown field, part or option, or a value that a part refuses.
        """
        known = {f.name for f in fields(cls)}
        unknown = sorted(set(data) - known)
        if unknown or "backbone" not in data:
            raise ValueError(f"ModelSpec: unknown fields {unknown} or no backbone; known fields are {sorted(known)}.")
        plain = dict(data)
        plain["temporal"] = _part_from_dict(plain.get("temporal", {"name": "tsn"}), TEMPORAL)
        plain["augmenters"] = tuple(_part_from_dict(part, AUGMENTERS) for part in plain.get("augmenters", ()))
        return cls(**plain)

    def replace(self, **changes: Any) -> "ModelSpec":
        """A copy with some fields changed."""
        return replace(self, **changes)


def _part_to_dict(part: Any, kinds: Mapping[str, Any]) -> dict[str, Any]:
    for name, kind in kinds.items():
        if type(part) is kind:
            return {"name": name, **asdict(part)}
    raise ValueError(f"ModelSpec: {type(part).__name__} has no name to be stored under; known are {', '.join(kinds)}.")


def _part_from_dict(data: Mapping[str, Any], kinds: Mapping[str, type]) -> Any:
    options = dict(data)
    name = options.pop("name", None)
    if name not in kinds:
        raise ValueError(f"ModelSpec: unknown part {name!r}; known are {', '.join(kinds)}.")
    unknown = sorted(set(options) - {f.name for f in fields(kinds[name])})
    if unknown:
        raise ValueError(f"ModelSpec: {name} has no options {unknown}.")
    return kinds[name](**options)

"""Specs: all that is needed to build a model again, as plain data."""

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Protocol, runtime_checkable

from torch import nn

from videozoo.augment import AUGMENTERS
from videozoo.temporal import TEMPORAL, TSN

__all__ = ["Augmenter", "EnsembleSpec", "ModelSpec", "Spec", "TemporalModule", "spec_from_dict"]


@runtime_checkable
class TemporalModule(Protocol):
    """Frozen dataclass that adds temporal modeling to a 2-D backbone.

    It may define ``frames_per_segment``, the frames that the backbone sees per time step (1), and ``frames_in_a_row``,
    how many of them follow each other in the video (all). It may also define a head that replaces mean and classifier:
    ``make_head(in_features, num_segments, num_classes)``.
    """

    def apply(self, net: nn.Module, num_segments: int) -> list[str]: ...


# The same verb, another place in the order of building.
Augmenter = TemporalModule


@dataclass(frozen=True)
class ModelSpec:
    """Composition of a model: backbone, temporal module, augmenters, and the shapes of input and output.

    Args:
        backbone: name of a timm CNN, without a tag.
        temporal: for example ``TSN()`` or ``TSM(shift_div=8)``.
        augmenters: for example ``(ARC(num_steps=4),)``, applied in this order.
        num_frames: frames T of a clip.
        num_classes: number of classes. 0 for pooled features.
        in_chans: channels of a frame.
        drop_rate: dropout before the classifier.
        drop_path_rate: stochastic depth of the backbone.
        img_size: side of the frames that position embeddings are for, in a backbone that has them. None: its own.
        causal: every frame sees only earlier ones (``models.streaming``). For ARC and TANet that is an extension.
    Raises:
        ValueError: ``augmenters`` is not a list or tuple.
    Example:
        >>> from videozoo import DNR, TSN, ModelSpec
        >>> spec = ModelSpec("resnet50", TSN(), [DNR()], num_frames=8)
        >>> spec.title, spec == ModelSpec.from_dict(spec.to_dict())
        ('TSN+DNR on resnet50', True)
    """

    backbone: str
    temporal: TemporalModule = TSN()
    augmenters: tuple[Augmenter, ...] = ()
    num_frames: int = 8
    num_classes: int = 400
    in_chans: int = 3
    drop_rate: float = 0.0
    drop_path_rate: float = 0.0
    causal: bool = False
    img_size: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.augmenters, list | tuple):
            raise ValueError(
                f"ModelSpec: augmenters is {self.augmenters!r}; pass a list of parts, such as [ARC(num_steps=4)]."
            )
        object.__setattr__(self, "augmenters", tuple(self.augmenters))

    @property
    def frames_per_segment(self) -> int:
        """Frames of a clip that the backbone sees per time step."""
        return getattr(self.temporal, "frames_per_segment", 1)

    @property
    def frames_in_a_row(self) -> int:
        """Frames that are taken in a row from the video at each sampled place."""
        return getattr(self.temporal, "frames_in_a_row", self.frames_per_segment)

    @property
    def num_segments(self) -> int:
        """Time steps that a 2-D backbone sees."""
        return self.num_frames // self.frames_per_segment

    @property
    def family(self) -> tuple[str, type]:
        """Backbone, without the suffix of a variant, and kind of temporal module."""
        return re.sub("_(?:mm|tv|ptv)$", "", self.backbone), type(self.temporal)

    @property
    def kind(self) -> tuple[Any, ...]:
        """Family and kinds of augmenters: the composition without its options."""
        return *self.family, tuple(type(part) for part in self.augmenters)

    @property
    def title(self) -> str:
        """Short name of the composition, such as ``TSM+ARC on resnet50``."""
        parts = "+".join(type(part).__name__ for part in (self.temporal, *self.augmenters))
        return f"{'causal ' * self.causal}{parts} on {self.backbone}"

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON, in which parts are ``{"name": "arc", <options>}``."""
        parts = {"temporal": _part_to_dict(self.temporal, TEMPORAL)}
        plain = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("temporal", "augmenters")}
        if not self.causal:
            del plain["causal"]
        if self.img_size is None:
            del plain["img_size"]
        return {**plain, **parts, "augmenters": [_part_to_dict(part, AUGMENTERS) for part in self.augmenters]}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "ModelSpec":
        """Return the spec whose :meth:`to_dict` gave ``data``.

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
        """Return a copy with some fields changed."""
        return replace(self, **changes)


@dataclass(frozen=True)
class EnsembleSpec:
    """Composition of an ensemble, whose members see the same clip and whose probabilities are averaged.

    Args:
        members: two or more compositions. A clip has as many frames as the longest member takes. ``Ensemble`` describes
            which of them the others get.
    Raises:
        ValueError: less than two members, or members that cannot see the same clip or have other classes.
    """

    members: tuple[ModelSpec, ...]

    def __post_init__(self) -> None:
        if len(self.members) < 2:
            raise ValueError(f"Ensemble: {len(self.members)} members; need two or more.")
        for name in ("num_classes", "in_chans"):
            self._require_equal(name, [getattr(member, name) for member in self.members])
        runs = [member.frames_per_segment for member in self.members]
        self._require_equal("frames_per_segment", runs)
        frames = [member.num_frames for member in self.members]
        if min(frames) < 1 or any(self.num_frames % count for count in frames):
            raise ValueError(
                f"Ensemble: members take {_listed(frames)} frames; each number must divide the largest, so that the "
                "members see the same clip."
            )

    @property
    def kind(self) -> tuple[Any, ...]:
        """Kinds of the members."""
        return tuple(member.kind for member in self.members)

    @staticmethod
    def _require_equal(name: str, values: list[int]) -> None:
        if len(set(values)) > 1:
            raise ValueError(f"Ensemble: members have {name} {_listed(values)}; all must have the same.")

    @property
    def num_frames(self) -> int:
        """Frames of a clip, those of the longest member."""
        return max(member.num_frames for member in self.members)

    @property
    def num_classes(self) -> int:
        """Number of classes of every member."""
        return self.members[0].num_classes

    @property
    def in_chans(self) -> int:
        """Channels of a frame."""
        return self.members[0].in_chans

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {"members": [member.to_dict() for member in self.members]}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "EnsembleSpec":
        """Return the spec whose :meth:`to_dict` gave ``data``.

        Raises:
            ValueError: an unknown field, or members that a spec refuses.
        """
        if set(data) != {"members"} or not isinstance(data["members"], list):
            raise ValueError(f"EnsembleSpec: fields {sorted(data)}; need members alone, a list.")
        return cls(tuple(ModelSpec.from_dict(member) for member in data["members"]))

    def replace(self, **changes: Any) -> "EnsembleSpec":
        """Return a copy with some fields of every member changed.

        Members keep their fraction of ``num_frames``.

        Raises:
            ValueError: a number of frames of which a member gets no whole number.
        """
        wanted, longest = changes.pop("num_frames", self.num_frames), self.num_frames
        unit = longest // math.gcd(*(member.num_frames for member in self.members))
        if wanted < 1 or wanted % unit:
            raise ValueError(f"Ensemble: num_frames is {wanted}; need a positive multiple of {unit}.")
        frames = [member.num_frames * wanted // longest for member in self.members]
        members = zip(self.members, frames, strict=True)
        return EnsembleSpec(tuple(member.replace(num_frames=count, **changes) for member, count in members))


Spec = ModelSpec | EnsembleSpec


def spec_from_dict(data: Mapping[str, Any]) -> Spec:
    """Return the spec whose :meth:`to_dict` gave ``data``.

    Raises:
        ValueError: an unknown field, part or option, or a value that is refused.
    """
    return EnsembleSpec.from_dict(data) if "members" in data else ModelSpec.from_dict(data)


def _listed(values: list[int]) -> str:
    return " and ".join(str(value) for value in values)


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

"""From a row of a paper's table to the network that it is about."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import nn

from videozoo.augment import ARC, DNR
from videozoo.models import EnsembleSpec, ModelSpec, build, create_model

__all__ = ["Setup", "architecture_of", "build_network"]

# Options that the rows call otherwise than ARC and DNR here.
_RENAMED = {"steps": "num_steps", "layer": "attention_layer", "ct_distance": "ct_group_frames"}
_OF_TRAINING = {"clips_per_gpu"}  # options that change no network


@dataclass(frozen=True)
class Setup:
    """What is needed to build the network of a row; equal setups are counted once.

    Args:
        architecture: a name of ``list_models``.
        num_classes: classes.
        num_frames: frames of a clip; None: the architecture's own number.
        options: the row's ``options`` as JSON; ``backbone`` among them exchanges the backbone.
        size: height and width of a frame.
    """

    architecture: str
    num_classes: int
    num_frames: int | None = None
    options: str = "{}"
    size: int = 224

    def change(self, changes: Mapping[str, Any]) -> "Setup":
        """A copy with some fields changed; ``options`` as a dict."""
        values = dict(changes)
        if "options" in values:
            values["options"] = json.dumps(values["options"], sort_keys=True)
        return replace(self, **values)


def architecture_of(row: Mapping[str, Any], backbones: Mapping[str, str], names: Mapping[str, str]) -> str:
    """The zoo's name for a row's model: ``<model>_<short backbone>``, or what ``names`` says instead of that.

    Args:
        row: of a table; its fields ``model`` and ``backbone`` are read.
        backbones: short names.
        names: exceptions.
    """
    model = str(row["model"]).removesuffix(" (reproduced)")
    name = f"{model}_{backbones.get(row['backbone'], row['backbone'])}"
    return names.get(name, name)


def build_network(setup: Setup) -> nn.Module:
    """Build the network of a setup on the meta device: shapes without numbers.

    Raises:
        UnknownModelError: the architecture is not registered.
        ValueError: an option is unknown, or the architecture has nothing that it could change.
    """
    kwargs: dict[str, Any] = {"num_classes": setup.num_classes}
    if setup.num_frames is not None:
        kwargs["num_frames"] = setup.num_frames
    options = {key: value for key, value in json.loads(setup.options).items() if key not in _OF_TRAINING}
    with torch.device("meta"):
        model = create_model(setup.architecture, **kwargs)
        return build(_change_spec(model.spec, options, setup.architecture)) if options else model


def _change_spec(spec: ModelSpec | EnsembleSpec, options: Mapping[str, Any], name: str) -> ModelSpec | EnsembleSpec:
    if isinstance(spec, EnsembleSpec):
        return EnsembleSpec(tuple(_change_member(member, options, name) for member in spec.members))
    return _change_member(spec, options, name)


def _change_member(spec: ModelSpec, options: Mapping[str, Any], name: str) -> ModelSpec:
    left = dict(options)
    backbone = left.pop("backbone", spec.backbone)
    augmenters: list[Any] = []
    for part in spec.augmenters:
        if isinstance(part, ARC):
            changed = _change_arc(part, left)
            augmenters += [] if changed is None else [changed]
        elif isinstance(part, DNR):
            augmenters.append(_change_dnr(part, left))
        else:
            augmenters.append(part)
    if left:
        raise ValueError(f"report: options {sorted(left)} of a row change nothing in {name}; correct papers.json.")
    return spec.replace(backbone=backbone, augmenters=tuple(augmenters))


def _taken(options: dict[str, Any], part: ARC | DNR) -> dict[str, Any]:
    """Move what ``part`` can be told out of ``options``, under its names."""
    known = {field.name for field in fields(part)}
    names = {theirs: _RENAMED.get(theirs, theirs) for theirs in options}
    return {ours: options.pop(theirs) for theirs, ours in names.items() if ours in known}


def _change_arc(arc: ARC, options: dict[str, Any]) -> ARC | None:
    changes = _taken(options, arc)
    if "res_stages" in options:
        changes["stages"] = tuple(stage - 1 for stage in options.pop("res_stages"))  # res(k+1) is stage k
        if not changes["stages"]:
            return None
    return replace(arc, **changes)


def _change_dnr(dnr: DNR, options: dict[str, Any]) -> DNR:
    # Table 1b varies one kind alone, at its better place: its accuracies at the default are those of Table 1a.
    if "ct_distance" in options:
        options["ct"] = "BN2"
    if "cl_distance" in options:
        options["cl"] = "BN1"
    changes = _taken(options, dnr)
    kinds = {options.pop(kind): kind for kind in ("ct", "cl") if kind in options}
    if kinds:
        changes["order"] = f"{kinds.get('BN1', 'bn')}_{kinds.get('BN2', 'bn')}"
    return replace(dnr, **changes)

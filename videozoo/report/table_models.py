"""Build the model of a row of a paper's table."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import nn

from videozoo.augment import ARC, DNR
from videozoo.models import EnsembleSpec, ModelSpec, build, create_model

__all__ = ["Setup", "architecture_of", "build_model"]

# Names of options in the rows that differ from those of `ARC` and `DNR`.
_RENAMED = {"steps": "num_steps", "layer": "attention_layer", "ct_distance": "ct_group_frames"}
_OF_TRAINING = {"clips_per_gpu"}  # options of training, which do not change the model


@dataclass(frozen=True)
class Setup:
    """Settings that define the model of a row; equal setups are counted once.

    Args:
        architecture: a name of ``list_models``.
        num_classes: classes.
        num_frames: frames of a clip; None: the architecture's own number.
        options: the row's ``options`` as JSON. The option ``backbone`` replaces the backbone.
        size: height and width of a frame.
    """

    architecture: str
    num_classes: int
    num_frames: int | None = None
    options: str = "{}"
    size: int = 224

    def change(self, changes: Mapping[str, Any]) -> "Setup":
        """Return a copy with some fields changed; ``options`` is given as a dict."""
        values = dict(changes)
        if "options" in values:
            values["options"] = json.dumps(values["options"], sort_keys=True)
        return replace(self, **values)


def architecture_of(row: Mapping[str, Any], backbones: Mapping[str, str], names: Mapping[str, str]) -> str:
    """Return the zoo's name of a row's model: ``<model>_<short backbone>``, unless ``names`` has another.

    Args:
        row: of a table, with the fields ``model`` and ``backbone``.
        backbones: short names of backbones.
        names: exceptions.
    """
    model = str(row["model"]).removesuffix(" (reproduced)")
    name = f"{model}_{backbones.get(row['backbone'], row['backbone'])}"
    return names.get(name, name)


def build_model(setup: Setup) -> nn.Module:
    """Build the model of a setup on the meta device, which has shapes but no values.

    Raises:
        UnknownModelError: the architecture is not registered.
        ValueError: an option is unknown or has no effect on the architecture.
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
    remaining = dict(options)
    backbone = remaining.pop("backbone", spec.backbone)
    augmenters: list[Any] = []
    for part in spec.augmenters:
        if isinstance(part, ARC):
            changed = _change_arc(part, remaining)
            augmenters += [] if changed is None else [changed]
        elif isinstance(part, DNR):
            augmenters.append(_change_dnr(part, remaining))
        else:
            augmenters.append(part)
    if remaining:
        raise ValueError(f"report: options {sorted(remaining)} of a row have no effect on {name}; correct papers.json.")
    return spec.replace(backbone=backbone, augmenters=tuple(augmenters))


def _pop_fields(options: dict[str, Any], part: ARC | DNR) -> dict[str, Any]:
    """Remove the options that are fields of ``part`` and return them under the names of the fields."""
    known = {field.name for field in fields(part)}
    renamed = {name: _RENAMED.get(name, name) for name in options}
    return {field: options.pop(name) for name, field in renamed.items() if field in known}


def _change_arc(arc: ARC, options: dict[str, Any]) -> ARC | None:
    changes = _pop_fields(options, arc)
    if "res_stages" in options:
        changes["stages"] = tuple(stage - 1 for stage in options.pop("res_stages"))  # res(k+1) is stage k
        if not changes["stages"]:
            return None
    return replace(arc, **changes)


def _change_dnr(dnr: DNR, options: dict[str, Any]) -> DNR:
    # Table 1b varies one kind only, at its better place: at the default its accuracies equal those of Table 1a.
    if "ct_distance" in options:
        options["ct"] = "BN2"
    if "cl_distance" in options:
        options["cl"] = "BN1"
    changes = _pop_fields(options, dnr)
    kinds = {options.pop(kind): kind for kind in ("ct", "cl") if kind in options}
    if kinds:
        changes["order"] = f"{kinds.get('BN1', 'bn')}_{kinds.get('BN2', 'bn')}"
    return replace(dnr, **changes)

"""Conversion of other code bases' checkpoints to models."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from videozoo.hub import WeightsError
from videozoo.hub.convert.base import Alternative, Converted, ConvertError
from videozoo.hub.convert.checkpoint import config_text, convert_checkpoint, open_checkpoint, unwrap, without_prefix
from videozoo.models.build import build
from videozoo.models.config import merge_cfg
from videozoo.models.describe import backbone_cfg, configure, with_size
from videozoo.models.registry import get_pretrained_cfg, model_entrypoint, names_of, names_of_kind, spec_of, split_name
from videozoo.models.spec import ModelSpec
from videozoo.models.state_dict import load_strictly
from videozoo.models.video_net import VideoNet
from videozoo.text import some

__all__ = ["choose_alternative", "convert_file", "model_from_state"]


def model_from_state(
    spec: ModelSpec, state: dict[str, Any], *, name: str = "", cfg: Mapping[str, Any] | None = None, source: str = ""
) -> VideoNet:
    """Build a model and load a converted state dict into it, strictly.

    Args:
        spec: the composition.
        state: tensors under the model's keys.
        name: the architecture, or empty.
        cfg: fields of the config that differ from the architecture's.
        source: name of the state's source, for the error.
    Raises:
        WeightsError: a key or shape does not fit.
        ValueError: the composition cannot be built.
    """
    model = build(spec)
    load_strictly(model, state, source)
    base = with_size(get_pretrained_cfg(name), spec.img_size) if name else backbone_cfg(spec)
    return configure(model, merge_cfg(base, cfg), name)


def convert_file(
    path: str | Path,
    *,
    source: str | None = None,
    name: str | None = None,
    num_classes: int | None = None,
    num_frames: int | None = None,
    class_names: Sequence[str] | None = None,
    averaged: bool = False,
) -> tuple[VideoNet, Converted, str]:
    """Convert a checkpoint of another code base to a model, loaded strictly.

    Args:
        path: the file. Only the tensors of a pickle are read.
        source: one of the converters' ``SOURCES``. None detects it from the keys.
        name: the expected architecture, or ``arch.tag`` to take the config of those weights too. None detects it.
        num_classes: number of classes that is expected.
        num_frames: frames of a clip. None takes those of the tag, or what the keys or the source imply.
        class_names: names by class index. None takes those of the tag, if it has any.
        averaged: take the moving average of the weights.
    Returns:
        the model, with its config in ``pretrained_cfg``, the converted checkpoint, and the name of its source.
    Raises:
        UnknownModelError: no such name or tag.
        WeightsError: the file cannot be read, is of no known source, or does not match ``name``.
        ValueError: not as many class names as classes.
    """
    path = Path(path).expanduser()
    record = get_pretrained_cfg(name) if name is not None and split_name(name)[1] else None
    state: dict[str, Tensor] = {}
    try:
        checkpoint = open_checkpoint(path)
        state = unwrap(checkpoint, averaged=averaged)
        converted, source = _own_weights(state, name) or convert_checkpoint(state, source)
        converted = choose_alternative(converted, name, config_text(checkpoint))
        spec = ModelSpec.from_dict(converted.spec)
    except ConvertError as error:
        raise WeightsError(f"{error}{_hint(state, path, name)}", source=str(path)) from error
    broken = [key for key, value in converted.state.items() if value.is_floating_point() and not value.isfinite().all()]
    if broken:
        raise WeightsError(f"{len(broken)} tensors are not finite ({some(broken, 4)}); get it again", source=str(path))
    wanted = num_classes if num_classes is not None or record is None else record.num_classes
    if wanted not in (None, spec.num_classes):
        raise WeightsError(f"has {spec.num_classes} classes, not {wanted}", source=str(path))
    frames = num_frames if num_frames is not None or record is None else record.num_frames
    if frames is None and name is not None and len({spec_of(one).num_frames for one in names_of(spec)}) > 1:
        frames = spec_of(split_name(name)[0]).num_frames  # one network, whose names are of different clips
    spec = spec if frames is None else spec.replace(num_frames=frames)
    arch = _architecture(spec, name, path)
    cfg = {} if record is None else {field.name: getattr(record, field.name) for field in fields(record)}
    if converted.alternatives:
        others = [ModelSpec.from_dict({**converted.spec, **other.spec}) for other in converted.alternatives]
        shown = some(sorted({name for other in others for name in names_of(other)}))
        warnings.warn(
            f"{path}: the keys also fit {shown}; converted as {arch or spec.title}. If it is another of these, "
            "name it: --model NAME (name=NAME in Python).",
            stacklevel=2,
        )
    model = model_from_state(spec, dict(converted.state), name=arch, cfg={**cfg, **converted.cfg}, source=str(path))
    if class_names is not None:
        if len(class_names) != model.num_classes:
            raise ValueError(f"convert_file: {len(class_names)} class names for {model.num_classes} classes.")
        model.pretrained_cfg["label_names"] = tuple(class_names)
    return model, converted, source


def choose_alternative(converted: Converted, name: str | None = None, config: str = "") -> Converted:
    """Return the checkpoint as the model that was asked for, where its keys and shapes fit several.

    Args:
        converted: the checkpoint.
        name: the expected architecture, or None.
        config: the authors' config in the file. It decides where there is no name.
    Returns:
        the checkpoint with the spec of that model. Its ``alternatives`` are empty unless nothing decided.
    """
    if not converted.alternatives:
        return converted
    own = Alternative({})  # the model itself
    if name is not None:
        arch = split_name(name)[0]
        fits = [
            model
            for model in (own, *converted.alternatives)
            if arch in names_of(ModelSpec.from_dict({**converted.spec, **model.spec}))
        ]
    else:
        fits = [model for model in converted.alternatives if model.mark and model.mark in config]
        fits = fits or [own] * bool(config)
    if not fits:
        return converted
    state = converted.state if fits[0].state is None else fits[0].state
    return replace(converted, spec={**converted.spec, **fits[0].spec}, state=state, alternatives=())


def _own_weights(state: dict[str, Tensor], name: str | None) -> tuple[Converted, str] | None:
    """Return the state dict of a videozoo model, as a user's training loop saves it, or None."""
    for own in (state, without_prefix(state)):
        if name is not None and "fc.weight" in own and any(key.startswith("backbone.") for key in own):
            spec = spec_of(split_name(name)[0])
            if isinstance(spec, ModelSpec):
                spec = spec.replace(num_classes=own["fc.weight"].shape[0])
                with torch.device("meta"):
                    wanted = build(spec).state_dict()
                if set(wanted) == set(own):
                    return Converted(dict(own), spec.to_dict()), "videozoo"
    return None


def _hint(state: dict[str, Tensor], path: Path, name: str | None) -> str:
    """Return advice for weights of videozoo, or of an image model, recognized by its convolution of three channels."""
    own = state if "fc.weight" in state else without_prefix(state)
    if "fc.weight" in own and any(key.startswith("backbone.") for key in own):
        found = "; these are keys of a videozoo model"
        if name is not None:
            return f"{found}, but not of {name}"
        return f"{found}: give its name, --model NAME (name=NAME in Python), or use the folder that they come from"
    is_image = any(value.ndim == 4 and value.shape[1] == 3 for value in state.values())
    hint = f"start a backbone from them: --backbone-weights {path} (backbone_weights in Python)"
    return f"; if these are an image model's, {hint}" * is_image


def _architecture(spec: ModelSpec, wanted: str | None, path: Path) -> str:
    """Return the registered name of a composition, options aside. It must match the name that the user gave, if any.

    Of names of one network, the first for clips of that length is returned.
    """
    names = sorted(names_of(spec), key=lambda one: spec_of(one).num_frames != spec.num_frames)
    if wanted is None:
        return names[0] if names else ""
    model_entrypoint(wanted)  # raises with the nearest names
    wanted = split_name(wanted)[0]
    if wanted not in names and names and wanted in names_of_kind(spec):
        warnings.warn(f"{path}: it is {names[0]}, another form of {wanted}; converted as {names[0]}.", stacklevel=3)
        return names[0]
    if wanted not in names:
        hint = f"; it is {', '.join(names)}" if names else ""
        raise WeightsError(f"the checkpoint is {spec.title}, not {wanted}{hint}", source=str(path))
    return wanted

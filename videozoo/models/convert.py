"""Checkpoints of other code bases as networks of ours."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from videozoo.hub import WeightsError
from videozoo.hub.convert.base import Converted, ConvertError
from videozoo.hub.convert.checkpoint import convert_checkpoint, open_checkpoint, unwrap, without_prefix
from videozoo.models.build import build
from videozoo.models.config import merge_cfg
from videozoo.models.describe import backbone_cfg, configure
from videozoo.models.registry import get_pretrained_cfg, model_entrypoint, names_of, spec_of, split_name
from videozoo.models.spec import ModelSpec
from videozoo.models.state_dict import load_strictly
from videozoo.models.video_net import VideoNet

__all__ = ["convert_file", "model_from_state"]


def model_from_state(
    spec: ModelSpec, state: dict[str, Any], *, name: str = "", cfg: Mapping[str, Any] | None = None, source: str = ""
) -> VideoNet:
    """Build a network and load a state dict into it, strictly; for converted checkpoints.

    Args:
        spec: the composition.
        state: tensors under this network's keys.
        name: the architecture that it is, or empty.
        cfg: fields of the config that differ from the architecture's.
        source: where the state comes from, for the error.
    Raises:
        WeightsError: a key or shape does not fit.
        ValueError: the composition cannot be built.
    """
    model = build(spec)
    load_strictly(model, state, source)
    base = get_pretrained_cfg(name) if name else backbone_cfg(spec)
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
    """A checkpoint of another code base as a network, loaded strictly.

    Args:
        path: the file; a pickle is opened for its tensors only.
        source: one of the converters' ``SOURCES``; None recognises it from the keys.
        name: the architecture that it must be, or ``arch.tag`` for the config of those weights too; None tells it.
        num_classes: classes that it must have.
        num_frames: frames of a clip; None for those of the tag, else as the keys tell or its source usually has.
        class_names: names by class index; None for those of the tag, if it has any.
        averaged: take the moving average of the weights.
    Returns:
        the network, with its config in ``pretrained_cfg``; the converted checkpoint; the name of its source.
    Raises:
        UnknownModelError: no such name or tag.
        WeightsError: the file cannot be read, is of no known source, or is not what ``name`` says.
        ValueError: not as many class names as classes.
    """
    path = Path(path).expanduser()
    record = get_pretrained_cfg(name) if name is not None and split_name(name)[1] else None
    state: dict[str, Tensor] = {}
    try:
        state = unwrap(open_checkpoint(path), averaged=averaged)
        converted, source = _own_weights(state, name) or convert_checkpoint(state, source)
        spec = ModelSpec.from_dict(converted.spec)
    except ConvertError as error:
        raise WeightsError(f"{error}{_image_hint(state, path)}", source=str(path)) from error
    wanted = num_classes if num_classes is not None or record is None else record.num_classes
    if wanted not in (None, spec.num_classes):
        raise WeightsError(f"has {spec.num_classes} classes, not {wanted}", source=str(path))
    frames = num_frames if num_frames is not None or record is None else record.num_frames
    spec = spec if frames is None else spec.replace(num_frames=frames)
    arch = _architecture(spec, name, path)
    cfg = {} if record is None else {field.name: getattr(record, field.name) for field in fields(record)}
    model = model_from_state(spec, dict(converted.state), name=arch, cfg={**cfg, **converted.cfg}, source=str(path))
    if class_names is not None:
        if len(class_names) != model.num_classes:
            raise ValueError(f"convert_file: {len(class_names)} class names for {model.num_classes} classes.")
        model.pretrained_cfg["label_names"] = tuple(class_names)
    return model, converted, source


def _own_weights(state: dict[str, Tensor], name: str | None) -> tuple[Converted, str] | None:
    """The state dict of a network of videozoo itself, as a training loop of the user's saves it; else None."""
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


def _image_hint(state: dict[str, Tensor], path: Path) -> str:
    """Say what to do with the weights of an image model, known by a convolution of three channels."""
    is_image = any(value.ndim == 4 and value.shape[1] == 3 for value in state.values())
    hint = f"start a backbone from them: --backbone-weights {path} (backbone_weights in Python)"
    return f"; if these are an image model's, {hint}" * is_image


def _architecture(spec: ModelSpec, wanted: str | None, path: Path) -> str:
    """The registered name of a composition, options aside; what the user wants must be one of them."""
    names = names_of(spec)
    if wanted is None:
        return names[0] if names else ""
    model_entrypoint(wanted)  # tells the nearest names
    wanted = split_name(wanted)[0]
    if wanted not in names:
        hint = f"; it is {', '.join(names)}" if names else ""
        raise WeightsError(f"the checkpoint is {spec.title}, not {wanted}{hint}", source=str(path))
    return wanted

"""Functions that register the backbones of this package with timm."""

import sys
from collections.abc import Callable, Mapping
from typing import Any

import timm
from timm.models import DefaultCfg, PretrainedCfg, build_model_with_cfg, register_model
from torch import nn

__all__ = ["has_positions", "image_model_of", "list_backbones", "register_backbone", "register_with_timm"]

_NAMES: list[str] = []
# Mean and std of PySlowFast, as fields of a config.
HALF: dict[str, Any] = {"mean": (0.45, 0.45, 0.45), "std": (0.225, 0.225, 0.225)}
_WITH_POSITIONS: set[str] = set()
_IMAGE_MODELS: dict[str, str] = {}


def register_with_timm(entry: Callable[..., Any], cfgs: Mapping[str, PretrainedCfg]) -> None:
    """Put an entry point and its configs into timm's registry, under the function's name.

    Args:
        entry: ``entry(pretrained=False, **kwargs)``.
        cfgs: its configs by tag, the default first. ``""`` is no tag.
    """
    # timm's decorator reads the configs of the module that the function says it is from. Its generate_default_cfgs has
    # no place here: it would make the first weights the architecture's own config.
    configs = sys.modules[entry.__module__].__dict__.setdefault("default_cfgs", {})
    default = DefaultCfg()
    default.tags.extend(cfgs)
    default.cfgs.update(cfgs)
    configs[entry.__name__] = default
    register_model(entry)


def register_backbone(
    name: str,
    make: Callable[..., nn.Module],
    summary: str,
    *,
    has_positions: bool = False,
    image_model: str | None = None,
    **cfg: Any,
) -> None:
    """Register a backbone with timm, so that ``timm.create_model(name)`` builds it.

    Args:
        name: name of the backbone.
        make: function of ``num_classes``, ``in_chans``, ``drop_rate`` and ``drop_path_rate`` that returns the model.
        summary: the entry point's docstring.
        has_positions: ``make`` also takes ``num_frames`` and ``img_size``, which its position embeddings are for.
        image_model: name of the image model in timm whose weights training can start from. The backbone has a method
            ``from_image_weights``. None: those of timm under ``name``.
        cfg: fields of timm's ``PretrainedCfg``.
    Raises:
        ValueError: timm already has a model of that name.
    """
    if timm.is_model(name):
        raise ValueError(f"register_backbone: timm already has a model named {name!r}; choose another name.")

    def entry(pretrained: bool = False, **kwargs: Any) -> nn.Module:
        return build_model_with_cfg(make, name, pretrained, **kwargs)

    entry.__name__ = entry.__qualname__ = name
    entry.__doc__ = summary
    defaults = {"num_classes": 0, "input_size": (3, 224, 224), "classifier": "fc"}
    register_with_timm(entry, {"": PretrainedCfg(**{**defaults, **cfg})})
    _NAMES.append(name)
    if has_positions:
        _WITH_POSITIONS.add(name)
    if image_model is not None:
        _IMAGE_MODELS[name] = image_model


def has_positions(name: str) -> bool:
    """Return whether a backbone is built for a number of frames and a size, ``num_frames`` and ``img_size``."""
    return name in _WITH_POSITIONS


def image_model_of(name: str) -> str:
    """Return the name of the image model in timm whose weights a backbone can start from.

    A backbone of timm is its own.
    """
    return _IMAGE_MODELS.get(name, name)


def list_backbones() -> list[str]:
    """Return the names of the backbones of this package, in the order of their registration."""
    return list(_NAMES)

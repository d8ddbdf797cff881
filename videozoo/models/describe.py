"""Config of a model, and the ``config.json`` beside its weights."""

from collections.abc import Sequence
from typing import Any, TypeVar

import timm

from videozoo.models.config import OF_CLASSES, VideoCfg, merge_cfg
from videozoo.models.ensemble import Ensemble, joint_names
from videozoo.models.spec import ModelSpec
from videozoo.models.video_net import VideoNet
from videozoo.nets import list_backbones

__all__ = ["COMPOSED", "backbone_cfg", "configure", "model_config", "with_size"]

Net = TypeVar("Net", bound=VideoNet | Ensemble)
# What the config of a composition without a name calls its architecture: timm wants one.
COMPOSED = "videozoo_composed"


def configure(model: Net, cfg: VideoCfg, name: str) -> Net:
    """Write the config of a model to the model, and to the members of an ensemble.

    Args:
        model: the model, changed in place.
        cfg: config of its weights.
        name: its architecture, or empty.
    Returns:
        the model.
    """
    if isinstance(model, Ensemble):
        for member in model.members:
            configure(member, merge_cfg(cfg, {"metrics": None}), "")
    spec = model.spec
    stale = cfg.num_classes != spec.num_classes
    final = merge_cfg(
        cfg,
        {
            "architecture": name or None,
            "num_classes": spec.num_classes,
            "num_frames": spec.num_frames,
            "input_size": (spec.in_chans, *cfg.input_size[1:]),
            "first_conv": _first_conv(model),
            "classifier": joint_names(model.members, "classifier") if isinstance(model, Ensemble) else "fc",
            **(dict.fromkeys(OF_CLASSES) if stale else {}),
        },
    )
    model.pretrained_cfg = final.to_dict(remove_source=True)
    return model


def _first_conv(model: VideoNet | Ensemble) -> str | tuple[str, ...] | None:
    if isinstance(model, Ensemble):
        return joint_names(model.members, "first_conv")
    own = getattr(model.backbone, "default_cfg", None) or {}
    first = own.get("first_conv")
    if isinstance(first, tuple | list):  # two pathways, two stems
        return tuple(f"backbone.{name}" for name in first)
    return f"backbone.{first}" if isinstance(first, str) else None


def backbone_cfg(spec: ModelSpec) -> VideoCfg:
    """Return the config of a composition without a name, with mean and std of the backbone's config.

    A backbone of this package also has its size of frames.
    """
    own = timm.get_pretrained_cfg(spec.backbone)
    if own is None:
        return VideoCfg()
    size = own.input_size if spec.backbone in list_backbones() else VideoCfg().input_size
    looks: dict[str, Any] = {
        "mean": own.mean,
        "std": own.std,
        "interpolation": own.interpolation,
        "crop_pct": own.crop_pct,
    }
    return with_size(VideoCfg(**looks, input_size=size), spec.img_size)


def with_size(cfg: VideoCfg, img_size: int | None) -> VideoCfg:
    """Return a config for frames of the size that position embeddings are for, or the same if that is None."""
    return cfg if img_size is None else merge_cfg(cfg, {"input_size": (cfg.input_size[0], img_size, img_size)})


def model_config(model: VideoNet | Ensemble, class_names: Sequence[str] | None = None) -> dict[str, Any]:
    """Return what ``config.json`` holds beside the weights: timm's layout, and the composition under ``spec``.

    Args:
        model: the model.
        class_names: names by class index. None keeps those of the model's config.
    Raises:
        TypeError: no model of videozoo.
        ValueError: the number of names is not the number of classes.
    Example:
        >>> from videozoo import create_model, model_config
        >>> model = create_model("tsm_r18", num_classes=2)
        >>> config = model_config(model, class_names=["jump", "run"])
        >>> config["architecture"], config["num_classes"], config["pretrained_cfg"]["label_names"]
        ('tsm_r18', 2, ['jump', 'run'])
    """
    if not isinstance(model, VideoNet | Ensemble):
        raise TypeError(f"model_config: got {type(model).__name__}; pass a model of videozoo (VideoNet or Ensemble).")
    cfg = dict(model.pretrained_cfg)
    if class_names is not None:
        if len(class_names) != model.num_classes:
            raise ValueError(f"model_config: {len(class_names)} class names for {model.num_classes} classes.")
        cfg["label_names"] = list(class_names)
    spec = model.spec
    return {
        "architecture": cfg.get("architecture") or COMPOSED,
        "num_classes": model.num_classes,
        "num_features": model.num_features,
        "pretrained_cfg": cfg,
        "model_args": {"num_frames": spec.num_frames, "in_chans": spec.in_chans, "num_classes": spec.num_classes},
        "spec": spec.to_dict(),
    }

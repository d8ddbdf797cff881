"""videozoo: video action recognition networks, composed from timm backbones, temporal modules and augmenters."""

import importlib
from typing import TYPE_CHECKING, Any

from videozoo.in_timm import register_when_loaded
from videozoo.version import __version__

if TYPE_CHECKING:
    from videozoo.augment import ARC, DNR
    from videozoo.inference import Prediction, Predictor
    from videozoo.models import (
        Ensemble,
        ModelSpec,
        UnknownModelError,
        VideoCfg,
        VideoNet,
        WeightsError,
        compose,
        create_model,
        fuse,
        get_pretrained_cfg,
        is_model,
        list_models,
        list_pretrained,
        model_config,
    )
    from videozoo.publish import push_to_hub
    from videozoo.temporal import TSM, TSN
    from videozoo.training.api import evaluate, finetune

__all__ = [
    "ARC",
    "DNR",
    "TSM",
    "TSN",
    "Ensemble",
    "ModelSpec",
    "Prediction",
    "Predictor",
    "UnknownModelError",
    "VideoCfg",
    "VideoNet",
    "WeightsError",
    "__version__",
    "compose",
    "create_model",
    "evaluate",
    "finetune",
    "fuse",
    "get_pretrained_cfg",
    "is_model",
    "list_models",
    "list_pretrained",
    "model_config",
    "push_to_hub",
]

_HOMES = {
    "ARC": "augment",
    "DNR": "augment",
    "Prediction": "inference",
    "Predictor": "inference",
    "TSM": "temporal",
    "TSN": "temporal",
    "evaluate": "training.api",
    "finetune": "training.api",
    "push_to_hub": "publish",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'videozoo' has no attribute {name!r}")
    return getattr(importlib.import_module(f"videozoo.{_HOMES.get(name, 'models')}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


register_when_loaded()

"""videozoo: video action recognition networks, composed from timm backbones, temporal modules and augmenters."""

import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
    "push_to_hub": "publish",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'videozoo' has no attribute {name!r}")
    return getattr(importlib.import_module(f"videozoo.{_HOMES.get(name, 'models')}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


# `videozoo --help` must answer at once, so the command line, which imports this package too, loads torch only when a
# command needs it. For everybody else `import videozoo` registers the architectures with timm.
_IS_COMMAND_LINE = Path(sys.argv[0] if sys.argv else "").stem == "videozoo" or sys.orig_argv[1:3] == ["-m", "videozoo"]
if not _IS_COMMAND_LINE:
    importlib.import_module("videozoo.models")

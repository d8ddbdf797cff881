"""Models for video action recognition, composed from timm backbones, temporal modules and augmenters."""

import importlib
from typing import TYPE_CHECKING, Any

from videozoo.in_timm import register_when_loaded
from videozoo.version import __version__

if TYPE_CHECKING:
    from videozoo.augment import ARC, DNR, TPN
    from videozoo.data import VideoDataset, create_transform, load_source
    from videozoo.data.motions import write_example_video
    from videozoo.engine.fit import fit
    from videozoo.fit_config import FitConfig
    from videozoo.inference import Extractor, Prediction, Predictor
    from videozoo.models import (
        Ensemble,
        ModelSpec,
        Stream,
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
    from videozoo.temporal import (
        ABM,
        ACTION,
        GSM,
        GST,
        MSN,
        MVF,
        STM,
        TDN,
        TEA,
        TEI,
        TIN,
        TRN,
        TSM,
        TSN,
        AttLSTM,
        BLVNetTAM,
        SmallBig,
        TANet,
    )
    from videozoo.training.api import evaluate, finetune

__all__ = [
    "ABM",
    "ACTION",
    "ARC",
    "DNR",
    "GSM",
    "GST",
    "MSN",
    "MVF",
    "STM",
    "TDN",
    "TEA",
    "TEI",
    "TIN",
    "TPN",
    "TRN",
    "TSM",
    "TSN",
    "AttLSTM",
    "BLVNetTAM",
    "Ensemble",
    "Extractor",
    "FitConfig",
    "ModelSpec",
    "Prediction",
    "Predictor",
    "SmallBig",
    "Stream",
    "TANet",
    "UnknownModelError",
    "VideoCfg",
    "VideoDataset",
    "VideoNet",
    "WeightsError",
    "__version__",
    "compose",
    "create_model",
    "create_transform",
    "evaluate",
    "finetune",
    "fit",
    "fuse",
    "get_pretrained_cfg",
    "is_model",
    "list_models",
    "list_pretrained",
    "load_source",
    "model_config",
    "push_to_hub",
    "write_example_video",
]

# The module of each public name; the others are in models. It is imported when the name is first used.
_MODULES = {
    "AttLSTM": "temporal",
    "BLVNetTAM": "temporal",
    "ACTION": "temporal",
    "ABM": "temporal",
    "ARC": "augment",
    "DNR": "augment",
    "Extractor": "inference",
    "FitConfig": "fit_config",
    "GST": "temporal",
    "GSM": "temporal",
    "MSN": "temporal",
    "MVF": "temporal",
    "Prediction": "inference",
    "Predictor": "inference",
    "STM": "temporal",
    "SmallBig": "temporal",
    "TANet": "temporal",
    "TDN": "temporal",
    "TEA": "temporal",
    "TEI": "temporal",
    "TIN": "temporal",
    "TPN": "augment",
    "TRN": "temporal",
    "TSM": "temporal",
    "TSN": "temporal",
    "VideoDataset": "data",
    "create_transform": "data",
    "evaluate": "training.api",
    "finetune": "training.api",
    "fit": "engine",
    "load_source": "data",
    "push_to_hub": "publish",
    "write_example_video": "data.motions",
}
_SUBPACKAGES = (
    *("augment", "cli", "data", "demo", "engine", "explain", "export", "hub", "inference", "jobs", "layers", "models"),
    *("nets", "publish", "report", "surgery", "temporal", "training", "video"),
)


def __getattr__(name: str) -> Any:
    """Import a public name or a subpackage at its first use."""
    if name in _SUBPACKAGES:
        return importlib.import_module(f"videozoo.{name}")
    if name not in __all__:
        raise AttributeError(f"module 'videozoo' has no attribute {name!r}")
    return getattr(importlib.import_module(f"videozoo.{_MODULES.get(name, 'models')}"), name)


def __dir__() -> list[str]:
    """List the public names and the subpackages."""
    return sorted({*__all__, *_SUBPACKAGES})


register_when_loaded()

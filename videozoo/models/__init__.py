"""Clip models: specs, building, the registry of names, `create_model` and `compose`."""

from videozoo.hub import WeightsError
from videozoo.models import zoo as zoo
from videozoo.models.build import build
from videozoo.models.causal import causal_form
from videozoo.models.config import VideoCfg
from videozoo.models.convert import model_from_state
from videozoo.models.describe import model_config
from videozoo.models.ensemble import Ensemble
from videozoo.models.factory import compose, create_model
from videozoo.models.fusion import fuse
from videozoo.models.load import load_weights
from videozoo.models.lora import register_lora
from videozoo.models.registry import (
    UnknownModelError,
    get_pretrained_cfg,
    is_model,
    list_models,
    list_pretrained,
    model_entrypoint,
    register_architecture,
    spec_of,
)
from videozoo.models.spec import EnsembleSpec, ModelSpec
from videozoo.models.streaming import Stream, stream
from videozoo.models.video_net import VideoNet

__all__ = [
    "Ensemble",
    "EnsembleSpec",
    "ModelSpec",
    "Stream",
    "UnknownModelError",
    "VideoCfg",
    "VideoNet",
    "WeightsError",
    "build",
    "causal_form",
    "compose",
    "create_model",
    "fuse",
    "get_pretrained_cfg",
    "is_model",
    "list_models",
    "list_pretrained",
    "load_weights",
    "model_config",
    "model_entrypoint",
    "model_from_state",
    "register_architecture",
    "register_lora",
    "spec_of",
    "stream",
]

# Streams lie on top of the models, which do not know them; here their users get the method.
VideoNet.streaming = Ensemble.streaming = stream

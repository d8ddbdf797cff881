"""Models and exported files for inference."""

import copy
from typing import Any

import torch
from torch import nn

from videozoo.choices import is_onnx
from videozoo.surgery.shared_copy import shared_copy

__all__ = ["copy_network", "load_network"]


def copy_network(model: nn.Module, device: torch.device) -> nn.Module:
    """Return a copy of a model's modules for a device. Its tensors are the model's own where they are there already."""
    is_there = all(tensor.device == device for tensor in (*model.parameters(), *model.buffers()))
    return shared_copy(model) if is_there else copy.deepcopy(model)


def load_network(name: str) -> Any:
    """Return a model with its weights, or an exported ONNX file, for use.

    Raises:
        WeightsError, UnknownModelError, ExportError: no such model, weights or file.
    """
    from videozoo.export import OnnxNet
    from videozoo.models import create_model

    model = OnnxNet(name) if is_onnx(name) else create_model(name, pretrained=True)
    return model.eval()

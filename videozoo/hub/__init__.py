"""Weights and configs in and out: files, strict reading, key conversion. Knows nothing of networks."""

from videozoo.hub.convert import convert_backbone
from videozoo.hub.files import WeightsError, read_folder, read_safetensors

__all__ = ["WeightsError", "convert_backbone", "read_folder", "read_safetensors"]

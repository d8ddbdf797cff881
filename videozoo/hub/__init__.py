"""Weights and configs in and out: files, the Hub, strict reading, key conversion.

Knows nothing of models.
"""

from videozoo.hub.convert import convert_backbone
from videozoo.hub.files import WeightsError, read_folder, read_safetensors
from videozoo.hub.remote import RemoteFolder, download_repo

__all__ = ["RemoteFolder", "WeightsError", "convert_backbone", "download_repo", "read_folder", "read_safetensors"]

"""Models as one file for other programs: ONNX, torch.export or plain weights, and ONNX files that answer again."""

from .errors import ExportError
from .files import Agreement, ExportReport, export_model
from .metadata import FileInfo, describe, read_description
from .onnx_net import OnnxNet

__all__ = [
    "Agreement",
    "ExportError",
    "ExportReport",
    "FileInfo",
    "OnnxNet",
    "describe",
    "export_model",
    "read_description",
]

"""Model that runs an exported ONNX file instead of PyTorch modules."""

import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from videozoo.data import test_size_of
from videozoo.extras import require
from videozoo.hub.hashes import file_sha256
from videozoo.text import first_line

from .errors import ExportError
from .metadata import KEY, read_description

__all__ = ["OnnxNet", "open_session"]


class OnnxNet(nn.Module):
    """An ONNX file that ``videozoo export`` wrote, run by onnxruntime on the processor.

    It has what a predictor asks a model for (``num_classes``, ``num_frames``, ``pretrained_cfg``), all from the
    file's metadata, which are checked. The only buffer is the file's hash.

    Args:
        path: the file.
    Shape:
        input (B, 3, T, H, W) float. Output (B, num_classes) logits on the input's device.
    Raises:
        ExportError: no such file, onnxruntime is missing, or this is no file of videozoo.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__()
        self.path = Path(path).expanduser()
        session = open_session(self.path)
        text = session.get_modelmeta().custom_metadata_map.get(KEY)
        info = read_description(text, str(self.path))
        self._session = session
        self.input_shape = self._check_graph(info.num_classes, info.data)
        self.num_classes = info.num_classes
        self.num_frames: int = info.data["num_frames"]
        known: dict[str, Any] = {} if info.label_names is None else {"label_names": info.label_names}
        known |= {"multi_label": True} if info.multi_label else {}
        self.pretrained_cfg: dict[str, Any] = {**info.data, "num_classes": info.num_classes, **known}
        self.file_sha256: Tensor
        self.register_buffer(
            "file_sha256", torch.frombuffer(bytearray.fromhex(file_sha256(self.path)), dtype=torch.uint8)
        )

    def __deepcopy__(self, memo: dict[int, Any]) -> "OnnxNet":
        return self  # a session cannot be copied, and nothing in it changes

    def _check_graph(self, num_classes: int, data: dict[str, Any]) -> list[int | None]:
        """Shape of the input, None where it is free."""
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()

        def fail(what: str) -> ExportError:
            return ExportError(f"{self.path}: does not fit its own metadata: {what}.")

        if len(inputs) != 1 or len(outputs) != 1 or inputs[0].type != "tensor(float)":
            raise fail(f"{len(inputs)} inputs and {len(outputs)} outputs, not one of each, of float32")
        shape = [size if isinstance(size, int) else None for size in inputs[0].shape]
        wanted = [None, 3, data["num_frames"], *test_size_of(data)]
        if len(shape) != 5 or shape[0] is not None:
            raise fail(f"the input has shape {inputs[0].shape}, not (B, 3, T, H, W) with a free batch")
        if any(have not in (None, want) for have, want in zip(shape, wanted, strict=True)):
            raise fail(f"the input takes (B, 3, T, H, W) of {shape[1:]}, the metadata say {wanted[1:]}")
        if len(outputs[0].shape) != 2 or outputs[0].shape[1] != num_classes:
            raise fail(f"the output has shape {outputs[0].shape}, the metadata say {num_classes} classes")
        return shape

    def forward(self, x: Tensor) -> Tensor:
        wanted = self.input_shape
        is_fit = x.ndim == 5 and all(size in (None, have) for size, have in zip(wanted, x.shape, strict=True))
        if not is_fit:
            need = ", ".join("any" if size is None else str(size) for size in wanted)
            raise ValueError(
                f"OnnxNet: input has shape {tuple(x.shape)}; {self.path.name} takes (B, C, T, H, W) = ({need})."
            )
        name = self._session.get_inputs()[0].name
        (logits,) = self._session.run(None, {name: x.detach().cpu().float().numpy()})
        return torch.from_numpy(logits).to(x.device)


def open_session(path: Path) -> Any:
    """Return a session of onnxruntime for a file, with as many threads as torch takes.

    Raises:
        ExportError: no such file, onnxruntime is missing, or it cannot read the file.
    """
    if not path.is_file():
        raise ExportError(f"{path}: no such file.")
    runtime = require("onnxruntime", f"{path}: an ONNX file")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    # Weights kept as int8 become floats once, at loading, instead of at every run.
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    try:
        return runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has no common type
        reason = (first_line(error)[:300] or type(error).__name__).replace(str(path), path.name)
        raise ExportError(f"{path}: onnxruntime cannot read it ({reason}).") from error

"""A tiny ONNX file made by hand: the mean colors of a clip times a matrix, with metadata like those of an export."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

CLASSES, FRAMES, SIZE = 4, 8, 32
MATRIX = np.array([[3.0, 0.0, 0.0, -1.0], [0.0, 2.0, 0.0, 0.5], [0.0, 0.0, 4.0, 0.25]], np.float32)


def description(**changes: Any) -> dict[str, Any]:
    """A valid description; changes of ``data`` are put over its fields, other fields are replaced."""
    data = {
        "input_size": [3, SIZE, SIZE],
        "interpolation": "bilinear",
        "mean": [0.5, 0.5, 0.5],
        "std": [0.25, 0.25, 0.25],
        "channel_order": "rgb",
        "crop_pct": 1.0,
        "num_frames": FRAMES,
        "frame_sampling": "segment",
        "frame_stride": 1,
        "frames_per_segment": 1,
        "test_num_clips": 1,
        "test_num_crops": 1,
        "test_crop_size": None,
        "test_resize": None,
        **changes.pop("data", {}),
    }
    names = ["red", "green", "blue", "none of them"]
    return {"format": 1, "num_classes": CLASSES, "label_names": names, "data": data, **changes}


def make_onnx(
    path: Path,
    text: str | None = json.dumps(description()),
    shape: tuple[Any, ...] = ("batch", 3, FRAMES, SIZE, SIZE),
    gain: float = 1.0,
) -> Path:
    """Write the file; ``text`` is its metadata, None for none. Skips where the extra is absent."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    weights = [
        onnx.numpy_helper.from_array(gain * MATRIX, "matrix"),
        onnx.numpy_helper.from_array(np.arange(2, len(shape)), "axes"),
    ]
    nodes = [
        helper.make_node("ReduceMean", ["clips", "axes"], ["colors"], keepdims=0),
        helper.make_node("MatMul", ["colors", "matrix"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("clips", kind, shape)],
        [helper.make_tensor_value_info("logits", kind, (shape[0], CLASSES))],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    if text is not None:
        helper.set_model_props(model, {"videozoo": text})
    onnx.save(model, path)
    return path

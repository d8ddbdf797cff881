"""Weights of an ONNX file as int8, a scale per output channel."""

from pathlib import Path
from typing import Any

import numpy as np

from videozoo.extras import require

__all__ = ["write_int8"]

# Smaller ones save nothing.
_LEAST = 1024


def write_int8(source: Path, target: Path) -> None:
    """Store the weights of convolutions and linear layers as int8.

    A runtime makes floats of them again.

    Computation stays in float32: integer convolutions of onnxruntime are slower on a CPU, and less exact.

    Args:
        source: an ONNX file with float weights.
        target: the file to write.
    """
    onnx = require("onnx", "int8 weights")
    quant = require("onnxruntime.quantization.quant_utils", "int8 weights")
    model = onnx.load(source)
    wanted = _weights(model.graph)
    nodes = []
    for initializer in list(model.graph.initializer):
        values = onnx.numpy_helper.to_array(initializer)
        if initializer.name not in wanted or values.dtype != np.float32 or values.ndim < 2 or values.size < _LEAST:
            continue
        # A channel of zeros has no range.
        scale = np.maximum(np.abs(values).reshape(len(values), -1).max(1), 1e-12).astype(np.float32) / np.float32(127)
        zeros = np.zeros(len(values), np.int8)
        name = initializer.name
        kept = quant.quantize_onnx_initializer(initializer, onnx.TensorProto.INT8, zeros, scale, 0, f"{name}_int8")
        model.graph.initializer.remove(initializer)
        model.graph.initializer.extend([kept, onnx.numpy_helper.from_array(scale, f"{name}_scale")])
        inputs = [f"{name}_int8", f"{name}_scale"]
        nodes.append(onnx.helper.make_node("DequantizeLinear", inputs, [name], axis=0))
    rest = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*nodes, *rest])
    onnx.save(model, target)


def _weights(graph: Any) -> set[str]:
    """Return the names of the weights of convolutions and products, also if sliced (ARC) or transposed."""
    made_from = {
        output: node.input[0]
        for node in graph.node
        if node.op_type in ("Split", "Slice", "Transpose", "Reshape", "Identity")
        for output in node.output
    }
    names = set()
    for node in graph.node:
        if node.op_type in ("Conv", "Gemm", "MatMul"):
            name = node.input[1]
            while name in made_from:
                name = made_from[name]
            names.add(name)
    return names

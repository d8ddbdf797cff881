"""From a model to a graph: torch.export with free sizes, and its translation to ONNX."""

import contextlib
import logging
import math
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from videozoo.text import first_line

from .errors import ExportError

__all__ = ["OPSET", "free_sizes", "size_multiple", "trace_program", "translate"]

OPSET = 18
_WHOLE = torch.iinfo(torch.int64).max


def free_sizes(model: Any) -> dict[int, str]:
    """Dimensions of the clips (B, C, T, H, W) that an exported model leaves open, by name.

    The batch. For a 3-D model height and width too, unless it has position embeddings (a transformer on tokens) or
    windows (Swin), whose number follows from the size. Folded models are traced at one size: several of their parts
    (ARC's pools, MSN's correlation) are written for the size of the maps.
    """
    of_one_size = ("gives_tokens", "has_windows")
    is_fixed = any(getattr(module, name, False) for module in model.modules() for name in of_one_size)
    return {0: "batch", **({3: "height", 4: "width"} if model.is_3d and not is_fixed else {})}


def size_multiple(model: Any) -> int | None:
    """Return what height and width of a frame are multiples of, or None if an exported model takes one size only."""
    if len(free_sizes(model)) == 1:
        return None
    return math.lcm(*(getattr(module, "size_multiple", 1) for module in model.modules()))


def trace_program(model: Any, example: Tensor) -> torch.export.ExportedProgram:
    """Trace a model in evaluation with the sizes of `free_sizes` left open.

    Args:
        model: a model of videozoo.
        example: clips (2, C, T, H, W).
    Raises:
        ExportError: torch cannot trace an operation of it.
    """
    shapes = (dict.fromkeys(free_sizes(model), torch.export.Dim.DYNAMIC),)
    try:
        with torch.no_grad(), _quiet():
            return torch.export.export(model, (example,), dynamic_shapes=shapes)
    except Exception as error:  # torch has no common type for what it cannot trace
        raise ExportError(f"torch.export cannot trace this model: {_innermost(error)}") from error


def translate(program: torch.export.ExportedProgram, sizes: dict[int, str]) -> Any:
    """Return the ONNX program of a traced one.

    Input ``clips``, output ``logits``.

    Raises:
        ExportError: an operation has no translation.
    """
    from onnx_ir.passes.common import ClearMetadataAndDocStringPass
    from onnxscript import optimizer

    try:
        with _quiet():
            made: Any = torch.onnx.export(
                program,
                dynamo=True,
                verbose=False,
                opset_version=OPSET,
                input_names=["clips"],
                output_names=["logits"],
                dynamic_shapes=(sizes,),
                custom_translation_table=_translations(),
                optimize=False,
            )
            # The exporter's other passes take minutes for a deep model; a runtime does the same at loading.
            optimizer.fold_constants(made.model)
            optimizer.remove_unused_nodes(made.model)
            # Every node carries the lines of code that it comes from, with the paths of this machine.
            ClearMetadataAndDocStringPass()(made.model)
    except Exception as error:  # the exporter's errors have no common type
        raise ExportError(f"torch.onnx cannot translate this model: {_innermost(error)}") from error
    return made


def _translations() -> dict[Any, Any]:
    """Translations better than the exporter's own.

    Writing into a part of a tensor (the temporal shift) as a concatenation: the exporter's scatters by indices, with
    which tsm_r18 is 1.7 times as slow. Convolutions of clips without a bias: the exporter's has one of shape (C, 2),
    which onnxruntime refuses. Attention: the exporter's takes no windows (five dimensions).
    """
    from onnxscript import opset18

    op: Any = opset18

    def slice_scatter(self: Any, src: Any, dim: int = 0, start: Any = None, end: Any = None, step: int = 1) -> Any:
        if step != 1:
            raise NotImplementedError(f"slice_scatter with step {step}")
        start, end = 0 if start is None else start, _WHOLE if end is None else end
        reaches_end = end == _WHOLE or end == self.shape[dim]
        if start == 0 and reaches_end:
            return op.Identity(src)

        def cut(first: int, last: int) -> Any:
            bounds = [op.Constant(value_ints=[value]) for value in (first, last, dim)]
            return op.Slice(self, *bounds)

        before = [] if start == 0 else [cut(0, start)]
        after = [] if reaches_end else [cut(end, _WHOLE)]
        return op.Concat(*before, src, *after, axis=dim)

    def select_scatter(self: Any, src: Any, dim: int, index: int) -> Any:
        row = op.Unsqueeze(src, op.Constant(value_ints=[dim]))
        return slice_scatter(self, row, dim, index, _WHOLE if index == -1 else index + 1)

    def conv3d(
        input: Any,
        weight: Any,
        bias: Any = None,
        stride: Any = (1,),
        padding: Any = (0,),
        dilation: Any = (1,),
        groups: int = 1,
    ) -> Any:
        steps, sides, gaps = (list(row) * (3 // len(row)) for row in (stride, padding, dilation))
        inputs = (input, weight) if bias is None else (input, weight, bias)
        return op.Conv(*inputs, strides=steps, pads=[*sides, *sides], dilations=gaps, group=groups)

    def attention(
        query: Any,
        key: Any,
        value: Any,
        attn_mask: Any = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> Any:
        if attn_mask is not None or is_causal or enable_gqa:
            raise NotImplementedError("scaled_dot_product_attention with a mask or groups of queries")
        rank = len(key.shape)
        factor = query.shape[-1] ** -0.5 if scale is None else scale
        swapped = op.Transpose(key, perm=[*range(rank - 2), rank - 1, rank - 2])
        scores = op.MatMul(op.Mul(query, op.CastLike(op.Constant(value_float=factor), query)), swapped)
        return op.MatMul(op.Softmax(scores, axis=-1), value)

    aten = torch.ops.aten
    return {
        aten.scaled_dot_product_attention.default: attention,
        aten.slice_scatter.default: slice_scatter,
        aten.select_scatter.default: select_scatter,
        aten.conv3d.default: conv3d,
    }


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep back what exporters say to their developers."""
    loggers = [logging.getLogger(name) for name in ("onnxscript", "onnx_ir", "torch.onnx", "torch.export")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _innermost(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {first_line(error)[:300] or 'no message'}"

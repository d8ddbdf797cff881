"""Count the parameters of a model and the MACs of one clip, on a real trace, with fvcore."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Literal

import torch
from fvcore.nn import FlopCountAnalysis
from fvcore.nn.jit_handles import elementwise_flop_counter
from torch import Tensor, nn

from videozoo.devices import one_thread
from videozoo.layers import TemporalAdaptive, TemporalConv
from videozoo.report.meta_trace import traceable_on_meta
from videozoo.surgery.shared_copy import shared_copy

__all__ = ["Accounting", "Cost", "count_cost", "total_macs", "trace_operators"]

Accounting = Literal["products", "executed", "arc"]

# Operators by the names that fvcore gives them in its counts.
_PRODUCTS = frozenset({"conv", "linear", "addmm", "mm", "matmul", "bmm", "einsum"})
_RECTIFIERS_AND_MAXIMA = frozenset({"relu", "relu_", "max_pool2d", "max_pool3d"})


def _attention(inputs: list[Any], outputs: list[Any]) -> Counter[str]:
    """Count the two matrix products of an attention whose softmax is fused: queries (..., L, E), keys (..., S, E)."""
    (*batch, length, width), keys, values = (value.type().sizes() for value in inputs[:3])
    return Counter({"matmul": prod(batch) * length * keys[-2] * (width + values[-1])})


# Operators that fvcore does not count by itself.
_EXTRA_HANDLES = {
    "aten::addcmul": elementwise_flop_counter(0, 2),  # last step of a dynamic norm, counted as the norm it replaces
    "aten::relu": elementwise_flop_counter(0, 1),
    "aten::relu_": elementwise_flop_counter(0, 1),
    "aten::max_pool2d": elementwise_flop_counter(1, 0),
    "aten::max_pool3d": elementwise_flop_counter(1, 0),
    "aten::scaled_dot_product_attention": _attention,
}


@dataclass(frozen=True)
class Cost:
    """Cost of one clip.

    ``macs`` are multiply-accumulates as fvcore counts them:

    - 1 for each multiply-accumulate of a convolution, a linear layer or a matrix product,
    - 2 per element for a batch norm in evaluation and for the dynamic norms of DNR,
    - 5 per element for a group or layer norm,
    - 1 per element for nearest upsampling and for adaptive average pooling,
    - 3 per element for the temporal convolutions of TANet, TDN and TEA. They run as products of feature maps and are
      counted as depth-wise convolutions.

    Other elementwise operations, activations, max pooling, means and shifts count as 0.

    Attributes:
        params: number of parameters.
        macs: MACs of one clip.
        by_operator: ``macs`` by kind of operator.
        by_module: ``macs`` by part of the model: the stem's modules, the stages, the classifier.
        clip_shape: (C, T, H, W) of the clip.
    """

    params: int
    macs: int
    by_operator: dict[str, int]
    by_module: dict[str, int]
    clip_shape: tuple[int, ...]

    @property
    def gmacs(self) -> float:
        """Return ``macs`` in billions.

        Papers print this figure as GFLOPs.
        """
        return self.macs / 1e9


def count_cost(model: nn.Module, clip_size: Sequence[int] | None = None, num_frames: int | None = None) -> Cost:
    """Count the parameters of a model and the MACs of one clip in evaluation.

    The model is traced on tensors without data, or, where it cannot run on these, on zeros. Its mode, tensors and hooks
    are not changed.

    Args:
        model: takes clips (B, C, T, H, W). It may be on the meta device.
        clip_size: (C, H, W) of a frame; None: ``input_size`` of the model's config.
        num_frames: T; None: the model's ``num_frames``.
    Raises:
        ValueError: ``clip_size`` or ``num_frames`` is neither given nor known from the model.
    """
    shape = _clip_shape(model, clip_size, num_frames)
    counts = trace_operators(model, shape)
    modules = {name: total_macs(counts[name], "executed") for name in _part_names(model)}
    return Cost(
        params=sum(p.numel() for p in model.parameters()),
        macs=total_macs(counts[""], "executed"),
        by_operator=_counted(counts[""], "executed"),
        by_module={name: macs for name, macs in modules.items() if macs},
        clip_shape=shape,
    )


def trace_operators(model: nn.Module, clip_shape: Sequence[int]) -> dict[str, Counter[str]]:
    """Return counts by module name (``""`` is the whole model) and by operator; `total_macs` sums them.

    Args:
        model: takes clips; not changed.
        clip_shape: (C, T, H, W).
    """
    try:
        with traceable_on_meta():
            counts, temporal = _traced(_twin(model, _without_data), clip_shape)
    except (NotImplementedError, RuntimeError):  # a module of the caller that needs data
        counts, temporal = _traced(_twin(model, _with_data), clip_shape)
    found = {name: Counter({op: int(n) for op, n in row.items()}) for name, row in counts.items()}
    for name, macs in temporal.items():
        for part in found:
            if part in ("", name) or name.startswith(f"{part}."):
                found[part]["conv"] += macs
    return found


def _traced(net: nn.Module, clip_shape: Sequence[int]) -> tuple[Mapping[str, Counter[str]], Counter[str]]:
    """Return fvcore's counts by module and operator, and those of temporal convolutions by module, which it misses."""
    like = next(net.parameters(), torch.zeros(()))
    clip = torch.zeros(1, *clip_shape, device=like.device, dtype=like.dtype)
    analysis = FlopCountAnalysis(net, (clip,)).set_op_handle(**_EXTRA_HANDLES)
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings("none")
    temporal = _watch_temporal_convolutions(net)
    with torch.no_grad(), one_thread():  # many threads wait for each other on a busy machine
        return analysis.by_module_and_operator(), temporal


def total_macs(counts: Mapping[str, int], accounting: Accounting) -> int:
    """Return the MACs of a module under one way of counting.

    Args:
        counts: of one module, by operator.
        accounting: ``"products"`` counts convolutions, linear layers and matrix products only. ``"executed"`` counts
            everything that :class:`Cost` lists. ``"arc"`` adds 1 per element for a ReLU and 1 per input element for
            max pooling, as the ARC paper does.
    """
    return sum(_counted(counts, accounting).values())


def _counted(counts: Mapping[str, int], accounting: Accounting) -> dict[str, int]:
    if accounting == "products":
        return {op: n for op, n in sorted(counts.items()) if op in _PRODUCTS}
    left_out = _RECTIFIERS_AND_MAXIMA if accounting == "executed" else frozenset()
    return {op: n for op, n in sorted(counts.items()) if op not in left_out}


def _without_data(tensor: Tensor) -> Tensor:
    return torch.empty_like(tensor, device="meta")


def _with_data(tensor: Tensor) -> Tensor:
    return torch.zeros_like(tensor, device="cpu") if tensor.is_meta else tensor


def _twin(model: nn.Module, tensor: Callable[[Tensor], Tensor]) -> nn.Module:
    """Return a copy in evaluation mode with other tensors and without hooks, which may store what they see."""
    twin = shared_copy(model, tensor).eval()
    for module in twin.modules():
        module._forward_hooks.clear()
        module._forward_pre_hooks.clear()
    return twin


def _watch_temporal_convolutions(net: nn.Module) -> Counter[str]:
    """Return a counter of MACs by module name that fills while ``net`` runs: 3 per element, which fvcore misses."""
    found: Counter[str] = Counter()
    for name, module in net.named_modules():
        if isinstance(module, TemporalConv | TemporalAdaptive):  # a tracer's sizes are tensors
            module.register_forward_hook(lambda _, __, out, name=name: found.update({name: 3 * int(out.numel())}))
    return found


def _clip_shape(model: nn.Module, clip_size: Sequence[int] | None, num_frames: int | None) -> tuple[int, ...]:
    size = clip_size if clip_size is not None else (getattr(model, "pretrained_cfg", None) or {}).get("input_size")
    frames = num_frames if num_frames is not None else getattr(model, "num_frames", None)
    if size is None or frames is None or len(size) != 3:
        raise ValueError(
            f"count_cost: clip_size is {size} and num_frames is {frames} for a {type(model).__name__}; need (C, H, W) "
            "and a number; pass clip_size=(3, 224, 224), num_frames=8."
        )
    channels, height, width = (int(n) for n in size)
    return (channels, int(frames), height, width)


def _part_names(model: nn.Module) -> list[str]:
    """Return the names of the children; ``backbone`` and ``members`` are replaced by their own children."""
    names: list[str] = []
    for name, child in model.named_children():
        inner = [f"{name}.{key}" for key, _ in child.named_children()] if name in ("backbone", "members") else []
        names += inner or [name]
    return names

"""ARC layers: convolutions on folded frames and on clips, linear layers on tokens."""

import copy
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from videozoo.augment.arc_layer import ArcLayer
from videozoo.augment.arc_products import ArcPlan, ArcProducts, Updater, output_groups
from videozoo.autograd import needs_plain_operations
from videozoo.shapes import unfold_time
from videozoo.surgery import PostConv2d, PreConv2d
from videozoo.surgery.fused_conv import FusedConv2d, FusedConv3d
from videozoo.surgery.pre_conv import PreConv3d

__all__ = ["ArcConv2d", "ArcConv3d", "ArcLinear", "ArcPostConv2d"]

# Dimensions of (B, S, H*W, C) that each pooling takes the maximum over.
_POOLS = {"S+T": ((2,), (1,)), "S": ((2,),), "T": ((1,),), "ST": ((1, 2),)}


class _Folded(ArcLayer):
    """Layout with time folded into the batch: the view of (B*S, ...) is (B, S, ...)."""

    num_segments: int
    _time_dim = 1

    def _set_time(self, num_segments: int) -> None:
        self.num_segments = num_segments

    def _view(self, x: Tensor) -> Tensor:
        return unfold_time(x, self.num_segments)

    def _to_rows(self, view: Tensor) -> Tensor:
        return view.flatten(0, 1)

    def _unrows(self, rows: Tensor, like: Tensor) -> Tensor:
        return rows.unflatten(0, like.shape[:2])

    def _native(self, view: Tensor) -> Tensor:
        return view.expand(-1, self.num_segments, *[-1] * (view.ndim - 2)).flatten(0, 1)


class ArcConv2d(_Folded, PreConv2d):
    """ARC's convolution on folded frames, with the equations of :class:`ArcLayer`.

    Shape:
        input (B*S, C_in, H, W), output that of the convolution.
    """

    known = (*PreConv2d.known, PreConv2d)
    _fused = FusedConv2d
    _ones = (1, 1)
    _map: Any = staticmethod(F.conv2d)
    _make_map = staticmethod(partial(nn.Conv2d, kernel_size=1))

    def _refined(self, x: Tensor) -> Tensor:
        is_folded_with_grad = self.parts is not None and torch.is_grad_enabled() and x.requires_grad
        if is_folded_with_grad or not self._are_products_possible():
            return super()._refined(x)
        return self._as_products(x)

    def _are_products_possible(self) -> bool:
        if needs_plain_operations():
            return False
        is_plain = self.padding_mode == "zeros" and not isinstance(self.padding, str) and not self.pads_same
        return is_plain and self.gru is None and self.options.interaction == "additive" and len(self.sizes) > 1

    def _as_products(self, x: Tensor) -> Tensor:
        unfold_time(x, self.num_segments)  # refuses a wrong number of frames
        x = x if x.is_contiguous() else x.contiguous(memory_format=torch.channels_last)
        matrices = [None if m is None else m.flatten(1) for m in (self.embed, self.fuse, self.attend)]
        weights = [self.weight, self.bias]
        kind = x.device.type
        if torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind) and x.dtype != torch.float64:
            dtype = torch.get_autocast_dtype(kind)
            x = x.to(dtype)
            matrices, weights = ([None if t is None else t.to(dtype) for t in row] for row in (matrices, weights))
        geometry: Any = (self.stride, self.padding, self.dilation)
        plan = ArcPlan(tuple(self.sizes), self.num_segments, _POOLS[self.options.aggregation], geometry)
        if self.parts is None:
            return ArcProducts.apply(x, *matrices, *weights, plan, self._plain_steps)
        embed, fuse, attend = matrices
        return self._join(output_groups(x, self._part, Updater(embed, fuse, attend, self.embed_has_identity), plan))

    def _plain_steps(self, x: Tensor, *tensors: Tensor | None) -> Tensor:
        """Compute the layer in plain operations, with ``tensors`` as its matrices, weight and bias."""
        embed, fuse, attend, weight, bias = tensors
        layer = copy.copy(self)
        layer._parameters = {"weight": weight, "bias": bias}  # type: ignore[dict-item]
        for name, matrix in (("embed", embed), ("fuse", fuse), ("attend", attend)):
            layer._parameters[name] = None if matrix is None else matrix[..., None, None]  # type: ignore[assignment]
        return super(ArcConv2d, layer)._refined(x)


class ArcPostConv2d(ArcConv2d, PostConv2d):
    """ARC's convolution with a module behind it (GSM's), which sees the joined output groups.

    Shape:
        that of :class:`ArcConv2d`.
    """

    known = (PostConv2d,)

    def forward(self, input: Tensor) -> Tensor:
        out: Tensor = self.post(super().forward(input))
        return out


class ArcConv3d(ArcLayer, PreConv3d):
    """ARC's convolution on clips: Pool_S takes the maximum over H, W of each frame, Pool_T over T.

    Shape:
        input (B, C_in, T, H, W), output that of the convolution. If the convolution strides over time, Y_j is shorter
        than X and is upsampled over time as well.
    """

    known = (*PreConv3d.known, PreConv3d)
    _fused = FusedConv3d
    _ones = (1, 1, 1)
    _map: Any = staticmethod(F.conv3d)
    _make_map = staticmethod(partial(nn.Conv3d, kernel_size=1))
    _time_dim = 2


class ArcLinear(_Folded):
    """ARC's linear layer on the tokens of folded frames: Pool_S takes the maximum over a frame's tokens.

    Shape:
        input (B*S, ..., C_in), output (B*S, ..., C_out). All dimensions in between, if any, are space.
    """

    in_features: int
    out_features: int
    channel_dim = -1
    known = (nn.Linear,)
    _ones = ()
    _layer: Any = staticmethod(F.linear)
    _map: Any = staticmethod(F.linear)
    _make_map = nn.Linear
    reset_parameters: Any = nn.Linear.reset_parameters  # both use only attributes that this class has
    extra_repr: Any = nn.Linear.extra_repr

    def _space_dims(self, view: Tensor) -> tuple[int, ...]:
        return tuple(range(2, view.ndim - 1))

    def _upsample_like(self, x: Tensor, like: Tensor) -> Tensor:
        return x

"""Convolutions for inference with fused norm and activation, and weights prepacked for CPU kernels."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import _get_current_dispatch_mode

from videozoo.autograd import needs_plain_operations
from videozoo.surgery.pre_conv import PreConv2d, PreConv3d, adopt, is_same_conv

__all__ = ["ACTIVATIONS", "FusedConv2d", "FusedConv3d"]

# Activations that the kernel can apply to its output: their name in oneDNN, and their parameters.
ACTIVATIONS: dict[type[nn.Module], tuple[str, list[float]]] = {
    nn.ReLU: ("relu", []),
    nn.ReLU6: ("hardtanh", [0.0, 6.0]),
}


class _Fused:
    """``act(conv(pre(x)))`` for inference. Its own parameters get no gradients.

    On a CPU in float32, oneDNN's kernel applies bias and activation too and takes a prepacked weight. A plain weight
    would be repacked at every call. A fused model takes 7 to 62 % less time with this kernel than with the plain
    operations on the same folded weights (2 cores, 8 frames of 224 pixels). torch has no public API for it. The packed
    copy of the weight is created at the first call and again when the weight changes. It is in no state dict, copy or
    pickle. In all other cases (other devices and dtypes, autocast, gradients, ``torch.compile``, export, tracing,
    operation counters) the plain operations run.
    """

    weight: Any
    bias: Any
    pre: Any
    training: bool
    stride: Any
    padding: Any
    dilation: Any
    groups: int
    padding_mode: Any
    pads_same: bool
    _conv_forward: Any
    act: str
    act_numbers: list[float]
    # An alias of the packed weight, its version, and the packed copy.
    _packed: tuple[Tensor, int, Tensor] | None

    @classmethod
    def from_conv(cls, conv: Any) -> Any:
        """Take over ``conv``, plain or with a ``pre``, sharing its parameters."""
        new: Any = adopt(cls, conv)  # type: ignore[type-var]
        new.pre = getattr(conv, "pre", nn.Identity())
        new.pads_same = is_same_conv(conv)
        new.act, new.act_numbers, new._packed = "none", [], None
        return new

    def take_affine(self, scale: Tensor, shift: Tensor) -> None:
        """Fold ``scale`` and ``shift``, both (C_out,), into weight and bias: output * scale + shift."""
        weight = self.weight.detach()
        scale, shift, exact = (v.detach().cpu().double() for v in (scale, shift, weight))
        if self.bias is not None:
            shift = shift + self.bias.detach().cpu().double() * scale
        scaled = exact * scale.view(-1, *[1] * (weight.ndim - 1))
        self.weight, self.bias = (nn.Parameter(v.to(weight), requires_grad=False) for v in (scaled, shift))

    def take_activation(self, act: nn.Module) -> None:
        """Apply ``act``, whose class is in ``ACTIVATIONS``, to the output."""
        self.act, self.act_numbers = ACTIVATIONS[type(act)]

    def forward(self, input: Tensor) -> Tensor:
        x = self.pre(input)
        if not self._is_for_kernel(x):
            x = self._conv_forward(x, self.weight, self.bias)
            return x if self.act == "none" else F.relu(x) if self.act == "relu" else F.relu6(x)
        geometry = (list(self.padding), list(self.stride), list(self.dilation), self.groups)
        # The layout is chosen for the size of the first input. It works for other sizes too.
        weight = self._pack(geometry, x)
        run = torch.ops.mkldnn._convolution_pointwise
        return run(x, weight, self.bias, *geometry, self.act, self.act_numbers, "")

    def _is_for_kernel(self, x: Tensor) -> bool:
        if needs_plain_operations():
            return False
        return (
            x.device.type == self.weight.device.type == "cpu"
            and x.dtype == self.weight.dtype == torch.float32
            and torch.backends.mkldnn.is_available()
            and bool(torch.backends.mkldnn.enabled)
            and not torch.is_autocast_enabled("cpu")
            and not (torch.is_grad_enabled() and (x.requires_grad or self.weight.requires_grad))
            and self.padding_mode == "zeros"
            and not self.pads_same
            and not isinstance(self.padding, str)
            and _get_current_dispatch_mode() is None  # counters and fake tensors need plain operations
        )

    def _pack(self, geometry: tuple[list[int], list[int], list[int], int], x: Tensor) -> Tensor:
        weight = self.weight.detach()
        version = 0 if weight.is_inference() else weight._version
        packed = self._packed
        if packed is None or packed[0].data_ptr() != weight.data_ptr() or packed[1] != version:
            laid_out = torch.ops.mkldnn._reorder_convolution_weight(weight, *geometry, list(x.shape))
            packed = self._packed = (weight, version, laid_out)
        return packed[2]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_packed": None}  # can neither be copied nor pickled

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, act={self.act}"  # type: ignore[misc]


class FusedConv2d(_Fused, PreConv2d):  # type: ignore[misc]  # mypy compares the annotations of both
    """A 2-D convolution for inference.

    See :class:`_Fused`.

    Shape:
        input and output of the convolution.
    """


class FusedConv3d(_Fused, PreConv3d):  # type: ignore[misc]
    """A 3-D convolution for inference.

    See :class:`_Fused`.

    Shape:
        input and output of the convolution.
    """

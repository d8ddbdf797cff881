"""Base class of the ARC layers: the recursion over output groups, for any layout."""

from collections.abc import Callable
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from videozoo.augment.arc_options import ArcOptions
from videozoo.augment.arc_products import columns_of
from videozoo.augment.gru_attention import GruAttention
from videozoo.autograd import transforms_active
from videozoo.surgery import adopt
from videozoo.surgery.pre_conv import is_same_conv

__all__ = ["ArcLayer"]


class ArcLayer(nn.Module):
    """A layer that computes its output groups one after the other, each from a refined input.

    The weight is split along its output channels into w_1..w_n (eq. 2-7 of the paper)::

        Z_1 = X
        Z_i = max(X + W_e X + sum_{j<i} W_f,j Y_j + sum_{j<i} W_a,j (Pool_S(Y_j) (+) Pool_T(Y_j)), min(X, 0))
        Y_i = layer(Z_i, w_i)
        Y = concat(Y_1..Y_n)

    W_e, W_f and W_a all start at zero (the paper states it for W_e and W_f only). So at the start Z_i = X, and the
    layer equals the plain one exactly for every X.

    The floor min(X, 0) is an extension. In the paper X comes from a ReLU, so min(X, 0) = 0 and Z_i is eq. 5,
    ReLU(ReLU(...)), whose outer ReLU changes nothing. Behind another activation, a norm or a sum (ConvNeXt, PoolFormer,
    MobileViT, CSPNet) X may be negative. A ReLU would cut that part off and change the pretrained model from the start.
    So the state is clamped at X where X is negative, and at 0 elsewhere.

    The 1x1 maps are applied to Y_j before it is upsampled (nearest) to the size of X, which gives the same result.

    New parameters: ``embed`` (C_in, C_in), ``fuse`` and ``attend`` (C_in, C_out - |w_n|), each with trailing
    dimensions of 1 for the kernel. The columns of ``fuse`` are W_f,1..W_f,n-1 side by side, those of ``attend``
    W_a,1..W_a,n-1. C_out need not be a multiple of n: the first groups get one more channel.

    A subclass defines the layout: tensors to a *view* with a time axis (:meth:`_view`), the view to rows for a 1x1 map
    and back (:meth:`_to_rows`, :meth:`_unrows`), the view to the layout of the layer (:meth:`_native`), and which
    dimensions of the view are space and time.
    """

    options: ArcOptions
    sizes: list[int]
    weight: Any
    bias: Any
    pre: Any
    pads_same: bool
    embed: nn.Parameter | None
    fuse: nn.Parameter | None
    attend: nn.Parameter
    gru: GruAttention | None
    parts: nn.ModuleList | None  # one convolution per output group, after fold()
    embed_has_identity: bool
    out_scale: Tensor | None
    out_shift: Any
    channel_dim = 1
    _is_loading = False
    mixes_time = False  # a maximum over time ignores the order of frames
    known: tuple[type[nn.Module], ...]
    _fused: Any  # class of the convolutions in ``parts``
    _ones: tuple[int, ...]  # kernel size of a 1x1 map
    _map: Callable[[Tensor, Tensor], Tensor]  # apply a matrix to the channels of x
    _make_map: Callable[[int, int], nn.Module]  # create a 1x1 map from its numbers of input and output channels
    _time_dim: int

    @classmethod
    def from_layer(cls, layer: Any, num_segments: int, options: ArcOptions) -> Self:
        """Return an ARC layer that shares the parameters of ``layer``.

        The names of its state dict keys and its ``pre`` (a temporal shift) are kept.

        Args:
            layer: a plain layer of a class in ``known``.
            num_segments: time steps S of folded frames.
            options: the options of ARC.
        Raises:
            ValueError: grouped convolution, unknown class of layer, or fewer output channels than steps.
        """
        if type(layer) not in cls.known:
            what, need = type(layer).__name__, cls.known[0].__name__
            if isinstance(layer, ArcLayer):
                raise ValueError(f"cannot refine a {what} again; apply ARC once.")
            raise ValueError(f"cannot refine a {what}, whose forward may differ; need an nn.{need}.")
        if getattr(layer, "groups", 1) != 1:
            raise ValueError(f"the convolution has {layer.groups} groups; ARC needs full connections (section 3.4).")
        outputs, steps = layer.weight.shape[0], options.num_steps
        if outputs < steps:
            raise ValueError(f"{outputs} output channels cannot be cut into num_steps={steps}.")
        new = adopt(cls, layer)
        if not hasattr(new, "pre"):
            new.pre = nn.Identity()
        new.pads_same = is_same_conv(layer)
        new._set_time(num_segments)
        new.options = options
        base, rest = divmod(outputs, steps)
        new.sizes = [base + (i < rest) for i in range(steps)]
        new._make_updater()
        return new

    def register_parameter(self, name: str, param: nn.Parameter | None) -> None:
        """Refuse a new ``bias``, except from ``load_state_dict``.

        ``fuse_conv_bn_eval`` would replace it and so scale the output groups that are fed back.
        """
        known = self._parameters.get(name, param)
        if name == "bias" and type(param) is nn.Parameter and known is not param and not self._is_loading:
            raise RuntimeError(
                f"{type(self).__name__}: its bias cannot be replaced, and no batch norm be folded into it, since the "
                "parts of the output are fed back before the norm. Use videozoo.fuse for inference, or copy_ values."
            )
        super().register_parameter(name, param)

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        self._is_loading = True  # assign=True registers what it loads
        super()._load_from_state_dict(*args, **kwargs)  # collects errors, so it never raises
        self._is_loading = False

    def _set_time(self, num_segments: int) -> None:
        """Store the number of time steps. Only layers on folded frames need it."""

    def _make_updater(self) -> None:
        like: dict[str, Any] = {"device": self.weight.device, "dtype": self.weight.dtype}
        inputs = self.weight.shape[1]
        fed = self.weight.shape[0] - self.sizes[-1]  # the last output group is not fed back
        on = self.options.num_steps > 1

        def zeros(columns: int) -> nn.Parameter:
            return nn.Parameter(torch.zeros(inputs, columns, *self._ones, **like))

        self.embed = zeros(inputs) if on and self.options.embedding else None
        self.fuse = zeros(fed) if on and self.options.fusion else None
        attend = on and self.options.attention
        use_gru = self.options.attention_layer == "gru"
        self.register_parameter("attend", zeros(fed) if attend and not use_gru else None)
        self.parts, self.embed_has_identity = None, False
        self.register_buffer("out_scale", None)
        self.register_buffer("out_shift", None)
        # The GRU shares its weights between the output groups, so all groups that are fed back need one size.
        if attend and use_gru and len(set(self.sizes[:-1])) > 1:
            raise ValueError(f"attention_layer='gru' needs parts of one size, but they are {self.sizes}.")
        self.gru = None
        if attend and use_gru:
            self.gru = GruAttention(self.sizes[0], inputs, self._make_map, self.channel_dim).to(**like)

    def forward(self, input: Tensor) -> Tensor:
        x = self.pre(input)
        recompute = self.options.memory == "recompute" and torch.is_grad_enabled()
        if recompute and not (torch.compiler.is_exporting() or torch.jit.is_tracing() or transforms_active()):
            return checkpoint(self._refined, x, use_reentrant=False, preserve_rng_state=False)
        return self._refined(x)

    def _refined(self, x: Tensor) -> Tensor:
        """Return the output of the layer. ``x`` is the output of ``pre``."""
        base = x
        if self.embed is not None:
            base = self._map(x, self.embed) if self.embed_has_identity else x + self._map(x, self.embed)
        floor = torch.where(x < 0, x, 0)  # like a ReLU, no gradient at 0
        fused: Tensor | None = None
        attention: Tensor | None = None
        y = self._part(0, x)
        parts = [y]
        for j in range(len(self.sizes) - 1):
            if self.fuse is not None:
                fused = _add(fused, self._map(y, self._columns(self.fuse, j)))
            if self.options.attention:
                attention = self._attend(y, j, attention)
            y = self._part(j + 1, self._refine(base, floor, fused, attention))
            parts.append(y)
        return self._join(parts)

    def _part(self, i: int, z: Tensor) -> Tensor:
        """Return Y_{i+1} from Z_{i+1}."""
        if self.parts is not None:
            return self.parts[i](z)
        columns = columns_of(self.sizes, i)
        return self._layer(z, self.weight[columns], None if self.bias is None else self.bias[columns])

    def _join(self, parts: list[Tensor]) -> Tensor:
        out = torch.cat(parts, self.channel_dim)
        if self.out_scale is None:
            return out
        return torch.addcmul(self.out_shift.to(out.dtype), out, self.out_scale.to(out.dtype))

    def fold(self, scale: Tensor, shift: Tensor) -> None:
        """Fold a batch norm into the convolution for inference: output * ``scale`` + ``shift``, both (C_out,).

        Scale and shift are applied to the output, not folded into the weights, because the groups Y_j are fed back
        before the norm. W_e becomes I + W_e. Every group becomes a convolution module, so that CPU kernels can prepack
        its weight once.
        """
        if self.embed is not None:
            eye = torch.eye(len(self.embed), dtype=torch.float64, device=self.embed.device)
            exact = self.embed.detach().double() + eye.view_as(self.embed)
            self.embed = nn.Parameter(exact.to(self.embed), requires_grad=False)
            self.embed_has_identity = True
        parts = []
        for i, size in enumerate(self.sizes):
            plain = self.known[0](
                self.in_channels,
                size,
                self.kernel_size,
                self.stride,
                self.padding,
                self.dilation,
                bias=False,
                padding_mode=self.padding_mode,
                device="meta",
            )
            for name in ("weight", "bias"):
                whole = getattr(self, name)
                cut = None if whole is None else whole.detach()[columns_of(self.sizes, i)].clone()
                plain.register_parameter(name, None if cut is None else nn.Parameter(cut, requires_grad=False))
            parts.append(self._fused.from_conv(plain))
            parts[-1].pads_same = self.pads_same
        shape = (1, -1, *self._ones)
        like = self.weight.detach()
        self.out_scale, self.out_shift = (v.detach().to(like).view(shape) for v in (scale, shift))
        self.parts, self.weight, self.bias = nn.ModuleList(parts), None, None

    def _columns(self, matrix: Tensor, j: int) -> Tensor:
        """Return the columns of output group j, W_j."""
        return matrix[:, columns_of(self.sizes, j)]

    def _attend(self, y: Tensor, j: int, before: Tensor | None) -> Tensor:
        """Return AM_{j+1} from Y_j and AM_j (eq. 7), as a view whose pooled dimensions may be 1."""
        pooled = self._pool(self._view(y), j)
        if self.gru is not None:
            total = sum(pooled[1:], pooled[0])
            hidden = self.gru(self._to_rows(total), None if before is None else self._to_rows(before))
            return self._unrows(hidden, total)
        matrix = self._columns(self.attend, j)
        mapped = [self._unrows(self._map(self._to_rows(part), matrix), part) for part in pooled]
        return _add(before, sum(mapped[1:], mapped[0]))

    def _pool(self, view: Tensor, j: int) -> list[Tensor]:
        """Return the maxima of Y_{j+1} over space, over time, or over both."""
        space, time = self._space_dims(view), (self._time_dim,)
        which = self.options.aggregation
        dims = [space, time] if which == "S+T" else [(time if "T" in which else ()) + (space if "S" in which else ())]
        return [self._maximum(view, row, j) for row in dims]

    def _maximum(self, view: Tensor, dims: tuple[int, ...], j: int) -> Tensor:
        return view.amax(dims, keepdim=True) if dims else view

    def _refine(self, base: Tensor, floor: Tensor, fused: Tensor | None, attention: Tensor | None) -> Tensor:
        """Return Z_i from X + W_e X, min(X, 0), AF and AM (eq. 5)."""
        if attention is not None and self.options.interaction == "multiplicative":
            state = base if fused is None else base + self._upsample_like(fused, base)
            state = state * self._upsample_like(self._native(2 * torch.sigmoid(attention)), base)
        else:
            if attention is not None:
                fused = self._native(attention if fused is None else self._view(fused) + attention)
            state = base if fused is None else base + self._upsample_like(fused, base)
        return torch.where(state <= floor, floor, state)

    def _upsample_like(self, x: Tensor, like: Tensor) -> Tensor:
        """Upsample x (nearest) to the size of ``like``. Dimensions of size 1 are left to broadcasting."""
        wanted = [1 if have == 1 else want for have, want in zip(x.shape[2:], like.shape[2:], strict=True)]
        return x if list(x.shape[2:]) == wanted else F.interpolate(x, size=wanted, mode="nearest")

    def _layer(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        out: Tensor = self._conv_forward(x, weight, bias)  # type: ignore[operator]
        return out

    def _space_dims(self, view: Tensor) -> tuple[int, ...]:
        return (3, 4)

    def _view(self, x: Tensor) -> Tensor:
        return x

    def _to_rows(self, view: Tensor) -> Tensor:
        return view

    def _unrows(self, rows: Tensor, like: Tensor) -> Tensor:
        return rows

    def _native(self, view: Tensor) -> Tensor:
        return view


def _add(total: Tensor | None, more: Tensor) -> Tensor:
    return more if total is None else total + more

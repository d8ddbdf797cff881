"""ARC's layer on folded frames as a few matrix products, its gradient written out.

What :class:`~videozoo.augment.arc_layers._ArcLayer` computes, for the paper's updater: additive, with one matrix for
each part. Maps lie with their channels last, so that a 1x1 map is one product of rows. There is one running map of the
state; every step adds to it in place, at the size of the output, and only its ReLU is a new map.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["ArcConvFunction", "ArcPlan", "Updater", "run_parts"]


class ArcPlan(NamedTuple):
    """What is fixed for a layer: sizes of the parts, time steps, the dimensions of (B, S, H*W, C) that each pooling
    takes the maximum over, and stride, padding and dilation of the convolution."""

    sizes: tuple[int, ...]
    num_segments: int
    pools: tuple[tuple[int, ...], ...]
    geometry: tuple[Sequence[int], Sequence[int], Sequence[int]]

    def columns(self, j: int) -> slice:
        """Where W_j stands in the matrices that stand side by side."""
        start = sum(self.sizes[:j])
        return slice(start, start + self.sizes[j])


class Updater(NamedTuple):
    """The matrices of ``embed``, ``fuse`` and ``attend``, where None is off; is ``embed`` W_e, or I + W_e?"""

    embed: Tensor | None
    fuse: Tensor | None
    attend: Tensor | None
    embed_has_identity: bool = False


class Kept(NamedTuple):
    """What the gradient needs: Z_2..Z_n, and of each Y_1..Y_{n-1} itself and its pooled rows."""

    states: list[Tensor]
    parts: list[Tensor]
    pooled: list[Tensor]


def _rows(x: Tensor) -> Tensor:
    """(N, C, H, W) with channels last -> (N*H*W, C), a view."""
    return x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])


def _maps(rows: Tensor, like: Tensor) -> Tensor:
    """(N*H*W, C) -> (N, C, H, W) of the size of ``like``, a view."""
    n, _, h, w = like.shape
    return rows.view(n, h, w, -1).permute(0, 3, 1, 2)


def _cells(x: Tensor, h: int, w: int) -> Tensor:
    """(N, C, H, W) -> (N, h, H/h, w, W/w, C): the positions that one low-resolution position is repeated to; a view."""
    return x.permute(0, 2, 3, 1).unflatten(2, (w, -1)).unflatten(1, (h, -1))


def _is_multiple(x: Tensor, h: int, w: int) -> bool:
    return x.shape[2] % h == 0 and x.shape[3] % w == 0


def _grow_and_add(low: Tensor, base: Tensor, out: Tensor | None) -> Tensor:
    """ReLU(base + nearest upsampling of ``low``), written over ``out`` where there is one."""
    h, w = low.shape[2:]
    if not _is_multiple(base, h, w):
        return F.interpolate(low, size=base.shape[2:], mode="nearest").add_(base).relu_()
    if out is None:
        out = torch.empty_like(base)
    torch.add(_cells(base, h, w), _cells(low, h, w), out=_cells(out, h, w))
    return out.relu_()


def _shrink(grad: Tensor, like: Tensor) -> Tensor:
    """The gradient of nearest upsampling: sums over what one position was repeated to."""
    h, w = like.shape[2:]
    if not _is_multiple(grad, h, w):
        grad = grad.contiguous(memory_format=torch.channels_last)
        sizes = list(grad.shape[2:]), [*grad.shape[:2], h, w]
        return torch.ops.aten.upsample_nearest2d_backward(grad, *sizes)
    cells = _cells(grad, h, w)
    places = [cells[:, :, i, :, j] for i in range(cells.shape[2]) for j in range(cells.shape[4])]
    total = sum(places[2:], places[0] + places[1]) if len(places) > 1 else places[0].clone()
    return total.permute(0, 3, 1, 2)


def _flat(pooled: Sequence[Tensor]) -> Tensor:
    """Pooled (B, S or 1, H*W or 1, C) of every pooling as rows, one after the other: one product for all."""
    return torch.cat([p.flatten(0, 2) for p in pooled])


def _unflat(rows: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    """The pooled maps again, with the shapes of ``like`` but for their channels."""
    counts = [p.shape[0] * p.shape[1] * p.shape[2] for p in like]
    return [r.view(*p.shape[:3], -1) for r, p in zip(rows.split(counts), like, strict=True)]


def run_parts(
    x: Tensor, conv: Callable[[int, Tensor], Tensor], updater: Updater, plan: ArcPlan, kept: Kept | None = None
) -> list[Tensor]:
    """Y_1..Y_n.

    Args:
        x: (B*S, C, H, W), channels last.
        conv: gives Y_i of i (from 0) and Z_i.
        updater: its matrices, in the type of ``x``.
        plan: what is fixed.
        kept: filled with what the gradient needs; None lets one buffer hold every Z_i. Without gradients only: the
            running map is changed in place.
    """
    parts = [conv(0, x)]
    y = parts[0]
    same = y.shape[2:] == x.shape[2:]
    base = x  # X + W_e X
    if updater.embed is not None:
        rows, matrix = _rows(x), updater.embed.t()
        base = _maps(rows @ matrix if updater.embed_has_identity else torch.addmm(rows, rows, matrix), x)
    elif same:
        base = x.clone()  # the running map
    state = _rows(base) if same else x.new_zeros(y[:, 0].numel(), x.shape[1])
    in_time = (-1, plan.num_segments, y.shape[2] * y.shape[3])
    z: Tensor | None = None
    for j in range(len(plan.sizes) - 1):
        if updater.fuse is not None:
            torch.addmm(state, _rows(y), updater.fuse[:, plan.columns(j)].t(), out=state)
        if updater.attend is not None:
            view = _rows(y).view(*in_time, plan.sizes[j])
            pooled = [view.amax(dims, keepdim=True) for dims in plan.pools]
            flat = _flat(pooled)
            for more in _unflat(flat @ updater.attend[:, plan.columns(j)].t(), pooled):
                state.view(*in_time, x.shape[1]).add_(more)
            if kept is not None:
                kept.pooled.append(flat)
        buffer = None if kept is not None else z
        z = torch.clamp_min(base, 0, out=buffer) if same else _grow_and_add(_maps(state, y), base, buffer)
        if kept is not None:
            kept.states.append(z)
            kept.parts.append(y)
        y = conv(j + 1, z)
        parts.append(y)
    return parts


class ArcConvFunction(torch.autograd.Function):
    """The layer with its gradient; see :func:`run_parts`.

    Autograd's own gradient of the same steps takes more passes over whole maps: it keeps apart what goes to the running
    map and to each pooled part, and fills what was cut with zeros. It cannot be differentiated twice.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        embed: Tensor | None,
        fuse: Tensor | None,
        attend: Tensor | None,
        weight: Tensor,
        bias: Tensor | None,
        plan: ArcPlan,
    ) -> Tensor:
        kept = Kept([], [], [])
        updater = Updater(embed, fuse, attend)
        weights = weight.split(plan.sizes)
        biases = [None] * len(weights) if bias is None else bias.split(plan.sizes)
        parts = run_parts(x, lambda i, z: F.conv2d(z, weights[i], biases[i], *plan.geometry), updater, plan, kept)
        ctx.save_for_backward(x, weight, embed, fuse, attend, *kept.states, *kept.parts, *kept.pooled)
        ctx.plan, ctx.has_bias = plan, bias is not None
        return torch.cat(parts, 1)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        if torch.is_grad_enabled():  # else the second derivative would be wrong without a word
            raise RuntimeError(
                "ARC: create_graph=True asks for a gradient that can be differentiated again, which this layer does "
                "not give; use the network's base without ARC where second derivatives are needed."
            )
        plan: ArcPlan = ctx.plan
        steps = len(plan.sizes)
        x, weight, embed, fuse, attend, *rest = ctx.saved_tensors
        kept = Kept(rest[: steps - 1], rest[steps - 1 : 2 * steps - 2], rest[2 * steps - 2 :])
        weights, outputs = weight.split(plan.sizes), grad.split(plan.sizes, 1)
        of_fuse, of_attend = (None if m is None else torch.empty_like(m) for m in (fuse, attend))
        of_weight: list[Tensor] = []
        of_bias: list[Tensor] = []
        # Gradients of the running map, summed over the steps behind: at the size of the output, and of the input.
        low: Tensor | None = None
        full: Tensor | None = None
        for i in reversed(range(steps)):
            of_y = outputs[i]
            if low is not None:
                of_y = _feed_back(
                    of_y, low, i, Updater(None, fuse, attend), Updater(None, of_fuse, of_attend), kept, plan
                )
            z = kept.states[i - 1] if i else x
            needed = [bool(i) or ctx.needs_input_grad[0] or embed is not None, True, ctx.has_bias]
            size = [plan.sizes[i]] if ctx.has_bias else None
            of_z, of_w, of_b = torch.ops.aten.convolution_backward(
                of_y, z, weights[i], size, *(list(v) for v in plan.geometry), False, [0, 0], 1, needed
            )
            of_weight.insert(0, of_w)
            of_bias.insert(0, of_b)
            if i:
                torch.ops.aten.threshold_backward.grad_input(of_z, z, 0, grad_input=of_z)
                full = of_z if full is None else full.add_(of_z)
                if of_y.shape[2:] == z.shape[2:]:
                    low = full
                else:
                    small = _shrink(of_z, of_y)
                    low = small if low is None else low.add_(small)
        assert full is not None
        of_x, of_embed = of_z.add_(full), None
        if embed is not None:
            of_x = _maps(torch.addmm(_rows(of_x), _rows(full), embed, out=_rows(of_x)), x)
            of_embed = _rows(full).t() @ _rows(x)
        biases = torch.cat(of_bias) if ctx.has_bias else None
        return of_x, of_embed, of_fuse, of_attend, torch.cat(of_weight), biases, None


def _feed_back(
    of_y: Tensor, of_state: Tensor, j: int, matrices: Updater, gradients: Updater, kept: Kept, plan: ArcPlan
) -> Tensor:
    """Add to the gradient of Y_j what came through the running map; fills the gradients of W_f,j and W_a,j."""
    columns, y = plan.columns(j), _rows(kept.parts[j])
    rows, total = _rows(of_state), _rows(of_y)
    if matrices.fuse is not None and gradients.fuse is not None:
        total = torch.addmm(total, rows, matrices.fuse[:, columns])
        gradients.fuse[:, columns] = rows.t() @ y
    else:
        total = total.clone()
    if matrices.attend is not None and gradients.attend is not None:
        in_time = (-1, plan.num_segments, of_y.shape[2] * of_y.shape[3])
        view, of_view = y.view(*in_time, y.shape[1]), total.view(*in_time, y.shape[1])
        sums = [rows.view(*in_time, rows.shape[1]).sum(dims, keepdim=True) for dims in plan.pools]
        flat = _flat(sums)
        gradients.attend[:, columns] = flat.t() @ kept.pooled[j]
        maxima, more = _unflat(kept.pooled[j], sums), _unflat(flat @ matrices.attend[:, columns], sums)
        for dims, maximum, of_maximum in zip(plan.pools, maxima, more, strict=True):
            hit = (view == maximum).to(view.dtype)  # equal maxima share the gradient, as amax has it
            of_view.addcmul_(hit, of_maximum / hit.sum(dims, keepdim=True))
    return _maps(total, of_y)

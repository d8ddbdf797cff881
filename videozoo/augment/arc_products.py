"""ARC's layer on folded frames as a few matrix products, its gradient written out.

What :class:`~videozoo.augment.arc_layer.ArcLayer` computes, for the paper's updater: additive, with one matrix for
each part. A 1x1 map is one product: of rows (N*H*W, C) where channels lie last in memory, else of one matrix for each
image (N, C, H*W). There is one running map of the state. Every step adds to it in place, at the size of the output, and
only its maximum with min(X, 0) is a new map.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import _get_current_dispatch_mode

from videozoo.autograd import OwnGradient

__all__ = ["ArcPlan", "ArcProducts", "Updater", "columns_of", "run_parts"]


class ArcPlan(NamedTuple):
    """Constants of a layer: sizes of the output groups, time steps, the dimensions of (B, S, H*W, C) that each pooling
    takes the maximum over, and stride, padding and dilation of the convolution."""

    sizes: tuple[int, ...]
    num_segments: int
    pools: tuple[tuple[int, ...], ...]
    geometry: tuple[Sequence[int], Sequence[int], Sequence[int]]


class Updater(NamedTuple):
    """The matrices of ``embed``, ``fuse`` and ``attend``, where None is off.

    Is ``embed`` W_e, or I + W_e?
    """

    embed: Tensor | None
    fuse: Tensor | None
    attend: Tensor | None
    embed_has_identity: bool = False


def columns_of(sizes: Sequence[int], i: int) -> slice:
    """Return the columns of output group i (from 0) and of its matrix."""
    start = sum(sizes[:i])
    return slice(start, start + sizes[i])


def _flat(x: Tensor, last: bool) -> Tensor:
    """(N, C, H, W) -> (N*H*W, C) if channels lie last, else (N, C, H*W). A view where memory is so."""
    return x.permute(0, 2, 3, 1).reshape(-1, x.shape[1]) if last else x.flatten(2)


def _maps(flat: Tensor, like: Tensor) -> Tensor:
    """Return the inverse, of the size of ``like``. A view."""
    n, _, h, w = like.shape
    return flat.view(n, -1, h, w) if flat.ndim == 3 else flat.view(n, h, w, -1).permute(0, 3, 1, 2)


def _product(matrix: Tensor, flat: Tensor) -> Tensor:
    return flat @ matrix.t() if flat.ndim == 2 else torch.bmm(matrix.expand(len(flat), -1, -1), flat)


def _sum_and_product(total: Tensor, matrix: Tensor, flat: Tensor, out: Tensor | None = None) -> Tensor:
    if flat.ndim == 2:
        return torch.addmm(total, flat, matrix.t(), out=out)
    return torch.baddbmm(total, matrix.expand(len(flat), -1, -1), flat, out=out)


def _outer(a: Tensor, b: Tensor) -> Tensor:
    """Return the gradient of the matrix of a 1x1 map from that of its output and from its input."""
    return a.t() @ b if a.ndim == 2 else torch.bmm(a, b.transpose(1, 2)).sum(0)


def _in_time(x: Tensor, plan: ArcPlan) -> Tensor:
    """(B*S, C, H, W) -> (B, S, H*W, C), a view."""
    return x.permute(0, 2, 3, 1).flatten(1, 2).unflatten(0, (-1, plan.num_segments))


def _floor_of(x: Tensor) -> Tensor | None:
    """min(X, 0), or None for 0 everywhere. That is asked on a CPU alone, where the answer does not stall a queue, and
    not of a tracer, which has none."""
    is_known = type(x) is Tensor and x.device.type == "cpu" and x.numel() > 0 and _get_current_dispatch_mode() is None
    return None if is_known and bool(x.amin() >= 0) else x.clamp_max(0)


def _stack(pooled: Sequence[Tensor]) -> Tensor:
    """Pooled (B, S or 1, H*W or 1, C) of every pooling as rows, one after the other: one product for all."""
    return torch.cat([p.flatten(0, 2) for p in pooled])


def _unstack(rows: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    """Return the pooled maps again, with the shapes of ``like`` but for their channels."""
    counts = [p.shape[0] * p.shape[1] * p.shape[2] for p in like]
    return [r.view(*p.shape[:3], -1) for r, p in zip(rows.split(counts), like, strict=True)]


def run_parts(
    x: Tensor, conv: Callable[[int, Tensor], Tensor], updater: Updater, plan: ArcPlan, kept: list[Tensor] | None = None
) -> list[Tensor]:
    """Y_1..Y_n.

    Args:
        x: (B*S, C, H, W), contiguous or with channels last.
        conv: gives Y_i of i (from 0) and Z_i.
        updater: its matrices, in the type of ``x``.
        plan: what is fixed.
        kept: gets what the gradient needs: of every step Y_i, Z_i+1, and the pooled rows of Y_i if there is attention.
            None lets one buffer hold every Z_i. Without gradients only: the running map is changed in place.
    """
    last = not x.is_contiguous()
    parts = [conv(0, x)]
    y = parts[0]
    floor = _floor_of(x)
    same = y.shape[2:] == x.shape[2:]
    base = x  # X + W_e X
    if updater.embed is not None:
        flat = _flat(x, last)
        is_whole = updater.embed_has_identity
        base = _maps(_product(updater.embed, flat) if is_whole else _sum_and_product(flat, updater.embed, flat), x)
    elif same:
        base = x.clone()  # the running map
    state = _flat(base if same else x.new_zeros(x.shape[:2] + y.shape[2:]), last)
    z: Tensor | None = None
    for j in range(len(plan.sizes) - 1):
        columns, pooled_rows = columns_of(plan.sizes, j), []
        if updater.fuse is not None:
            _sum_and_product(state, updater.fuse[:, columns], _flat(y, last), out=state)
        if updater.attend is not None:
            pooled = [_in_time(y, plan).amax(dims, keepdim=True) for dims in plan.pools]
            pooled_rows = [_stack(pooled)]
            for more in _unstack(pooled_rows[0] @ updater.attend[:, columns].t(), pooled):
                _in_time(_maps(state, y), plan).add_(more)
        total, buffer = base, z if kept is None else None
        if not same:
            total = buffer = F.interpolate(_maps(state, y), size=x.shape[2:], mode="nearest").add_(base)
        z = torch.clamp_min(total, 0, out=buffer) if floor is None else torch.maximum(total, floor, out=buffer)
        if kept is not None:
            kept += [y, z, *pooled_rows]
        y = conv(j + 1, z)
        parts.append(y)
    return parts


class ArcProducts(OwnGradient):
    """The layer with its gradient.

    See :func:`run_parts`.

    Autograd's own gradient of the same steps takes more passes over whole maps: it separates what goes to the running
    map and to each pooled part, and fills what was cut with zeros.

    The inputs of ``apply`` are x (B*S, C, H, W), contiguous or with channels last, the matrices ``embed``, ``fuse`` and
    ``attend``, where None is off, weight and bias of the convolution, an :class:`ArcPlan`, and the layer's plain steps
    as a function of x, the matrices, weight and bias.
    """

    @staticmethod
    def plain(x: Tensor, *inputs: Any) -> Tensor:
        *tensors, _, plain_steps = inputs
        out: Tensor = plain_steps(x, *tensors)
        return out

    @staticmethod
    def run(kept: list[Tensor] | None, x: Tensor, *inputs: Any) -> Tensor:
        embed, fuse, attend, weight, bias, plan, _ = inputs
        weights = weight.split(plan.sizes)
        biases = [None] * len(weights) if bias is None else bias.split(plan.sizes)

        def conv(i: int, z: Tensor) -> Tensor:
            return F.conv2d(z, weights[i], biases[i], *plan.geometry)

        return torch.cat(run_parts(x, conv, Updater(embed, fuse, attend), plan, kept), 1)

    @staticmethod
    def gradient(
        grad: Tensor, needed: Sequence[bool], kept: Sequence[Tensor], x: Tensor, *inputs: Any
    ) -> tuple[Tensor | None, ...]:
        embed, fuse, attend, weight, bias, plan, _ = inputs
        last, floor, at_floor = not x.is_contiguous(), _floor_of(x), None
        width = 2 if attend is None else 3
        steps = [kept[k : k + width] for k in range(0, len(kept), width)]
        weights, outputs = weight.split(plan.sizes), grad.split(plan.sizes, 1)
        # From the last step to the first.
        grad_weights: list[Tensor] = []
        of_biases: list[Tensor] = []
        of_fuses: list[Any] = []
        of_attends: list[Any] = []
        # Gradients of the running map, summed over the steps behind: at the size of the output, and of the input.
        low: Tensor | None = None
        full: Tensor | None = None
        for i in reversed(range(len(plan.sizes))):
            grad_y = outputs[i]
            if low is not None:
                columns = columns_of(plan.sizes, i)
                w_f, w_a = (None if m is None else m[:, columns] for m in (fuse, attend))
                grad_y, grad_fuse, grad_attend = _feed_back(grad_y, low, steps[i], w_f, w_a, plan)
                of_fuses.append(grad_fuse)
                of_attends.append(grad_attend)
            z = steps[i - 1][1] if i else x
            asked = [bool(i) or needed[0], True, bias is not None]
            size = None if bias is None else [plan.sizes[i]]
            grad_z, grad_w, grad_b = torch.ops.aten.convolution_backward(
                grad_y, z, weights[i], size, *(list(v) for v in plan.geometry), False, [0, 0], 1, asked
            )
            grad_weights.append(grad_w)
            of_biases.append(grad_b)
            if not i:
                break
            if floor is None:
                torch.ops.aten.threshold_backward.grad_input(grad_z, z, 0, grad_input=grad_z)
            else:
                stopped = grad_z.masked_fill(z > floor, 0)
                at_floor = stopped if at_floor is None else at_floor.add_(stopped)
                grad_z = grad_z.sub_(stopped)
            full = grad_z if full is None else full.add_(grad_z)
            if grad_y.shape[2:] == z.shape[2:]:
                low = full
            else:
                small = _shrink(grad_z, grad_y)
                low = small if low is None else low.add_(small)
        assert full is not None
        grad_x, of_base = None, _flat(full, last)
        grad_embed = None if embed is None else _outer(of_base, _flat(x, last))
        if needed[0]:
            grad_x = grad_z.add_(full)
            if at_floor is not None:
                grad_x = grad_x.addcmul_(at_floor, (x < 0).to(x.dtype))
            if embed is not None:
                grad_x = _maps(_sum_and_product(_flat(grad_x, last), embed.t(), of_base), x)
        of_matrices = (None if parts[0] is None else torch.cat(parts[::-1], 1) for parts in (of_fuses, of_attends))
        grad_bias = None if bias is None else torch.cat(of_biases[::-1])
        return grad_x, grad_embed, *of_matrices, torch.cat(grad_weights[::-1]), grad_bias, None, None


def _shrink(grad: Tensor, like: Tensor) -> Tensor:
    """Return the gradient of nearest upsampling: sums over what one position was repeated to."""
    grad = grad.contiguous(memory_format=torch.channels_last)
    sizes = grad.shape[2:], [*grad.shape[:2], *like.shape[2:]]
    out: Tensor = torch.ops.aten.upsample_nearest2d_backward(grad, *sizes)
    return out


def _feed_back(
    grad_y: Tensor,
    of_state: Tensor,
    step: Sequence[Tensor],
    fuse: Tensor | None,
    attend: Tensor | None,
    plan: ArcPlan,
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Return the gradient of Y_j and what came to it through the running map, and the gradients of W_f,j and W_a,j."""
    y, _, *pooled = step
    last = y.is_contiguous(memory_format=torch.channels_last)
    state = _flat(of_state, last)
    grad_fuse = grad_attend = None
    if fuse is None:
        total = grad_y.clone(memory_format=torch.contiguous_format)
    else:
        total = _maps(_sum_and_product(_flat(grad_y, last), fuse.t(), state), grad_y)
        grad_fuse = _outer(state, _flat(y, last))
    if attend is not None:
        view, of_view = _in_time(y, plan), _in_time(total, plan)
        sums = [_in_time(of_state, plan).sum(dims, keepdim=True) for dims in plan.pools]
        rows = _stack(sums)
        grad_attend = rows.t() @ pooled[0]
        maxima, more = _unstack(pooled[0], sums), _unstack(rows @ attend, sums)
        for dims, maximum, of_maximum in zip(plan.pools, maxima, more, strict=True):
            hit = (view == maximum).to(view.dtype)  # equal maxima share the gradient, as amax has it
            of_view.addcmul_(hit, of_maximum / hit.sum(dims, keepdim=True))
    return total, grad_fuse, grad_attend

"""ARC's convolution on folded frames as a few matrix products, with a hand-written gradient.

It computes the equations of :class:`~videozoo.augment.arc_layer.ArcLayer` for the additive updater with matrices. A 1x1
map is one product of rows (N*H*W, C). Rows of contiguous maps are copies. One product per image would need none, but
would read the matrix once for each image, which takes longest where maps are small. The convolutions run in the memory
format of the input. The state is one running sum at the size of the output. Every step adds to it in place. Only its
maximum with min(X, 0) is a new tensor.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import _get_current_dispatch_mode

from videozoo.autograd import CustomGradient

__all__ = ["ArcPlan", "ArcProducts", "Updater", "columns_of", "output_groups"]


class ArcPlan(NamedTuple):
    """Constants of a layer: sizes of the output groups, time steps, the dimensions of (B, S, H*W, C) that each pooling
    takes the maximum over, and stride, padding and dilation of the convolution."""

    sizes: tuple[int, ...]
    num_segments: int
    pools: tuple[tuple[int, ...], ...]
    geometry: tuple[Sequence[int], Sequence[int], Sequence[int]]


class Updater(NamedTuple):
    """The matrices ``embed``, ``fuse`` and ``attend``. None: switched off.

    ``embed`` is I + W_e if ``embed_has_identity``, otherwise W_e.
    """

    embed: Tensor | None
    fuse: Tensor | None
    attend: Tensor | None
    embed_has_identity: bool = False


def columns_of(sizes: Sequence[int], i: int) -> slice:
    """Return the columns of output group i (from 0) and of its matrix."""
    start = sum(sizes[:i])
    return slice(start, start + sizes[i])


def _rows(x: Tensor) -> Tensor:
    """Return (N, C, H, W) as rows (N*H*W, C), a view if x is channels last."""
    return x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])


def _maps(rows: Tensor, like: Tensor) -> Tensor:
    """Undo :func:`_rows`: return a view (N, C', H, W), channels last, with N, H and W of ``like``."""
    n, _, h, w = like.shape
    return rows.view(n, h, w, -1).permute(0, 3, 1, 2)


def _in_time(rows: Tensor, like: Tensor, plan: ArcPlan) -> Tensor:
    """Return a view with a time axis: rows of maps like ``like`` -> (B, S, H*W, C)."""
    return rows.view(-1, plan.num_segments, like.shape[2] * like.shape[3], rows.shape[1])


def _floor_of(x: Tensor) -> Tensor | None:
    """Return min(X, 0), or None if it is 0 everywhere.

    The values are checked on the CPU only. On a GPU the check would synchronize, and a traced tensor has no values.
    """
    is_known = type(x) is Tensor and x.device.type == "cpu" and x.numel() > 0 and _get_current_dispatch_mode() is None
    return None if is_known and bool(x.amin() >= 0) else x.clamp_max(0)


def _stack(pooled: Sequence[Tensor]) -> Tensor:
    """Concatenate the pooled maps (B, S or 1, H*W or 1, C) as rows, so that one product maps all of them."""
    return torch.cat([p.flatten(0, 2) for p in pooled])


def _unstack(rows: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    """Undo :func:`_stack`: split rows into maps with the shapes of ``like``, except for the channels."""
    counts = [p.shape[0] * p.shape[1] * p.shape[2] for p in like]
    return [r.view(*p.shape[:3], -1) for r, p in zip(rows.split(counts), like, strict=True)]


def output_groups(
    x: Tensor, conv: Callable[[int, Tensor], Tensor], updater: Updater, plan: ArcPlan, kept: list[Tensor] | None = None
) -> list[Tensor]:
    """Return the output groups Y_1..Y_n. The running sum is changed in place, so autograd must not record this.

    Args:
        x: input (B*S, C, H, W), contiguous or channels last.
        conv: function of i (from 0) and Z_i that returns Y_i.
        updater: the matrices, in the dtype of ``x``.
        plan: constants of the layer.
        kept: list that receives the tensors for the gradient: the rows of Y_i, Z_i+1 and, with attention, the pooled
            rows of Y_i for every step. None: all Z_i share one buffer.
    """
    y = conv(0, x)
    parts, floor = [y], _floor_of(x)
    same = y.shape[2:] == x.shape[2:]
    base = _rows(x)  # X + W_e X
    if updater.embed is not None:
        matrix = updater.embed.t()
        base = base @ matrix if updater.embed_has_identity else torch.addmm(base, base, matrix)
    elif same:
        base = base.clone()  # becomes the running sum
    state = base if same else base.new_zeros(_rows(y).shape[0], x.shape[1])
    z: Tensor | None = None
    for j in range(len(plan.sizes) - 1):
        columns, rows, pooled_rows = columns_of(plan.sizes, j), _rows(y), []
        if updater.fuse is not None:
            torch.addmm(state, rows, updater.fuse[:, columns].t(), out=state)
        if updater.attend is not None:
            pooled = [_in_time(rows, y, plan).amax(dims, keepdim=True) for dims in plan.pools]
            pooled_rows = [_stack(pooled)]
            for more in _unstack(pooled_rows[0] @ updater.attend[:, columns].t(), pooled):
                _in_time(state, y, plan).add_(more)
        total = _maps(state, y)
        if not same:
            total = F.interpolate(total, size=x.shape[2:], mode="nearest").add_(_maps(base, x))
        if z is None or kept is not None:
            z = torch.empty_like(x)
        z = torch.clamp_min(total, 0, out=z) if floor is None else torch.maximum(total, floor, out=z)
        if kept is not None:
            kept += [rows, z, *pooled_rows]
        y = conv(j + 1, z)
        parts.append(y)
    return parts


class ArcProducts(CustomGradient):
    """The layer of :func:`output_groups` with a hand-written gradient.

    Autograd would take more passes over whole maps: it computes separate gradients for the running sum and for each
    pooled map, and pads sliced tensors with zeros.

    The inputs of ``apply`` are x (B*S, C, H, W), contiguous or channels last, the matrices ``embed``, ``fuse`` and
    ``attend`` (None: switched off), weight and bias of the convolution, an :class:`ArcPlan`, and the plain version of
    the layer as a function of x, the matrices, weight and bias.
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

        return torch.cat(output_groups(x, conv, Updater(embed, fuse, attend), plan, kept), 1)

    @staticmethod
    def gradient(
        grad: Tensor, needed: Sequence[bool], kept: Sequence[Tensor], x: Tensor, *inputs: Any
    ) -> tuple[Tensor | None, ...]:
        embed, fuse, attend, weight, bias, plan, _ = inputs
        floor, at_floor = _floor_of(x), None
        width = 2 if attend is None else 3
        steps = [kept[k : k + width] for k in range(0, len(kept), width)]
        weights, outputs = weight.split(plan.sizes), grad.split(plan.sizes, 1)
        # The loop goes from the last step to the first.
        grad_weights: list[Tensor] = []
        grad_biases: list[Tensor] = []
        grad_fuses: list[Any] = []
        grad_attends: list[Any] = []
        # Gradient of the running sum as rows, accumulated over the later steps: at the size of the output (low) and of
        # the input (full).
        low: Tensor | None = None
        full: Tensor | None = None
        for i in reversed(range(len(plan.sizes))):
            grad_y = outputs[i]
            if low is not None:
                columns = columns_of(plan.sizes, i)
                w_f, w_a = (None if m is None else m[:, columns] for m in (fuse, attend))
                grad_y, grad_fuse, grad_attend = _feed_back(grad_y, low, steps[i], w_f, w_a, plan)
                grad_fuses.append(grad_fuse)
                grad_attends.append(grad_attend)
            z = steps[i - 1][1] if i else x
            output_mask = [bool(i) or needed[0], True, bias is not None]
            size = None if bias is None else [plan.sizes[i]]
            grad_z, grad_w, grad_b = torch.ops.aten.convolution_backward(
                grad_y, z, weights[i], size, *(list(v) for v in plan.geometry), False, [0, 0], 1, output_mask
            )
            grad_weights.append(grad_w)
            grad_biases.append(grad_b)
            if not i:
                break
            if floor is None:
                torch.ops.aten.threshold_backward.grad_input(grad_z, z, 0, grad_input=grad_z)
            else:
                stopped = grad_z.masked_fill(z > floor, 0)
                at_floor = stopped if at_floor is None else at_floor.add_(stopped)
                grad_z = grad_z.sub_(stopped)
            if full is None:
                full = _rows(grad_z)
            else:
                _maps(full, z).add_(grad_z)
            if grad_y.shape[2:] == z.shape[2:]:
                low = full
            else:
                small = _rows(_shrink(grad_z, grad_y))
                low = small if low is None else low.add_(small)
        assert full is not None
        grad_x, grad_embed = None, None if embed is None else full.t() @ _rows(x)
        if needed[0]:
            grad_x = grad_z.add_(_maps(full if embed is None else torch.addmm(full, full, embed), x))
            if at_floor is not None:
                grad_x = grad_x.addcmul_(at_floor, (x < 0).to(x.dtype))
        grad_matrices = (
            None if parts[0] is None else torch.cat(parts[::-1], 1) for parts in (grad_fuses, grad_attends)
        )
        grad_bias = None if bias is None else torch.cat(grad_biases[::-1])
        return grad_x, grad_embed, *grad_matrices, torch.cat(grad_weights[::-1]), grad_bias, None, None


def _shrink(grad: Tensor, like: Tensor) -> Tensor:
    """Return the gradient of nearest upsampling: the sum over the copies of each position."""
    grad = grad.contiguous(memory_format=torch.channels_last)
    sizes = grad.shape[2:], [*grad.shape[:2], *like.shape[2:]]
    out: Tensor = torch.ops.aten.upsample_nearest2d_backward(grad, *sizes)
    return out


def _feed_back(
    grad_y: Tensor,
    grad_state: Tensor,
    step: Sequence[Tensor],
    fuse: Tensor | None,
    attend: Tensor | None,
    plan: ArcPlan,
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Return the gradients of Y_j (with the part through the running sum), W_f,j and W_a,j."""
    y, _, *pooled = step
    grad_fuse = grad_attend = None
    if fuse is None:
        total = _rows(grad_y).clone(memory_format=torch.contiguous_format)
    else:
        total = torch.addmm(_rows(grad_y), grad_state, fuse)
        grad_fuse = grad_state.t() @ y
    if attend is not None:
        view, grad_view = _in_time(y, grad_y, plan), _in_time(total, grad_y, plan)
        sums = [_in_time(grad_state, grad_y, plan).sum(dims, keepdim=True) for dims in plan.pools]
        rows = _stack(sums)
        grad_attend = rows.t() @ pooled[0]
        maxima, more = _unstack(pooled[0], sums), _unstack(rows @ attend, sums)
        for dims, maximum, grad_maximum in zip(plan.pools, maxima, more, strict=True):
            hit = (view == maximum).to(view.dtype)  # equal maxima share the gradient, as in amax
            grad_view.addcmul_(hit, grad_maximum / hit.sum(dims, keepdim=True))
    return _maps(total, grad_y), grad_fuse, grad_attend

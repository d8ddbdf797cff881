"""Slow reference of ARC from equations 2 to 7 of the paper, one clip, step and frame at a time."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def upsample(y: Tensor, height: int, width: int) -> Tensor:
    """Return the nearest upsampling of (..., h, w), pixel by pixel."""
    h, w = y.shape[-2:]
    rows = [i * h // height for i in range(height)]
    columns = [j * w // width for j in range(width)]
    return y[..., rows, :][..., :, columns]


def one_by_one(matrix: Tensor, y: Tensor) -> Tensor:
    """Return W y at every pixel of frames (T, C, H, W). The matrix may have the shape of a 1x1 convolution."""
    return torch.einsum("oc,tchw->tohw", matrix.reshape(matrix.shape[:2]), y)


def pools(y: Tensor, aggregation: str) -> Tensor:
    """Return Pool_S (+) Pool_T of the frames (T, C, H, W) of one clip, or the single pooling of Table 5d."""
    t, c, h, w = y.shape
    over_space = torch.empty_like(y)
    over_time = torch.empty_like(y)
    over_all = torch.empty_like(y)
    for channel in range(c):
        over_all[:, channel] = y[:, channel].max()
        for frame in range(t):
            over_space[frame, channel] = y[frame, channel].max()
        for i in range(h):
            for j in range(w):
                over_time[:, channel, i, j] = y[:, channel, i, j].max()
    return {"S+T": over_space + over_time, "S": over_space, "T": over_time, "ST": over_all}[aggregation]


def gru_step(gru: nn.GRUCell, pooled: Tensor, hidden: Tensor) -> Tensor:
    """Return torch's GRU cell at every pixel of frames (T, C, H, W)."""
    t, _, h, w = pooled.shape

    def rows(v: Tensor) -> Tensor:
        return v.permute(0, 2, 3, 1).reshape(t * h * w, -1)

    return gru(rows(pooled), rows(hidden)).reshape(t, h, w, -1).permute(0, 3, 1, 2)


def reference_arc(
    x: Tensor,
    conv: nn.Conv2d,
    updater: Mapping[str, Tensor],
    num_segments: int,
    num_steps: int,
    interaction: str = "additive",
    aggregation: str = "S+T",
    gru: nn.GRUCell | None = None,
    upsample_first: bool = True,
) -> Tensor:
    """Return the output of the layer on folded frames (B*T, C_in, H, W).

    ``updater`` may hold ``embed`` (W_e), ``fuse`` and ``attend`` (the W_f,j and W_a,j side by side); what is absent is
    off. Parts are those of ``torch.tensor_split``. Y_j is upsampled to the size of X before everything that is done
    to it, as the paper's FLOPs demand, or after the 1x1 maps where ``upsample_first`` is False.
    """
    weights = conv.weight.tensor_split(num_steps)
    biases = [None] * num_steps if conv.bias is None else list(conv.bias.tensor_split(num_steps))
    start = 0
    columns = []
    for w in weights:
        columns.append(slice(start, start + len(w)))
        start += len(w)
    out = []
    for clip in x.split(num_segments):
        height, width = clip.shape[-2:]
        parts: list[Tensor] = []
        for i in range(num_steps):
            z = clip
            if i > 0:
                z = state(clip, parts, columns, updater, interaction, aggregation, gru, upsample_first, height, width)
            parts.append(F.conv2d(z, weights[i], biases[i], conv.stride, conv.padding, conv.dilation))
        out.append(torch.cat(parts, 1))
    return torch.cat(out)


def state(
    clip: Tensor,
    parts: list[Tensor],
    columns: list[slice],
    updater: Mapping[str, Tensor],
    interaction: str,
    aggregation: str,
    gru: nn.GRUCell | None,
    upsample_first: bool,
    height: int,
    width: int,
) -> Tensor:
    """Return Z_i from X and Y_1 .. Y_{i-1} (eq. 4 to 7), computed from the start each time."""
    total = clip
    if "embed" in updater:
        total = total + one_by_one(updater["embed"], clip)

    def mapped(matrix: Tensor, y: Tensor) -> Tensor:
        if upsample_first:
            return one_by_one(matrix, upsample(y, height, width))
        return upsample(one_by_one(matrix, y), height, width)

    attention = torch.zeros_like(clip)
    hidden = torch.zeros(len(clip), clip.shape[1], *parts[0].shape[-2:], dtype=clip.dtype)
    for j, y in enumerate(parts):
        if "fuse" in updater:
            total = total + mapped(updater["fuse"][:, columns[j]], y)
        if "attend" in updater:
            attention = attention + mapped(updater["attend"][:, columns[j]], pools(y, aggregation))
        if gru is not None:
            hidden = gru_step(gru, pools(y, aggregation), hidden)
    if gru is not None:
        attention = upsample(hidden, height, width)
    total = total + attention if interaction == "additive" else total * (2 * torch.sigmoid(attention))
    # The paper's X is not negative, and this is its ReLU(ReLU(total)); where X is negative, that is the floor.
    floor = torch.where(clip < 0, clip, torch.zeros_like(clip))
    return floor + torch.relu(total - floor)

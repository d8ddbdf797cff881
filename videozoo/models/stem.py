"""Weights for another number of channels."""

from collections.abc import Mapping

from timm.models import adapt_input_conv
from torch import Tensor

__all__ = ["adapt_stems"]


def adapt_stems(state: dict[str, Tensor], own: Mapping[str, Tensor], in_chans: int, base_chans: int = 3) -> list[str]:
    """Adapt every convolution that sees the input to another number of channels, as timm does; 2-D and 3-D.

    Such a convolution is known by its shape alone: that of the network's own but for the channels. One that sees
    several frames at once (TDN's differences) is adapted frame by frame.

    Args:
        state: weights made for ``base_chans`` channels, changed in place.
        own: the tensors of the network for ``in_chans`` channels.
        in_chans: channels of the network.
        base_chans: channels of the weights.
    Returns:
        the keys that were adapted.
    """
    adapted = []
    for key, weight in state.items():
        like = own.get(key)
        if like is None or like.shape == weight.shape or weight.ndim not in (4, 5):
            continue
        frames, rest = divmod(weight.shape[1], base_chans)
        if rest == 0 and tuple(like.shape) == (weight.shape[0], frames * in_chans, *weight.shape[2:]):
            alone = weight.reshape(-1, base_chans, *weight.shape[2:]).flatten(2, -2)  # (O * frames, C, [T *] H, W)
            state[key] = adapt_input_conv(in_chans, alone, base_chans).reshape(like.shape).contiguous()
            adapted.append(key)
    return adapted

"""Strict loading of state dicts, and their adaptation to other input channels."""

from collections.abc import Mapping

import torch
from timm.models import adapt_input_conv
from torch import Tensor, nn

from videozoo.hub import WeightsError
from videozoo.text import some

__all__ = ["adapt_positions", "adapt_stems", "load_strictly"]


def load_strictly(net: nn.Module, state: dict[str, Tensor], source: str) -> None:
    """Load a state dict into a model with the same keys and shapes.

    Only batch counters of norms may be missing.

    Args:
        net: the model.
        state: tensors by key.
        source: name of their source, for the error.
    Raises:
        WeightsError: they do not fit. The message lists missing and unexpected keys and other shapes.
    """
    own = net.state_dict()
    counters = {key: torch.zeros_like(value) for key, value in own.items() if key.endswith("num_batches_tracked")}
    given = {**counters, **state}
    missing, left = sorted(set(own) - set(given)), sorted(set(given) - set(own))
    shapes = [
        f"{key} {tuple(given[key].shape)} for {tuple(value.shape)}"
        for key, value in own.items()
        if key in given and given[key].shape != value.shape
    ]
    if missing or left or shapes:
        raise WeightsError(
            f"keys do not fit: {len(missing)} missing{_some(missing)}, {len(left)} left over{_some(left)}, "
            f"{len(shapes)} of another shape{_some(shapes)}",
            source=source,
        )
    net.load_state_dict(given)


def _some(names: list[str]) -> str:
    return f" ({some(names)})" if names else ""


def adapt_stems(state: dict[str, Tensor], own: Mapping[str, Tensor], in_chans: int, base_chans: int = 3) -> list[str]:
    """Adapt every convolution of the input to another number of channels, as timm does, in 2-D and 3-D.

    Such a convolution is recognized by its shape, which differs from the model's only in the channels. One that sees
    several frames at once (TDN's differences) is adapted frame by frame.

    Args:
        state: weights for ``base_chans`` channels, changed in place.
        own: tensors of the model for ``in_chans`` channels.
        in_chans: channels of the model.
        base_chans: channels of the weights.
    Returns:
        the adapted keys.
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


def adapt_positions(model: nn.Module, state: dict[str, Tensor]) -> None:
    """Interpolate position embeddings for the frames of a model, in every part of it that has ``adapt_positions``.

    Args:
        model: the model.
        state: weights for another number of frames or another size, changed in place.
    """
    for name, module in model.named_modules():
        if hasattr(module, "adapt_positions"):
            module.adapt_positions(state, f"{name}." if name else "")

"""Attention roll-out: which places of a clip the answer of a transformer is made of."""

from typing import Any

import torch
from torch import Tensor, nn

from videozoo.explain.cam import ClassMaps, clip_maps
from videozoo.explain.capture import check_model, private_copy, to_float
from videozoo.nets import TokenBackbone

__all__ = ["attention_rollout", "check_rollout"]


def attention_rollout(model: nn.Module, clips: Tensor) -> ClassMaps:
    """Return how much of each place's token arrives in what the classifier sees, through the attention of all blocks.

    Abnar and Zuidema, 2020 (arXiv:2005.00928): the attention of a block, averaged over heads, and the residual
    connection with equal parts, multiplied over the blocks. The row of the class token is taken, or the mean of all
    rows where the tokens are averaged. It is the same for every class, since values and MLPs are left out. The model
    is not changed.

    Args:
        model: a transformer on tokens with one attention over all of them in each block (VideoMAE, ViViT, TimeSformer
            with joint attention or with attention over space alone).
        clips: normalized clips, as for the model itself.
    Returns:
        maps with a value for each patch, from 0 (the smallest of the clip) to 1 (the largest). ``peaks`` are the
        largest share of a patch over the share of an average one. ``classes`` are those predicted.
    Shape:
        clips (B, C, T, H, W).
    Raises:
        ValueError: a model whose blocks are of another kind, or without a classifier.
    Example:
        >>> import torch
        >>> from videozoo import compose
        >>> from videozoo.explain import attention_rollout
        >>> model = compose("videomae_vit_small", num_classes=2, num_frames=4, img_size=32)
        >>> attention_rollout(model, torch.randn(1, 3, 4, 32, 32)).maps.shape
        torch.Size([1, 4, 2, 2])
    """
    check_rollout(model)
    other: Any = private_copy(model)
    backbone: Any = other.backbone
    rolled: list[Tensor] = []

    def multiply(_module: nn.Module, _args: Any, attention: Tensor) -> None:
        mixed = attention.float().mean(1)
        mixed = (mixed + torch.eye(mixed.shape[-1], device=mixed.device)) / 2
        rolled[:] = [mixed @ rolled[0] if rolled else mixed]

    for block in backbone.blocks:
        block.attn.fused_attn = False  # of the copy: a fused kernel does not show its weights
        block.attn.attn_drop.register_forward_hook(multiply)
    with torch.no_grad():
        logits = other(clips)
        shares = rolled[0][:, 0] if backbone.num_prefix_tokens else rolled[0].mean(1)
        size = tuple(clips.shape[2:])
        maps = to_float(backbone.tokens_to_maps(shares[..., None], size))
    maps, frames = clip_maps(other, maps[:, 0])
    peaks = maps.amax((1, 2, 3)) / maps.mean((1, 2, 3))
    low = maps.amin((1, 2, 3), keepdim=True)
    spread = maps.amax((1, 2, 3), keepdim=True) - low
    maps = torch.where(spread > 0, (maps - low) / spread, 0.0)
    return ClassMaps(maps, frames, logits.argmax(1).cpu(), to_float(logits), peaks)


def check_rollout(model: nn.Module) -> None:
    """Raise if attention cannot be rolled out in a model.

    Raises:
        ValueError: its blocks are of another kind, or it has no classifier.
    """
    check_model(model)
    backbone: Any = model.backbone
    if not isinstance(backbone, TokenBackbone) or not all(map(_has_one_attention, backbone.blocks)):
        raise ValueError(
            f"attention_rollout: {type(backbone).__name__} has no blocks with one attention over all tokens, as "
            "VideoMAE has; take grad_cam."
        )
    if hasattr(backbone, "pooler"):
        raise ValueError(
            f"attention_rollout: {type(backbone).__name__} pools its tokens by attention of its own, which is not "
            "rolled out; take grad_cam."
        )
    if not model.num_classes:
        raise ValueError("attention_rollout: the model has no classifier (num_classes=0); explain one with classes.")


def _has_one_attention(block: nn.Module) -> bool:
    """Return whether a block is like timm's of a ViT, whose attention hands its weights to ``attn_drop``."""
    return [name for name, module in block.named_modules() if hasattr(module, "attn_drop")] == ["attn"]

"""Parts of timm's interface that timm's Inception-V3 lacks."""

from typing import Any

import torch
from timm.models.inception_v3 import InceptionV3 as TimmInceptionV3
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

__all__ = ["InceptionV3", "complete_backbone"]


class InceptionV3(TimmInceptionV3):
    """timm's ``inception_v3``, with gradient checkpointing and patterns for layer decay.

    Szegedy et al., 2016 (arXiv:1512.00567). Its convolutions without padding want images of 75 pixels or more.

    Shape:
        input (B, C, H, W). Features (B, 2048, H', W').
    """

    grad_checkpointing = False

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Recompute the inception modules in the backward pass instead of keeping their activations."""
        self.grad_checkpointing = enable

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Return timm's patterns for layer decay: one block per inception module, or one per resolution."""
        mixed = [name for name in self.layer_names if name.startswith("Mixed")]
        blocks = [(rf"^{name}", (i,)) for i, name in enumerate(mixed)]
        return {"stem": r"^Conv2d", "blocks": r"^Mixed_(\d)" if coarse else blocks}

    def forward_features(self, x: Tensor) -> Tensor:
        for name in self.layer_names:
            layer = getattr(self, name)
            is_kept = not self.grad_checkpointing or not torch.is_grad_enabled() or not name.startswith("Mixed")
            x = layer(x) if is_kept else checkpoint(layer, x, use_reentrant=False)
        return x


def complete_backbone(net: nn.Module) -> None:
    """Change timm's ``InceptionV3`` in place to the subclass above and leave other models unchanged."""
    if type(net) is TimmInceptionV3:
        net.__class__ = InceptionV3

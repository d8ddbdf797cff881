"""Key names of other libraries turned into timm's.

Pure functions from state dict to state dict.
"""

from torch import Tensor

from videozoo.hub.convert.base import rename
from videozoo.hub.convert.torchvision_mobilenet import TORCHVISION

__all__ = ["convert_backbone"]


def convert_backbone(state: dict[str, Tensor], wanted: set[str]) -> dict[str, Tensor]:
    """Return a backbone's state dict under timm's key names, recognized from its keys.

    Args:
        state: tensors by key, with timm's or torchvision's names (of a ResNet they are the same).
        wanted: keys of the model that they are for.
    Returns:
        ``state`` itself where nothing needs another name. Keys without a counterpart stay: strict loading names them.
    """
    if "features.0.0.weight" in state and "blocks.0.0.conv_dw.weight" in wanted:
        return {rename(key, TORCHVISION) or key: value for key, value in state.items()}
    return state

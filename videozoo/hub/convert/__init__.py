"""Key names of other libraries turned into timm's; pure functions from state dict to state dict."""

from torch import Tensor

from videozoo.hub.convert.torchvision_mobilenet import is_torchvision_mobilenet_v2, mobilenet_v2_to_timm

__all__ = ["convert_backbone"]


def convert_backbone(state: dict[str, Tensor], wanted: set[str]) -> dict[str, Tensor]:
    """A backbone's state dict under timm's key names, recognised from its keys.

    Args:
        state: tensors by key, with timm's or torchvision's names (of a ResNet they are the same).
        wanted: keys of the network that they are for.
    Returns:
        ``state`` itself where nothing needs another name.
    """
    if is_torchvision_mobilenet_v2(state) and "blocks.0.0.conv_dw.weight" in wanted:
        return mobilenet_v2_to_timm(state)
    return state

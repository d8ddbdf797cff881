"""X3D of MMAction2, whose weights are ports of the authors'."""

from collections.abc import Mapping

from torch import Tensor

from videozoo.hub.convert.base import Converted, Rules, compose, rename_all
from videozoo.hub.convert.pyslowfast_x3d import network_of

__all__ = ["convert", "matches"]

SOURCE = "MMAction2's X3D"
_NORMALISED_BY = {"mean": (0.45, 0.45, 0.45), "std": (0.22502, 0.22502, 0.22502)}
_BLOCK, _OURS = r"backbone\.layer(\d)\.(\d+)", r"backbone.layer\1.\2"
_RULES: Rules = [
    (r"backbone\.conv1_s\.conv", "backbone.conv1"),
    (r"backbone\.conv1_t\.conv", "backbone.conv1_temporal"),
    (r"backbone\.conv1_t\.bn", "backbone.bn1"),
    (rf"{_BLOCK}\.conv(\d)\.(conv|bn)", rf"{_OURS}.\4\3"),
    (rf"{_BLOCK}\.se_module\.(fc[12])", rf"{_OURS}.se.\3"),
    (rf"{_BLOCK}\.downsample\.conv", rf"{_OURS}.downsample.0"),
    (rf"{_BLOCK}\.downsample\.bn", rf"{_OURS}.downsample.1"),
    (r"backbone\.conv5\.(conv|bn)", r"backbone.head_\1"),
    (r"cls_head\.fc1", "backbone.pooled_conv"),
    (r"cls_head\.fc2", "fc"),
]


def matches(state: Mapping[str, Tensor]) -> bool:
    """Return whether the keys are those of MMAction2's X3D."""
    return "backbone.conv1_s.conv.weight" in state and "backbone.conv5.conv.weight" in state


def convert(state: Mapping[str, Tensor]) -> Converted:
    """Convert the checkpoint to videozoo's keys.

    S and M are one network and differ in their clips, which the file does not show. S is assumed.

    Raises:
        ConvertError: a key has no place, or the depths or widths of a model that is not published.
    """
    new, dropped = rename_all(state, _RULES, SOURCE)
    name, num_frames = network_of(new, SOURCE)
    weight = new.get("backbone.pooled_conv.weight")
    if weight is not None and weight.ndim == 2:  # a linear layer there, a convolution of one pixel here
        new["backbone.pooled_conv.weight"] = weight[:, :, None, None, None]
    return compose(new, dropped, name, num_frames=num_frames, cfg=_NORMALISED_BY)

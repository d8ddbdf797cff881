"""CSN of MMAction2, most of whose weights are ports of the authors' (VMZ)."""

from collections.abc import Mapping

from torch import Tensor

from videozoo.hub.convert.base import Converted, Rules, compose, depth_of, rename_all

__all__ = ["convert", "matches"]

SOURCE = "MMAction2's CSN"
_DEPTHS: dict[tuple[int, ...], int] = {(3, 4, 6, 3): 50, (3, 4, 23, 3): 101, (3, 8, 36, 3): 152}
_BLOCK, _OURS = r"backbone\.layer(\d)\.(\d+)", r"backbone.layer\1.\2"


def _rules(is_mixing: bool) -> Rules:
    depthwise = 1 if is_mixing else 0
    return [
        (r"backbone\.conv1\.(conv|bn)", r"backbone.\g<1>1"),
        (rf"{_BLOCK}\.conv([13])\.(conv|bn)", rf"{_OURS}.\4\3"),
        *([(rf"{_BLOCK}\.conv2\.0\.conv", rf"{_OURS}.conv2.0")] if is_mixing else []),
        *([(rf"{_BLOCK}\.conv2\.0\.bn", rf"{_OURS}.conv2.1")] if is_mixing else []),
        (rf"{_BLOCK}\.conv2\.{depthwise}\.conv", rf"{_OURS}.conv2{'.2' if is_mixing else ''}"),
        (rf"{_BLOCK}\.conv2\.{depthwise}\.bn", rf"{_OURS}.bn2"),
        (rf"{_BLOCK}\.downsample\.conv", rf"{_OURS}.downsample.0"),
        (rf"{_BLOCK}\.downsample\.bn", rf"{_OURS}.downsample.1"),
        (r"cls_head\.fc_cls", "fc"),
    ]


def matches(state: Mapping[str, Tensor]) -> bool:
    """Return whether the keys are those of MMAction2's CSN."""
    return "backbone.layer1.0.conv2.0.conv.weight" in state and "cls_head.fc_cls.weight" in state


def convert(state: Mapping[str, Tensor]) -> Converted:
    """Convert the checkpoint to videozoo's keys.

    Depth and kind of block are read from the keys. 32 frames are assumed. What frames are normalized by is not in the
    file: ImageNet's values for weights that began with IG-65M, and those of VMZ for all others.

    Raises:
        ConvertError: a key has no place, or another depth than 50, 101 or 152.
    """
    is_mixing = "backbone.layer1.0.conv2.1.conv.weight" in state
    new, dropped = rename_all(state, _rules(is_mixing), SOURCE)
    name = f"csn_{'ip' if is_mixing else 'ir'}_resnet{depth_of(new, _DEPTHS, SOURCE)}"
    return compose(new, dropped, name, num_frames=32)

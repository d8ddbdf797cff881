"""I3D on Inception, of the PyTorch port of DeepMind's weights."""

from collections.abc import Mapping

from torch import Tensor

from videozoo.hub.convert.base import Converted, compose, rename_all

__all__ = ["convert", "matches"]

SOURCE = "I3D in PyTorch"
_KINDS = {"conv3d": "conv", "bn": "bn"}
_BRANCHES = {"b0": "0", "b1a": "1a", "b1b": "1b", "b2a": "2a", "b2b": "2b", "b3b": "3"}
_RULES = [
    *((rf"Conv3d_1a_7x7\.{old}", f"backbone.{name}1") for old, name in _KINDS.items()),
    *((rf"Conv3d_(2[bc])_\dx\d\.{old}", rf"backbone.stage1.{name}_\1") for old, name in _KINDS.items()),
    *(
        (rf"Mixed_({stage + 1}\w)\.{branch}\.{old}", rf"backbone.stage{stage}.inception_\1.{name}_{ours}")
        for stage in (2, 3, 4)
        for branch, ours in _BRANCHES.items()
        for old, name in _KINDS.items()
    ),
    (r"logits\.conv3d", "fc"),
]


def matches(state: Mapping[str, Tensor]) -> bool:
    """Return whether the keys are those of the PyTorch port of I3D."""
    return "Conv3d_1a_7x7.conv3d.weight" in state and "Mixed_5c.b0.conv3d.weight" in state


def convert(state: Mapping[str, Tensor]) -> Converted:
    """Convert the checkpoint to videozoo's keys.

    Its classifier, a convolution of kernel 1, becomes a linear map. The number of frames cannot be read from the keys.
    64 is assumed. Values are expected from -1 to 1. Weights for optical flow have two input channels.

    Raises:
        ConvertError: a key has no place.
    """
    new, dropped = rename_all(state, _RULES, SOURCE)
    if "fc.weight" in new:
        new["fc.weight"] = new["fc.weight"].flatten(1)
    channels = new["backbone.conv1.weight"].shape[1]
    cfg = {"mean": (0.5,) * channels, "std": (0.5,) * channels}
    converted = compose(new, dropped, "i3d_inception_v1", num_frames=64, cfg=cfg)
    converted.spec["in_chans"] = channels
    return converted

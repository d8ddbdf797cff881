"""Checkpoints of PySlowFast's model zoo in Caffe2's form: the networks are the same, the names are others."""

import re
from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor

from videozoo.hub.convert import pyslowfast, pyslowfast_x3d
from videozoo.hub.convert.base import Converted, ConvertError
from videozoo.text import some

__all__ = ["convert", "matches"]

SOURCE = "PySlowFast's Caffe2 models"
# The last part of a blob's name. Variances are what they are called here, whatever riv stands for.
_LEAVES = {"w": "weight", "b": "bias", "s": "weight", "rm": "running_mean", "riv": "running_var"}
_OF_TRAINING = r".*_momentum|lr|(?:model_|current_)?iter"
_SLOW = [
    (r"res_conv1_bn", r"s1.pathway0_stem.bn"),
    (r"(conv1|conv1_xy)", r"s1.pathway0_stem.\1"),
    (r"res(\d)_(\d+)_branch1(|_bn)", r"s\1.pathway0_res\2.branch1\3"),
    (r"res(\d)_(\d+)_branch2([abc])(|_bn)", r"s\1.pathway0_res\2.branch2.\3\4"),
]
_NAMES = [
    *_SLOW,
    *((f"t_{old}", new.replace("pathway0", "pathway1")) for old, new in _SLOW),
    (r"t_pool1_subsample", r"s1_fuse.conv_f2s"),
    (r"t_pool1_subsample_bn", r"s1_fuse.bn"),
    (r"t_res(\d)_\d+_branch2c_bn_subsample", r"s\1_fuse.conv_f2s"),
    (r"t_res(\d)_\d+_branch2c_bn_subsample_bn", r"s\1_fuse.bn"),
    (r"nonlocal_conv(\d)_(\d+)_(bn|theta|phi|g|out)", r"s\1.pathway0_nonlocal\2.\3"),
    (r"res(\d)_(\d+)_branch2b_bn_(fc[12])", r"s\1.pathway0_res\2.branch2.se.\3"),
    (r"(conv_5|conv_5_bn|lin_5)", r"head.\1"),
    (r"pred", r"head.projection"),
]


def matches(state: Mapping[str, Tensor]) -> bool:
    """Return whether the keys are the blobs of a 3-D network. Those of an image model have convolutions in 2-D."""
    stem = state.get("conv1_w")
    return stem is not None and stem.ndim == 5 and "res2_0_branch2a_w" in state


def convert(state: Mapping[str, Tensor]) -> Converted:
    """Convert the checkpoint to videozoo's keys, as PySlowFast's own weights.

    Raises:
        ConvertError: a blob has no place, or a variant that is not registered.
    """
    kept = {key: value for key, value in state.items() if not re.fullmatch(_OF_TRAINING, key)}
    names = {key: _name(key) for key in kept}
    left = [key for key, name in names.items() if name is None]
    if left:
        raise ConvertError(f"{SOURCE}: no place for {some(left, 12)}; is it another architecture?")
    native = {name: _shaped(name, kept[key]) for key, name in names.items() if name}
    if len(native) < len(kept):
        raise ConvertError(f"{SOURCE}: two blobs are for one place among {some(list(kept), 12)}.")
    converted = (pyslowfast_x3d if pyslowfast_x3d.matches(native) else pyslowfast).convert(native)
    return replace(converted, dropped=(*(key for key in state if key not in kept), *converted.dropped))


def _name(blob: str) -> str | None:
    """Return PySlowFast's own name of a blob, or None if there is none."""
    start, _, leaf = blob.rpartition("_")
    for pattern, name in _NAMES:
        match = re.fullmatch(pattern, start)
        if match and leaf in _LEAVES:
            return f"{match.expand(name)}.{_LEAVES[leaf]}".replace("_stem.conv1", "_stem.conv")
    return None


def _shaped(name: str, value: Tensor) -> Tensor:
    """Return a convolution of one pixel as such, where Caffe2 has a linear layer. The classifier stays linear."""
    is_conv = name.endswith(".weight") and value.ndim == 2 and not name.startswith("head.projection")
    return value[:, :, None, None, None] if is_conv else value

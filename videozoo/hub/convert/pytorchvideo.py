"""ResNets, CSN, R(2+1)D, SlowFast and X3D of PyTorchVideo, by way of PySlowFast's names."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace

from torch import Tensor

from videozoo.hub.convert import pyslowfast, pyslowfast_x3d
from videozoo.hub.convert.base import Converted, ConvertError, Rules, compose, depth_of, rename_all

__all__ = ["convert", "matches"]

SOURCE = "PyTorchVideo"
_NORMALISED_BY = {"mean": (0.45, 0.45, 0.45), "std": (0.225, 0.225, 0.225)}
_DEPTHS: dict[tuple[int, ...], int] = {(3, 4, 6, 3): 50, (3, 4, 23, 3): 101, (3, 8, 36, 3): 152}
_OUTSIDE = [
    # X3D's convolution over space is called conv_t there, and the one over time conv_xy.
    (r"blocks\.0\.conv\.conv_t", "s1.pathway0_stem.conv_xy"),
    (r"blocks\.0\.conv(?:\.conv_xy)?", "s1.pathway0_stem.conv"),
    (r"blocks\.0\.norm", "s1.pathway0_stem.bn"),
    (r"blocks\.0\.multipathway_blocks\.([01])\.conv", r"s1.pathway\1_stem.conv"),
    (r"blocks\.0\.multipathway_blocks\.([01])\.norm", r"s1.pathway\1_stem.bn"),
    *(
        rule
        for index in range(4)
        for rule in (
            (rf"blocks\.{index}\.multipathway_fusion\.conv_fast_to_slow", f"s{index + 1}_fuse.conv_f2s"),
            (rf"blocks\.{index}\.multipathway_fusion\.norm", f"s{index + 1}_fuse.bn"),
        )
    ),
    (r"blocks\.\d\.proj", "head.projection"),
    (r"blocks\.\d\.pool\.pre_conv", "head.conv_5"),
    (r"blocks\.\d\.pool\.pre_norm", "head.conv_5_bn"),
    (r"blocks\.\d\.pool\.post_conv", "head.lin_5"),
]
_INSIDE = {
    **{"branch1_conv": "branch1", "branch1_norm": "branch1_bn", r"branch2\.norm_b\.0": "branch2.b_bn"},
    **{rf"branch2\.conv_{letter}": f"branch2.{letter}" for letter in "abc"},
    **{rf"branch2\.norm_{letter}": f"branch2.{letter}_bn" for letter in "abc"},
    **{r"branch2\.norm_b\.1\.block\.0": "branch2.se.fc1", r"branch2\.norm_b\.1\.block\.2": "branch2.se.fc2"},
    # R(2+1)D: first over time, then over space.
    **{r"branch2\.conv_b\.conv_t": "branch2.b.0", r"branch2\.conv_b\.norm": "branch2.b.1"},
    **{r"branch2\.conv_b\.conv_xy": "branch2.b.3"},
}
_PARTS_OF_B = [
    (rf"s{i + 1}\.pathway0_res(\d+)\.branch2\.b\.(\d)", rf"backbone.layer{i}.\1.conv2.\2") for i in range(1, 5)
]


def matches(state: Mapping[str, Tensor]) -> bool:
    """Return whether the keys are those of PyTorchVideo's models of residual blocks."""
    starts = ("blocks.0.conv.weight", "blocks.0.conv.conv_t.weight", "blocks.0.multipathway_blocks.0.conv.weight")
    return any(key in state for key in starts) and any(key.endswith(".branch2.conv_a.weight") for key in state)


def convert(state: Mapping[str, Tensor]) -> Converted:
    """Convert the checkpoint to videozoo's keys.

    Most networks are PySlowFast's. But X3D has no norm in its very first shortcut, and PySlowFast has no CSN and no
    R(2+1)D. How many frames a model takes is not in the file: the published number is assumed, 8 for Slow, and 13 for
    X3D-XS, -S and -M, which are one network. A pooling between the first two stages shows in the numbers of the blocks:
    C2D without one is TSN.

    Raises:
        ConvertError: a key has no place, or a variant that is not published.
    """
    native, dropped = rename_all(state, _rules(state), SOURCE)
    second = native.get("s2.pathway0_res0.branch2.b.weight")
    if pyslowfast_x3d.matches(native):
        converted = pyslowfast_x3d.convert(native)
    elif second is None:
        converted = _convert_single(native, "r2plus1d_resnet{}_ptv", 50, 16)
    elif second.shape[1] == 1:
        converted = _convert_single(native, "csn_ir_resnet{}_ptv", 101, 32)
    else:
        converted = pyslowfast.convert(native)
        if converted.spec["backbone"] == "slowfast_resnet101_8x8_50":  # published for 16x8 only
            converted.spec["num_frames"] = 64
    if converted.spec["backbone"] == "c2d_resnet50":
        converted = _c2d(converted, has_pool=2 not in _stage_numbers(state))
    return replace(converted, dropped=(*dropped, *converted.dropped))


def _c2d(converted: Converted, has_pool: bool) -> Converted:
    """Return C2D with its pooling over time, or the network that is left without it."""
    if has_pool:
        return replace(converted, alternatives=())
    (other,) = converted.alternatives
    state = converted.state if other.state is None else other.state
    return replace(converted, state=state, spec={**converted.spec, **other.spec}, alternatives=())


def _stage_numbers(state: Iterable[str]) -> list[int]:
    """Return the numbers that the blocks of the four stages have."""
    return sorted({int(match[1]) for key in state if (match := re.match(r"blocks\.(\d+)\..*\bres_blocks\.", key))})


def _rules(state: Mapping[str, Tensor]) -> Rules:
    """Return the rules for these keys. A pooling between the stages shifts the numbers of those behind it."""
    rules = list(_OUTSIDE)
    for stage, number in enumerate(_stage_numbers(state), start=2):
        for old, new in _INSIDE.items():
            rules += [
                (rf"blocks\.{number}\.res_blocks\.(\d+)\.{old}", rf"s{stage}.pathway0_res\1.{new}"),
                (
                    rf"blocks\.{number}\.multipathway_blocks\.([01])\.res_blocks\.(\d+)\.{old}",
                    rf"s{stage}.pathway\1_res\2.{new}",
                ),
            ]
    return rules


def _convert_single(native: Mapping[str, Tensor], name: str, published: int, num_frames: int) -> Converted:
    new, dropped = rename_all(native, [*_PARTS_OF_B, *pyslowfast.RULES_OF_ONE], SOURCE)
    depth = depth_of(new, _DEPTHS, SOURCE)
    if depth != published:
        raise ConvertError(
            f"{SOURCE}: {name.format(depth)} is not published; of its kind, only {published} layers are."
        )
    return compose(new, dropped, name.format(depth), num_frames=num_frames, cfg=_NORMALISED_BY)

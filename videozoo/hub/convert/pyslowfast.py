"""SlowFast, Slow, I3D and C2D of PySlowFast, the authors' code, with and without non-local blocks."""

from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor

from videozoo.hub.convert.base import Alternative, Converted, ConvertError, Rules, compose, depth_of, rename_all
from videozoo.hub.convert.pathways import EVERY_SECOND, I3D_KERNELS, SLOW_KERNELS, Kernels, read_pathway

__all__ = ["RULES_OF_ONE", "convert", "matches"]

SOURCE = "PySlowFast"
_DEPTHS: dict[tuple[int, ...], int] = {(3, 4, 6, 3): 50, (3, 4, 23, 3): 101}
_NORMALISED_BY = {"mean": (0.45, 0.45, 0.45), "std": (0.225, 0.225, 0.225)}
# Temporal kernels of the stem and of the stages, of models with one pathway.
_SINGLE: dict[str, tuple[int, Kernels]] = {
    "slowonly": (1, SLOW_KERNELS),
    "i3d": (5, I3D_KERNELS),
    "c2d": (1, ((1,), (1,), (1,), (1,))),
}
# Those of both pathways, by the end of our name. In a ResNet-101 only six blocks of the third stage may see frames.
_AS_IN_50 = (3,) * 6 + (1,) * 17
_PAIRS: dict[str, tuple[Kernels, Kernels]] = {
    "": (SLOW_KERNELS, ((3,), (3,), (3,), (3,))),
    "_50": (((1,), (1,), _AS_IN_50, (3,)), ((3,), (3,), _AS_IN_50, (3,))),
}
# Non-local blocks by model.
_NON_LOCAL = {
    "i3d_resnet50": EVERY_SECOND,
    "i3d_resnet101": EVERY_SECOND,
    "c2d_resnet50": EVERY_SECOND,
    "slowfast_resnet101_8x8_50": {(3, 6), (3, 13), (3, 20)},
}


def _block_rules(pathway: int, new: str) -> Rules:
    """Return the rules for the blocks of stages s2 to s5. ``new`` takes our stage's number."""
    rules = []
    for stage in (2, 3, 4, 5):
        old, ours = rf"s{stage}\.pathway{pathway}_res(\d+)", new.format(stage - 1)
        for number, letter in enumerate("abc", start=1):
            rules += [
                (rf"{old}\.branch2\.{letter}", rf"{ours}.\1.conv{number}"),
                (rf"{old}\.branch2\.{letter}_bn", rf"{ours}.\1.bn{number}"),
            ]
        rules += [(rf"{old}\.branch1", rf"{ours}.\1.downsample.0"), (rf"{old}\.branch1_bn", rf"{ours}.\1.downsample.1")]
        added = rf"s{stage}\.pathway{pathway}_nonlocal(\d+)"
        rules.append((rf"{added}\.(?:conv_)?(theta|phi|g|out|bn)", rf"{ours}.\1.non_local.\2"))
    return rules


_HEAD = (r"head\.projection", "fc")
RULES_OF_ONE = [
    (r"s1\.pathway0_stem\.conv", "backbone.conv1"),
    (r"s1\.pathway0_stem\.bn", "backbone.bn1"),
    *_block_rules(0, "backbone.layer{}"),
    _HEAD,
]
_OF_TWO = [
    (r"s1\.pathway0_stem\.(conv|bn)", r"backbone.stem.slow.\1"),
    (r"s1\.pathway1_stem\.(conv|bn)", r"backbone.stem.fast.\1"),
    (r"s([1234])_fuse\.conv_f2s", r"backbone.layer\1.lateral.conv"),
    (r"s([1234])_fuse\.bn", r"backbone.layer\1.lateral.bn"),
    *_block_rules(0, "backbone.layer{}.slow"),
    *_block_rules(1, "backbone.layer{}.fast"),
    _HEAD,
]


def matches(state: Mapping[str, Tensor]) -> bool:
    """Return whether the keys are those of PySlowFast's models of one or two pathways. X3D has its own converter."""
    return "s1.pathway0_stem.conv.weight" in state and "s1.pathway0_stem.conv_xy.weight" not in state


def convert(state: Mapping[str, Tensor]) -> Converted:
    """Convert the checkpoint to videozoo's keys.

    The model is recognized by its temporal kernels and non-local blocks. Neither the number of frames nor how many of
    them the slow pathway leaves out is in the shapes: with ResNet-50 a lateral kernel of 5 means 4x16 and one of 7
    means 8x8, with ResNet-101 a kernel of 5 means 8x8, as in every configuration that is published. Models of one
    pathway take any number of frames. 8 is assumed.

    Raises:
        ConvertError: a key has no place, or a variant that is not registered.
    """
    is_pair = "s1.pathway1_stem.conv.weight" in state
    new, dropped = rename_all(state, _OF_TWO if is_pair else RULES_OF_ONE, SOURCE)
    name = _name_of_two(new) if is_pair else _name_of_one(new)
    found = read_pathway(new, "slow." if is_pair else "")
    if found.non_local and found.non_local != _NON_LOCAL.get(name):
        raise ConvertError(f"{SOURCE}: {name} has {found}; known with non-local blocks are {', '.join(_NON_LOCAL)}.")
    frames = 64 if found.non_local and is_pair else 32 if is_pair else 8
    name = f"{name}_nl" if found.non_local else name
    converted = compose(new, dropped, name, num_frames=frames, cfg=_NORMALISED_BY)
    return replace(converted, alternatives=_alternatives(converted))


def _alternatives(converted: Converted) -> tuple[Alternative, ...]:
    """Return the models that differ in strides and pooling only."""
    backbone: str = converted.spec["backbone"]
    if backbone in ("i3d_resnet50", "i3d_resnet50_nl"):
        return (Alternative({"backbone": f"{backbone}_s16", "num_frames": 32}),)
    if backbone == "slowfast_resnet101_8x8_50_nl":
        return (Alternative({"backbone": f"{backbone}_pool2"}),)
    if backbone == "c2d_resnet50":  # TSN without its pooling over time
        flat = {key: value.squeeze(2) if value.ndim == 5 else value for key, value in converted.state.items()}
        return (Alternative({"backbone": "resnet50"}, "ResNet_nopool", flat),)
    return ()


def _name_of_one(new: Mapping[str, Tensor]) -> str:
    depth, found = depth_of(new, _DEPTHS, SOURCE), read_pathway(new)
    kind = next((kind for kind, kernels in _SINGLE.items() if found.has_kernels(*kernels)), None)
    if kind is None or (kind, depth) == ("c2d", 101):
        raise ConvertError(f"{SOURCE}: ResNet-{depth} has {found}; known are {', '.join(_SINGLE)}, as published.")
    return f"{kind}_resnet{depth}"


def _name_of_two(new: Mapping[str, Tensor]) -> str:
    slow, fast = (depth_of(new, _DEPTHS, SOURCE, f"{path}.") for path in ("slow", "fast"))
    kernel = new["backbone.layer1.lateral.conv.weight"].shape[2]
    rate = {(50, 5): "4x16", (50, 7): "8x8", (101, 5): "8x8"}.get((slow, kernel))
    if rate is None or fast != slow:
        raise ConvertError(
            f"{SOURCE}: depths {slow} and {fast} with a lateral kernel of {kernel}; "
            "known are 50 with 5 or 7, and 101 with 5."
        )
    found = read_pathway(new, "slow."), read_pathway(new, "fast.")
    for end, (slow_kernels, fast_kernels) in _PAIRS.items():
        if found[0].has_kernels(1, slow_kernels) and found[1].has_kernels(5, fast_kernels):
            return f"slowfast_resnet{slow}_{rate}{end}"
    raise ConvertError(f"{SOURCE}: no published SlowFast has {found[0]} (slow), and {found[1]} (fast).")

"""SlowFast and Slow of PySlowFast, the authors' code."""

from collections.abc import Mapping

from torch import Tensor

from videozoo.hub.convert.base import Converted, ConvertError, Rules, compose, depth_of, rename_all

__all__ = ["convert", "matches"]

SOURCE = "PySlowFast"
_DEPTHS: dict[tuple[int, ...], int] = {(3, 4, 6, 3): 50, (3, 4, 23, 3): 101}
_NORMALISED_BY = {"mean": (0.45, 0.45, 0.45), "std": (0.225, 0.225, 0.225)}


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
    return rules


_HEAD = (r"head\.projection", "fc")
_SLOW = [
    (r"s1\.pathway0_stem\.conv", "backbone.conv1"),
    (r"s1\.pathway0_stem\.bn", "backbone.bn1"),
    *_block_rules(0, "backbone.layer{}"),
    _HEAD,
]
_SLOWFAST = [
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

    How many frames the slow pathway leaves out is not in the shapes: with ResNet-50 a lateral kernel of 5 means 4x16
    and one of 7 means 8x8, with ResNet-101 a kernel of 5 means 8x8, as in every configuration that is published. Slow
    takes any number of frames. 8 is assumed.

    Raises:
        ConvertError: a key has no place (non-local blocks), or a variant that is not registered.
    """
    is_pair = "s1.pathway1_stem.conv.weight" in state
    new, dropped = rename_all(state, _SLOWFAST if is_pair else _SLOW, SOURCE)
    name = f"slowfast_{_variant(new)}" if is_pair else f"slowonly_resnet{depth_of(new, _DEPTHS, SOURCE)}"
    _check_kernels(state, is_pair)
    return compose(new, dropped, name, num_frames=32 if is_pair else 8, cfg=_NORMALISED_BY)


def _variant(new: Mapping[str, Tensor]) -> str:
    slow, fast = (depth_of(new, _DEPTHS, SOURCE, f"{path}.") for path in ("slow", "fast"))
    kernel = new["backbone.layer1.lateral.conv.weight"].shape[2]
    rate = {(50, 5): "4x16", (50, 7): "8x8", (101, 5): "8x8"}.get((slow, kernel))
    if rate is None or fast != slow:
        raise ConvertError(
            f"{SOURCE}: depths {slow} and {fast} with a lateral kernel of {kernel}; "
            "known are 50 with 5 or 7, and 101 with 5."
        )
    return f"resnet{slow}_{rate}"


def _check_kernels(state: Mapping[str, Tensor], is_pair: bool) -> None:
    """C2D and I3D have the same keys, and some ResNet-101s leave temporal kernels out: tell them apart by shape."""
    wanted = {0: (1, 1, 1, 3, 3), **({1: (5, 3, 3, 3, 3)} if is_pair else {})}
    for pathway, (stem, *kernels) in wanted.items():
        found = {f"s1.pathway{pathway}_stem.conv.weight": stem}
        for stage, kernel in zip((2, 3, 4, 5), kernels, strict=True):
            start = f"s{stage}.pathway{pathway}_res"
            found.update({k: kernel for k in state if k.startswith(start) and k.endswith("branch2.a.weight")})
        wrong = [
            f"{key} has {state[key].shape[2]}, not {kernel}"
            for key, kernel in found.items()
            if state[key].shape[2] != kernel
        ]
        if wrong:
            kind = "SlowFast" if is_pair else "Slow"
            raise ConvertError(f"{SOURCE}: temporal kernels are not those of {kind}: {'; '.join(wrong[:4])}.")

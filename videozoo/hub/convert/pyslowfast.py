"""SlowFast and Slow of PySlowFast, the authors' code."""

from collections.abc import Mapping

from torch import Tensor

from videozoo.hub.convert.base import Converted, ConvertError, count_blocks, rename, rename_all

__all__ = ["convert", "matches"]

SOURCE = "PySlowFast"
_LEAF = r"(weight|bias|running_mean|running_var|num_batches_tracked)"
_CONVS = {"a": 1, "b": 2, "c": 3}
_DEPTHS = {(3, 4, 6, 3): 50, (3, 4, 23, 3): 101}
_NORMALISED_BY = {"mean": (0.45, 0.45, 0.45), "std": (0.225, 0.225, 0.225)}


def _block_rules(pathway: int, new: str) -> list[tuple[str, str]]:
    """Rules for the blocks of stages s2 to s5; ``new`` has one group, our stage's number."""
    rules = []
    for stage in (2, 3, 4, 5):
        old, ours = rf"s{stage}\.pathway{pathway}_res(\d+)", new.format(stage - 1)
        for letter, number in _CONVS.items():
            rules += [
                (rf"{old}\.branch2\.{letter}\.{_LEAF}", rf"{ours}.\1.conv{number}.\2"),
                (rf"{old}\.branch2\.{letter}_bn\.{_LEAF}", rf"{ours}.\1.bn{number}.\2"),
            ]
        rules += [
            (rf"{old}\.branch1\.{_LEAF}", rf"{ours}.\1.downsample.0.\2"),
            (rf"{old}\.branch1_bn\.{_LEAF}", rf"{ours}.\1.downsample.1.\2"),
        ]
    return rules


_HEAD = (r"head\.projection\.(weight|bias)", r"fc.\1")
_SLOW = [
    (rf"s1\.pathway0_stem\.conv\.{_LEAF}", r"backbone.conv1.\1"),
    (rf"s1\.pathway0_stem\.bn\.{_LEAF}", r"backbone.bn1.\1"),
    *_block_rules(0, "backbone.layer{}"),
    _HEAD,
]
_SLOWFAST = [
    (rf"s1\.pathway0_stem\.(conv|bn)\.{_LEAF}", r"backbone.stem.slow.\1.\2"),
    (rf"s1\.pathway1_stem\.(conv|bn)\.{_LEAF}", r"backbone.stem.fast.\1.\2"),
    *(
        rule
        for i in (1, 2, 3, 4)
        for rule in (
            (rf"s{i}_fuse\.conv_f2s\.{_LEAF}", rf"backbone.layer{i}.lateral.conv.\1"),
            (rf"s{i}_fuse\.bn\.{_LEAF}", rf"backbone.layer{i}.lateral.bn.\1"),
        )
    ),
    *_block_rules(0, "backbone.layer{}.slow"),
    *_block_rules(1, "backbone.layer{}.fast"),
    _HEAD,
]


def matches(state: Mapping[str, Tensor]) -> bool:
    """Whether the keys are those of PySlowFast's networks of one or two pathways."""
    return "s1.pathway0_stem.conv.weight" in state


def convert(state: Mapping[str, Tensor]) -> Converted:
    """The checkpoint under our names.

    How many frames the slow pathway leaves out is not in the shapes: with ResNet-50 a lateral kernel of 5 means 4x16
    and one of 7 means 8x8, with ResNet-101 a kernel of 5 means 8x8, as in every configuration that is published. Slow
    takes any number of frames; 8 is assumed.

    Raises:
        ConvertError: a key has no place (non-local blocks), or a variant that is not registered.
    """
    is_pair = "s1.pathway1_stem.conv.weight" in state
    new, dropped = rename_all(state, lambda key: rename(key, _SLOWFAST if is_pair else _SLOW), SOURCE)
    slow = _depth(state, 0)
    if is_pair:
        name, frames = f"slowfast_{_variant(state, slow)}", 32
    else:
        name, frames = f"slowonly_resnet{slow}", 8
    _check_kernels(state, is_pair)
    spec = {"backbone": name, "temporal": {"name": "tsn"}, "augmenters": [], "num_frames": frames}
    if "fc.weight" in new:
        spec["num_classes"] = new["fc.weight"].shape[0]
    return Converted(new, spec, dropped, dict(_NORMALISED_BY))


def _depth(state: Mapping[str, Tensor], pathway: int) -> int:
    counts = tuple(count_blocks(state, rf"s{stage}\.pathway{pathway}_res(\d+)\.") for stage in (2, 3, 4, 5))
    if counts not in _DEPTHS:
        raise ConvertError(f"{SOURCE}: stages of {counts} blocks; known are {list(_DEPTHS)}.")
    return _DEPTHS[counts]


def _variant(state: Mapping[str, Tensor], slow: int) -> str:
    fast = _depth(state, 1)
    kernel = state["s1_fuse.conv_f2s.weight"].shape[2]
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

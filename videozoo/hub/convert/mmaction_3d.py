"""3-D networks of MMAction2, 0.x and 1.x: SlowFast, SlowOnly, R(2+1)D."""

from collections.abc import Mapping

from torch import Tensor

from videozoo.hub.convert.base import Converted, ConvertError, count_blocks, rename, rename_all

__all__ = ["convert", "matches"]

SOURCE = "MMAction2"
_LEAF = r"(weight|bias|running_mean|running_var|num_batches_tracked)"
_HEAD = (r"cls_head\.fc_cls\.(weight|bias)", r"fc.\1")
_DEPTHS: dict[tuple[int, ...], int] = {(2, 2, 2, 2): 18, (3, 4, 6, 3): 50, (3, 4, 23, 3): 101}


def _block_rules(old: str, new: str) -> list[tuple[str, str]]:
    """Rules for a stage's blocks: ``old`` and ``new`` have one group, the stage's number."""
    return [
        (rf"{old}\.(\d+)\.conv(\d)\.conv\.{_LEAF}", rf"{new}.\2.conv\3.\4"),
        (rf"{old}\.(\d+)\.conv(\d)\.bn\.{_LEAF}", rf"{new}.\2.bn\3.\4"),
        (rf"{old}\.(\d+)\.downsample\.conv\.{_LEAF}", rf"{new}.\2.downsample.0.\3"),
        (rf"{old}\.(\d+)\.downsample\.bn\.{_LEAF}", rf"{new}.\2.downsample.1.\3"),
    ]


_PLAIN = [
    (rf"backbone\.conv1\.conv\.{_LEAF}", r"backbone.conv1.\1"),
    (rf"backbone\.conv1\.bn\.{_LEAF}", r"backbone.bn1.\1"),
    *_block_rules(r"backbone\.layer(\d)", r"backbone.layer\1"),
    _HEAD,
]
_HALVES = {"conv_s": "spatial", "bn_s": "bn", "conv_t": "temporal"}
_FACTORISED = [
    *(
        rule
        for old, new in _HALVES.items()
        for rule in (
            (rf"backbone\.conv1\.conv\.{old}\.{_LEAF}", rf"backbone.conv1.{new}.\1"),
            (rf"backbone\.(layer\d\.\d+\.conv\d)\.conv\.{old}\.{_LEAF}", rf"backbone.\1.{new}.\2"),
            (rf"backbone\.(layer\d\.\d+\.downsample)\.conv\.{old}\.{_LEAF}", rf"backbone.\1.0.{new}.\2"),
        )
    ),
    *_PLAIN,
]
_SLOWFAST = [
    *(
        rule
        for path in ("slow", "fast")
        for rule in (
            (rf"backbone\.{path}_path\.conv1\.(conv|bn)\.{_LEAF}", rf"backbone.stem.{path}.\1.\2"),
            *_block_rules(rf"backbone\.{path}_path\.layer(\d)", rf"backbone.layer\1.{path}"),
        )
    ),
    (rf"backbone\.slow_path\.conv1_lateral\.(conv|bn)\.{_LEAF}", r"backbone.layer1.lateral.\1.\2"),
    *(
        (
            rf"backbone\.slow_path\.layer{i}_lateral\.(conv|bn)\.{_LEAF}",
            rf"backbone.layer{i + 1}.lateral.\1.\2",
        )
        for i in (1, 2, 3)
    ),
    _HEAD,
]


def matches(state: Mapping[str, Tensor]) -> bool:
    """Whether the keys are those of one of these networks."""
    weight = state.get("backbone.conv1.conv.weight")
    return (
        "backbone.slow_path.conv1.conv.weight" in state
        or "backbone.conv1.conv.conv_s.weight" in state
        or (weight is not None and weight.ndim == 5 and weight.shape[2] == 1)
    )


def convert(state: Mapping[str, Tensor]) -> Converted:
    """The checkpoint under our names.

    Depth and lateral kernel are read from the keys and shapes. How many frames the slow pathway leaves out is not in
    them: a lateral kernel of 5 means 4x16, one of 7 means 8x8, as in every configuration that is published. R(2+1)D
    and SlowOnly take any number of frames; 8 is assumed.

    Raises:
        ConvertError: a key has no place, or a variant that is not registered.
    """
    if "backbone.slow_path.conv1.conv.weight" in state:
        backbone, rules, frames = _slowfast_name(state), _SLOWFAST, 32
    elif "backbone.conv1.conv.conv_s.weight" in state:
        backbone, rules, frames = _r2plus1d_name(state), _FACTORISED, 8
    else:
        backbone, rules, frames = f"slowonly_resnet{_depth(state, 'backbone.layer')}", _PLAIN, 8
    new, dropped = rename_all(state, lambda key: rename(key, rules), SOURCE)
    spec = {"backbone": backbone, "temporal": {"name": "tsn"}, "augmenters": [], "num_frames": frames}
    if "fc.weight" in new:
        spec["num_classes"] = new["fc.weight"].shape[0]
    return Converted(new, spec, dropped)


def _depth(state: Mapping[str, Tensor], prefix: str) -> int:
    counts = tuple(count_blocks(state, rf"{prefix}{i}\.(\d+)\.") for i in (1, 2, 3, 4))
    depth = _DEPTHS.get(counts)
    if depth == 50 and f"{prefix}1.0.conv3.conv.weight" not in state:
        depth = 34
    if depth is None:
        raise ConvertError(f"{SOURCE}: stages of {counts} blocks at {prefix}*; known are {list(_DEPTHS)}.")
    return depth


def _slowfast_name(state: Mapping[str, Tensor]) -> str:
    slow, fast = (_depth(state, f"backbone.{path}_path.layer") for path in ("slow", "fast"))
    lateral = state.get("backbone.slow_path.conv1_lateral.conv.weight")
    kernel = 0 if lateral is None else lateral.shape[2]
    rate = {5: "4x16", 7: "8x8"}.get(kernel)
    if rate is None or "backbone.slow_path.conv1_lateral.bn.weight" in state:
        raise ConvertError(
            f"{SOURCE}: lateral kernel {kernel} or lateral norms; need kernel 5 or 7 and no norms, as it publishes."
        )
    depth = f"resnet{slow}" if slow == fast else f"resnet{slow}_resnet{fast}"
    return f"slowfast_{depth}_{rate}_mm"


def _r2plus1d_name(state: Mapping[str, Tensor]) -> str:
    depth = _depth(state, "backbone.layer")
    if depth != 34:
        raise ConvertError(f"{SOURCE}: R(2+1)D of depth {depth}; only 34 is published and registered.")
    return "r2plus1d_resnet34"

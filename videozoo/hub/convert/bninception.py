"""BN-Inception with TSN, of the TSM repository's code."""

from collections.abc import Mapping

from torch import Tensor

from videozoo.hub.convert.base import Converted, compose, rename_all

__all__ = ["BGR", "RULES", "convert", "frame_rules", "matches"]

SOURCE = "TSN authors' BN-Inception"
# The frames of these authors: blue, green, red from 0 to 255, minus (104, 117, 128). In a config mean and std are
# of values from 0 to 1.
BGR = {"channel_order": "bgr", "mean": (104 / 255, 117 / 255, 128 / 255), "std": (1 / 255, 1 / 255, 1 / 255)}
_BRANCH = r"(1x1|3x3|3x3_reduce|double_3x3_(?:reduce|1|2)|pool_proj)"


def frame_rules(start: str, stages: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return the rules of the network on single frames.

    Args:
        start: pattern of what their keys begin with.
        stages: our stages, with a pattern of their modules' names.
    """
    return [
        (rf"{start}conv1_7x7_s2", "backbone.conv1"),
        (rf"{start}conv1_7x7_s2_bn", "backbone.bn1"),
        (rf"{start}conv2_3x3_reduce", "backbone.stage1.conv_reduce"),
        (rf"{start}conv2_3x3_reduce_bn", "backbone.stage1.bn_reduce"),
        (rf"{start}conv2_3x3", "backbone.stage1.conv_3x3"),
        (rf"{start}conv2_3x3_bn", "backbone.stage1.bn_3x3"),
        *(
            (rf"{start}(inception_(?:{modules}))_{_BRANCH}{end}", rf"backbone.{stage}.\1.{layer}_\2")
            for stage, modules in stages.items()
            for layer, end in (("conv", ""), ("bn", "_bn"))
        ),
    ]


RULES = [
    *frame_rules(r"base_model\.", {"stage2": r"3[ab]", "stage3": r"3c|4[abcd]", "stage4": r"4e|5[ab]"}),
    # With dropout 0 the classifier stands at the backbone's own place.
    (r"new_fc|base_model\.(?:last_linear|fc)", "fc"),
]


def matches(state: Mapping[str, Tensor]) -> bool:
    """Return whether the keys are those of the authors' TSN on BN-Inception."""
    return "base_model.conv1_7x7_s2.weight" in state


def convert(state: Mapping[str, Tensor]) -> Converted:
    """Convert the checkpoint to videozoo's keys.

    The model expects what its authors feed it (:data:`BGR`). The number of frames cannot be read from the keys. 8 is
    assumed.

    Raises:
        ConvertError: a key has no place.
    """
    return compose(*rename_all(state, RULES, SOURCE), "bninception", cfg=BGR)

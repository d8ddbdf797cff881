"""BN-Inception with TSN, of the TSM repository's code."""

from collections.abc import Mapping

from torch import Tensor

from videozoo.hub.convert.base import Converted, compose, rename_all

__all__ = ["RULES", "convert", "matches"]

SOURCE = "TSN authors' BN-Inception"
_STAGES = {2: r"3[ab]", 3: r"3c|4[abcd]", 4: r"4e|5[ab]"}  # ours, with their modules
_BRANCH = r"(1x1|3x3|3x3_reduce|double_3x3_(?:reduce|1|2)|pool_proj)"
RULES = [
    (r"base_model\.conv1_7x7_s2", "backbone.conv1"),
    (r"base_model\.conv1_7x7_s2_bn", "backbone.bn1"),
    (r"base_model\.conv2_3x3_reduce", "backbone.stage1.conv_reduce"),
    (r"base_model\.conv2_3x3_reduce_bn", "backbone.stage1.bn_reduce"),
    (r"base_model\.conv2_3x3", "backbone.stage1.conv_3x3"),
    (r"base_model\.conv2_3x3_bn", "backbone.stage1.bn_3x3"),
    *(
        (rf"base_model\.(inception_(?:{modules}))_{_BRANCH}{end}", rf"backbone.stage{stage}.\1.{layer}_\2")
        for stage, modules in _STAGES.items()
        for layer, end in (("conv", ""), ("bn", "_bn"))
    ),
    # With dropout 0 the classifier stands at the backbone's own place.
    (r"new_fc|base_model\.(?:last_linear|fc)", "fc"),
]


def matches(state: Mapping[str, Tensor]) -> bool:
    """Return whether the keys are those of the authors' TSN on BN-Inception."""
    return "base_model.conv1_7x7_s2.weight" in state


def convert(state: Mapping[str, Tensor]) -> Converted:
    """Convert the checkpoint to videozoo's keys.

    The model expects what its authors feed it: blue, green, red from 0 to 255, minus (104, 117, 128). Channel order,
    mean and std of the config say so for values from 0 to 1. The number of frames cannot be read from the keys. 8 is
    assumed.

    Raises:
        ConvertError: a key has no place.
    """
    mean, std = (104 / 255, 117 / 255, 128 / 255), (1 / 255, 1 / 255, 1 / 255)
    cfg = {"channel_order": "bgr", "mean": mean, "std": std}
    return compose(*rename_all(state, RULES, SOURCE), "bninception", cfg=cfg)

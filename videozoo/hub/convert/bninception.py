"""BN-Inception with TSN, of the TSM repository's code."""

from collections.abc import Mapping

from torch import Tensor

from videozoo.hub.convert.base import Converted, rename, rename_all

__all__ = ["convert", "matches"]

SOURCE = "TSN authors' BN-Inception"
_STAGE_OF = {"3a": 2, "3b": 2, "3c": 3, "4a": 3, "4b": 3, "4c": 3, "4d": 3, "4e": 4, "5a": 4, "5b": 4}
_LEAF = r"(weight|bias|running_mean|running_var|num_batches_tracked)"
_RULES = [
    (rf"conv1_7x7_s2\.{_LEAF}", r"conv1.\1"),
    (rf"conv1_7x7_s2_bn\.{_LEAF}", r"bn1.\1"),
    (rf"conv2_3x3_reduce\.{_LEAF}", r"stage1.conv_reduce.\1"),
    (rf"conv2_3x3_reduce_bn\.{_LEAF}", r"stage1.bn_reduce.\1"),
    (rf"conv2_3x3\.{_LEAF}", r"stage1.conv_3x3.\1"),
    (rf"conv2_3x3_bn\.{_LEAF}", r"stage1.bn_3x3.\1"),
]
for _module, _stage in _STAGE_OF.items():
    _new = f"stage{_stage}.inception_{_module}"
    _branch = r"(1x1|3x3|3x3_reduce|double_3x3_(?:reduce|1|2)|pool_proj)"
    _RULES += [
        (rf"inception_{_module}_{_branch}\.{_LEAF}", rf"{_new}.conv_\1.\2"),
        (rf"inception_{_module}_{_branch}_bn\.{_LEAF}", rf"{_new}.bn_\1.\2"),
    ]


def matches(state: Mapping[str, Tensor]) -> bool:
    """Whether the keys are those of the authors' TSN on BN-Inception."""
    return "base_model.conv1_7x7_s2.weight" in state


def convert(state: Mapping[str, Tensor]) -> Converted:
    """The checkpoint under our names.

    The network expects what its authors feed it: blue, green, red from 0 to 255, minus (104, 117, 128). Channel order,
    mean and std of the config say so for values from 0 to 1. The number of frames cannot be read from the keys; 8 is
    assumed.

    Raises:
        ConvertError: a key has no place.
    """

    def new_name(key: str) -> str | None:
        if key.startswith("base_model."):
            name = rename(key.removeprefix("base_model."), _RULES)
            return None if name is None else f"backbone.{name}"
        # With dropout 0 the classifier stands at the backbone's own place.
        return rename(key, [(r"(?:new_fc|base_model\.(?:last_linear|fc))\.(weight|bias)", r"fc.\1")])

    new, dropped = rename_all(state, new_name, SOURCE)
    spec = {"backbone": "bninception", "temporal": {"name": "tsn"}, "augmenters": [], "num_frames": 8}
    if "fc.weight" in new:
        spec["num_classes"] = new["fc.weight"].shape[0]
    mean = (104 / 255, 117 / 255, 128 / 255)
    cfg = {"channel_order": "bgr", "mean": mean, "std": (1 / 255, 1 / 255, 1 / 255)}
    return Converted(new, spec, dropped, cfg)

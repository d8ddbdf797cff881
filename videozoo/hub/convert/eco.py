"""ECO Lite and ECO full of their authors' repository."""

from collections.abc import Mapping

from torch import Tensor

from videozoo.hub.convert.base import Converted, compose, rename_all
from videozoo.hub.convert.bninception import BGR, frame_rules

__all__ = ["convert", "matches"]

SOURCE = "ECO authors"
_START = r"(?:base_model\.)?"
_STARTS = ("", "base_model.")
# Where the two networks part: our stages with the convolutions of module 3c.
_FORK = {"stage3": "double_3x3_(?:reduce|1)", "stage4": "3x3|3x3_reduce|double_3x3_2"}
_MODULES = {"stage2": r"3[ab]", "stage4.frames": r"4[abcd]", "stage5.frames": r"4e|5[ab]"}


def _block_rules(block: str, before: str, place: str) -> list[tuple[str, str]]:
    """Return the rules of a block: its convolutions, the norm between them, and the norm before them.

    The authors name that norm after the layers before the block.
    """
    places = {f"{before}_bn": "bn1", f"{block}_1": "conv1", f"{block}_1_bn": "bn2", f"{block}_2": "conv2"}
    places[f"{block}_down"] = "downsample"
    return [(rf"{_START}{theirs}", f"backbone.{place}.{ours}") for theirs, ours in places.items()]


_RULES = [
    *frame_rules(_START, _MODULES),
    *(
        (rf"{_START}inception_3c_({convs}){end}", rf"backbone.{stage}.inception_3c.{layer}_\1")
        for stage, convs in _FORK.items()
        for layer, end in (("conv", ""), ("bn", "_bn"))
    ),
    (rf"{_START}res3a_2", "backbone.stage3.clips.conv"),
    *_block_rules("res3b", "res3a", "stage3.clips.b"),
    *_block_rules("res4a", "res3b", "stage4.clips.a"),
    *_block_rules("res4b", "res4a", "stage4.clips.b"),
    *_block_rules("res5a", "res4b", "stage5.clips.a"),
    *_block_rules("res5b", "res5a", "stage5.clips.b"),
    (rf"{_START}res5b_bn", "backbone.stage5.clips.norm"),
    # With dropout 0 the classifier stands at the backbone's own place.
    (rf"new_fc|{_START}fc_final", "fc"),
]


def matches(state: Mapping[str, Tensor]) -> bool:
    """Return whether the keys are those of the authors' ECO, with or without their wrapper."""
    return any(f"{start}res3a_2.weight" in state and f"{start}conv1_7x7_s2.weight" in state for start in _STARTS)


def convert(state: Mapping[str, Tensor]) -> Converted:
    """Convert the checkpoint to videozoo's keys.

    The number of frames cannot be read from the keys. 16 is assumed.

    Raises:
        ConvertError: a key has no place (two classifiers in a row).
    """
    new, dropped = rename_all(state, _RULES, SOURCE)
    kind = "full" if any(key.startswith("backbone.stage4.frames.") for key in new) else "lite"
    return compose(new, dropped, f"eco_{kind}_bninception", num_frames=16, cfg=BGR)

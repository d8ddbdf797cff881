"""MobileNetV2 in torchvision's order of blocks, under timm's key names."""

from collections.abc import Sequence

from videozoo.hub.convert.base import Rules

__all__ = ["TORCHVISION", "mobilenet_v2_rules"]

# Blocks per stage (t, c, n, s of the paper's Table 2); features.1 is the first block, features.18 the last convolution.
_STAGES = (1, 2, 3, 4, 3, 3, 1)
_LAST = 1 + sum(_STAGES)
_FIRST_LAYERS = ("conv_dw", "bn1", "conv_pw", "bn2")  # no expansion
_LAYERS = ("conv_pw", "bn1", "conv_dw", "bn2", "conv_pwl", "bn3")


def mobilenet_v2_rules(old: str, new: str, first: Sequence[str], others: Sequence[str]) -> Rules:
    """Return the rules for all but the classifier.

    Args:
        old, new: patterns of the prefix before ``features``, and the prefix of timm's names.
        first, others: patterns of the layers of the first block and of the others, as their source names them: each
            convolution followed by its norm.
    """
    rules = [
        (rf"{old}features\.0\.0", f"{new}conv_stem"),
        (rf"{old}features\.0\.1", f"{new}bn1"),
        (rf"{old}features\.{_LAST}\.0", f"{new}conv_head"),
        (rf"{old}features\.{_LAST}\.1", f"{new}bn2"),
    ]
    blocks = [f"{stage}.{block}" for stage, depth in enumerate(_STAGES) for block in range(depth)]
    for index, block in enumerate(blocks, start=1):
        layers = zip(first, _FIRST_LAYERS, strict=True) if index == 1 else zip(others, _LAYERS, strict=True)
        rules += [(rf"{old}features\.{index}\.conv\.{a}", f"{new}blocks.{block}.{b}") for a, b in layers]
    return rules


TORCHVISION = [
    *mobilenet_v2_rules("", "", (r"0\.0", r"0\.1", "1", "2"), (r"0\.0", r"0\.1", r"1\.0", r"1\.1", "2", "3")),
    (r"classifier\.1", "classifier"),
]

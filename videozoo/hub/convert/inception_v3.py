"""Inception-V3 of TSN's authors, which the repositories of TSN, TRN and GSM share."""

from collections.abc import Mapping

from torch import Tensor

from videozoo.hub.convert.base import Converted, compose, rename_all
from videozoo.hub.convert.bninception import BGR

__all__ = ["RULES", "convert", "matches"]

SOURCE = "TSN authors' Inception-V3"
# The stages, and the modules of each kind, by the authors' numbers. Their first module has no number.
_STAGES = {2: ("", "1", "2"), 3: tuple("34567"), 4: ("8", "9", "10")}
_SPLIT = ("9", "10")
_LAYERS = (("conv", "Conv2D"), ("bn", "batchnorm"))


def _module_rules(stage: int, number: str) -> list[tuple[str, str]]:
    """Return the places of the convolutions of one module, without their layers."""
    ours = f"backbone.stage{stage}.mixed_{number or 0}"
    theirs = rf"base_model\.mixed{number and f'_{number}'}"
    single = "tower0.0" if number == "3" else "point"
    rules = [(rf"{theirs}_conv", f"{ours}.{single}"), (rf"{theirs}_tower_2_conv", f"{ours}.proj")]
    for tower, place in (("tower", "tower1"), ("tower_1", "tower2")):
        rules += [
            (rf"{theirs}_{tower}_conv", f"{ours}.{place}.0"),
            *((rf"{theirs}_{tower}_conv_{i}", f"{ours}.{place}.{i}") for i in (1, 2, 3, 4)),
        ]
        if number in _SPLIT:
            ends = f"{ours}.ends{place[-1]}"
            rules += [(rf"{theirs}_{tower}_mixed_conv", f"{ends}.0"), (rf"{theirs}_{tower}_mixed_conv_1", f"{ends}.1")]
    return rules


_PLACES = [
    *((rf"base_model\.conv{(i and f'_{i}') or ''}", f"backbone.stem.{i}") for i in (0, 1, 2)),
    *((rf"base_model\.conv_{i}", f"backbone.stage1.{i - 3}") for i in (3, 4)),
    *(rule for stage, numbers in _STAGES.items() for number in numbers for rule in _module_rules(stage, number)),
]
RULES = [
    *((f"{theirs}_{end}", f"{ours}.{layer}") for theirs, ours in _PLACES for layer, end in _LAYERS),
    # With dropout 0 the classifier stands at the backbone's own place.
    (r"new_fc|base_model\.top_cls_fc", "fc"),
]


def matches(state: Mapping[str, Tensor]) -> bool:
    """Return whether the keys are those of the authors' TSN on Inception-V3."""
    return "base_model.conv_Conv2D.weight" in state


def convert(state: Mapping[str, Tensor]) -> Converted:
    """Convert the checkpoint to videozoo's keys.

    The model expects frames as BN-Inception does, but of 229 pixels. The number of frames cannot be read from the keys.
    8 is assumed.

    Raises:
        ConvertError: a key has no place.
    """
    cfg = {**BGR, "input_size": (3, 229, 229)}
    return compose(*rename_all(state, RULES, SOURCE), "inception_v3_tsn", cfg=cfg)

"""S3D of the K400 checkpoint in PyTorch, and the rules that torchvision's S3D shares."""

from collections.abc import Mapping

from torch import Tensor

from videozoo.hub.convert.base import Converted, Rules, compose, rename_all

__all__ = ["convert", "converted_s3d", "matches", "s3d_rules"]

SOURCE = "S3D in PyTorch"
# Ours, by the number of the module in the sequence of both code bases.
_MODULES = {
    first + i: f"stage{stage}.inception_{stage + 1}{letter}"
    for stage, first, letters in ((2, 5, "bc"), (3, 8, "bcdef"), (4, 14, "bc"))
    for i, letter in enumerate(letters)
}


def s3d_rules(start: str, first: str, plain: tuple[str, str], separable: tuple[str, str, str, str]) -> Rules:
    """Return the rules for the backbone.

    Args:
        start: pattern in front of the number of a module.
        first: pattern between the first branch and its convolution.
        plain: patterns of convolution and norm.
        separable: patterns of the convolution and norm over space, and of those over time.
    """
    rules = [
        *_plain(rf"{start}2", "backbone.stage1.{}_2b", plain),
        *_separable(rf"{start}0", "backbone.conv1", "backbone.bn1", separable),
        *_separable(rf"{start}3", "backbone.stage1.conv_2c", "backbone.stage1.bn_2c", separable),
    ]
    for number, name in _MODULES.items():
        branch, ours = rf"{start}{number}\.branch", f"backbone.{name}."
        rules += _plain(rf"{branch}0{first}", f"{ours}{{}}_0", plain)
        for k in (1, 2):
            rules += _plain(rf"{branch}{k}\.0", f"{ours}{{}}_{k}a", plain)
            rules += _separable(rf"{branch}{k}\.1", f"{ours}conv_{k}b", f"{ours}bn_{k}b", separable)
        rules += _plain(rf"{branch}3\.1", f"{ours}{{}}_3", plain)
    return rules


def _plain(theirs: str, ours: str, names: tuple[str, str]) -> list[tuple[str, str]]:
    return [(rf"{theirs}\.{name}", ours.format(kind)) for name, kind in zip(names, ("conv", "bn"), strict=True)]


def _separable(theirs: str, conv: str, norm: str, names: tuple[str, str, str, str]) -> list[tuple[str, str]]:
    places = (f"{conv}.spatial", f"{conv}.bn", f"{conv}.temporal", norm)
    return [(rf"{theirs}\.{name}", place) for name, place in zip(names, places, strict=True)]


_RULES = [
    *s3d_rules(r"base\.", r"\.0", ("conv", "bn"), ("conv_s", "bn_s", "conv_t", "bn_t")),
    (r"fc\.0", "fc"),
]


def matches(state: Mapping[str, Tensor]) -> bool:
    """Return whether the keys are those of the S3D of the K400 checkpoint."""
    return "base.0.conv_s.weight" in state and "base.15.branch0.0.conv.weight" in state


def convert(state: Mapping[str, Tensor]) -> Converted:
    """Convert the checkpoint to videozoo's keys.

    Its classifier, a convolution of kernel 1, becomes a linear map. The number of frames cannot be read from the keys.
    64 is assumed. Pixels are expected from -1 to 1.

    Raises:
        ConvertError: a key has no place.
    """
    return converted_s3d(state, _RULES, SOURCE, 64, {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)})


def converted_s3d(
    state: Mapping[str, Tensor], rules: Rules, source: str, num_frames: int, cfg: Mapping[str, object]
) -> Converted:
    """Rename the keys, flatten the classifier and return the model with its config."""
    new, dropped = rename_all(state, rules, source)
    if "fc.weight" in new:
        new["fc.weight"] = new["fc.weight"].flatten(1)
    return compose(new, dropped, "s3d_inception_v1", num_frames=num_frames, cfg=cfg)

"""X3D of PySlowFast, the authors' code."""

from collections.abc import Iterable, Mapping

from torch import Tensor

from videozoo.hub.convert.base import Converted, ConvertError, Rules, compose, rename_all

__all__ = ["convert", "matches", "network_of"]

SOURCE = "PySlowFast's X3D"
_NORMALISED_BY = {"mean": (0.45, 0.45, 0.45), "std": (0.225, 0.225, 0.225)}
# By blocks of the stages and width of the stem. XS, S and M are one network: S is assumed, of 13 frames.
_NETWORKS: dict[tuple[tuple[int, ...], int], tuple[str, int]] = {
    ((3, 5, 11, 7), 24): ("x3d_small", 13),
    ((5, 10, 25, 15), 24): ("x3d_large", 16),
    ((5, 10, 25, 15), 35): ("x3d_extra_large", 16),
}


def _rules() -> Rules:
    rules = [
        (r"s1\.pathway0_stem\.conv_xy", "backbone.conv1"),
        (r"s1\.pathway0_stem\.conv", "backbone.conv1_temporal"),
        (r"s1\.pathway0_stem\.bn", "backbone.bn1"),
        (r"head\.conv_5", "backbone.head_conv"),
        (r"head\.conv_5_bn", "backbone.head_bn"),
        (r"head\.lin_5", "backbone.pooled_conv"),
        (r"head\.projection", "fc"),
    ]
    for stage in (2, 3, 4, 5):
        old, new = rf"s{stage}\.pathway0_res(\d+)", rf"backbone.layer{stage - 1}.\1"
        for number, letter in enumerate("abc", start=1):
            rules += [(rf"{old}\.branch2\.{letter}", f"{new}.conv{number}")]
            rules += [(rf"{old}\.branch2\.{letter}_bn", f"{new}.bn{number}")]
        rules += [
            (rf"{old}\.branch2\.se\.(fc[12])", rf"{new}.se.\2"),
            (rf"{old}\.branch1", f"{new}.downsample.0"),
            (rf"{old}\.branch1_bn", f"{new}.downsample.1"),
        ]
    return rules


_RULES = _rules()


def matches(state: Mapping[str, Tensor]) -> bool:
    """Return whether the keys are those of PySlowFast's X3D."""
    return "s1.pathway0_stem.conv_xy.weight" in state


def convert(state: Mapping[str, Tensor]) -> Converted:
    """Convert the checkpoint to videozoo's keys.

    XS, S and M are one network and differ in their clips, which the file does not show. S is assumed.

    Raises:
        ConvertError: a key has no place, or the depths or widths of a model that is not published.
    """
    new, dropped = rename_all(state, _RULES, SOURCE)
    name, num_frames = network_of(new, SOURCE)
    return compose(new, dropped, name, num_frames=num_frames, cfg=_NORMALISED_BY)


def network_of(new: Mapping[str, Tensor], source: str) -> tuple[str, int]:
    """Return the backbone whose renamed keys these are, and its usual number of frames.

    Raises:
        ConvertError: the depths or widths of a model that is not published.
    """
    depths = tuple(_num_blocks(new, stage) for stage in (1, 2, 3, 4))
    stem = new.get("backbone.conv1.weight")
    width = 0 if stem is None else stem.shape[0]
    if (depths, width) not in _NETWORKS:
        raise ConvertError(
            f"{source}: stages of {depths} blocks behind a stem of {width} channels; known are "
            f"{', '.join(f'{blocks} with {channels}' for blocks, channels in _NETWORKS)} (X3D-S, -L, -XL)."
        )
    name, num_frames = _NETWORKS[depths, width]
    return (name if "backbone.layer1.0.downsample.1.weight" in new else f"{name}_ptv"), num_frames


def _num_blocks(new: Iterable[str], stage: int) -> int:
    start = f"backbone.layer{stage}."
    return len({key.removeprefix(start).partition(".")[0] for key in new if key.startswith(start)})

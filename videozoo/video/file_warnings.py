"""Descriptions of oddities of a readable video."""

from collections.abc import Sequence

ONE_FRAME = "it has one frame only, like a still picture"


def describe_oddities(num_damaged: int, frames: str, faults: Sequence[str] = (), *, is_still: bool = False) -> str:
    """Return what is odd about the frames that were read, empty where nothing is.

    Args:
        num_damaged: those that show damage, or may.
        frames: of how many or which frames.
        faults: what else is wrong with the file.
        is_still: whether the whole video is one frame.
    """
    damage = [f"{num_damaged} of its {frames} show damage, or may"] if num_damaged else []
    return ", ".join([*damage, *faults, *([ONE_FRAME] if is_still else [])])

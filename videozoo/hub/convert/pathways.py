"""Structure of a 3-D ResNet by its renamed keys: temporal kernels and non-local blocks."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, islice

from torch import Tensor

__all__ = ["EVERY_SECOND", "I3D_KERNELS", "SLOW_KERNELS", "Kernels", "Pathway", "read_pathway"]

Kernels = tuple[tuple[int, ...], ...]
Places = frozenset[tuple[int, int]]

SLOW_KERNELS: Kernels = ((1,), (1,), (3,), (3,))
I3D_KERNELS: Kernels = ((3,), (3, 1), (3, 1), (1, 3))
EVERY_SECOND: Places = frozenset({(2, 1), (2, 3), (3, 1), (3, 3), (3, 5)})


@dataclass(frozen=True)
class Pathway:
    """Where a pathway looks at several frames, and where non-local blocks stand.

    Args:
        stem: temporal kernel of the stem.
        kernels: temporal kernels of the blocks of each stage.
        non_local: stage (from 1) and index of the blocks that a non-local block follows.
    """

    stem: int
    kernels: Kernels
    non_local: Places

    def has_kernels(self, stem: int, patterns: Sequence[tuple[int, ...]]) -> bool:
        """Return whether the temporal kernels are these. ``patterns`` of the stages are repeated over the blocks."""
        expected = (tuple(islice(cycle(own), len(have))) for own, have in zip(patterns, self.kernels, strict=True))
        return self.stem == stem and self.kernels == tuple(expected)

    def __str__(self) -> str:
        kernels = "; ".join(" ".join(map(str, own)) for own in self.kernels)
        places = ", ".join(f"{index} of stage {stage}" for stage, index in sorted(self.non_local)) or "none"
        return (
            f"temporal kernel {self.stem} in the stem, {kernels} in the stages, non-local blocks after blocks {places}"
        )


def read_pathway(new: Mapping[str, Tensor], path: str = "") -> Pathway:
    """Return the structure of a 3-D ResNet.

    Args:
        new: tensors under our keys.
        path: the pathway, ``slow.`` or ``fast.``, that follows the stage in the keys.
    """
    stem = new[f"backbone.stem.{path}conv.weight" if path else "backbone.conv1.weight"].shape[2]
    kernels: list[dict[int, int]] = [{}, {}, {}, {}]
    non_local = set()
    for key, value in new.items():
        match = re.fullmatch(rf"backbone\.layer([1-4])\.{path}(\d+)\.(conv1|non_local\.bn)\.weight", key)
        if match and match[3] == "conv1":
            kernels[int(match[1]) - 1][int(match[2])] = value.shape[2]
        elif match:
            non_local.add((int(match[1]), int(match[2])))
    return Pathway(stem, tuple(tuple(own[i] for i in sorted(own)) for own in kernels), frozenset(non_local))

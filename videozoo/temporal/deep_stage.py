"""Rule of TSM's authors for deep backbones."""

from collections import Counter

from torch import nn

from videozoo.surgery import find_blocks

__all__ = ["has_deep_stage"]

_DEEP_STAGE = 23  # blocks, as in ResNet-101


def has_deep_stage(net: nn.Module) -> bool:
    """Return whether a stage has 23 blocks or more, where the authors change every second block only."""
    stages = Counter(block.parent for block in find_blocks(net))
    return max(stages.values(), default=0) >= _DEEP_STAGE

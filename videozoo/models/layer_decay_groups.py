"""Layer groups for layer decay: timm's patterns, with the layers that temporal modules and augmenters added."""

import re
from typing import Any

from timm.models._manipulate import MATCH_PREV_GROUP
from torch import nn

__all__ = ["layer_groups", "prefixed"]


def layer_groups(backbone: Any, coarse: bool = False) -> dict[str, Any]:
    """Return timm's patterns by group, for the keys of a backbone.

    What was added to a stage, outside its blocks, is in the group of the stage's last block. A timm backbone without
    patterns has one group for each of its parts, in order. A neck (TPN's) comes after the last stage.

    Args:
        backbone: a model of timm, or one with timm's interface.
        coarse: one group per stage instead of one per block.
    """
    fine, stages = (_own_patterns(backbone, coarse=one) for one in (coarse, True))
    groups = {group: _rows(spec) for group, spec in fine.items() if spec is not None}
    if not coarse:
        for group, spec in stages.items():
            if group in groups and spec is not None:
                groups[group] += [(pattern, MATCH_PREV_GROUP) for pattern, _ in _rows(spec)]
    if hasattr(backbone, "neck"):
        groups.setdefault("neck", []).append((r"^neck\.", None))
    return groups


def _own_patterns(backbone: Any, coarse: bool) -> dict[str, Any]:
    own = getattr(backbone, "group_matcher", None)
    found = None if own is None else own(coarse=coarse)
    if isinstance(found, dict):
        return found
    # None at all, or a function of the name, to which no prefix can be added.
    names = []
    for name, child in backbone.named_children():
        is_list = isinstance(child, nn.Sequential | nn.ModuleList)
        names += [f"{name}.{key}" for key, _ in child.named_children()] if is_list else [name]
    return {"parts": [(rf"^{re.escape(name)}\.", (i,)) for i, name in enumerate(names)]}


def _rows(spec: Any) -> list[tuple[str, Any]]:
    return [(spec, None)] if isinstance(spec, str) else [tuple(row) for row in spec]


def prefixed(spec: Any, prefix: str) -> Any:
    """Put ``prefix`` before timm's patterns: a string, or a list of strings or of (pattern, order) pairs."""
    if isinstance(spec, str):
        return rf"^{prefix}(?:{spec.replace('^', '')})"
    if isinstance(spec, tuple) and len(spec) == 2 and not isinstance(spec[1], str):
        return (prefixed(spec[0], prefix), spec[1])
    return type(spec)(prefixed(item, prefix) for item in spec)

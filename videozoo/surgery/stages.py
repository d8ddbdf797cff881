"""The stages of a model: which modules lie between one feature map and the next."""

from collections.abc import Iterator
from itertools import zip_longest
from typing import Any

from torch import nn

from videozoo import nets

__all__ = ["feature_rows", "find_backbones", "stage_modules"]

# Rows of timm's feature_info that name no module: the module that gives the map.
_RENAMED = {"HighResolutionNet": {"stem": "act2", "stage1": "layer1"}}


def feature_rows(net: nn.Module) -> list[dict[str, Any]] | None:
    """Return timm's rows (``num_chs``, ``reduction``, ``module``) of the feature maps, or None if there are none."""
    info: Any = getattr(net, "feature_info", None)
    return info if info is None or isinstance(info, list) else info.info


def stage_modules(net: nn.Module) -> list[list[str]] | None:
    """Return the names of the modules of each stage, stage 1 first, or None if nothing in the model gives them.

    A backbone of :mod:`videozoo.nets` gives them itself (``stage_names``). Else they are read from timm's
    ``feature_info``: a stage ends where a feature map is taken, and features of less than a quarter of the resolution
    belong to the stem. So stage 1 is the papers' res2 (``layer1`` of a ResNet), stage 4 their res5. A MobileNet's
    stage may span several of its ``blocks.N``. Backbones inside the user's own modules are found at any depth. Stage k
    of a model with several backbones is stage k of each.
    """
    found = [
        [[f"{name}.{module}" if name else module for module in stage] for stage in _own_stages(backbone) or []]
        for name, backbone in find_backbones(net)
    ]
    return [[name for names in row for name in names] for row in zip_longest(*found, fillvalue=[])] or None


def find_backbones(net: nn.Module, name: str = "") -> list[tuple[str, Any]]:
    """Return the outermost modules that give their stages, with their names: the model itself, or modules in it."""
    if _own_stages(net):
        return [(name, net)]
    children = ((f"{name}.{key}" if name else key, child) for key, child in net.named_children())
    return [found for key, child in children for found in find_backbones(child, key)]


def _own_stages(net: nn.Module) -> list[list[str]] | None:
    if isinstance(net, nets.Backbone):
        return [[name] for name in net.stage_names]
    ends = dict(_feature_modules(net))
    stages: list[list[str]] = []
    current: list[str] = []
    for name in _parts(net, "", ends):
        current.append(name)
        if name in ends:
            if ends[name] >= 4:
                stages.append(current)
            current = []
    return stages or None


def _feature_modules(net: nn.Module) -> Iterator[tuple[str, int]]:
    """Yield the names of the modules that give feature maps, and the maps' reductions.

    Rows without a module are left out.
    """
    rows = feature_rows(net)
    if rows is None:  # torchvision's ResNets and their likes have the names, but no feature_info
        children = [name for name, _ in net.named_children()]
        if {"layer1", "layer2", "layer3", "layer4"} <= set(children):
            yield children[max(0, children.index("layer1") - 1)], 2
            yield from ((f"layer{i}", 2 ** (i + 1)) for i in (1, 2, 3, 4))
        return
    names = {name for name, _ in net.named_modules() if name}
    for row in rows:
        name = _RENAMED.get(type(net).__name__, {}).get(row["module"], row["module"])
        # timm's features_only models are flat: stages.0 is their child stages_0
        yield from ((have, row["reduction"]) for have in (name, name.replace(".", "_")) if have in names)


def _parts(net: nn.Module, name: str, ends: dict[str, int]) -> Iterator[str]:
    """Yield the names of the children of a module, in order.

    One in which a feature map is taken (``blocks.3``) is opened.
    """
    for key, child in net.named_children():
        full = f"{name}.{key}" if name else key
        if any(end.startswith(f"{full}.") for end in ends):
            yield from _parts(child, full, ends)
        else:
            yield full

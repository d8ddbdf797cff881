"""Functions that find the stages of a model: the modules between one feature map and the next."""

from collections.abc import Iterator
from itertools import zip_longest
from typing import Any

from torch import nn

from videozoo import nets

__all__ = ["feature_rows", "find_backbones", "stage_modules", "stage_prefixes"]

# Names in timm's feature_info that are not modules, and the modules that return these maps.
_RENAMED = {"HighResolutionNet": {"stem": "act2", "stage1": "layer1"}}


def feature_rows(net: nn.Module) -> list[dict[str, Any]] | None:
    """Return timm's rows (``num_chs``, ``reduction``, ``module``) of the feature maps, or None if there are none."""
    info: Any = getattr(net, "feature_info", None)
    return info if info is None or isinstance(info, list) else info.info


def stage_modules(net: nn.Module) -> list[list[str]] | None:
    """Return the names of the modules of each stage, stage 1 first, or None if the model does not list its stages.

    A backbone of :mod:`videozoo.nets` lists them itself. For others timm's ``feature_info`` is used: a
    stage ends at a feature map, and maps with a reduction below 4 belong to the stem. So stage 1 is res2 of the papers
    (``layer1`` of a ResNet) and stage 4 is res5. A stage of a MobileNet may span several ``blocks.N``. Backbones inside
    other modules are found at any depth. Stage k of a model with several backbones is stage k of each.
    """
    found = [
        [[f"{name}.{module}" if name else module for module in stage] for stage in _own_stages(backbone) or []]
        for name, backbone in find_backbones(net)
    ]
    return [[name for names in row for name in names] for row in zip_longest(*found, fillvalue=[])] or None


def stage_prefixes(net: nn.Module, stages: tuple[int, ...]) -> tuple[str, ...]:
    """Return how the names of all modules in some stages begin, without stages that the model lacks."""
    own = stage_modules(net) or []
    return tuple(f"{module}." for stage in stages if stage <= len(own) for module in own[stage - 1])


def find_backbones(net: nn.Module, name: str = "") -> list[tuple[str, Any]]:
    """Return names and modules of the outermost modules that list their stages (the model itself, or modules in it)."""
    if _own_stages(net):
        return [(name, net)]
    children = ((f"{name}.{key}" if name else key, child) for key, child in net.named_children())
    return [found for key, child in children for found in find_backbones(child, key)]


def _own_stages(net: nn.Module) -> list[list[str]] | None:
    if isinstance(net, nets.Backbone):
        return net.stage_modules()
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
    """Yield the name of each module that returns a feature map, and the reduction of the map."""
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
    """Yield the names of the children of a module, in order, and of grandchildren if one of them returns a map."""
    for key, child in net.named_children():
        full = f"{name}.{key}" if name else key
        if any(end.startswith(f"{full}.") for end in ends):
            yield from _parts(child, full, ends)
        else:
            yield full

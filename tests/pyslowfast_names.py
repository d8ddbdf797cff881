"""PySlowFast's own names of our keys, written from that code's side."""

import re

from torch import Tensor

_INSIDE = {
    f"{kind}{n}": f"branch2.{letter}{end}"
    for n, letter in enumerate("abc", 1)
    for kind, end in (("conv", ""), ("bn", "_bn"))
}
_INSIDE |= {
    "downsample.0": "branch1",
    "downsample.1": "branch1_bn",
    "se.fc1": "branch2.se.fc1",
    "se.fc2": "branch2.se.fc2",
}
_X3D = {"conv1": "conv_xy", "conv1_temporal": "conv", "bn1": "bn"}
_PLAIN = {"conv1": "conv", "bn1": "bn"}
_HEADS = {"head_conv": "conv_5", "head_bn": "conv_5_bn", "pooled_conv": "lin_5"}


def native_names(own: dict[str, Tensor]) -> dict[str, Tensor]:
    """Our state dict of a one-pathway, SlowFast or X3D model under PySlowFast's keys."""
    stem = _X3D if "backbone.conv1_temporal.weight" in own else _PLAIN
    return {_native(key, stem): value for key, value in own.items()}


def _native(key: str, stem: dict[str, str]) -> str:
    path, _, leaf = key.removeprefix("backbone.").rpartition(".")
    if path == "fc":
        return f"head.projection.{leaf}"
    if path in _HEADS:
        return f"head.{_HEADS[path]}.{leaf}"
    if match := re.fullmatch(r"layer(\d)\.lateral\.(conv|bn)", path):
        return f"s{match[1]}_fuse.{'conv_f2s' if match[2] == 'conv' else 'bn'}.{leaf}"
    if match := re.fullmatch(r"stem\.(slow|fast)\.(conv|bn)", path):
        return f"s1.pathway{int(match[1] == 'fast')}_stem.{match[2]}.{leaf}"
    if match := re.fullmatch(r"layer(\d)\.(?:(slow|fast)\.)?(\d+)\.(.*)", path):
        start = f"s{int(match[1]) + 1}.pathway{int(match[2] == 'fast')}"
        if match[4].startswith("non_local."):
            part = match[4].removeprefix("non_local.")
            return f"{start}_nonlocal{match[3]}.{part if part == 'bn' else f'conv_{part}'}.{leaf}"
        return f"{start}_res{match[3]}.{_INSIDE[match[4]]}.{leaf}"
    return f"s1.pathway0_stem.{stem[path]}.{leaf}"

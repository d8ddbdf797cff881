"""Names of architectures: a thin layer over timm's registry that remembers which ones are ours."""

import copy
import difflib
import fnmatch
import re
from collections.abc import Callable, Sequence
from typing import Any

import timm

from videozoo.models.config import VideoCfg
from videozoo.nets.registry import register_with_timm

__all__ = [
    "UnknownModelError",
    "get_pretrained_cfg",
    "is_model",
    "list_models",
    "model_entrypoint",
    "register_architecture",
]

Entrypoint = Callable[..., Any]
_ENTRYPOINTS: dict[str, Entrypoint] = {}
_CFGS: dict[str, VideoCfg] = {}


class UnknownModelError(ValueError):
    """No architecture of that name; the message lists the nearest ones."""


def register_architecture(fn: Entrypoint, cfg: VideoCfg) -> Entrypoint:
    """Register an entry point ``fn(pretrained=False, **kwargs)`` under its name, here and in timm.

    Args:
        fn: named after the architecture.
        cfg: what the network expects of its videos.
    Raises:
        ValueError: timm or videozoo already has a model of that name.
    """
    name = fn.__name__
    if name in _ENTRYPOINTS or timm.is_model(name):
        owner = "videozoo" if name in _ENTRYPOINTS else "timm"
        raise ValueError(f"register_architecture: {owner} already has a model named {name!r}; choose another name.")
    register_with_timm(fn, cfg)
    _ENTRYPOINTS[name] = fn
    _CFGS[name] = cfg
    return fn


def _split_name(name: str) -> tuple[str, str]:
    arch, _, tag = name.partition(".")
    return arch, tag


def model_entrypoint(name: str) -> Entrypoint:
    """The entry point of an architecture.

    Raises:
        UnknownModelError: videozoo has no such name, or no weights of that tag.
    """
    arch, tag = _split_name(name)
    if arch not in _ENTRYPOINTS:
        near = difflib.get_close_matches(arch, _ENTRYPOINTS, n=5, cutoff=0.5)
        hint = f"did you mean {', '.join(near)}?" if near else "see videozoo.list_models()."
        if timm.is_model(arch):
            hint = f"it is an image model of timm: use timm.create_model, or videozoo.compose(backbone={arch!r}, ...)."
        raise UnknownModelError(f"unknown model {arch!r}; {hint}")
    if tag:
        raise UnknownModelError(f"{arch} has no weights with the tag {tag!r}; it has none at all so far.")
    return _ENTRYPOINTS[arch]


def is_model(name: str) -> bool:
    """Whether videozoo has an architecture of that name."""
    return name in _ENTRYPOINTS


def list_models(
    filter: str | Sequence[str] = "", exclude_filters: str | Sequence[str] = "", pretrained: bool = False
) -> list[str]:
    """Names of the architectures, in natural order.

    Args:
        filter: wildcard pattern (``"arc_*_r50"``), or several of which one must match; empty for all.
        exclude_filters: patterns of which none may match.
        pretrained: only those for which weights exist.
    """
    names = [name for name in _ENTRYPOINTS if not pretrained or _CFGS[name].has_weights]
    if filter:
        names = [name for name in names if _matches(name, filter)]
    if exclude_filters:
        names = [name for name in names if not _matches(name, exclude_filters)]
    return sorted(names, key=_natural_key)


def _matches(name: str, patterns: str | Sequence[str]) -> bool:
    rows = [patterns] if isinstance(patterns, str) else patterns
    return any(fnmatch.fnmatchcase(name, row) for row in rows)


def _natural_key(name: str) -> list[Any]:
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]


def get_pretrained_cfg(name: str) -> VideoCfg:
    """A copy of the config of an architecture: input size, mean and std, frames and their sampling.

    Raises:
        UnknownModelError: videozoo has no such name.
    """
    model_entrypoint(name)
    return copy.deepcopy(_CFGS[_split_name(name)[0]])

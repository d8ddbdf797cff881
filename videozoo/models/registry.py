"""Registry of the architectures, on top of timm's."""

import copy
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import timm

from videozoo.catalog import read_catalog, select_names, select_rows
from videozoo.hub import WeightsError
from videozoo.models.config import VideoCfg
from videozoo.models.published import facts_of
from videozoo.models.spec import ModelSpec, Spec
from videozoo.nets.registry import register_with_timm
from videozoo.text import near_names, some

__all__ = [
    "BY_TAG_ONLY",
    "UnknownModelError",
    "get_pretrained_cfg",
    "is_model",
    "list_models",
    "list_pretrained",
    "model_entrypoint",
    "names_of",
    "names_of_kind",
    "pretrained_name",
    "register_architecture",
    "spec_of",
    "split_name",
    "weights_facts",
]

Entrypoint = Callable[..., Any]
_ENTRYPOINTS: dict[str, Entrypoint] = {}
# By architecture and tag; the tag "" is the architecture itself, which has no weights.
_CFGS: dict[str, dict[str, VideoCfg]] = {}
# Names of weights that are loaded by their tag only: nothing starts from them unasked.
BY_TAG_ONLY: set[str] = set()
_SPECS: dict[str, Spec] = {}


class UnknownModelError(ValueError):
    """Error for an unknown architecture, with the nearest names.

    Example:
        >>> import videozoo
        >>> try:
        ...     videozoo.create_model("tsm_r52")
        ... except videozoo.UnknownModelError as error:
        ...     print(error)
        unknown model 'tsm_r52'; did you mean tsm_r50...
    """


def register_architecture(
    fn: Entrypoint,
    cfg: VideoCfg,
    weights: Mapping[str, VideoCfg] | None = None,
    spec: Spec | None = None,
    more_weights: Mapping[str, VideoCfg] | None = None,
) -> Entrypoint:
    """Register an entry point ``fn(pretrained=False, **kwargs)`` under its name, here and in timm.

    Args:
        fn: a function named after the architecture.
        cfg: the architecture's config.
        weights: configs of the published weights by tag. The first is the default.
        spec: its composition, if it has one.
        more_weights: configs of weights that are loaded by their tag only, because few want them: small ones, or of
            few clips.
    Raises:
        ValueError: timm or videozoo already has a model of that name, or a tag has no source of weights.
    """
    name = fn.__name__
    if name in _ENTRYPOINTS or timm.is_model(name):
        owner = "videozoo" if name in _ENTRYPOINTS else "timm"
        raise ValueError(f"register_architecture: {owner} already has a model named {name!r}; choose another name.")
    rows = {**(weights or {}), **(more_weights or {})}
    cfgs = {"": cfg, **{tag: replace(row, architecture=name, tag=tag) for tag, row in rows.items()}}
    without = [tag for tag, row in cfgs.items() if tag and not row.has_weights]
    if without:
        raise ValueError(f"register_architecture: {name} has tags without url, file or hf_hub_id: {without}.")
    register_with_timm(fn, cfgs)
    _ENTRYPOINTS[name] = fn
    _CFGS[name] = cfgs
    BY_TAG_ONLY.update(f"{name}.{tag}" for tag in more_weights or ())
    if spec is not None:
        _SPECS[name] = spec
    return fn


def split_name(name: str) -> tuple[str, str]:
    """Split ``arch.tag`` into architecture and tag.

    The tag is empty if there is none.

    Raises:
        TypeError: the name is no text.
    """
    if not isinstance(name, str):
        raise TypeError(f"the name of a model is {name!r}; pass text such as 'tsm_r50' (videozoo.list_models()).")
    arch, _, tag = name.partition(".")
    return arch, tag


def model_entrypoint(name: str) -> Entrypoint:
    """Return the entry point of an architecture.

    Raises:
        UnknownModelError: videozoo has no such name, or no weights of that tag.
    """
    arch, tag = split_name(name)
    if "/" in name or ":" in name or Path(name).is_file():
        what = "it is a file, not a folder with config.json and model.safetensors"
        what = what if Path(name).is_file() else "there is no such folder"
        raise UnknownModelError(f"unknown model {name!r}: {what}; for a repository write hf-hub:ORGANIZATION/NAME.")
    if arch not in _ENTRYPOINTS:
        hint = near_names(arch, _ENTRYPOINTS, "did you mean {}?", most=5, cutoff=0.5)
        hint = hint or "see `videozoo list` (videozoo.list_models())."
        if timm.is_model(arch):
            hint = (
                f"it is an image model of timm: take a model that is built on it (`videozoo list`), or in Python "
                f"videozoo.compose(backbone={arch!r}, ...)."
            )
        raise UnknownModelError(f"unknown model {arch!r}; {hint}")
    if tag not in _CFGS[arch]:
        known = _tags(arch)
        hint = f"it has {some(known)}" if known else "it has none at all so far"
        hint = near_names(tag, known, "it has {}", most=5, cutoff=0.3) or hint
        raise UnknownModelError(f"{arch} has no weights with the tag {tag!r}; {hint}.")
    return _ENTRYPOINTS[arch]


def spec_of(name: str) -> Spec:
    """Return the composition of a named architecture.

    Raises:
        UnknownModelError: videozoo has no such name, or it was registered without a composition.
    """
    model_entrypoint(name)
    arch, _ = split_name(name)
    if arch not in _SPECS:
        raise UnknownModelError(f"{arch} was registered without its composition.")
    return _SPECS[arch]


def names_of(spec: ModelSpec) -> list[str]:
    """Return the architectures with the same backbone, temporal module and augmenters.

    Those for the same number of frames and size come first. Where none has the same options, those of the same kind are
    returned, whatever their options.
    """
    same = names_of_kind(spec)
    exact = [name for name in same if isinstance(own := _SPECS[name], ModelSpec) and _parts_of(own) == _parts_of(spec)]
    return sorted(exact, key=lambda name: _shape_of(_SPECS[name]) != _shape_of(spec)) or same


def names_of_kind(spec: ModelSpec) -> list[str]:
    """Return the architectures with the same family of backbones and kinds of parts, whatever their options."""
    return [name for name in list_models() if name in _SPECS and _SPECS[name].kind == spec.kind]


def _shape_of(spec: Spec) -> tuple[int, int | None]:
    return spec.num_frames, spec.img_size if isinstance(spec, ModelSpec) else None


def _parts_of(spec: ModelSpec) -> tuple[Any, ...]:
    return spec.backbone, spec.temporal, spec.augmenters


def _tags(arch: str) -> list[str]:
    return [tag for tag in _CFGS[arch] if tag]


def is_model(name: str) -> bool:
    """Return whether videozoo has an architecture of that name, and weights of its tag if the name has one.

    Example:
        >>> from videozoo import is_model
        >>> is_model("tsm_r50"), is_model("tsm_r50.mm_k400_8f"), is_model("resnet50")
        (True, True, False)
    """
    arch, tag = split_name(name)
    return arch in _ENTRYPOINTS and tag in _CFGS[arch]


def pretrained_name(name: str) -> str:
    """Return the name with the tag that ``pretrained=True`` loads: its own tag, or the architecture's default.

    Raises:
        UnknownModelError: videozoo has no such name or tag.
        WeightsError: the architecture has no weights that are its default.
    """
    model_entrypoint(name)
    arch, tag = split_name(name)
    if tag:
        return name
    names = [f"{arch}.{tag}" for tag in _tags(arch)]
    default = next((tagged for tagged in names if tagged not in BY_TAG_ONLY), None)
    if default:
        return default
    if names:
        raise WeightsError(f"it has weights, but no default; name them with their tag: {some(names)}", source=name)
    raise WeightsError(
        "no published weights exist; name weights of its kind (`videozoo list --pretrained`), your own (a folder "
        "such as RUN/best, hf-hub:ORG/NAME), or train it first: videozoo finetune",
        source=name,
    )


def list_models(
    filter: str | Sequence[str] = "", exclude_filters: str | Sequence[str] = "", pretrained: bool = False
) -> list[str]:
    """Return the names of the architectures, in natural order.

    Args:
        filter: wildcard pattern (``"arc_*_r50"``), or several of which one must match. Empty: all.
        exclude_filters: patterns of which none may match.
        pretrained: only architectures with weights. :func:`list_pretrained` lists the weights.
    Example:
        >>> from videozoo import list_models
        >>> list_models("arc_tsm_*", exclude_filters="*f")
        ['arc_tsm_narrow_r18', 'arc_tsm_r18', 'arc_tsm_r34', 'arc_tsm_r50', 'arc_tsm_r101']
    """
    names = sorted((name for name in _ENTRYPOINTS if not pretrained or _tags(name)), key=_natural_key)
    return select_names(names, filter, exclude_filters)


def list_pretrained(
    filter: str | Sequence[str] = "",
    exclude_filters: str | Sequence[str] = "",
    *,
    data_set: str | None = None,
    max_gmacs: float | None = None,
    max_params: float | None = None,
    sort: str | None = None,
) -> list[str]:
    """Return the names of all weights as ``architecture.tag``, the default of an architecture first.

    Args:
        filter: wildcard pattern of the architecture (``"tsm_*"``) or of the whole name (``"*.mm_k400*"``), or several.
        exclude_filters: patterns of which none may match.
        data_set: what they were trained on: ``"k400"``, ``"ssv2"`` and so on, or a full name.
        max_gmacs: most billions of MACs of a view, as they are tested.
        max_params: most millions of parameters.
        sort: ``"top1"`` (as published, the highest first), ``"gmacs"``, ``"params"`` or ``"mb"`` (the lowest first).
    Raises:
        ValueError: an unknown data set or order, or a limit that is no number above zero. The message names the
            choices.
    Example:
        >>> from videozoo import list_pretrained
        >>> list_pretrained("tsm_r50.mm_ssv2*")
        ['tsm_r50.mm_ssv2_8f', 'tsm_r50.mm_ssv2_16f']
        >>> list_pretrained(data_set="ssv2", max_gmacs=20, sort="top1")[0]
        'rubiksnet_large.rubiks_ssv2_8f'
    """
    names = select_names([f"{arch}.{tag}" for arch in list_models() for tag in _tags(arch)], filter, exclude_filters)
    limits: dict[str, Any] = {"data_set": data_set, "max_gmacs": max_gmacs, "max_params": max_params, "sort": sort}
    if all(value is None for value in limits.values()):
        return names
    kept = set(names)
    return [name for name in select_rows(weights_facts(), **limits) if name in kept]


def weights_facts() -> dict[str, dict[str, Any]]:
    """Return what is known of all weights by name, in the fields of a row of `videozoo.catalog.Catalog`.

    What only a built model shows comes from the file of names, and is missing of weights that are not in it.
    """
    catalog = read_catalog() or {}
    names = [split_name(name) for name in list_pretrained()]
    return {
        f"{arch}.{tag}": facts_of(_CFGS[arch][tag]) | dict(catalog.get(arch, {}).get(tag, {})) for arch, tag in names
    }


def _natural_key(name: str) -> list[Any]:
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]


def get_pretrained_cfg(name: str) -> VideoCfg:
    """Return a copy of the config of an architecture or of weights: input size, mean and std, frames and sampling.

    Args:
        name: ``"tsm_r50"`` for what the architecture expects, ``"tsm_r50.TAG"`` for those weights and their address.
    Raises:
        UnknownModelError: videozoo has no such name, or no weights of that tag.
    Example:
        >>> from videozoo import get_pretrained_cfg
        >>> cfg = get_pretrained_cfg("tsm_r50.mm_ssv2_16f")
        >>> cfg.num_classes, cfg.num_frames, cfg.frame_sampling
        (174, 16, 'segment')
    """
    model_entrypoint(name)
    arch, tag = split_name(name)
    return copy.deepcopy(_CFGS[arch][tag])

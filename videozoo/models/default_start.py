"""Default weights that training starts from, and whether they are available."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
import torch
from huggingface_hub import constants

from videozoo.hub import WeightsError
from videozoo.hub.download import can_reach
from videozoo.hub.remote import is_cached, split_repo
from videozoo.models.pretrained import cache_folder
from videozoo.models.registry import get_pretrained_cfg, names_of, pretrained_name, spec_of
from videozoo.models.spec import EnsembleSpec
from videozoo.nets import image_model_of

__all__ = ["Start", "default_starts", "image_weights", "published_start"]


@dataclass(frozen=True)
class Start:
    """Weights to start from.

    Args:
        option: the argument of ``create_model`` that takes them: ``pretrained``, ``init_from``, ``backbone_weights``.
            ``model`` if they come with the name.
        value: its value.
        name: name of the weights, for messages.
        is_here: whether they are on this disk.
        url: address to fetch them from, empty if unknown.
    """

    option: str
    value: Any
    name: str
    is_here: bool
    url: str

    def can_be_had(self) -> bool:
        """Return whether the weights are on this disk or their server responds."""
        return self.is_here or (bool(self.url) and can_reach(self.url))


def default_starts(name: str) -> Iterator[Start]:
    """Return the weights that a named architecture can start from, the best first.

    These are its own published weights, for ARC or DNR those of the base, and ImageNet weights of the backbone.

    Raises:
        UnknownModelError: no such architecture.
    """
    spec = spec_of(name)
    if (own := _published(name)) is not None:
        yield Start("pretrained", True, *own)
    if not isinstance(spec, EnsembleSpec) and spec.augmenters:
        for base in names_of(spec.replace(augmenters=())):
            if (found := _published(base)) is not None:
                yield Start("init_from", found[0], *found)
    tag = image_weights(name)
    if tag is not None:
        yield _image_start(_backbone_of(name), tag)


def published_start(name: str) -> Start:
    """Return the weights ``arch.tag`` as a start.

    Raises:
        UnknownModelError: no such weights.
    """
    return Start("model", name, *_place(name))


def image_weights(name: str) -> str | None:
    """Return the tag of ImageNet weights for a model's backbone: torchvision's if there are any, else timm's first.

    Weights whose license forbids commercial use are taken only if there are no others.
    """
    names = timm.list_pretrained(f"{_backbone_of(name)}.*")
    free = [full for full in names if "-nc" not in str(getattr(timm.get_pretrained_cfg(full), "license", ""))]
    tags = [full.partition(".")[2] for full in free or names]
    return "tv_in1k" if "tv_in1k" in tags else next(iter(tags), None)


def _backbone_of(name: str) -> str:
    spec = spec_of(name)
    return image_model_of((spec.members[0] if isinstance(spec, EnsembleSpec) else spec).backbone)


def _published(name: str) -> tuple[str, bool, str] | None:
    """Return the default weights of an architecture, or None if it has none."""
    try:
        tagged = pretrained_name(name)
    except WeightsError:
        return None
    return _place(tagged)


def _place(tagged: str) -> tuple[str, bool, str]:
    """Return a name with its tag, whether its weights are on this disk, and their address."""
    cfg = get_pretrained_cfg(tagged)
    if cfg.file:
        return tagged, Path(str(cfg.file)).expanduser().exists(), ""
    if cfg.hf_hub_id and not cfg.url:
        return tagged, is_cached(cfg.hf_hub_id), _hub_url(cfg.hf_hub_id)
    is_here = cache_folder(tagged).is_dir() or bool(cfg.hf_hub_id and is_cached(cfg.hf_hub_id, has_config=False))
    return tagged, is_here, str(cfg.url)


def _image_start(backbone: str, tag: str) -> Start:
    name = f"{backbone}.{tag}"
    cfg = timm.get_pretrained_cfg(name)
    if cfg and cfg.hf_hub_id:
        return Start("backbone_weights", tag, name, is_cached(cfg.hf_hub_id, has_config=False), _hub_url(cfg.hf_hub_id))
    url = str(cfg.url or "") if cfg else ""
    file = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    return Start("backbone_weights", tag, name, bool(url) and file.is_file(), url)


def _hub_url(repo: str) -> str:
    return f"{constants.ENDPOINT}/{split_repo(repo)[0]}"

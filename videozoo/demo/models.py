"""The models that the page offers.

The last few that were used stay in memory.
"""

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch

from videozoo.devices import find_device
from videozoo.engine.evaluation_folder import model_title
from videozoo.models import UnknownModelError, create_model, list_pretrained
from videozoo.models.config import class_names
from videozoo.models.load import is_location, resolve_weights
from videozoo.models.published import bundled_names
from videozoo.models.registry import pretrained_name
from videozoo.report import Cost, count_cost

__all__ = ["LoadedModel", "ModelPool"]

log = logging.getLogger("videozoo")

MOST_KEPT = 2


@dataclass(frozen=True)
class LoadedModel:
    """A model with its weights, ready for use.

    Args:
        title: what the page calls it.
        model: in evaluation mode, on its device.
        class_names: by class index.
        cost: of one view.
    """

    title: str
    model: Any
    class_names: tuple[str, ...]
    cost: Cost

    @property
    def device(self) -> torch.device:
        """Device of the model."""
        device: torch.device = next(self.model.parameters()).device
        return device


class ModelPool:
    """Models by the titles that the page shows.

    Nothing else is ever opened, whatever a visitor sends.

    Args:
        names: as ``create_model`` takes them: ``local-dir:RUN/best``, ``hf-hub:ORG/NAME``, or names with weights.
        has_registry: offer all published weights too. Without it, the bundled ones where ``names`` is empty.
        device: ``auto`` or a name of torch.
    Raises:
        UnknownModelError, WeightsError: a name that is unknown or has no weights, a folder that is not a model's.
    """

    def __init__(self, names: Sequence[str] = (), *, has_registry: bool = True, device: str = "auto") -> None:
        names = [_checked(name) for name in names]
        published = list_pretrained()
        bundled = bundled_names()
        more = [*bundled, *published] if has_registry else [] if names else bundled
        self._names = _by_title(dict.fromkeys([*names, *more]))
        self._device = find_device(device)
        self._loaded = lru_cache(MOST_KEPT)(self._load)
        self._lock = threading.Lock()

    @property
    def titles(self) -> list[str]:
        """Titles of the models on offer.

        The first is the default.
        """
        return list(self._names)

    def get(self, title: str) -> LoadedModel:
        """Return the model of a title, from memory or loaded now.

        Raises:
            UnknownModelError: a title that is not offered.
            WeightsError: its weights cannot be had.
        """
        if title not in self._names:
            raise UnknownModelError("this page does not offer that model")
        with self._lock:  # visitors who wait for one model share it
            return self._loaded(title)

    def _load(self, title: str) -> LoadedModel:
        log.info("loading %s", self._names[title])
        model: Any = create_model(self._names[title], pretrained=True).eval()
        cost = count_cost(model)
        names = class_names(model.pretrained_cfg, model.num_classes)
        return LoadedModel(title, model.to(self._device), tuple(names), cost)


def _checked(name: str) -> str:
    """Return the name with its tag, after the checks that are possible offline."""
    if is_location(name):
        if not name.lower().replace("_", "-").startswith("hf-hub:"):
            resolve_weights(name)
        return name
    if "/" in name or ":" in name:
        raise UnknownModelError(f"unknown model {name!r}; write a folder, hf-hub:ORGANIZATION/NAME or a name.")
    return pretrained_name(name)


def _by_title(names: Sequence[str] | dict[str, None]) -> dict[str, str]:
    """Return names by titles that differ and show no folder but the last."""
    titles: dict[str, str] = {}
    for name in names:
        title = model_title(name) if is_location(name) else name
        unique, count = title, 2
        while unique in titles:
            unique, count = f"{title} ({count})", count + 1
        titles[unique] = name
    return titles

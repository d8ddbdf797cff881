"""Starting a model with ARC or DNR from the weights of its base."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from videozoo.hub import WeightsError, read_safetensors
from videozoo.models.build import build
from videozoo.models.config import VideoCfg, merge_cfg
from videozoo.models.load import Source, is_location, load_weights_from, open_named, resolve_weights
from videozoo.models.registry import get_pretrained_cfg, is_model, split_name
from videozoo.models.spec import EnsembleSpec, ModelSpec, Spec
from videozoo.models.video_net import VideoNet
from videozoo.text import some

__all__ = ["InitReport", "build_from_base", "find_base"]

_log = logging.getLogger(__name__)
# Of the base alone: figures that another model does not have.
_NOT_INHERITED = ("metrics", "train_recipe", "tag", "description", "origin_url", "paper_name", "paper_ids", "notes")


@dataclass(frozen=True)
class InitReport:
    """Report of what a model got from its base.

    Args:
        num_taken: number of tensors taken from the base.
        new: keys that the base lacks. They keep their initial values.
        left_out: keys of the base that the model lacks.
    """

    num_taken: int
    new: tuple[str, ...]
    left_out: tuple[str, ...]

    def __str__(self) -> str:
        new, left_out = (f"{len(keys)} ({some(keys)})" if keys else "none" for keys in (self.new, self.left_out))
        return f"{self.num_taken} tensors taken over; new: {new}; left out: {left_out}"


def find_base(init_from: str | Path, spec: ModelSpec, cache_dir: str | Path | None = None) -> Source:
    """Return the base that a model starts from.

    Args:
        init_from: ``arch.tag``, ``hf-hub:ORGANIZATION/NAME``, ``local-dir:FOLDER``, a folder, or a ``.safetensors``
            file with the keys of the base.
        spec: composition of the model, from which the base of a plain file follows.
        cache_dir: folder for downloads.
    Raises:
        WeightsError: the base cannot be fetched.
        UnknownModelError: an architecture without weights of that tag.
    """
    if isinstance(init_from, str):
        if is_location(init_from):
            return resolve_weights(init_from, cache_dir)
        if is_model(split_name(init_from)[0]):
            return open_named(init_from, get_pretrained_cfg(init_from), cache_dir)
    path = Path(init_from).expanduser()
    if path.is_dir():
        return resolve_weights(path, cache_dir)
    if not path.exists():
        raise WeightsError(
            "neither a name of `videozoo list --pretrained` nor a folder or file; for a repository write "
            "hf-hub:ORGANIZATION/NAME",
            source=str(init_from),
        )
    classifier = read_safetensors(path).get("fc.weight")
    num_classes = spec.num_classes if classifier is None else len(classifier)
    base = spec.replace(augmenters=(), num_classes=num_classes)
    return Source(str(path), None, "", base, VideoCfg(num_classes=num_classes), path)


def build_from_base(
    name: str,
    spec: Spec,
    init_from: str | Path,
    changes: Mapping[str, Any],
    cache_dir: str | Path | None = None,
) -> tuple[VideoNet, VideoCfg]:
    """Build a model with the weights of its base: same backbone and temporal module, fewer augmenters.

    The options of the base win. Classes, frames and channels that ``changes`` does not set are those of the base.

    Args:
        name: name of the model, for messages.
        spec: its composition.
        init_from: its base, as in :func:`find_base`.
        changes: fields of the spec that the caller set.
        cache_dir: folder for downloads.
    Returns:
        the model, whose ``init_report`` lists the new keys, and the config of the base without its accuracies.
    Raises:
        WeightsError: the base cannot be fetched, is no base of the model, or its weights do not fit.
        ValueError: the model is an ensemble, whose members have no common base.
    """
    if isinstance(spec, EnsembleSpec):
        raise ValueError(f"{name}: init_from is for single models; start the members of the ensemble one by one.")
    base = find_base(init_from, spec, cache_dir)
    own = base.spec
    if isinstance(own, EnsembleSpec):
        raise base.error(f"is an ensemble, no base of {name}", base.weights.name)
    if not _is_base(own, spec):
        raise base.error(
            f"is {own.title}, no base of {name}, which is {spec.title}; need the same backbone and temporal "
            "module, and no augmenter that it lacks",
            base.weights.name,
        )
    mine = {type(part): part for part in own.augmenters}
    augmenters = tuple(mine.get(type(part), part) for part in spec.augmenters)
    model = build(own.replace(augmenters=augmenters, **changes))
    plain = build(own.replace(**changes))
    load_weights_from(plain, base)  # strict: every key of the file has its place in the base
    model.init_report = _take_over(model, plain, has_new_classes=model.num_classes != own.num_classes)
    _log.info("%s starts from %s: %s", name, base.name, model.init_report)
    return model, merge_cfg(base.cfg, dict.fromkeys(_NOT_INHERITED))


def _is_base(own: ModelSpec, spec: ModelSpec) -> bool:
    kinds = [{type(part) for part in one.augmenters} for one in (own, spec)]
    return own.family == spec.family and kinds[0] <= kinds[1]


def _take_over(model: VideoNet, plain: VideoNet, has_new_classes: bool) -> InitReport:
    state, given = model.state_dict(), plain.state_dict()
    taken = {key for key, value in given.items() if key in state and state[key].shape == value.shape}
    state.update({key: given[key] for key in taken})
    model.load_state_dict(state)
    if has_new_classes:
        taken -= {key for key in taken if key.startswith(("fc.", "aux_head.fc."))}
    new = [key for key in state if key not in taken]
    return InitReport(len(taken), tuple(new), tuple(key for key in given if key not in state))

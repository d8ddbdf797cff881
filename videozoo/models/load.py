"""Locations of weights by name, and strict loading into models."""

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from videozoo.bounds import check_fields, check_options, check_work
from videozoo.hub import WeightsError, download_repo, read_folder, read_safetensors
from videozoo.hub.files import CONFIG
from videozoo.hub.remote import split_repo
from videozoo.models.config import VideoCfg, stored_cfg
from videozoo.models.describe import COMPOSED
from videozoo.models.ensemble import Ensemble
from videozoo.models.pretrained import weights_folder
from videozoo.models.registry import is_model, list_models, pretrained_name, split_name
from videozoo.models.spec import EnsembleSpec, ModelSpec, Spec, spec_from_dict
from videozoo.models.state_dict import adapt_positions, adapt_stems, load_strictly
from videozoo.models.video_net import VideoNet
from videozoo.text import near_names
from videozoo.version import __version__

__all__ = [
    "Source",
    "brings_weights",
    "is_location",
    "load_weights",
    "load_weights_from",
    "open_named",
    "resolve_weights",
]

_log = logging.getLogger(__name__)
_KINDS = ("local-dir", "hf-hub")
_OF_CLASSIFIER = re.compile(r"(members\.\d+\.)?(aux_head\.)?fc\.")


@dataclass(frozen=True)
class Source:
    """Stored model: its config and weights.

    Args:
        name: its folder, repository or registered name, for messages.
        revision: the commit of a repository.
        architecture: its registered name, or empty.
        spec: its composition.
        cfg: its config.
        weights: the file.
    """

    name: str
    revision: str | None
    architecture: str
    spec: Spec
    cfg: VideoCfg
    weights: Path

    def error(self, reason: str, file: str) -> WeightsError:
        """Return an error about this source."""
        return WeightsError(reason, source=self.name, revision=self.revision, file=file)


def _split(name: str | Path) -> tuple[str, str]:
    """Split a name into the kind of location and the rest. The kind is empty for a registered name."""
    if isinstance(name, Path):
        return "local-dir", str(name)
    split_name(name)  # refuses what is no text
    kind, colon, rest = name.partition(":")
    kind = kind.lower().replace("_", "-")  # timm takes hf_hub: as well
    if colon and kind in _KINDS:
        return kind, rest
    is_folder = bool(name) and not is_model(name) and Path(name).expanduser().is_dir()
    return ("local-dir", name) if is_folder else ("", name)


def is_location(name: str | Path) -> bool:
    """Return whether a name is a location: ``local-dir:FOLDER``, ``hf-hub:ORGANIZATION/NAME`` or a plain folder."""
    return bool(_split(name)[0])


def brings_weights(name: str | Path) -> bool:
    """Return whether a model's name includes weights: it is a location or has a tag."""
    return is_location(name) or bool(split_name(str(name))[1])


def resolve_weights(name: str | Path, cache_dir: str | Path | None = None) -> Source:
    """Return the model of ``local-dir:FOLDER`` or ``hf-hub:ORGANIZATION/NAME[@REVISION]``.

    Args:
        name: see above. A ``Path`` and the name of an existing folder are folders. For a run folder, its
            ``best`` is used.
        cache_dir: folder for downloads. None: the Hub's own cache.
    Raises:
        WeightsError: it cannot be fetched, or is no model of videozoo.
    """
    kind, rest = _split(name)
    if kind == "hf-hub":
        repo, revision = split_repo(rest)
        found = download_repo(repo, revision, cache_dir=cache_dir)
        return _understand(found.repo, found.revision, found.config, found.weights)
    folder = Path(rest).expanduser()
    if not (folder / CONFIG).exists() and (folder / "best" / CONFIG).exists():
        folder = folder / "best"
        _log.info("%s is a run folder: taking %s", rest, folder)
    config, weights = read_folder(folder)
    return _understand(str(folder), None, config, weights)


def open_named(name: str, cfg: VideoCfg, cache_dir: str | Path | None = None) -> Source:
    """Return the published weights of a registered name.

    Args:
        name: ``arch.tag``, or an architecture for its default weights.
        cfg: its config, with the address of the weights.
        cache_dir: as in :func:`resolve_weights`.
    Raises:
        WeightsError: no weights exist, or they cannot be fetched.
    """
    folder = weights_folder(name, cfg, cache_dir)
    config, weights = read_folder(folder)
    source = _understand(name if cfg.has_weights else pretrained_name(name), None, config, weights)
    if source.architecture not in ("", split_name(name)[0]):
        raise source.error(f"is of {source.architecture}, not of {split_name(name)[0]}", CONFIG)
    return source


def _understand(name: str, revision: str | None, config: Mapping[str, Any], weights: Path) -> Source:
    def error(reason: str) -> WeightsError:
        return WeightsError(reason, source=name, revision=revision, file=CONFIG)

    architecture = "" if config["architecture"] == COMPOSED else str(config["architecture"])
    if architecture and (not is_model(architecture) or "." in architecture):
        hint = near_names(architecture, list_models())
        raise error(f"the architecture {architecture!r} is unknown to videozoo {__version__}{hint}")
    missing = [field for field in ("spec", "pretrained_cfg") if not isinstance(config.get(field), dict)]
    if missing:
        raise error(f"not a videozoo config: has no {' and no '.join(map(repr, missing))}")
    try:
        spec = spec_from_dict(config["spec"])
        for member in spec.members if isinstance(spec, EnsembleSpec) else (spec,):
            _check_spec(member)
        row = {"num_classes": spec.num_classes, **config["pretrained_cfg"]}
        if row["num_classes"] != spec.num_classes:
            raise ValueError(f"{row['num_classes']} classes in pretrained_cfg, {spec.num_classes} in spec")
        cfg = stored_cfg(row, name)
        check_work({**vars(cfg), "num_frames": spec.num_frames})
    except (AttributeError, KeyError, TypeError, ValueError) as problem:
        raise error(f"not a videozoo config ({problem})") from problem
    return Source(name, revision, architecture, spec, cfg, weights)


def _check_spec(spec: ModelSpec) -> None:
    content = spec.to_dict()
    check_fields(content)
    for part in (content["temporal"], *content["augmenters"]):
        check_options(part)
    if not isinstance(spec.backbone, str) or type(spec.causal) is not bool:
        raise ValueError(f"a value of the wrong kind in {content}")


def load_weights_from(model: VideoNet | Ensemble, source: Source) -> None:
    """Load a source's weights into a model of the same composition with :func:`load_weights`.

    Raises:
        WeightsError: the file cannot be read, or a key or shape does not fit.
    """
    try:
        load_weights(
            model,
            source.weights,
            num_classes=source.spec.num_classes,
            in_chans=source.spec.in_chans,
            has_other_positions=_positions_of(source.spec) != _positions_of(model.spec),
        )
    except WeightsError as error:
        raise source.error(error.reason, source.weights.name) from error


def _positions_of(spec: Spec) -> tuple[int, int | None]:
    return spec.num_frames, spec.img_size if isinstance(spec, ModelSpec) else None


def load_weights(
    model: VideoNet | Ensemble,
    path: Path,
    *,
    num_classes: int | None = None,
    in_chans: int | None = None,
    has_other_positions: bool = False,
) -> None:
    """Load a ``.safetensors`` file into a model, strictly.

    With another number of classes, the model keeps its own classifier. With another number of channels, the weights of
    the stem are adapted. Nothing else may differ.

    Args:
        model: the model.
        path: a file with the model's keys.
        num_classes: number of classes of the weights. None: as the model.
        in_chans: number of channels of the weights. None: as the model.
        has_other_positions: interpolate position embeddings, which are for another number of frames or another size.
    Raises:
        WeightsError: the file cannot be read, or a key or shape does not fit.
    """
    state, own = read_safetensors(path), model.state_dict()
    if in_chans not in (None, model.in_chans):
        adapt_stems(state, own, model.in_chans, in_chans)
    if has_other_positions:
        adapt_positions(model, state)
    if num_classes not in (None, model.num_classes):
        rest = {key: value for key, value in state.items() if not _OF_CLASSIFIER.match(key)}
        state = {**rest, **{key: value for key, value in own.items() if _OF_CLASSIFIER.match(key)}}
    load_strictly(model, state, source=str(path))

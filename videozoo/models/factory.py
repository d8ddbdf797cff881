"""The two doors to a network: by name, and by composition."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import timm
from timm.layers import set_layer_config
from timm.models import PretrainedCfg

from videozoo.hub import WeightsError, read_folder, read_safetensors
from videozoo.models.build import build, check_keys
from videozoo.models.config import VideoCfg, merge_cfg
from videozoo.models.ensemble import Ensemble, joint_names
from videozoo.models.registry import get_pretrained_cfg, model_entrypoint
from videozoo.models.spec import Augmenter, EnsembleSpec, ModelSpec, TemporalModule, spec_from_dict
from videozoo.models.video_net import VideoNet
from videozoo.temporal import TSN

__all__ = ["compose", "create_model", "create_named", "load_weights", "model_config", "model_from_state"]

Cfg = Mapping[str, Any] | PretrainedCfg
Net = TypeVar("Net", bound=VideoNet | Ensemble)
_LOCAL = "local-dir:"
_OF_CLASSIFIER = re.compile(r"(members\.\d+\.)?fc\.")


def create_model(
    model_name: str | Path,
    pretrained: bool = False,
    pretrained_cfg: Cfg | None = None,
    pretrained_cfg_overlay: Mapping[str, Any] | None = None,
    checkpoint_path: str | Path | None = None,
    cache_dir: str | Path | None = None,
    scriptable: bool | None = None,
    exportable: bool | None = None,
    no_jit: bool | None = None,
    **kwargs: Any,
) -> VideoNet | Ensemble:
    """Create a network by name, with timm's signature.

    Args:
        model_name: an architecture of :func:`list_models`, or ``local-dir:FOLDER`` with ``config.json`` and
            ``model.safetensors`` (a run's ``best``): its own composition, class names and sampling.
        pretrained: load the published weights of the name, or the folder's.
        pretrained_cfg: config that replaces the registered one.
        pretrained_cfg_overlay: single fields over the config.
        checkpoint_path: a local ``.safetensors`` file, loaded strictly at the end.
        cache_dir: where timm caches the backbone's weights.
        scriptable, exportable, no_jit: timm's layer settings for the backbone.
        kwargs: ``num_classes``, ``in_chans``, ``num_frames``, ``drop_rate``, ``drop_path_rate`` and
            ``backbone_weights`` (a timm tag such as ``"tv_in1k"``, or a local file).
    Raises:
        UnknownModelError: no such name; lists the nearest.
        WeightsError: weights that do not exist, cannot be read or do not fit.
        ValueError: an unknown or wrong argument.
    """
    kwargs = {key: value for key, value in kwargs.items() if value is not None}
    with set_layer_config(scriptable=scriptable, exportable=exportable, no_jit=no_jit):
        if str(model_name).startswith(_LOCAL):
            folder = Path(str(model_name)[len(_LOCAL) :]).expanduser()
            model = _from_folder(folder, pretrained, pretrained_cfg_overlay, {**kwargs, "cache_dir": cache_dir})
        else:
            model = model_entrypoint(str(model_name))(
                pretrained=pretrained,
                pretrained_cfg=pretrained_cfg,
                pretrained_cfg_overlay=pretrained_cfg_overlay,
                cache_dir=cache_dir,
                **kwargs,
            )
    if checkpoint_path is not None:
        load_weights(model, Path(checkpoint_path).expanduser())
    return model


def create_named(
    name: str, spec: ModelSpec | EnsembleSpec, pretrained: bool = False, **kwargs: Any
) -> VideoNet | Ensemble:
    """What every registered entry point does: the spec with its arguments changed, built and configured.

    Args:
        name: the architecture.
        spec: its composition.
        pretrained: load weights; from ``pretrained_cfg["file"]`` where timm's loader found a local folder.
        kwargs: those of :func:`create_model`.
    """
    cfg = merge_cfg(
        get_pretrained_cfg(name),
        _given_cfg(kwargs.pop("pretrained_cfg", None)),
        kwargs.pop("pretrained_cfg_overlay", None),
    )
    cache_dir = kwargs.pop("cache_dir", None)
    kwargs.pop("pretrained_model_args", None)  # timm's note of what a folder's config held; it is in kwargs already
    backbone_weights = kwargs.pop("backbone_weights", None)
    num_classes = kwargs.get("num_classes", cfg.num_classes)
    spec = _change_spec(spec, {"num_classes": num_classes, **kwargs}, name)
    if pretrained and not cfg.file:
        raise WeightsError(
            "no published weights exist; start from the backbone's with backbone_weights='tv_in1k', or load your own "
            "with create_model('local-dir:FOLDER', pretrained=True)",
            source=name,
        )
    model = build(spec, backbone_weights, cache_dir)
    if pretrained:
        path = Path(str(cfg.file))  # timm's loader names the folder
        _load_with_classes(model, read_folder(path)[1] if path.is_dir() else path, cfg.num_classes)
    return _configured(model, cfg, name)


def compose(
    backbone: str,
    temporal: TemporalModule = TSN(),
    augmenters: Sequence[Augmenter] = (),
    *,
    num_classes: int = 400,
    num_frames: int = 8,
    in_chans: int = 3,
    drop_rate: float = 0.0,
    drop_path_rate: float = 0.0,
    backbone_weights: str | Path | None = None,
) -> VideoNet:
    """Compose a network from any timm CNN.

    Args:
        backbone: a timm name without tag, for example ``"seresnet50"``.
        temporal: ``TSN()``, ``TSM(shift_div=8)``.
        augmenters: ``[ARC(num_steps=4)]``, ``[DNR()]``; applied in this order.
        num_classes, num_frames, in_chans, drop_rate, drop_path_rate: as in :class:`ModelSpec`.
        backbone_weights: as in :func:`build`.
    Raises:
        ValueError: unknown backbone, or a part that finds nothing to change in it.
        WeightsError: the backbone's weights are missing or do not fit.
    """
    spec = ModelSpec(
        backbone, temporal, tuple(augmenters), num_frames, num_classes, in_chans, drop_rate, drop_path_rate
    )
    return _configured(build(spec, backbone_weights), _backbone_cfg(spec), "")


def _backbone_cfg(spec: ModelSpec) -> VideoCfg:
    """Mean, std and size as the backbone's own config says."""
    own = timm.get_pretrained_cfg(spec.backbone)
    if own is None:
        return VideoCfg()
    return VideoCfg(mean=own.mean, std=own.std, interpolation=own.interpolation, crop_pct=own.crop_pct)


def _configured(model: Net, cfg: VideoCfg, name: str) -> Net:
    """Write the config that belongs to the network as it was built onto it, and onto the members of an ensemble."""
    if isinstance(model, Ensemble):
        for member in model.members:
            _configured(member, merge_cfg(cfg, {"metrics": None}), "")
    spec = model.spec
    stale = cfg.num_classes != spec.num_classes
    final = merge_cfg(
        cfg,
        {
            "architecture": name or None,
            "num_classes": spec.num_classes,
            "num_frames": spec.num_frames,
            "input_size": (spec.in_chans, *cfg.input_size[1:]),
            "first_conv": _first_conv(model),
            "classifier": joint_names(model.members, "classifier") if isinstance(model, Ensemble) else "fc",
            **({"label_names": None, "label_descriptions": None, "metrics": None} if stale else {}),
        },
    )
    model.pretrained_cfg = final.to_dict(remove_source=True)
    return model


def _first_conv(model: VideoNet | Ensemble) -> str | tuple[str, ...] | None:
    if isinstance(model, Ensemble):
        return joint_names(model.members, "first_conv")
    own = getattr(model.backbone, "default_cfg", None) or {}
    first = own.get("first_conv")
    if isinstance(first, tuple | list):  # two pathways, two stems
        return tuple(f"backbone.{name}" for name in first)
    return f"backbone.{first}" if isinstance(first, str) else None


def _given_cfg(cfg: Cfg | str | None) -> Cfg | None:
    """timm hands over a tag, a dict or a config; an empty tag means the default."""
    if isinstance(cfg, str):
        raise WeightsError(f"has no weights with the tag {cfg!r}", source="pretrained_cfg")
    return cfg


def _change_spec(spec: ModelSpec | EnsembleSpec, changes: Mapping[str, Any], name: str) -> ModelSpec | EnsembleSpec:
    allowed = ("num_classes", "num_frames", "in_chans", "drop_rate", "drop_path_rate")
    unknown = sorted(set(changes) - set(allowed))
    if unknown:
        raise ValueError(
            f"{name}: unknown arguments {unknown}; known are {', '.join(allowed)}, backbone_weights. "
            "For another temporal module or augmenter use videozoo.compose."
        )
    return spec.replace(**changes)


def _from_folder(
    folder: Path, pretrained: bool, overlay: Mapping[str, Any] | None, kwargs: dict[str, Any]
) -> VideoNet | Ensemble:
    config, weights = read_folder(folder)
    source = str(folder / "config.json")
    name = config["architecture"]
    try:
        spec = spec_from_dict(config["spec"])
        cfg = merge_cfg(VideoCfg(), config["pretrained_cfg"], overlay)
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"not a videozoo config ({error})", source=source) from error
    stored_classes = spec.num_classes
    backbone_weights, cache_dir = kwargs.pop("backbone_weights", None), kwargs.pop("cache_dir")
    model = build(_change_spec(spec, kwargs, name or "local-dir"), backbone_weights, cache_dir)
    if pretrained:
        _load_with_classes(model, weights, stored_classes)
    return _configured(model, cfg, cfg.architecture or "")


def _load_with_classes(model: VideoNet | Ensemble, path: Path, stored_classes: int) -> None:
    """Load a file; where it was saved with another number of classes, all but the classifier."""
    load_weights(model, path, skip_classifier=model.num_classes != stored_classes)


def load_weights(model: VideoNet | Ensemble, path: Path, *, skip_classifier: bool = False) -> None:
    """Load a ``.safetensors`` file into a network, strictly.

    Args:
        model: the network.
        path: a file with this network's key names.
        skip_classifier: keep the network's own (fresh) classifier.
    Raises:
        WeightsError: the file cannot be read, or a key or shape does not fit.
    """
    state = read_safetensors(path)
    if skip_classifier:
        state = {k: v for k, v in state.items() if not _OF_CLASSIFIER.match(k)}
        state.update({k: v for k, v in model.state_dict().items() if _OF_CLASSIFIER.match(k)})
    check_keys(model.state_dict(), state, source=str(path))
    model.load_state_dict(state)


def model_config(model: VideoNet | Ensemble, class_names: Sequence[str] | None = None) -> dict[str, Any]:
    """What ``config.json`` holds beside the weights: timm's layout, and the composition under ``spec``.

    Args:
        model: the network.
        class_names: names by class index; None keeps those of the network's config.
    Raises:
        ValueError: as many names as there are classes are needed.
    """
    cfg = dict(model.pretrained_cfg)
    if class_names is not None:
        if len(class_names) != model.num_classes:
            raise ValueError(f"model_config: {len(class_names)} class names for {model.num_classes} classes.")
        cfg["label_names"] = list(class_names)
    spec = model.spec
    return {
        "architecture": cfg.get("architecture") or "",
        "num_classes": model.num_classes,
        "num_features": model.num_features,
        "pretrained_cfg": cfg,
        "model_args": {"num_frames": spec.num_frames, "in_chans": spec.in_chans, "num_classes": spec.num_classes},
        "spec": spec.to_dict(),
    }


def model_from_state(
    spec: ModelSpec, state: dict[str, Any], *, name: str = "", cfg: Mapping[str, Any] | None = None, source: str = ""
) -> VideoNet:
    """Build a network and load a state dict into it, strictly; for converted checkpoints.

    Args:
        spec: the composition.
        state: tensors under this network's keys.
        name: the architecture that it is, or empty.
        cfg: fields of the config that differ from the architecture's.
        source: where the state comes from, for the error.
    Raises:
        WeightsError: a key or shape does not fit.
        ValueError: the composition cannot be built.
    """
    model = build(spec)
    check_keys(model.state_dict(), state, source=source)
    model.load_state_dict(state)
    base = get_pretrained_cfg(name) if name else _backbone_cfg(spec)
    return _configured(model, merge_cfg(base, cfg), name)

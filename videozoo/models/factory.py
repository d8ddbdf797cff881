"""Creation of models by name and by composition."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from timm.layers import set_layer_config
from timm.models import PretrainedCfg

from videozoo.hub.files import CONFIG
from videozoo.models.build import build
from videozoo.models.config import merge_cfg
from videozoo.models.describe import COMPOSED, backbone_cfg, configure, with_size
from videozoo.models.ensemble import Ensemble
from videozoo.models.init_from import build_from_base
from videozoo.models.load import Source, is_location, load_weights, load_weights_from, open_named, resolve_weights
from videozoo.models.registry import get_pretrained_cfg, model_entrypoint, split_name
from videozoo.models.spec import Augmenter, ModelSpec, Spec, TemporalModule
from videozoo.models.video_net import VideoNet
from videozoo.temporal import TSN

__all__ = ["compose", "create_composed", "create_model", "create_named"]

Cfg = Mapping[str, Any] | PretrainedCfg
# What a given config may say of the videos, whatever the weights.
_OF_VIDEOS = (
    *("input_size", "interpolation", "crop_pct", "mean", "std", "channel_order", "frame_sampling", "frame_stride"),
    *("test_num_clips", "test_num_crops", "test_crop_size", "test_resize"),
)


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
    """Create a model by name, with timm's signature.

    Args:
        model_name: an architecture of :func:`list_models`, or weights of :func:`list_pretrained` (``arch.tag``), or
            ``hf-hub:ORGANIZATION/NAME[@REVISION]``, or a folder with ``config.json`` and ``model.safetensors``, or a
            run folder, whose ``best`` is taken. A folder is written ``local-dir:FOLDER``, as its plain path, or as a
            ``Path``. If a registered name and a folder are equal, the name is taken. Repositories and folders bring
            their own composition, class names and sampling.
        pretrained: load the published weights of the name (for an architecture without a tag, the first that
            :func:`list_pretrained` lists), or those of the repository or folder.
        pretrained_cfg: config that replaces the registered one.
        pretrained_cfg_overlay: single fields that replace those of the config.
        checkpoint_path: a local ``.safetensors`` file, loaded strictly at the end.
        cache_dir: folder for downloaded weights.
        scriptable, exportable, no_jit: timm's layer settings for the backbone.
        kwargs: ``num_classes``, ``in_chans``, ``num_frames``, ``drop_rate``, ``drop_path_rate``, ``causal``,
            ``img_size``, ``backbone_weights`` (a timm tag such as ``"tv_in1k"``, a local file or an ``hf-hub:`` name),
            and ``init_from``: the base whose weights an ARC or DNR model starts from, ``arch.tag`` or a model's place.
            ``model.init_report`` then lists what was left new. What is not given is as in the base.
    Returns:
        the model, for clips (B, C, T, H, W). It is in training mode, as timm's models are.
    Raises:
        UnknownModelError: no such name. The message lists the nearest ones.
        WeightsError: weights that do not exist, cannot be read or do not fit.
        ValueError: an unknown or wrong argument.
    Example:
        >>> import torch
        >>> from videozoo import create_model
        >>> model = create_model("arc_tsm_r18", num_classes=10).eval()
        >>> model(torch.zeros(2, 3, 8, 64, 64)).shape  # clips (B, C, T, H, W) -> logits (B, num_classes)
        torch.Size([2, 10])
        >>> model = create_model("test_arc_tsm.motions", pretrained=True)  # bundled weights of six generated motions
        >>> model.pretrained_cfg["label_names"][:2]
        ('falling', 'growing')
    """
    kwargs = {key: value for key, value in kwargs.items() if value is not None}
    with set_layer_config(scriptable=scriptable, exportable=exportable, no_jit=no_jit):
        if is_location(model_name):
            if "init_from" in kwargs:
                raise ValueError(f"create_model: init_from starts a model by its name, not {model_name}.")
            source = resolve_weights(model_name, cache_dir)
            model = _from_source(source, pretrained, pretrained_cfg_overlay, {**kwargs, "cache_dir": cache_dir})
        else:
            model = model_entrypoint(str(model_name))(
                pretrained=pretrained,
                pretrained_cfg=pretrained_cfg or split_name(str(model_name))[1] or None,
                pretrained_cfg_overlay=pretrained_cfg_overlay,
                cache_dir=cache_dir,
                **kwargs,
            )
    if checkpoint_path is not None:
        load_weights(model, Path(checkpoint_path).expanduser())
    return model


def create_named(name: str, spec: Spec, pretrained: bool = False, **kwargs: Any) -> VideoNet | Ensemble:
    """Create a registered architecture: its spec with changed arguments, built, with weights and config.

    Every registered entry point calls this.

    Args:
        name: the architecture.
        spec: its composition.
        pretrained: load the weights of the tag in ``pretrained_cfg``, or the default ones.
        kwargs: those of :func:`create_model`.
    """
    given, overlay = kwargs.pop("pretrained_cfg", None), kwargs.pop("pretrained_cfg_overlay", None)
    if _timm_place(given) is not None:
        return create_composed(pretrained, pretrained_cfg=given, pretrained_cfg_overlay=overlay, **kwargs)
    cache_dir, init_from = kwargs.pop("cache_dir", None), kwargs.pop("init_from", None)
    tagged = f"{name}.{given}" if isinstance(given, str) else name
    cfg = with_size(get_pretrained_cfg(tagged), kwargs.get("img_size"))
    cfg = merge_cfg(cfg, None if isinstance(given, str) else given, overlay)
    if init_from is not None:
        if pretrained or "backbone_weights" in kwargs:
            raise ValueError(f"{name}: init_from, pretrained and backbone_weights each say where to start; give one.")
        started, base_cfg = build_from_base(name, spec, init_from, kwargs, cache_dir)
        return configure(started, merge_cfg(base_cfg, overlay), name)
    if pretrained and not (cfg.file and Path(cfg.file).expanduser().is_file()):
        source = open_named(tagged, cfg, cache_dir)
        row = {key: value for key, value in given.items() if key in _OF_VIDEOS} if isinstance(given, Mapping) else {}
        return _from_source(source, True, {**row, **(overlay or {})}, {**kwargs, "cache_dir": cache_dir})
    backbone_weights = kwargs.pop("backbone_weights", None)
    changes = {"num_classes": cfg.num_classes, **({"num_frames": cfg.num_frames} if tagged != name else {}), **kwargs}
    model = build(_change_spec(spec, changes, name), backbone_weights, cache_dir)
    if pretrained:  # a mere file, named in the given config
        path = Path(str(cfg.file)).expanduser()
        load_weights(model, path, num_classes=cfg.num_classes)
    return configure(model, cfg, name)


def create_composed(pretrained: bool = False, **kwargs: Any) -> VideoNet | Ensemble:
    """Create a model that timm's ``create_model`` found at ``hf-hub:`` or ``local-dir:``, from its config.

    Args:
        pretrained: load its weights.
        kwargs: those of :func:`create_model`, and those that timm adds from the config.
    Raises:
        WeightsError: it cannot be fetched, is no model of videozoo, or does not fit.
        ValueError: called by the name of this function, which has no composition.
    """
    place = _timm_place(kwargs.pop("pretrained_cfg", None))
    if place is None:
        raise ValueError(f"{COMPOSED} has no composition of its own; make one with videozoo.compose.")
    overlay, cache_dir = kwargs.pop("pretrained_cfg_overlay", None), kwargs.pop("cache_dir", None)
    stored = kwargs.pop("pretrained_model_args", None) or {}  # timm has put them among the arguments
    changed = {key: value for key, value in kwargs.items() if stored.get(key) != value}
    return _from_source(resolve_weights(place, cache_dir), pretrained, overlay, {**changed, "cache_dir": cache_dir})


def _timm_place(cfg: Any) -> str | None:
    """Return the location of a model if timm's ``create_model`` was given a location and not a name."""
    row = cfg if isinstance(cfg, Mapping) else {}
    if row.get("source") == "hf-hub":
        return f"hf-hub:{row['hf_hub_id']}"
    return f"local-dir:{row['file']}" if row.get("source") == "local-dir" else None


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
    causal: bool = False,
    img_size: int | None = None,
    backbone_weights: str | Path | None = None,
) -> VideoNet:
    """Compose a model from any timm CNN, a temporal module and augmenters.

    Args:
        backbone: a timm name without tag, for example ``"seresnet50"``.
        temporal: for example ``TSN()`` or ``TSM(shift_div=8)``.
        augmenters: for example ``[ARC(num_steps=4)]`` or ``[DNR()]``, applied in this order.
        num_classes, num_frames, in_chans, drop_rate, drop_path_rate, causal, img_size: as in :class:`ModelSpec`.
        backbone_weights: weights of the backbone alone, loaded before it is changed: a timm tag (``"tv_in1k"``, which
            is downloaded), a local file with timm's, torchvision's or a known code base's keys, a repository
            (``"hf-hub:MCG-NJU/videomae-base"``), or None for random ones.
    Returns:
        the model, for clips (B, C, T, H, W), in training mode.
    Raises:
        ValueError: an unknown backbone, or a part that finds nothing to change in it.
        WeightsError: the backbone's weights are missing or do not fit.
    Example:
        >>> from videozoo import ARC, TSM, compose
        >>> model = compose("resnet10t", TSM(), [ARC(num_steps=4)], num_classes=10, num_frames=16)
        >>> model.spec.title
        'TSM+ARC on resnet10t'
    """
    parts: Any = augmenters  # ModelSpec checks them and makes a tuple
    spec = ModelSpec(
        backbone, temporal, parts, num_frames, num_classes, in_chans, drop_rate, drop_path_rate, causal, img_size
    )
    return configure(build(spec, backbone_weights), backbone_cfg(spec), "")


def _change_spec(spec: Spec, changes: Mapping[str, Any], name: str) -> Spec:
    allowed = ("num_classes", "num_frames", "in_chans", "drop_rate", "drop_path_rate", "causal", "img_size")
    unknown = sorted(set(changes) - set(allowed))
    if unknown:
        raise ValueError(
            f"{name}: unknown arguments {unknown}; known are {', '.join(allowed)}, backbone_weights. "
            "For another temporal module or augmenter use videozoo.compose."
        )
    return spec.replace(**changes)


def _from_source(
    source: Source, pretrained: bool, overlay: Mapping[str, Any] | None, kwargs: dict[str, Any]
) -> VideoNet | Ensemble:
    """Create the model of a location with its own config. ``kwargs`` are those of :func:`create_model`."""
    backbone_weights, cache_dir = kwargs.pop("backbone_weights", None), kwargs.pop("cache_dir", None)
    spec = _change_spec(source.spec, kwargs, source.architecture or source.name)
    try:
        model = build(spec, backbone_weights, cache_dir)
    except (ArithmeticError, AttributeError, RuntimeError, TypeError, ValueError) as error:
        if set(kwargs) - {"num_classes"}:
            raise
        raise source.error(f"its model cannot be built ({error})", CONFIG) from error
    if pretrained:
        load_weights_from(model, source)
    return configure(model, merge_cfg(with_size(source.cfg, kwargs.get("img_size")), overlay), source.architecture)

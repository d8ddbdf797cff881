"""Backbones of timm or of videozoo, with weights of image models."""

import re
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn

from videozoo.hub import WeightsError, convert_backbone, download_repo
from videozoo.hub.convert.base import ConvertError
from videozoo.hub.convert.checkpoint import convert_checkpoint, open_checkpoint, unwrap, without_prefix
from videozoo.hub.remote import split_repo
from videozoo.models.registry import is_model
from videozoo.models.spec import ModelSpec
from videozoo.models.state_dict import adapt_stems, load_strictly
from videozoo.nets import Backbone, complete_backbone, has_positions, image_model_of
from videozoo.surgery import find_blocks
from videozoo.text import near_names

__all__ = ["load_backbone", "load_backbone_file"]


def load_backbone(spec: ModelSpec, weights: str | Path | None = None, cache_dir: str | Path | None = None) -> nn.Module:
    """Return the unchanged backbone of ``spec``, without a classifier."""
    if not isinstance(spec.backbone, str) or not spec.backbone:
        raise ValueError(f"compose: backbone is {spec.backbone!r}; pass a name of timm, such as 'resnet18'.")
    if re.search(r"[:/\\]", spec.backbone):
        arch, _, tag = re.split(r"[:/\\]", spec.backbone)[-1].partition(".")
        hint = f", backbone_weights={tag!r}" if tag else ""
        hint = f" (backbone={arch!r}{hint})" if timm.is_model(arch) else ""
        raise ValueError(
            f"compose: backbone is {spec.backbone!r}, which is no model name of timm; pass one{hint}, and a "
            "tag or a local file as backbone_weights."
        )
    arch, _, tag = spec.backbone.partition(".")
    if tag:
        raise ValueError(f"compose: backbone is {spec.backbone!r}; pass backbone={arch!r}, backbone_weights={tag!r}.")
    if is_model(arch):  # timm knows our names too
        raise ValueError(f"compose: {arch} is a model of videozoo itself; pass its backbone, an image model of timm.")
    if not timm.is_model(arch):
        known = [name for name in timm.list_models() if not is_model(name)]
        raise ValueError(f"compose: timm has no model {arch!r}{near_names(arch, known, most=5)}.")
    kwargs: dict[str, Any] = {"num_classes": 0, "in_chans": spec.in_chans}
    if spec.drop_path_rate:  # models without residual branches do not take it
        kwargs["drop_path_rate"] = spec.drop_path_rate
    kwargs |= _positions(spec)
    if str(weights).startswith("hf-hub:"):
        repo, revision = split_repo(str(weights).removeprefix("hf-hub:"))
        weights = download_repo(repo, revision, cache_dir=cache_dir, has_config=False).weights
    is_file = weights is not None and (
        isinstance(weights, Path) or re.search(r"[/\\]|\.\w+$", str(weights)) is not None
    )
    try:
        if weights is None or is_file:
            backbone = timm.create_model(arch, **kwargs)
        else:
            backbone = _create_started(arch, str(weights), kwargs, cache_dir)
    except TypeError as error:
        raise ValueError(f"compose: {arch} is not a backbone that videozoo can use ({error}).") from error
    if not hasattr(backbone, "forward_features") or getattr(backbone, "output_fmt", "NCHW") != "NCHW":
        raise ValueError(f"compose: {arch} gives no (B, C, H, W) feature maps; use a convolutional backbone.")
    complete_backbone(backbone)
    if not find_blocks(backbone) and not isinstance(backbone, Backbone):
        _check_maps(arch, kwargs, hasattr(backbone, "patch_embed"))
    if is_file:
        load_backbone_file(backbone, Path(str(weights)).expanduser(), spec.in_chans)
    return backbone


def _positions(spec: ModelSpec) -> dict[str, int]:
    """Return the sizes that position embeddings are for, as arguments of a backbone that has them."""
    if has_positions(spec.backbone):
        return {"num_frames": spec.num_frames, **({} if spec.img_size is None else {"img_size": spec.img_size})}
    if spec.img_size is not None:
        raise ValueError(
            f"compose: img_size is {spec.img_size}, but {spec.backbone} has no position embeddings that fit one size; "
            "leave img_size out, and give the model frames of the size that you want."
        )
    return {}


def _create_started(arch: str, tag: str, kwargs: dict[str, Any], cache_dir: str | Path | None) -> nn.Module:
    """Create a backbone with the weights of a tag of timm, its own or its image model's."""
    image = image_model_of(arch)
    if image == arch:
        return _create_tagged(arch, tag, {**kwargs, "cache_dir": cache_dir})
    source = {"num_classes": 0, "in_chans": kwargs["in_chans"], "cache_dir": cache_dir}
    state = _create_tagged(image, tag, source).state_dict()
    backbone: Any = timm.create_model(arch, **kwargs)
    load_strictly(backbone, backbone.from_image_weights(state), source=f"{image}.{tag}")
    return backbone


def _check_maps(arch: str, kwargs: dict[str, Any], has_patches: bool) -> None:
    """Raise if an unknown backbone returns no feature maps. A copy on the meta device shows it without computing."""
    try:
        with torch.device("meta"):
            twin: Any = timm.create_model(arch, **kwargs).eval()
            size = (twin.default_cfg or {}).get("input_size", (3, 224, 224))[1:]
            shape = getattr(twin.forward_features(torch.zeros(1, kwargs["in_chans"], *size)), "shape", torch.Size())
    except Exception:  # a forward that looks at values, which the meta device does not have
        if not has_patches:
            return
        shape = torch.Size()
    if len(shape) != 4:
        what = f"features {tuple(shape)}" if shape else "features of several scales"
        why = "is a transformer on patches" if has_patches else f"gives {what}, not maps (B, C, H, W)"
        raise ValueError(f"compose: {arch} {why}; use a convolutional backbone.")


def _create_tagged(arch: str, tag: str, kwargs: dict[str, Any]) -> nn.Module:
    tags = [name.partition(".")[2] for name in timm.list_pretrained(f"{arch}.*")]
    if tag not in tags:
        raise WeightsError(f"timm has no weights {tag!r}; tags: {', '.join(tags) or 'none'}", source=arch)
    name = f"{arch}.{tag}"
    cfg = timm.get_pretrained_cfg(name)
    repo = cfg and cfg.hf_hub_id
    try:
        if repo:  # timm itself would try for a minute, print each try and look for a pickle too
            path = download_repo(repo, cache_dir=kwargs["cache_dir"], has_config=False).weights
            kwargs = {**kwargs, "pretrained_cfg_overlay": {"file": str(path)}}
        return timm.create_model(name, pretrained=True, **kwargs)
    except Exception as error:  # of the client of another source than the hub there is no common type
        reason = error.reason if isinstance(error, WeightsError) else f"{type(error).__name__}: {error}"
        raise WeightsError(
            f"could not be fetched ({reason}), or give the file itself: --backbone-weights FILE "
            "(backbone_weights=FILE in Python)",
            source=name,
        ) from error


def _of_backbone(state: dict[str, Tensor], own: set[str], classifiers: tuple[str, ...]) -> dict[str, Tensor]:
    """Return a file's tensors under the keys of a backbone, if it is an image or video model's, less the classifier."""
    found = convert_backbone(state if own & set(state) else without_prefix(state), own)
    found = {key: value for key, value in found.items() if key.rpartition(".")[0] not in classifiers}
    if own == set(found):
        return found
    try:
        converted, _ = convert_checkpoint(state)
    except ConvertError:
        return found
    parts = {key.removeprefix("backbone."): value for key, value in converted.state.items() if key[:9] == "backbone."}
    return parts if set(parts) == own else found


def load_backbone_file(backbone: nn.Module, path: Path, in_chans: int = 3) -> None:
    """Load a local file of weights into an unchanged backbone, strictly.

    Only a classifier may be left over. A checkpoint of another code base is converted.

    Args:
        backbone: a model of timm, or one with timm's interface.
        path: a ``.safetensors`` file, or one of ``torch.save``, from which no code is run. The keys are timm's,
            torchvision's, or those of a known code base for the same backbone.
        in_chans: channels of the backbone's frames.
    Raises:
        WeightsError: the file is missing or no checkpoint, or its keys or shapes do not fit.
    """
    own = set(backbone.state_dict())
    try:
        state = unwrap(open_checkpoint(path))
    except ConvertError as error:
        raise WeightsError(str(error), source=str(path)) from error
    cfg = getattr(backbone, "default_cfg", {})
    classifiers = cfg.get("classifier") or ()
    classifiers = (classifiers,) if isinstance(classifiers, str) else tuple(classifiers)
    state = _of_backbone(state, own, classifiers)
    adapt_stems(state, backbone.state_dict(), in_chans)
    adapt: Any = getattr(backbone, "from_image_weights", None)
    state = state if adapt is None else adapt(state)
    load_strictly(backbone, state, source=str(path))

"""Building a model from a spec: backbone, temporal module, augmenters, head."""

from pathlib import Path
from typing import Any, overload

from videozoo.augment import AUGMENTERS, TPN
from videozoo.layers.options import check_count
from videozoo.layers.time_aware import set_num_segments
from videozoo.models.backbone import load_backbone
from videozoo.models.causal import make_causal
from videozoo.models.clip_checks import check_num_frames
from videozoo.models.ensemble import Ensemble
from videozoo.models.spec import EnsembleSpec, ModelSpec, Spec
from videozoo.models.video_net import VideoNet
from videozoo.nets import is_3d
from videozoo.temporal import TEMPORAL, TSN

__all__ = ["build"]

Place = str | Path | None


@overload
def build(spec: ModelSpec, backbone_weights: Place = None, cache_dir: Place = None) -> VideoNet: ...


@overload
def build(spec: Spec, backbone_weights: Place = None, cache_dir: Place = None) -> VideoNet | Ensemble: ...


def build(spec: Spec, backbone_weights: Place = None, cache_dir: Place = None) -> VideoNet | Ensemble:
    """Build the model of ``spec``.

    Args:
        spec: the composition. Every member of an ensemble is built with the same arguments.
        backbone_weights: weights of the backbone alone, loaded before it is changed: a timm tag (``"tv_in1k"``, which
            is downloaded), a local file with timm's, torchvision's or a known code base's keys, a repository
            (``"hf-hub:MCG-NJU/videomae-base"``), or None for random ones.
        cache_dir: folder for timm's downloads. None: timm's default.
    Raises:
        ValueError: unknown backbone, one that is no 2-D CNN, or a part that finds nothing to change in it.
        WeightsError: the weights are missing or do not fit.
    """
    if isinstance(spec, EnsembleSpec):
        return Ensemble([build(member, backbone_weights, cache_dir) for member in spec.members])
    for option, least in (("num_frames", 1), ("in_chans", 1), ("num_classes", 0)):
        check_count("build", option, getattr(spec, option), least)
    if spec.img_size is not None:
        check_count("build", "img_size", spec.img_size, 1)
    for option in ("drop_rate", "drop_path_rate"):
        rate = getattr(spec, option)
        if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 <= rate < 1:
            raise ValueError(f"compose: {option} is {rate!r}; need a number from 0 to below 1.")
    backbone = load_backbone(spec, backbone_weights, cache_dir)
    check_num_frames(backbone, spec, spec.num_frames)
    if is_3d(backbone) and type(spec.temporal) is not TSN:
        raise ValueError(
            f"compose: {spec.backbone} is a 3-D model and mixes time itself; {type(spec.temporal).__name__} is for 2-D "
            "backbones. Leave temporal out."
        )
    set_num_segments(backbone, spec.num_segments)  # of layers that the backbone itself has
    if hasattr(spec.temporal, "make_head") and any(type(part) is TPN for part in spec.augmenters):
        raise ValueError(
            f"compose: {type(spec.temporal).__name__} classifies the features of every frame, and TPN leaves one time "
            "step; take another temporal module, or leave TPN out."
        )
    temporal, *augmenters = _parts(spec)
    plain = set(backbone.state_dict())
    sites = {type(temporal).__name__.lower(): temporal.apply(backbone, spec.num_segments)}
    without_addons = set(backbone.state_dict())
    sites |= {type(part).__name__.lower(): part.apply(backbone, spec.num_segments) for part in augmenters}
    net = VideoNet(backbone, spec, sites)
    if spec.causal:
        make_causal(net, nearest=True)
    names = set(net.backbone.state_dict())
    aux_head = {name for name in net.state_dict() if name.startswith("aux_head.")}
    net.added_names = frozenset({f"backbone.{name}" for name in names - plain} | aux_head)
    net.addon_names = frozenset({f"backbone.{name}" for name in names - without_addons} | aux_head)
    return net


def _parts(spec: ModelSpec) -> list[Any]:
    for part in (spec.temporal, *spec.augmenters):
        if isinstance(part, str | type) or not hasattr(part, "apply"):
            raise ValueError(
                f"compose: {part!r} is not a part; pass an instance such as TSM(shift_div=8) or ARC(num_steps=4)."
            )
    swapped = [part for part in spec.augmenters if type(part) in TEMPORAL.values()]
    if type(spec.temporal) in AUGMENTERS.values() or swapped:
        raise ValueError(
            f"compose: temporal is {spec.temporal!r}, augmenters are {spec.augmenters!r}; pass one temporal module "
            "(TSN() for none) and a list of augmenters (ARC, DNR, TPN), as in compose(backbone, TSM(), [ARC()])."
        )
    kinds = [type(part) for part in spec.augmenters]
    if len(set(kinds)) < len(kinds):
        raise ValueError(f"compose: an augmenter is given twice: {[kind.__name__ for kind in kinds]}.")
    return [spec.temporal, *spec.augmenters]

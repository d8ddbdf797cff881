"""Grad-CAM per frame: where in each frame a model sees a class."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from videozoo.explain.capture import check_model, private_copy, to_float
from videozoo.names import clean_name
from videozoo.nets import SlowFast
from videozoo.nets.slowfast import slow_frame_indices
from videozoo.shapes import to_clips, unfold_time
from videozoo.surgery import stage_modules
from videozoo.temporal.tdn import DifferenceResNet
from videozoo.text import near_names

__all__ = ["ClassMaps", "clip_maps", "find_class", "find_stage", "grad_cam", "wanted_classes"]


@dataclass(frozen=True)
class ClassMaps:
    """Heat maps of the evidence for a class in each frame.

    Args:
        maps: float32 (B, N, h, w) in [0, 1], a map for each of N frames: 1 is the largest value of its clip. All 0
            where nothing in the clip is evidence for the class.
        frames: which frames of the clip (0 to T - 1) they belong to: all T, or the middle one of each segment (TDN).
        classes: int64 (B,), the class of each clip that is explained.
        logits: float32 (B, K), what the model answers.
        peaks: float32 (B,), what a map's 1 stands for: of the sum that Grad-CAM takes, or a drop of the probability
            (`occlusion_maps`).
    """

    maps: Tensor
    frames: tuple[int, ...]
    classes: Tensor
    logits: Tensor
    peaks: Tensor


def grad_cam(
    model: nn.Module, clips: Tensor, *, stage: int | str = "res3", classes: int | Tensor | None = None
) -> ClassMaps:
    """Compute Grad-CAM heat maps of every frame from the features of a stage.

    Selvaraju et al., 2017 (arXiv:1610.02391): ReLU(sum_c alpha_c A_c), alpha_c the mean over positions of the gradient
    of the logit of the class. On a 2-D model A is the map of one folded frame and alpha is its own, so every frame has
    its own map. On a 3-D model alpha is the mean over the clip's frames too, and if A has fewer steps than the clip has
    frames, maps between them are interpolated. For two pathways (SlowFast) the sums are added, each step weighted by
    its part of the logit, that is with summed gradients. On a transformer with a class token A is the input of the last
    block of the stage: after the last block of all, no place in a frame acts on the logit any more.

    The model is not changed: no hook, gradient or mode stays on it. It is explained in evaluation mode.

    Args:
        model: a model of videozoo with a classifier.
        clips: normalized clips, as for the model itself.
        stage: 1 to 4, or the papers' ``"res2"`` to ``"res5"``.
        classes: one class for all clips, or one for each. None: the predicted class.
    Shape:
        clips (B, C, T, H, W).
    Raises:
        ValueError: an unknown stage or class, an ensemble, or a model without classes or without known stages.
    Example:
        >>> import torch
        >>> from videozoo import create_model
        >>> from videozoo.explain import grad_cam
        >>> model = create_model("test_arc_tsm.motions", pretrained=True)
        >>> maps = grad_cam(model, torch.randn(1, 3, 8, 48, 48)).maps
        >>> maps.shape[:2], 0 <= maps.min() <= maps.max() <= 1
        (torch.Size([1, 8]), tensor(True))
    """
    check_model(model)
    if not model.num_classes:
        raise ValueError("grad_cam: the model has no classifier (num_classes=0); explain one with classes.")
    index = find_stage(model, stage)
    with torch.inference_mode(False), torch.enable_grad():
        other: Any = private_copy(model)
        leaves = _watch_stage(other, index)
        logits = other(clips.clone() if clips.is_inference() else clips)
        if not leaves:
            raise ValueError(f"grad_cam: stage {stage} of {type(other.backbone).__name__} is not called as a module.")
        wanted = wanted_classes(logits, classes, "grad_cam")
        score = logits.gather(1, wanted[:, None]).sum()
        gradients = torch.autograd.grad(score, leaves, allow_unused=True)
    pairs = [(to_float(leaf), to_float(g)) for leaf, g in zip(leaves, gradients, strict=True) if g is not None]
    if other.gives_tokens:
        size = tuple(clips.shape[2:])
        pairs = [tuple(other.backbone.tokens_to_maps(tokens, size) for tokens in pair) for pair in pairs]
    maps, frames = (_clip_maps if other.is_3d else _frame_maps)(other, pairs)
    maps = maps.relu()
    peak = maps.amax((1, 2, 3), keepdim=True)
    maps = torch.where(peak > 0, maps / peak, maps)
    return ClassMaps(maps, frames, wanted.cpu(), to_float(logits), peak.flatten())


def find_stage(model: Any, stage: int | str) -> int:
    """Return the number of a stage, from 1, of its number or its name in the papers.

    Args:
        model: a model of videozoo.
        stage: 1 to 4, or ``"res2"`` to ``"res5"``.
    Raises:
        ValueError: no such stage, or the model does not define its stages.
    """
    stages = stage_modules(model.backbone)
    if stages is None:
        raise ValueError(f"explain: {type(model.backbone).__name__} does not define its stages (no feature_info).")
    names = [f"res{k + 1}" for k in range(1, len(stages) + 1)]
    numbers = {word: k for k, name in enumerate(names, 1) for word in (str(k), name)}
    if str(stage) not in numbers:
        raise ValueError(f"explain: no stage {stage!r}; choose 1 to {len(stages)}, or {', '.join(names)}.")
    return numbers[str(stage)]


def find_class(model: Any, wanted: int | str) -> int:
    """Return the number of a class, of its name or its number.

    Args:
        model: a model with ``num_classes``. Its class names are those of its ``pretrained_cfg``.
        wanted: the name, or the number as an int or a string.
    Raises:
        ValueError: no such class. The nearest names are given.
    """
    names = list(model.pretrained_cfg.get("label_names") or ())
    text = clean_name(str(wanted))
    by_name = next((label for label, name in enumerate(names) if clean_name(name) == text), None)
    by_index = int(text) if text.isdecimal() and int(text) < model.num_classes else None
    if isinstance(wanted, str) and by_name is not None:
        return by_name
    if by_index is not None:
        return by_index
    hint = near_names(text, names, "; the nearest: {}", show=repr)
    raise ValueError(f"explain: no class {wanted!r}; give a name or a number from 0 to {model.num_classes - 1}{hint}.")


def wanted_classes(logits: Tensor, classes: int | Tensor | None, who: str) -> Tensor:
    """Return the class to explain of each clip: the given ones, or what is predicted.

    ``who`` begins an error.
    """
    batch, count = logits.shape
    if classes is None:
        return logits.detach().argmax(1)
    wanted = torch.as_tensor(classes, device=logits.device).long()
    wanted = wanted.expand(batch) if wanted.ndim == 0 else wanted
    if wanted.shape != (batch,) or int(wanted.min()) < 0 or int(wanted.max()) >= count:
        raise ValueError(
            f"{who}: classes is {classes}; need one from 0 to {count - 1}, or one for each of {batch} clips."
        )
    return wanted


def _watch_stage(model: Any, stage: int) -> list[Tensor]:
    """Cut the graph at a stage's features. Gives the list that will hold them once the model has run."""
    leaves: list[Tensor] = []

    def cut(features: Any) -> Any:
        if isinstance(features, tuple):  # one tensor per pathway
            return tuple(cut(part) for part in features)
        leaf = features.detach().requires_grad_()
        leaves.append(leaf)
        return leaf.clone()  # what comes next may write into it

    backbone: Any = model.backbone
    if type(backbone) is DifferenceResNet and stage == 1:  # fused after the stage's module: what the next one takes
        backbone.get_submodule("layer2").register_forward_pre_hook(lambda _, args: (cut(args[0]),))
        return leaves
    stages = stage_modules(backbone) or []
    last = backbone.get_submodule(stages[stage - 1][-1])
    if model.gives_tokens:
        last.register_forward_pre_hook(lambda _, args: (cut(args[0]), *args[1:]))
    else:
        last.register_forward_hook(lambda _m, _a, output: cut(output))
    return leaves


def _frame_maps(model: Any, pairs: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, tuple[int, ...]]:
    """Return the heat maps (B, S, h, w) of folded feature maps, and the middle frame of each segment."""
    ((features, gradient),) = pairs
    maps = (gradient.mean((2, 3), keepdim=True) * features).sum(1)
    per_segment = model.frames_per_segment
    frames = tuple(s * per_segment + per_segment // 2 for s in range(model.num_segments))
    return unfold_time(maps, model.num_segments), frames


def _clip_maps(model: Any, pairs: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, tuple[int, ...]]:
    """Return the heat maps (B, T, h, w) of feature maps of clips (summed over pathways), and their frames."""
    count = model.num_frames
    backbone, places = model.backbone, None
    if isinstance(backbone, SlowFast):  # the slow pathway comes first; the fast one has every frame
        places = slow_frame_indices(count, backbone.cfg.alpha, backbone.cfg.slow_frames)
    # A 3-D model that begins with single frames gives their folded maps there.
    pairs = [(x, g) if x.ndim == 5 else (to_clips(x, count), to_clips(g, count)) for x, g in pairs]
    maps = [(gradient.sum((2, 3, 4), keepdim=True) * features).sum(1) for features, gradient in pairs]
    return torch.stack([_to_frames(row, count, places) for row in maps]).sum(0), tuple(range(count))


def clip_maps(model: Any, maps: Tensor) -> tuple[Tensor, tuple[int, ...]]:
    """Return maps (B, T', h, w) of a 3-D model's steps as maps of all frames, interpolated, and those frames."""
    return _to_frames(maps, model.num_frames, None), tuple(range(model.num_frames))


def _to_frames(maps: Tensor, count: int, places: list[int] | None) -> Tensor:
    """Linear interpolation over time: (B, T', h, w) to (B, count, h, w).

    Args:
        places: the frame at which each step lies. None: every (count / T')-th, as strides over time leave them.
    """
    steps = maps.shape[1]
    if steps == count:
        return maps
    at = torch.tensor(places or [k * count / steps for k in range(steps)], dtype=torch.float32)
    frame = torch.arange(count, dtype=torch.float32)
    after = torch.searchsorted(at, frame, right=True).clamp(max=steps - 1)
    before = (after - 1).clamp(min=0)
    gap = (at[after] - at[before]).clamp(min=1e-6)
    share = ((frame - at[before]) / gap).clamp(0, 1)[None, :, None, None]
    return maps[:, before] * (1 - share) + maps[:, after] * share

"""Base classes that give the backbones of this package timm's interface."""

from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from timm.layers import DropPath
from timm.models import checkpoint_seq
from timm.models._features import feature_take_indices
from timm.models._manipulate import MATCH_PREV_GROUP
from torch import Tensor, nn
from torchvision.ops import StochasticDepth

__all__ = ["Backbone", "StageByStage", "init_convs", "is_3d", "take_drop_paths"]


def is_3d(net: nn.Module) -> bool:
    """Return whether a backbone takes clips (B, C, T, H, W), not images (its attribute ``is_3d``)."""
    return bool(getattr(net, "is_3d", False))


class StageByStage(nn.Module):
    """Base of models with a stem and stages that return the last feature map or several.

    A subclass defines the stem and the stages (:meth:`_begin`, :meth:`_between`, :meth:`_advance`). The state that
    passes from stage to stage may be several tensors. :meth:`_map` returns the feature map of a state.

    Attributes:
        stage_names: the modules of the stages, stage 1 (the papers' res2) first.
        output_fmts: what timm may call the layout of the maps.
        grad_checkpointing: recompute blocks in the backward pass.
    """

    stage_names: tuple[str, ...]
    output_fmts: tuple[str, ...] = ("NCHW",)
    grad_checkpointing: bool

    def _begin(self, x: Tensor) -> Any:
        raise NotImplementedError

    def _advance(self, stage: nn.Module, state: Any) -> Any:
        return self._run(stage, state)

    def _map(self, state: Any) -> Tensor:
        return state

    def _normed(self, state: Any) -> Any:
        """Return the state with the last norm applied, if that norm fits the states of all stages."""
        return state

    def _end(self, state: Any) -> Tensor:
        """Return the final features from the state after the last stage."""
        return self._map(state)

    def _between(self, index: int, state: Any) -> Any:
        """Run operations before stage ``index`` that are not in its module, such as pooling after the stem."""
        return state

    def _run(self, stage: nn.Module, x: Tensor) -> Tensor:
        if self.grad_checkpointing and torch.is_grad_enabled() and isinstance(stage, nn.Sequential):
            return checkpoint_seq(stage, x)
        return stage(x)

    def forward_features(self, x: Tensor) -> Tensor:
        """Return the last feature map: (B, C, [T,] H, W) -> (B, num_features, [T',] H', W')."""
        state = self._begin(x)
        for index, name in enumerate(self.stage_names):
            state = self._advance(self.get_submodule(name), self._between(index, state))
        return self._end(state)

    def forward_intermediates(
        self,
        x: Tensor,
        indices: int | list[int] | None = None,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
    ) -> Any:
        """Return the feature maps of the stem and the stages, like timm's method of the same name.

        Args:
            x: as in ``forward_features``.
            indices: rows of ``feature_info``. An int n takes the last n, None all.
            norm: apply the last norm to the maps of a transformer on tokens. No effect on other backbones.
            stop_early: do not run the stages after the last wanted one.
            output_fmt: one of ``output_fmts``. The layout is that of the input in any case.
            intermediates_only: omit the final features.
        Raises:
            ValueError: another ``output_fmt``.
        """
        if output_fmt not in self.output_fmts:
            known = " or ".join(map(repr, self.output_fmts))
            raise ValueError(f"forward_intermediates: output_fmt is {output_fmt!r}; only {known} is possible.")
        take, last = feature_take_indices(1 + len(self.stage_names), indices)
        state = self._begin(x)
        maps = [self._map(self._normed(state) if norm else state)] if 0 in take else []
        for index, name in enumerate(self.stage_names):
            if stop_early and index >= last:
                break
            state = self._advance(self.get_submodule(name), self._between(index, state))
            if index + 1 in take:
                maps.append(self._map(self._normed(state) if norm else state))
        if intermediates_only:
            return maps
        is_whole = not stop_early or last == len(self.stage_names)
        return (self._end(state) if is_whole else self._map(state)), maps


class Backbone(StageByStage):
    """Base of the backbones, with all methods and attributes that timm and ``VideoNet`` need.

    A subclass creates its modules, then calls :meth:`_finish`. It also defines the stem and the stages.

    Attributes:
        is_3d: takes clips (B, C, T, H, W) instead of images (B, C, H, W).
        gives_tokens: ``forward_features`` returns tokens (B, N, C) instead of maps (``nets.tokens``).
        has_windows: attention within windows, whose number follows from the size of a map.
        mixes_time: whether a frame's features depend on other frames.
        feature_info: timm's rows for the stem and every stage.
        num_features: channels of the last map.
        head_hidden_size: channels that the classifier takes, where the head changes them.
        frames_multiple: a clip's number of frames must be a multiple of it.
        least_frames: smallest number of frames of a clip.
        size_multiple: frames must have a height and a width near a multiple of it.
    """

    is_3d = False
    gives_tokens = False
    has_windows = False
    mixes_time = False
    size_multiple = 1
    output_fmts = ("NCHW", "NCTHW")
    stem_pattern = r"^(?:conv1|bn1)"
    block_pattern = r"^layer(\d+)\.(\d+)"

    def _finish(
        self,
        stem: str,
        maps: Iterable[tuple[int, int]],
        num_classes: int,
        drop_rate: float,
        head_hidden_size: int | None = None,
    ) -> None:
        """Set the attributes of the interface.

        Args:
            stem: name of the module that returns the stem's map.
            maps: (channels, reduction) of the stem and of every stage.
            num_classes, drop_rate: of the classifier.
            head_hidden_size: channels that the classifier takes. None: those of the last map.
        """
        rows = zip((stem, *self.stage_names), maps, strict=True)
        self.feature_info: list[dict[str, Any]] = [
            {"num_chs": channels, "reduction": reduction, "module": module} for module, (channels, reduction) in rows
        ]
        self.num_features: int = self.feature_info[-1]["num_chs"]
        self.head_hidden_size = head_hidden_size or self.num_features
        self.frames_multiple = self.least_frames = 1
        self.drop_rate = drop_rate
        self.grad_checkpointing = False
        self.reset_classifier(num_classes)

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Average over time and space, apply dropout, and classify unless ``pre_logits``."""
        x = F.dropout(x.flatten(2).mean(2), self.drop_rate, self.training)
        return x if pre_logits else self.fc(x)

    def forward(self, x: Tensor) -> Tensor:
        return self.forward_head(self.forward_features(x))

    def get_classifier(self) -> nn.Module:
        """Return the classifier, or an identity."""
        return self.fc

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Replace the classifier by a new one. ``num_classes=0`` removes it."""
        self.num_classes = num_classes
        like = next(self.parameters())
        fc = nn.Linear(self.head_hidden_size, num_classes) if num_classes else nn.Identity()
        self.fc = fc.to(like.device, like.dtype)

    def stage_modules(self) -> list[list[str]]:
        """Return the names of the modules of each stage. The last of a stage returns its map or tokens."""
        return [[name] for name in self.stage_names]

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Recompute blocks in the backward pass instead of keeping their activations."""
        self.grad_checkpointing = enable

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Return timm's patterns for layer decay."""
        whole = self.block_pattern.partition(r"\.")[0]
        return {
            "stem": self.stem_pattern,
            "blocks": whole if coarse else [(self.block_pattern, None), (whole, MATCH_PREV_GROUP)],
        }


def init_convs(net: nn.Module) -> None:
    """Apply He initialization (fan-out) to every convolution. Norms keep theirs (1 and 0)."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.Conv3d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def take_drop_paths(net: nn.Module) -> None:
    """Put timm's ``DropPath`` in the place of torchvision's ``StochasticDepth``, which does the same to rows."""
    for module in list(net.modules()):
        for name, child in module.named_children():
            if isinstance(child, StochasticDepth):
                setattr(module, name, DropPath(child.p) if child.p else nn.Identity())

"""Model of a clip: a backbone and a classifier."""

from collections.abc import Callable
from typing import Any, ClassVar

import torch.nn.functional as F
from timm.models._features import feature_take_indices
from torch import Tensor, nn
from torch.fx import Proxy

from videozoo.layers.temporal_pyramid import AuxiliaryHead
from videozoo.layers.time_aware import set_num_segments, takes_frames, takes_maps
from videozoo.models.clip_checks import check_clips, check_num_frames
from videozoo.models.config import forget_classes
from videozoo.models.layer_decay_groups import layer_groups, prefixed
from videozoo.models.spec import ModelSpec
from videozoo.nets import is_3d
from videozoo.shapes import fold_segments, fold_time, to_clips, unfold_time
from videozoo.surgery import RelayStage, feature_rows

__all__ = ["VideoNet"]


class VideoNet(nn.Module):
    """Clip model: a backbone and a classifier, made by ``create_model`` or ``compose``.

    A 2-D backbone takes the folded frames of a clip, a 3-D one the clip itself. A model with a 2-D backbone averages
    over frames (TSN's consensus, Wang et al., 2016) unless its head takes the features or maps of every frame (TRN).
    You can replace ``fc`` by any other module, which then gets the mean (B, head_hidden_size). Dropout acts on the
    features of every frame. A linear classifier of the mean equals the mean of the frames' logits. Some temporal
    modules take several frames per time step: S = T / frames_per_segment.

    Args:
        backbone: a backbone without classifier, with its temporal module and augmenters applied. It is 3-D if its
            attribute ``is_3d`` is true.
        spec: the composition that it was built from.
        sites: names of the modules that each part changed, without the prefix ``backbone.``.
    Shape:
        input (B, C, T, H, W) float, output (B, num_classes) logits, or features (B, head_hidden_size) if
            ``num_classes`` is 0.
    Example:
        >>> import torch
        >>> from videozoo import create_model
        >>> model = create_model("tsm_r18", num_classes=10).eval()
        >>> x = torch.zeros(1, 3, 8, 64, 64)
        >>> model(x).shape, model.forward_features(x).shape
        (torch.Size([1, 10]), torch.Size([1, 512, 8, 2, 2]))
        >>> model.reset_classifier(3)
        >>> model.set_num_frames(4)
        >>> model(x[:, :, :4]).shape
        torch.Size([1, 3])
    """

    backbone: Any
    streaming: ClassVar[Callable[..., Any]]  # ``streaming.stream``, set by ``videozoo.models``

    def __init__(self, backbone: nn.Module, spec: ModelSpec, sites: dict[str, list[str]]) -> None:
        super().__init__()
        self.backbone = backbone
        self.spec, self.sites = spec, sites
        self.num_frames, self.in_chans, self.num_classes = spec.num_frames, spec.in_chans, spec.num_classes
        self.is_3d: bool = is_3d(backbone)
        self.gives_tokens: bool = getattr(backbone, "gives_tokens", False)
        self.frames_per_segment, self.frames_in_a_row = spec.frames_per_segment, spec.frames_in_a_row
        self.num_features: int = self.backbone.num_features
        self.head_hidden_size: int = getattr(self.backbone, "head_hidden_size", self.num_features)
        self.drop_rate = spec.drop_rate
        # TPN's module that joins the maps of the last two stages
        self.has_neck = any(hasattr(part, "make_aux_head") for part in spec.augmenters)
        self.fc = self._make_fc(spec.num_classes)
        self.aux_head, self.aux_weight = self._make_aux_head(spec)
        self.pretrained_cfg: dict[str, Any] = {}
        self.added_names: frozenset[str] = frozenset()  # keys that the backbone alone does not have
        self.addon_names: frozenset[str] = frozenset()  # those of them that are from ARC, DNR or TPN
        self.init_report: Any = None  # what came from its base, where it started from one

    @property
    def num_segments(self) -> int:
        """Number of time steps of a 2-D backbone."""
        return self.num_frames // self.frames_per_segment

    @property
    def num_steps(self) -> int:
        """Number of time steps of the last features of a 2-D backbone: 1 behind a neck such as TPN's."""
        return 1 if self.has_neck else self.num_segments

    @property
    def head_takes_frames(self) -> bool:
        """True if the classifier, or a module in it, takes the features of every frame (B, S, F) instead of the mean.

        Such a module has ``takes_frames = True``, as TRN's head does (:class:`~videozoo.layers.time_aware.TimeAware`).
        """
        return takes_frames(self.fc)

    @property
    def head_takes_maps(self) -> bool:
        """True if the classifier, or a module in it, takes the feature maps of every frame (B, S, C, H, W).

        Such a module has ``takes_maps = True``, as Att-LSTM's head does.
        """
        return takes_maps(self.fc)

    @property
    def default_cfg(self) -> dict[str, Any]:
        """timm's other name for ``pretrained_cfg``."""
        return self.pretrained_cfg

    @property
    def feature_info(self) -> list[dict[str, Any]]:
        """Rows of the feature maps, one per stage, as timm has them (``num_chs``, ``reduction``, ``module``)."""
        return [{**row, "module": f"backbone.{row['module']}"} for row in feature_rows(self.backbone) or []]

    def _make_fc(self, num_classes: int) -> nn.Module:
        if num_classes == 0:
            return nn.Identity()
        like = next(self.backbone.parameters())
        if hasattr(self.spec.temporal, "make_head"):
            head = self.spec.temporal.make_head(self.head_hidden_size, self.num_segments, num_classes)
            return head.to(like.device, like.dtype)
        fc = nn.Linear(self.head_hidden_size, num_classes, device=like.device, dtype=like.dtype)
        nn.init.normal_(fc.weight, std=0.01)
        nn.init.zeros_(fc.bias)
        return fc

    def _make_aux_head(self, spec: ModelSpec) -> tuple[AuxiliaryHead | None, float]:
        """Return the auxiliary head of an augmenter and the weight of its loss, or None and 0."""
        parts: tuple[Any, ...] = spec.augmenters
        for part in parts:
            if getattr(part, "aux_weight", 0):
                like = next(self.backbone.parameters())
                head = part.make_aux_head(self.backbone, spec.num_classes, spec.drop_rate)
                return head.to(like.device, like.dtype), float(part.aux_weight)
        return None, 0.0

    def _fold(self, x: Tensor) -> Tensor:
        check_clips(self, x)
        if self.is_3d:
            return x
        return fold_time(x) if self.frames_per_segment == 1 else fold_segments(x, self.frames_per_segment)

    def _clips(self, x: Tensor, steps: int | None = None) -> Tensor:
        return x if self.is_3d else to_clips(x, steps or self.num_segments)

    def forward_features(self, x: Tensor) -> Tensor:
        """Return the features before pooling: maps, (B, C, T, H, W) -> (B, num_features, T', H', W').

        T' is the number of segments for a 2-D backbone. For a 3-D one it is T divided by the strides. Behind a neck
        (TPN) it is 1. A transformer on tokens (``backbone.gives_tokens``) returns tokens (B, N, num_features) as timm's
        ViTs do, its class token first.
        """
        return self._clips(self._maps(x), self.num_steps)

    def _maps(self, x: Tensor) -> Tensor:
        if self.has_neck:
            return self._join(*self._last_two(x))
        maps = self.backbone.forward_features(self._fold(x))
        dims = 3 if self.gives_tokens else 5 if self.is_3d else 4
        if not isinstance(maps, Proxy) and maps.ndim != dims:
            raise ValueError(
                f"VideoNet: {self.spec.backbone} gives features {tuple(maps.shape)}, not maps (B, C, H, W); "
                "use a convolutional backbone."
            )
        return maps

    def _last_two(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the map of the stage before the last and the last features, as clips."""
        final, maps = self.backbone.forward_intermediates(self._fold(x), indices=2)
        return self._clips(maps[0]), self._clips(final)

    def _join(self, shallow: Tensor, deep: Tensor) -> Tensor:
        """Run the neck on maps of clips. Its output is folded for a 2-D backbone."""
        maps = self.backbone.neck(shallow, deep)
        return maps if self.is_3d else fold_time(maps)

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Pool, average over frames and classify what ``forward_features`` returns: -> (B, num_classes).

        With ``pre_logits`` the result is the pooled features (B, head_hidden_size).
        """
        return self._head(x if self.is_3d else fold_time(x), pre_logits)

    def _head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        if self.head_takes_maps and not pre_logits:
            return self.fc(F.dropout(unfold_time(x, self.num_segments), self.drop_rate, self.training))
        x = self.backbone.forward_head(x, pre_logits=True)
        if not self.is_3d:
            x = unfold_time(x, self.num_steps)
        x = F.dropout(x, self.drop_rate, self.training)
        if not self.is_3d and (pre_logits or not self.head_takes_frames):
            x = x.mean(1)
        return x if pre_logits else self.fc(x)

    def forward(self, x: Tensor, with_aux: bool = False) -> Any:
        """Return the logits (B, num_classes).

        With ``with_aux``, for an additional loss in training, return the pair (logits, logits of the auxiliary head).

        Raises:
            ValueError: ``with_aux``, but the model has no auxiliary head.
        """
        if with_aux is not True:  # not its truth: a tracer (torch.fx) passes an object that has none
            return self._head(self._maps(x))
        if self.aux_head is None:
            raise ValueError(f"VideoNet: with_aux=True, but {self.spec.title} has no auxiliary head; TPN has one.")
        shallow, deep = self._last_two(x)
        return self._head(self._join(shallow, deep)), self.aux_head(shallow)

    def forward_intermediates(
        self, x: Tensor, indices: int | list[int] | None = None, intermediates_only: bool = False, **kwargs: Any
    ) -> Any:
        """Return the feature maps of several stages, as timm's method of that name.

        Args:
            x: clips (B, C, T, H, W).
            indices: rows of ``feature_info``. An int takes that many from the end, None takes all.
            intermediates_only: leave the final features out.
            kwargs: ``norm`` and ``stop_early`` of timm's method.
        Returns:
            a list of (B, C_i, T, H_i, W_i), or the pair (features as ``forward_features``, that list).
        """
        joined = self.has_neck and not intermediates_only
        out = self.backbone.forward_intermediates(
            self._fold(x), indices=None if joined else indices, intermediates_only=intermediates_only, **kwargs
        )
        if intermediates_only:
            return [self._clips(y) for y in out]
        maps = [self._clips(y) for y in out[1]]
        if not joined:
            return self._clips(out[0]), maps
        take, _ = feature_take_indices(len(maps), indices)
        return self._clips(self._join(maps[-2], self._clips(out[0])), 1), [y for k, y in enumerate(maps) if k in take]

    def get_classifier(self) -> nn.Module:
        """Return the linear classifier, or an identity if ``num_classes`` is 0."""
        return self.fc

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Replace the classifier by a new one and forget the class names of the old one.

        Args:
            num_classes: new number of classes. 0 for pooled features.
            global_pool: for timm's signature. Only None is accepted, the backbone keeps its pooling.
        Raises:
            ValueError: a negative number, or a ``global_pool``.
        """
        if num_classes < 0 or global_pool is not None:
            raise ValueError(
                f"reset_classifier: num_classes={num_classes}, global_pool={global_pool!r}; need 0 or more, and None."
            )
        self.num_classes = num_classes
        self.spec = self.spec.replace(num_classes=num_classes)
        self.fc = self._make_fc(num_classes).train(self.training)  # TRN's head draws in training
        if self.aux_head is not None:
            self.aux_head.reset_classifier(num_classes)
        self.pretrained_cfg = forget_classes(self.pretrained_cfg, num_classes)

    def set_num_frames(self, num_frames: int) -> None:
        """Change the number of frames of the clips that the model takes.

        Raises:
            ValueError: a number that the model cannot take, or that some of its weights do not fit.
        """
        check_num_frames(self.backbone, self.spec, num_frames, self.fc)
        self.num_frames = num_frames
        self.spec = self.spec.replace(num_frames=num_frames)
        self.pretrained_cfg = {**self.pretrained_cfg, "num_frames": num_frames}
        for part in (self.backbone, self.fc):
            set_num_segments(part, self.num_segments)

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Recompute blocks in the backward pass instead of keeping their activations.

        Raises:
            ValueError: the backbone does not support it.
        """
        stages = [module for module in self.backbone.modules() if isinstance(module, RelayStage)]
        for stage in stages:
            stage.grad_checkpointing = enable
        if not stages:  # timm's own would take relay stages apart
            try:
                self.backbone.set_grad_checkpointing(enable)
            except (AttributeError, AssertionError) as error:
                raise ValueError(
                    f"set_grad_checkpointing: {self.spec.backbone} of timm does not support it."
                ) from error

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Return timm's patterns for layer decay and layer groups, for the keys of this model."""
        return {group: prefixed(spec, r"backbone\.") for group, spec in layer_groups(self.backbone, coarse).items()}

    def no_weight_decay(self) -> set[str]:
        """Return the names of parameters without weight decay, in addition to those of one dimension."""
        own = getattr(self.backbone, "no_weight_decay", set)
        return {f"backbone.{name}" for name in own()}

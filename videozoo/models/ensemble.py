"""Ensembles: several models on one clip whose predictions are averaged."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from videozoo.models.clip_checks import check_clips, check_num_frames
from videozoo.models.config import forget_classes
from videozoo.models.layer_decay_groups import prefixed
from videozoo.models.spec import EnsembleSpec
from videozoo.models.video_net import VideoNet
from videozoo.probabilities import is_multi_label, join_logits

__all__ = ["Ensemble", "joint_names"]


class Ensemble(nn.Module):
    """Ensemble of models on the same clip, whose probabilities are averaged.

    The output is the logarithm of the mean of the members' probabilities. Its softmax is that mean, so it works
    wherever logits do, and cross entropy trains all members at once. For multi-label members its sigmoid is the mean.
    Members can be trained one by one and joined as they are: ``Ensemble([net8, net16])``.

    A clip has as many frames T as the longest member takes. A member that takes T_k frames gets every r-th, r = T /
    T_k, from frame r // 2 on. With segment sampling its own test frames would be the centers of T_k segments. For an
    odd r these are exactly the frames that it gets. For an even r they are between two frames of the clip, half a frame
    away from both: of 16 frames the second, fourth, ... are as near to the centers of 8 segments as the first, third,
    ..., a quarter of a segment away, and the later one is taken. With dense sampling a member sees r times the stride.

    Args:
        members: two or more models with the same classes and channels, whose numbers of frames divide the largest one.
    Shape:
        input (B, C, T, H, W) float, output (B, num_classes), or the members' features side by side (B,
            head_hidden_size) if ``num_classes`` is 0.
    Raises:
        ValueError: members that cannot see the same clip, or have other class names.
    Example:
        >>> import torch
        >>> from videozoo import Ensemble, create_model
        >>> net8, net16 = [create_model("tsm_r18", num_frames=count) for count in (8, 16)]
        >>> model = Ensemble([net8, net16]).eval()
        >>> model.num_frames, model(torch.zeros(1, 3, 16, 48, 48)).shape
        (16, torch.Size([1, 400]))
    """

    members: Any
    streaming: ClassVar[Callable[..., Any]]  # as of ``VideoNet``

    def __init__(self, members: Sequence[VideoNet]) -> None:
        super().__init__()
        others = [type(member).__name__ for member in members if not isinstance(member, VideoNet)]
        if others:
            raise ValueError(f"Ensemble: members are {', '.join(others)}; need models of videozoo (VideoNet).")
        EnsembleSpec(tuple(member.spec for member in members))  # refuses members that do not go together
        self.members = nn.ModuleList(members)
        self.in_chans, self.frames_per_segment = members[0].in_chans, members[0].frames_per_segment
        self.frames_in_a_row = members[0].frames_in_a_row
        self.is_3d = any(member.is_3d for member in members)
        self.num_features = sum(member.num_features for member in members)
        self.head_hidden_size = sum(member.head_hidden_size for member in members)
        self.pretrained_cfg: dict[str, Any] = _joint_cfg(list(members))

    @property
    def spec(self) -> EnsembleSpec:
        """The compositions of the members."""
        return EnsembleSpec(tuple(member.spec for member in self.members))

    @property
    def sites(self) -> dict[str, list[str]]:
        """Names of the modules that each part changed, by part."""
        sites: dict[str, list[str]] = {}
        for k, member in enumerate(self.members):
            for part, names in member.sites.items():
                sites.setdefault(part, []).extend(f"members.{k}.backbone.{name}" for name in names)
        return sites

    @property
    def num_frames(self) -> int:
        """Frames T of a clip, as many as the longest member takes."""
        return max(int(member.num_frames) for member in self.members)

    @property
    def num_classes(self) -> int:
        """Number of classes of every member."""
        return int(self.members[0].num_classes)

    @property
    def default_cfg(self) -> dict[str, Any]:
        """timm's other name for ``pretrained_cfg``."""
        return self.pretrained_cfg

    @property
    def feature_info(self) -> list[dict[str, Any]]:
        """timm's rows of the feature maps: all of the first member, then all of the next."""
        rows = ((k, row) for k, member in enumerate(self.members) for row in member.feature_info)
        return [{**row, "module": f"members.{k}.{row['module']}"} for k, row in rows]

    def _share(self, x: Tensor) -> list[Tensor]:
        check_clips(self, x)
        longest, run = self.num_frames, self.frames_per_segment
        places = x.unflatten(2, (-1, run))
        steps = [longest // member.num_frames for member in self.members]
        return [places[:, :, step // 2 :: step].flatten(2, 3) for step in steps]

    def forward_features(self, x: Tensor) -> list[Tensor]:
        """Return a list of the members' feature maps before pooling, whose T may differ."""
        return [member.forward_features(clip) for member, clip in zip(self.members, self._share(x), strict=True)]

    def forward_head(self, x: Sequence[Tensor], pre_logits: bool = False) -> Tensor:
        """Classify the members' feature maps: (B, num_classes), or with ``pre_logits`` (B, head_hidden_size)."""
        out = [member.forward_head(maps, pre_logits) for member, maps in zip(self.members, x, strict=True)]
        return torch.cat(out, 1) if pre_logits else self._join(out)

    def forward(self, x: Tensor) -> Tensor:
        return self._join([member(clip) for member, clip in zip(self.members, self._share(x), strict=True)])

    def _join(self, logits: list[Tensor]) -> Tensor:
        if self.num_classes == 0:
            return torch.cat(logits, 1)
        dtype = logits[0].dtype
        exact = torch.promote_types(dtype, torch.float32)  # half precision would lose small probabilities
        return join_logits(torch.stack([one.to(exact) for one in logits]), is_multi_label(self)).to(dtype)

    def forward_intermediates(
        self, x: Tensor, indices: int | list[int] | None = None, intermediates_only: bool = False, **kwargs: Any
    ) -> Any:
        """Return the feature maps of several stages of each member, one member after the other, as ``VideoNet`` does.

        Args:
            x: clips (B, C, T, H, W).
            indices: stages of every member. An int takes that many from the end, None takes all.
            intermediates_only: leave the final features out.
            kwargs: ``norm`` and ``stop_early`` of timm's method.
        Returns:
            a list of maps, or the pair (features as ``forward_features``, that list).
        """
        outs = [
            member.forward_intermediates(clip, indices, intermediates_only, **kwargs)
            for member, clip in zip(self.members, self._share(x), strict=True)
        ]
        if intermediates_only:
            return [map_ for maps in outs for map_ in maps]
        return [final for final, _ in outs], [map_ for _, maps in outs for map_ in maps]

    def get_classifier(self) -> nn.ModuleList:
        """Return the members' classifiers."""
        return nn.ModuleList([member.get_classifier() for member in self.members])

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Replace the classifier of every member by a new one and forget the class names of the old ones.

        Args:
            num_classes: new number of classes. 0 for pooled features.
            global_pool: for timm's signature. Only None is accepted.
        Raises:
            ValueError: a negative number, or a ``global_pool``.
        """
        for member in self.members:
            member.reset_classifier(num_classes, global_pool)
        self.pretrained_cfg = forget_classes(self.pretrained_cfg, num_classes)

    def set_num_frames(self, num_frames: int) -> None:
        """Change the number of frames of a clip, of which each member keeps its fraction.

        Raises:
            ValueError: a number of which a member gets no whole number of frames, or one that it cannot take.
        """
        spec = self.spec.replace(num_frames=num_frames)
        pairs = list(zip(self.members, spec.members, strict=True))
        for member, new in pairs:  # all or none
            check_num_frames(member.backbone, member.spec, new.num_frames, member.fc)
        for member, new in pairs:
            member.set_num_frames(new.num_frames)
        self.pretrained_cfg = {**self.pretrained_cfg, "num_frames": num_frames}

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Recompute blocks in the backward pass instead of keeping their activations.

        Raises:
            ValueError: a backbone does not support it.
        """
        for member in self.members:
            member.set_grad_checkpointing(enable)

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Return timm's patterns for layer decay and layer groups, with blocks of equal depth in one group."""
        groups: dict[str, list[Any]] = {}
        for k, member in enumerate(self.members):
            for group, patterns in member.group_matcher(coarse).items():
                rows = [(patterns, None)] if isinstance(patterns, str) else patterns
                groups.setdefault(group, []).extend(prefixed(list(rows), rf"members\.{k}\."))
        return groups

    def no_weight_decay(self) -> set[str]:
        """Return the names of parameters without weight decay, in addition to those of one dimension."""
        return {f"members.{k}.{name}" for k, member in enumerate(self.members) for name in member.no_weight_decay()}


def joint_names(members: Sequence[VideoNet], field: str) -> tuple[str, ...]:
    """Return every member's names under ``field`` (``"classifier"``, ``"first_conv"``), as names in the ensemble."""
    names = []
    for k, member in enumerate(members):
        own = member.pretrained_cfg.get(field) or ()
        names += [f"members.{k}.{name}" for name in ([own] if isinstance(own, str) else own)]
    return tuple(names)


def _joint_cfg(members: list[VideoNet]) -> dict[str, Any]:
    """Return the longest member's config. Fields on which the members must agree are checked."""
    longest = max(members, key=lambda member: member.num_frames).pretrained_cfg
    if len({is_multi_label(member) for member in members}) > 1:
        raise ValueError("Ensemble: some members give a video one class and some several; they cannot be averaged.")
    for field in ("mean", "std", "channel_order", "label_names"):
        values = [member.pretrained_cfg.get(field) for member in members]
        known = [tuple(value) for value in values if value]
        if len(set(known)) > 1:
            raise ValueError(
                f"Ensemble: members have {field} {' and '.join(map(str, values))[:400]}; one clip and one list of "
                "classes is for all: train them on the same data with the same transforms."
            )
    if not longest:
        return {}
    joint = {name: joint_names(members, name) for name in ("classifier", "first_conv")}
    return {key: value for key, value in {**longest, **joint}.items() if key not in ("architecture", "metrics")}

"""Batches: collation in the workers, and preparation for training on the device."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from timm.data.mixup import Mixup, mixup_target
from timm.data.random_erasing import RandomErasing
from torch import Tensor
from torch.utils.data import default_collate

from videozoo.choices import ERASE_MODES
from videozoo.ranges import describe_problem

from .normalize import ClipNormalizer


def collate_clips(items: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Stack the items of a data set that could be read, as ``collate_fn`` of a DataLoader.

    Args:
        items: from ``VideoDataset`` or ``JointDataset``.
    Returns:
        dict(video, label, index, broken). video is stacked (for a joint data set: a list of stacks), None if no item
            could be read. label and index are int64 and of the stacked items alone. label of multi-label items is
            float32 (B, K). broken is a list of (index, problem) of all items.
    Example:
        >>> from torch.utils.data import DataLoader
        >>> from videozoo import VideoDataset, create_transform, load_source
        >>> from videozoo.data import collate_clips
        >>> records = load_source("videos").records
        >>> dataset = VideoDataset(records, create_transform((3, 48, 48)), num_frames=8, on_broken="report")
        >>> batch = next(iter(DataLoader(dataset, batch_size=4, collate_fn=collate_clips)))
        >>> batch["video"].shape, batch["broken"]
        (torch.Size([4, 1, 3, 8, 48, 48]), [])
    """
    kept = [item for item in items if item["video"] is not None]
    return {
        "video": default_collate([item["video"] for item in kept]) if kept else None,
        "label": _join_labels([item["label"] for item in kept]),
        "index": torch.tensor([item["index"] for item in kept], dtype=torch.int64),
        "broken": [problem for item in items for problem in item["broken"]],
    }


def _join_labels(labels: Sequence[int | Tensor]) -> Tensor:
    several = [label for label in labels if isinstance(label, Tensor)]
    return torch.stack(several) if several else torch.tensor(labels, dtype=torch.int64)


@dataclass(frozen=True)
class TrainBatch:
    """Preparation of a batch of bytes for training, on its device: normalization, mixup or cutmix, random erasing.

    Mixing and erasing are timm's and treat all frames of a clip alike. Each clip is mixed with its opposite in the
    batch. In an odd batch the last clip is not mixed. Draws come from the global random state of NumPy, Python and
    torch.

    Args:
        normalizer: from bytes to the input of the model.
        num_classes: K, needed if clips are mixed.
        mixup, cutmix: alpha of the Beta distribution that mixing is drawn from. 0: off. With both, one of the two.
        mixup_prob: probability that a batch is mixed.
        mixup_switch_prob: probability of cutmix if both are on.
        smoothing: label smoothing of the mixed targets. Without mixing the loss does the smoothing.
        reprob: probability that a box of a clip is erased.
        remode: ``const``: erase to the mean. ``rand``: to a random color. ``pixel``: to noise.
    Shape:
        uint8 (B, 3, T, H, W) and int64 (B,) to float32 (B, 3, T, H, W) and, if clips are mixed, float32 (B, K), else
            the labels as they are. Multi-label targets are float32 (B, K) in both cases.
    Raises:
        ValueError: a value out of range.
    Example:
        >>> import torch
        >>> from videozoo.data import ClipNormalizer, TrainBatch
        >>> prepare = TrainBatch(ClipNormalizer((0.5,) * 3, (0.25,) * 3), num_classes=6, mixup=0.2)
        >>> clips = torch.zeros(4, 3, 8, 48, 48, dtype=torch.uint8)
        >>> video, target = prepare(clips, torch.tensor([0, 1, 2, 3]))
        >>> video.dtype, target.shape
        (torch.float32, torch.Size([4, 6]))
    """

    normalizer: ClipNormalizer
    num_classes: int | None = None
    mixup: float = 0.0
    cutmix: float = 0.0
    mixup_prob: float = 1.0
    mixup_switch_prob: float = 0.5
    smoothing: float = 0.0
    reprob: float = 0.0
    remode: str = "const"

    def __post_init__(self) -> None:
        for name in ("mixup", "cutmix", "mixup_prob", "mixup_switch_prob", "smoothing", "reprob"):
            problem = describe_problem(name, getattr(self, name))
            if problem:
                raise ValueError(f"TrainBatch: {name} {problem}.")
        if self.remode not in ERASE_MODES:
            raise ValueError(f"TrainBatch: remode is {self.remode!r}, must be one of {', '.join(ERASE_MODES)}.")
        if self.is_mixing and not self.num_classes:
            raise ValueError("TrainBatch: num_classes is needed to mix clips, as their targets are mixed too.")

    @property
    def is_mixing(self) -> bool:
        """True if clips are mixed, so that targets are (B, K)."""
        return self.mixup > 0 or self.cutmix > 0

    def __call__(self, video: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        video = self.normalizer(video)
        target = self._mix(video, label) if self.is_mixing else label
        return (self._erase(video) if self.reprob > 0 else video), target

    def _mix(self, video: Tensor, label: Tensor) -> Tensor:
        """Mix in place. timm takes even batches of images, here of 3 * T channels."""
        assert self.num_classes is not None
        even = len(video) - len(video) % 2
        is_several = label.ndim == 2  # classes a clip
        last = mixup_target(label[even:], self.num_classes, smoothing=self.smoothing, multi_label=is_several)
        targets = [last]
        if even:
            mix = Mixup(
                mixup_alpha=self.mixup,
                cutmix_alpha=self.cutmix,
                prob=self.mixup_prob,
                switch_prob=self.mixup_switch_prob,
                label_smoothing=self.smoothing,
                num_classes=self.num_classes,
                multi_label=is_several,
            )
            images = video[:even].flatten(1, 2)
            targets.insert(0, mix(images, label[:even])[1])
            video[:even] = images.unflatten(1, video.shape[1:3])  # a copy, where the channels were innermost
        return torch.cat(targets)

    def _erase(self, video: Tensor) -> Tensor:
        # timm paints one picture per clip; what it painted is laid over every frame.
        picture = video.new_full((len(video), *video.shape[1:2], *video.shape[3:]), torch.nan)
        RandomErasing(self.reprob, mode=self.remode, device=video.device)(picture)
        picture = picture.unsqueeze(2)
        return torch.where(picture.isnan(), video, picture)

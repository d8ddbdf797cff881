"""A model, a data set and loaders small enough for hundreds of steps a second."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from videozoo.engine import FitConfig, FitResult, fit

NAMES = ("up", "down", "left")


class TinyNet(nn.Module):
    """(B, 3, T, H, W) -> (B, C): one convolution, optionally norm and dropout, and a classifier."""

    def __init__(self, num_classes: int = len(NAMES), norm: bool = True, drop: float = 0.0) -> None:
        super().__init__()
        self.conv = nn.Conv3d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm3d(8) if norm else nn.Identity()
        self.drop = nn.Dropout(drop)
        self.scale = nn.Parameter(torch.ones(8, 2))
        self.head = nn.Linear(8, num_classes)

    def no_weight_decay(self) -> set[str]:
        return {"scale"}

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.conv(x)).relu().mean(dim=(2, 3, 4))
        return self.head(self.drop(x * self.scale.mean(dim=1)))


class TinyClips(Dataset):
    """Clips whose color follows their class; noise drawn from (epoch, index), and from torch's global state."""

    def __init__(self, num_videos: int = 12, num_views: int = 0, jitter: float = 0.01) -> None:
        self.num_videos, self.num_views, self.jitter = num_videos, num_views, jitter
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()  # workers that live on see it change

    @property
    def epoch(self) -> int:
        return int(self._epoch)

    def set_epoch(self, epoch: int) -> None:
        self._epoch.fill_(epoch)

    def __len__(self) -> int:
        return self.num_videos

    def __getitem__(self, index: int) -> dict[str, Any]:
        label = index % len(NAMES)
        views = max(1, self.num_views)
        generator = torch.Generator().manual_seed(1000 * self.epoch * (not self.num_views) + index)
        video = 0.3 * torch.randn(views, 3, 4, 6, 6, generator=generator)
        video[:, label] += 1
        if not self.num_views:
            video += self.jitter * torch.rand(())
        return {"video": video if self.num_views else video[0], "label": label, "index": index}


class SeveralClips(TinyClips):
    """Clips with one to three classes, or none, each a color."""

    def __getitem__(self, index: int) -> dict[str, Any]:
        item = super().__getitem__(index)
        label = torch.tensor([float(index % 2), float(index % 3 == 0), float(index % 5 < 2)])
        item["video"][..., item["label"], :, :, :] -= 1
        item["video"] += label[:, None, None, None]
        return {**item, "label": label}


def train_loader(num_videos: int = 12, batch_size: int = 4, jitter: float = 0.01, **kwargs: Any) -> DataLoader:
    return DataLoader(TinyClips(num_videos, jitter=jitter), batch_size=batch_size, shuffle=True, **kwargs)


def val_loader(num_videos: int = 9, num_views: int = 2) -> DataLoader:
    return DataLoader(TinyClips(num_videos, num_views), batch_size=4)


def tiny_net(seed: int = 0, **kwargs: Any) -> TinyNet:
    torch.manual_seed(seed)
    return TinyNet(**kwargs)


def config(**kwargs: Any) -> FitConfig:
    return FitConfig(**{"epochs": 2, "lr": 0.01, "warmup_epochs": 0.5, "device": "cpu", **kwargs})


def run(
    output: Path,
    *,
    net: nn.Module | None = None,
    train: Any = None,
    val: Any = None,
    resume: bool = False,
    on_epoch: Callable[[Any], None] | None = None,
    train_batch: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] | None = None,
    train_names: Sequence[str] | None = None,
    **settings: Any,
) -> FitResult:
    return fit(
        net if net is not None else tiny_net(drop=0.2),
        train if train is not None else train_loader(),
        val if val is not None else val_loader(),
        config(**settings),
        output,
        class_names=NAMES,
        model_config={"architecture": "tiny", "pretrained_cfg": {"num_frames": 4}},
        resume=resume,
        on_epoch=on_epoch,
        train_batch=train_batch,
        train_names=train_names,
    )


class FailingClips(TinyClips):
    """Raises ``error`` at the n-th clip it is asked for, once."""

    def __init__(self, error: BaseException, at: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.error, self.left = error, at

    def __getitem__(self, index: int) -> dict[str, Any]:
        self.left -= 1
        if self.left == 0:
            raise self.error
        return super().__getitem__(index)


def assert_same_run(one: Path, other: Path) -> None:
    """Every weight and state equal bit for bit, and every figure but the times."""
    for name in ("last/model", "best/model", "last/train_state"):
        first, second = load_file(one / f"{name}.safetensors"), load_file(other / f"{name}.safetensors")
        assert first.keys() == second.keys()
        assert [key for key in first if not torch.equal(first[key], second[key])] == []
    times = {"seconds", "data_seconds", "total_seconds"}
    first, second = (json.loads((folder / "results.json").read_text()) for folder in (one, other))
    assert {k: v for k, v in first.items() if k not in times} == {k: v for k, v in second.items() if k not in times}
    first, second = ((folder / "summary.csv").read_text().splitlines() for folder in (one, other))
    assert [line.rsplit(",", 2)[0] for line in first] == [line.rsplit(",", 2)[0] for line in second]

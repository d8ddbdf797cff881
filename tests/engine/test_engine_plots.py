"""Pictures are drawn, at every size of the matrix and length of the run."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from videozoo.engine import EpochRow, GroupResult, plot_confusion, plot_curves, plot_group


def history(num_epochs: int) -> list[EpochRow]:
    rng = np.random.default_rng(0)
    rows = []
    for epoch in range(1, num_epochs + 1):
        done = epoch / num_epochs
        rows.append(
            EpochRow(
                epoch=epoch,
                lr=1e-3 * min(1, 5 * done) * (1 + np.cos(np.pi * done)) / 2,
                train_loss=2.2 * np.exp(-2.5 * done) + 0.02 * rng.random(),
                train_top1=1 - 0.8 * np.exp(-2.5 * done),
                val_loss=2.2 * np.exp(-1.7 * done) + 0.1 * rng.random(),
                val_top1=0.9 - 0.75 * np.exp(-2.2 * done) + 0.03 * rng.random(),
                val_top5=1 - 0.4 * np.exp(-4 * done),
                val_mean_class=0.87 - 0.75 * np.exp(-2.2 * done),
                seconds=12.0,
                data_seconds=1.0,
            )
        )
    return rows


def confusion(num_classes: int) -> torch.Tensor:
    rng = np.random.default_rng(num_classes)
    counts = np.diag(rng.integers(10, 40, num_classes))
    for row in range(num_classes):
        for column in rng.integers(0, num_classes, 4):
            counts[row, column] += rng.integers(0, 9)
    return torch.from_numpy(counts)


def names(num_classes: int) -> list[str]:
    return [f"class of motions {number}" for number in range(num_classes)]


@pytest.mark.parametrize("num_epochs", [1, 12, 100])
def test_curves(tmp_path: Path, num_epochs: int) -> None:
    plot_curves(tmp_path / "curves.png", history(num_epochs), best_epoch=num_epochs)
    assert (tmp_path / "curves.png").stat().st_size > 20_000


@pytest.mark.parametrize("num_classes", [2, 24, 174])
def test_confusion(tmp_path: Path, num_classes: int) -> None:
    plot_confusion(tmp_path / "confusion.png", confusion(num_classes), names(num_classes))
    assert (tmp_path / "confusion.png").stat().st_size > 10_000


@pytest.mark.filterwarnings("ignore:Glyph")
def test_awkward_names_and_an_empty_row(tmp_path: Path) -> None:
    counts = confusion(3)
    counts[1] = 0
    plot_confusion(tmp_path / "confusion.png", counts, ["a $very$ ^odd_ name", "x" * 80, "跳"])
    assert (tmp_path / "confusion.png").exists()


@pytest.mark.parametrize(("num_classes", "num_panels"), [(2, 1), (7, 2)])
def test_group(tmp_path: Path, num_classes: int, num_panels: int) -> None:
    counts = torch.cat([confusion(num_classes), torch.ones(num_classes, 1, dtype=torch.int64)], dim=1)
    counts[0] = 0
    long_names = tuple(
        f"Pulling two $ends$ of something so that it separates into {n} pieces" for n in range(num_classes)
    )
    panels = [
        ("" if num_panels == 1 else f"net {k}", GroupResult(long_names, counts, 0.5, 0.75)) for k in range(num_panels)
    ]
    plot_group(tmp_path / "group.png", "pulling", panels)
    with Image.open(tmp_path / "group.png") as image:
        assert image.width > 300 * num_panels
        assert len(image.getcolors(1 << 24)) > 50


def test_wrong_input_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="4 names"):
        plot_confusion(tmp_path / "c.png", confusion(3), names(4))
    with pytest.raises(ValueError, match="history is empty"):
        plot_curves(tmp_path / "c.png", [])

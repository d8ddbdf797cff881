"""Shapes, colors and backgrounds that the generated motions are drawn with."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Shape:
    """One thing in the picture: where it is in each frame and what it looks like. Lengths are in picture heights."""

    center: Floats  # (T, 2): y, x
    radius: Floats  # (T,)
    kind: str
    angle: float
    color: Floats  # (3,), in [0, 1]
    second_color: Floats
    stripes: float  # over the diameter; 0 is plain


def draw_look(center: Floats, radius: Floats, ground_color: Floats, rng: np.random.Generator) -> Shape:
    """Draw the shape, colors and texture of a thing, in contrast to the background."""
    color = rng.uniform(0, 1, size=3)
    while color.mean() - ground_color.mean() < 0.35:
        color = rng.uniform(0, 1, size=3)
    return Shape(
        center=center,
        radius=radius,
        kind=str(rng.choice(["disc", "square", "triangle", "ring"])),
        angle=rng.uniform(0, 2 * np.pi),
        color=color.astype(np.float32),
        second_color=np.clip(color + rng.uniform(-0.2, 0.2, size=3), 0, 1).astype(np.float32),
        stripes=float(rng.choice([0.0, 1.5, 2.5])),
    )


@dataclass(frozen=True)
class Background:
    """A pattern in two colors that fills the plane. Lengths are in picture heights."""

    mean: Floats  # (3,), in [0, 1]
    spread: Floats  # (3,)
    drift: Floats  # (2,): y, x over the clip
    kind: str
    waves: Floats  # (5, 2)
    shifts: Floats  # (5,)
    frequency: float
    angle: float

    def paint(self, y: Floats, x: Floats) -> Floats:
        """Return the colors, float64 (H, W, 3), at positions y and x, both (H, W)."""
        along = x * np.cos(self.angle) + y * np.sin(self.angle)
        across = y * np.cos(self.angle) - x * np.sin(self.angle)
        if self.kind == "waves":
            pattern = np.sin(2 * np.pi * self.frequency * along)
        elif self.kind == "checks":
            squares = np.sin(2 * np.pi * self.frequency * along) * np.sin(2 * np.pi * self.frequency * across)
            pattern = np.tanh(4 * squares)
        else:
            waves = zip(self.waves, self.shifts, strict=True)
            parts = [np.sin(2 * np.pi * (a * y + b * x) + shift) for (a, b), shift in waves]
            pattern = np.sum(parts, axis=0) / 2
        return self.mean + pattern[..., None] * self.spread


def draw_background(rng: np.random.Generator) -> Background:
    """Draw the pattern and colors of a background."""
    mean = rng.uniform(0.05, 0.45, size=3)
    spread = rng.uniform(-0.12, 0.12, size=3)
    drift = rng.uniform(-0.05, 0.05, size=2)
    kind = str(rng.choice(["slope", "waves", "checks", "blobs"]))
    waves = rng.normal(0, 2.5 if kind == "blobs" else 0.7, size=(5, 2))
    shifts = rng.uniform(0, 2 * np.pi, size=5)
    return Background(mean, spread, drift, kind, waves, shifts, rng.uniform(2, 5), rng.uniform(0, np.pi))


def pixel_grid(size: int) -> Floats:
    """Return y and x of the pixel centers in picture heights, float32 (2, size, size)."""
    return (np.mgrid[0:size, 0:size].astype(np.float32) + 0.5) / size


def paint_frame(background: Floats, grid: Floats, shapes: Sequence[Shape], t: int) -> NDArray[np.uint8]:
    """Lay the shapes over one background (H, W, 3), later ones on top, with soft edges of one pixel."""
    picture = background
    pixels = grid.shape[1]
    for shape in shapes:
        y, x = grid[0] - shape.center[t, 0], grid[1] - shape.center[t, 1]
        u = (x * np.cos(shape.angle) + y * np.sin(shape.angle)) / shape.radius[t]
        v = (y * np.cos(shape.angle) - x * np.sin(shape.angle)) / shape.radius[t]
        cover = np.clip(0.5 - _outside(shape.kind, u, v) * shape.radius[t] * pixels, 0, 1)
        stripe = 0.5 + 0.5 * np.tanh(3 * np.sin(np.pi * shape.stripes * u)) if shape.stripes else np.zeros_like(u)
        color = shape.color + stripe[..., None] * (shape.second_color - shape.color)
        picture = picture + cover[..., None] * (color - picture)
    return (np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8)


def _outside(kind: str, u: Floats, v: Floats) -> Floats:
    """Return the distance of a point from a shape of radius 1. It is negative inside."""
    from_center = np.hypot(u, v)
    if kind == "disc":
        return from_center - 1
    if kind == "ring":
        return np.abs(from_center - 0.75) - 0.25
    if kind == "square":
        return np.maximum(np.abs(u), np.abs(v)) - 0.85
    if kind == "post":
        return np.maximum(np.abs(u) - 0.4, np.abs(v) - 1.6)
    return np.maximum(np.maximum(-v, 0.866 * u + 0.5 * v), -0.866 * u + 0.5 * v) - 0.55

"""A generated set of motions, for trying things out with no videos at hand.

The classes come in pairs, and a clip of one class is a clip of its partner played backwards. Frames are encoded one by
one (all key frames, constant quantizer), so that this holds to the last bit of what a reader decodes: without the
order of its frames, a clip of one is like a clip of the other, and a model that averages over frames can only guess.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from videozoo.video.write import write_mp4

PAIRS = (("rising", "falling"), ("moving_apart", "moving_together"), ("growing", "shrinking"))
"""Class names; the second of a pair is the first played backwards."""

FRAME_RATES = (12, 15, 25)
_CODED = {"preset": "veryfast", "qp": "16", "g": "1", "bf": "0"}  # each frame by itself

Floats = NDArray[np.floating[Any]]


def motion_classes() -> tuple[str, ...]:
    """Return the class names in the order of the class folders, which is alphabetical."""
    return tuple(sorted(name for pair in PAIRS for name in pair))


def partner_of(name: str) -> str:
    """Return the class that shows the same motion backwards.

    Raises:
        ValueError: no motion of this set.
    """
    partners = {one: other for pair in PAIRS for one, other in (pair, pair[::-1])}
    if name not in partners:
        raise ValueError(f"motions: {name!r} is no class of the generated set; they are {', '.join(motion_classes())}.")
    return partners[name]


def write_motions(
    root: Path,
    *,
    clips_per_class: int = 40,
    val_clips_per_class: int = 20,
    size: int = 64,
    num_frames: int = 24,
    seed: int = 0,
) -> Path:
    """Write root/train/CLASS/*.mp4 and root/val/CLASS/*.mp4 (h264) and return root.

    Every drawn scene is written twice, forwards under one class and backwards under its partner, by the same name.
    Training and validation share no scene. The pixels depend on the arguments alone.

    Args:
        clips_per_class, val_clips_per_class: files in each class folder of train and val.
        size: height and width in pixels. Even, at least 32.
        num_frames: mean length. Each scene has its own within a quarter of it.
    Raises:
        ValueError: an argument out of its range.
        FileExistsError: root/train or root/val is there already.
    """
    for name, value, least in (
        ("clips_per_class", clips_per_class, 1),
        ("val_clips_per_class", val_clips_per_class, 1),
        ("size", size, 32),
        ("num_frames", num_frames, 4),
    ):
        if value < least:
            raise ValueError(f"write_motions: {name} is {value}; it must be at least {least}.")
    if size % 2:
        raise ValueError(f"write_motions: size is {size}; h264 needs an even number.")
    for split, count in (("train", clips_per_class), ("val", val_clips_per_class)):
        if (root / split).exists():
            raise FileExistsError(f"write_motions: {root / split} exists; give a new folder or remove it.")
        for pair_index, pair in enumerate(PAIRS):
            for name in pair:
                (root / split / name).mkdir(parents=True)
            for scene_index in range(count):
                rng = np.random.default_rng([seed, split == "val", pair_index, scene_index])
                frame_rate = int(rng.choice(FRAME_RATES))
                frames = draw_motion(pair[0], size=size, num_frames=num_frames, rng=rng)
                file_name = f"scene_{scene_index:03d}.mp4"
                write_mp4(str(root / split / pair[0] / file_name), frames, frame_rate, _CODED)
                write_mp4(str(root / split / pair[1] / file_name), frames[::-1], frame_rate, _CODED)
    return root


def write_example_video(path: str | Path, motion: str = "rising", seed: int = 0) -> Path:
    """Write a generated video of one motion (h264, 240 pixels, about 2.4 s) and return its path.

    Args:
        path: the file to write. An existing file is replaced.
        motion: a class of the bundled models: falling, growing, moving_apart, moving_together, rising or shrinking.
        seed: gives the shape, the colors and the path of the motion.
    Raises:
        ValueError: an unknown motion.
        FileNotFoundError: the folder of ``path`` does not exist.
    Example:
        >>> import videozoo
        >>> path = videozoo.write_example_video("rising.mp4", motion="rising")
        >>> videozoo.Predictor("test_arc_tsm.motions", device="cpu")(path).label
        'rising'
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"write_example_video: {path.parent}: no such folder; create it first.")
    frames = draw_motion(motion, size=240, num_frames=36, rng=np.random.default_rng(seed))
    write_mp4(str(path), frames, 15, {"crf": "18"})
    return path


def draw_motion(name: str, *, size: int, num_frames: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Draw one clip: uint8 (T, size, size, 3), with T within a quarter of ``num_frames``.

    From one state of ``rng`` the two classes of a pair give the same frames in opposite order.

    Raises:
        ValueError: no motion of this set.
    """
    partner = partner_of(name)
    is_backwards = name not in _MOTIONS
    motion = _MOTIONS[partner if is_backwards else name]
    length = round(num_frames * rng.uniform(0.75, 1.25))
    grid = (np.mgrid[0:size, 0:size].astype(np.float32) + 0.5) / size
    background, ground_color = _draw_background(grid, length, rng)
    shapes = [*_draw_distractors(length, rng), *motion(_phase(length, rng), ground_color, rng)]
    frames = np.stack([_draw_frame(background[t], grid, shapes, t) for t in range(length)])
    return frames[::-1] if is_backwards else frames


@dataclass(frozen=True)
class _Shape:
    """One thing in the picture: where it is in each frame and what it looks like. Lengths are in picture heights."""

    center: Floats  # (T, 2): y, x
    radius: Floats  # (T,)
    kind: str
    angle: float
    color: Floats  # (3,), in [0, 1]
    second_color: Floats
    stripes: float  # over the diameter; 0 is plain


def _phase(length: int, rng: np.random.Generator) -> Floats:
    """Return the progress of the motion in each frame, rising within [0, 1]. Start, end, pace and rests differ."""
    rest_before, rest_after = rng.uniform(0, 0.15, size=2)
    moving = np.clip((np.linspace(0, 1, length) - rest_before) / (1 - rest_before - rest_after), 0, 1)
    start, end = rng.uniform(0, 0.25), rng.uniform(0.75, 1)
    pace = 2 ** rng.uniform(-0.7, 0.7)
    return (start + (end - start) * moving**pace).astype(np.float32)


def _rising(phase: Floats, ground_color: Floats, rng: np.random.Generator) -> list[_Shape]:
    """Show one thing that goes up, a little aslant."""
    travel = rng.uniform(0.5, 0.62)
    top = rng.uniform(0.17, 0.83 - travel)
    y = top + travel * (1 - phase)
    x = rng.uniform(0.25, 0.75) + rng.uniform(-0.12, 0.12) * (phase - 0.5)
    radius = np.full_like(phase, rng.uniform(0.1, 0.16))
    return [_look(np.stack([y, x], 1), radius, ground_color, rng)]


def _moving_apart(phase: Floats, ground_color: Floats, rng: np.random.Generator) -> list[_Shape]:
    """Two things part, along a line in any direction."""
    angle = rng.uniform(0, np.pi)
    middle = rng.uniform(0.45, 0.55, size=2)
    away = rng.uniform(0.1, 0.13) + phase * rng.uniform(0.16, 0.22)
    offset = away[:, None] * np.array([np.sin(angle), np.cos(angle)])
    radius = rng.uniform(0.09, 0.12, size=2)
    return [
        _look(middle + side * offset, np.full_like(phase, r), ground_color, rng)
        for side, r in zip((-1, 1), radius, strict=True)
    ]


def _growing(phase: Floats, ground_color: Floats, rng: np.random.Generator) -> list[_Shape]:
    """Show one thing that comes nearer."""
    radius = rng.uniform(0.08, 0.11) * (1 + phase * rng.uniform(1.6, 2.2))
    center = rng.uniform(0.36, 0.64, size=2) + rng.uniform(-0.06, 0.06, size=2) * (phase[:, None] - 0.5)
    return [_look(center, radius, ground_color, rng)]


_MOTIONS: dict[str, Callable[[Floats, Floats, np.random.Generator], list[_Shape]]] = {
    "rising": _rising,
    "moving_apart": _moving_apart,
    "growing": _growing,
}


def _look(center: Floats, radius: Floats, ground_color: Floats, rng: np.random.Generator) -> _Shape:
    """Draw the shape, colors and texture of a thing, in contrast to the background."""
    color = rng.uniform(0, 1, size=3)
    while color.mean() - ground_color.mean() < 0.35:
        color = rng.uniform(0, 1, size=3)
    return _Shape(
        center=center,
        radius=radius,
        kind=str(rng.choice(["disc", "square", "triangle", "ring"])),
        angle=rng.uniform(0, 2 * np.pi),
        color=color.astype(np.float32),
        second_color=np.clip(color + rng.uniform(-0.2, 0.2, size=3), 0, 1).astype(np.float32),
        stripes=float(rng.choice([0.0, 1.5, 2.5])),
    )


def _draw_distractors(length: int, rng: np.random.Generator) -> list[_Shape]:
    """Small things that rest, drift or swing in any direction."""
    shapes = []
    for _ in range(rng.integers(1, 4)):
        clock = np.linspace(0, 1, length)
        swing = np.sin(2 * np.pi * (clock * rng.uniform(0.5, 1.5) + rng.uniform()))
        course = rng.choice([0.0, 1.0]) * swing + rng.choice([-1.0, 0.0, 1.0]) * clock
        step = rng.normal(0, 0.03, size=2)
        center = rng.uniform(0.05, 0.95, size=2) + course[:, None] * step
        radius = np.full(length, rng.uniform(0.02, 0.04))
        shapes.append(_look(center, radius, np.full(3, 0.2), rng))
    return shapes


def _draw_background(grid: Floats, length: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Return a drifting pattern in two colors, float32 (T, H, W, 3), and their mean color."""
    mean = rng.uniform(0.05, 0.45, size=3)
    spread = rng.uniform(-0.12, 0.12, size=3)
    drift = rng.uniform(-0.05, 0.05, size=2)
    kind = rng.choice(["slope", "waves", "checks", "blobs"])
    waves = rng.normal(0, 2.5 if kind == "blobs" else 0.7, size=(5, 2))
    shifts = rng.uniform(0, 2 * np.pi, size=5)
    frequency, angle = rng.uniform(2, 5), rng.uniform(0, np.pi)
    frames = []
    for clock in np.linspace(-0.5, 0.5, length):
        y, x = grid[0] + drift[0] * clock, grid[1] + drift[1] * clock
        along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
        if kind == "waves":
            pattern = np.sin(2 * np.pi * frequency * along)
        elif kind == "checks":
            pattern = np.tanh(4 * np.sin(2 * np.pi * frequency * along) * np.sin(2 * np.pi * frequency * across))
        else:
            parts = [np.sin(2 * np.pi * (a * y + b * x) + s) for (a, b), s in zip(waves, shifts, strict=True)]
            pattern = np.sum(parts, axis=0) / 2
        frames.append(mean + pattern[..., None] * spread)
    return np.stack(frames).astype(np.float32), mean.astype(np.float32)


def _draw_frame(background: Floats, grid: Floats, shapes: list[_Shape], t: int) -> NDArray[np.uint8]:
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
    return np.maximum(np.maximum(-v, 0.866 * u + 0.5 * v), -0.866 * u + 0.5 * v) - 0.55

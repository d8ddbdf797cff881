"""Generated sets of motions, for trying things out with no videos at hand.

The classes come in pairs, and a clip of one class is a clip of its partner played backwards. Frames are encoded one by
one (all key frames, constant quantizer), so that this holds to the last bit of what a reader decodes: without the
order of its frames, a clip of one is like a clip of the other, and a model that averages over frames can only guess.
The hard level, for measuring models, has more classes. Eight of them have no partner.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from videozoo.video.write import write_mp4

from . import hard_motions
from .motion_drawing import Floats, Shape, draw_background, draw_look, paint_frame, pixel_grid

PAIRS = (("rising", "falling"), ("moving_apart", "moving_together"), ("growing", "shrinking"))
"""Class names of the easy level; the second of a pair is the first played backwards."""

LEVELS = ("easy", "hard")
FRAME_RATES = (12, 15, 25)
_CODED = {"preset": "veryfast", "qp": "16", "g": "1", "bf": "0"}  # each frame by itself


def motion_classes(level: str = "easy") -> tuple[str, ...]:
    """Return the class names in the order of the class folders, which is alphabetical.

    Args:
        level: ``easy`` (6 classes) or ``hard`` (20).
    Raises:
        ValueError: an unknown level.
    """
    return tuple(sorted(name for group in _groups(level) for name in group))


def partner_of(name: str, level: str = "easy") -> str:
    """Return the class that shows the same motion backwards.

    On the hard level this is the class itself where a motion looks alike in both directions, such as a hop.

    Raises:
        ValueError: no motion of this level, or an unknown level.
    """
    partners = {one: other for group in _groups(level) for one, other in zip(group, group[::-1], strict=True)}
    if name not in partners:
        names = ", ".join(motion_classes(level))
        raise ValueError(f"motions: {name!r} is no class of the generated set; they are {names}.")
    return partners[name]


def _groups(level: str) -> tuple[tuple[str, ...], ...]:
    """Return the pairs of a level, then the classes without partner."""
    if level not in LEVELS:
        raise ValueError(f"motions: level is {level!r}; it must be {' or '.join(LEVELS)}.")
    if level == "easy":
        return PAIRS
    return (*hard_motions.PAIRS, *((name,) for name in hard_motions.SINGLES))


def write_motions(
    root: Path,
    *,
    clips_per_class: int = 40,
    val_clips_per_class: int = 20,
    size: int = 64,
    num_frames: int = 24,
    seed: int = 0,
    level: str = "easy",
) -> Path:
    """Write root/train/CLASS/*.mp4 and root/val/CLASS/*.mp4 (h264) and return root.

    Every drawn scene of a pair is written twice, forwards under one class and backwards under its partner, by the same
    name. Training and validation share no scene. The pixels depend on the arguments alone.

    Args:
        clips_per_class, val_clips_per_class: files in each class folder of train and val.
        size: height and width in pixels. Even, at least 32.
        num_frames: mean length. Each scene has its own within a quarter of it.
        level: ``easy`` for the six motions that the bundled models know. ``hard`` for 20 classes that differ in order,
            count or manner, with a moving camera, things in front and others that drift by. Its shortest events last
            an eighth of a clip, so sample at least 8 frames.
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
    groups = _groups(level)
    for split, count in (("train", clips_per_class), ("val", val_clips_per_class)):
        if (root / split).exists():
            raise FileExistsError(f"write_motions: {root / split} exists; give a new folder or remove it.")
        for index, group in enumerate(groups):
            for name in group:
                (root / split / name).mkdir(parents=True)
            for scene_index in range(count):
                rng = np.random.default_rng([seed, split == "val", index, scene_index])
                frame_rate = int(rng.choice(FRAME_RATES))
                frames = draw_motion(group[0], size=size, num_frames=num_frames, rng=rng, level=level)
                file_name = f"scene_{scene_index:03d}.mp4"
                for name, order in zip(group, (1, -1), strict=False):
                    write_mp4(str(root / split / name / file_name), frames[::order], frame_rate, _CODED)
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


def draw_motion(
    name: str, *, size: int, num_frames: int, rng: np.random.Generator, level: str = "easy"
) -> NDArray[np.uint8]:
    """Draw one clip: uint8 (T, size, size, 3), with T within a quarter of ``num_frames``.

    From one state of ``rng`` the two classes of a pair give the same frames in opposite order.

    Raises:
        ValueError: no motion of this level, or an unknown level.
    """
    partner = partner_of(name, level)
    is_backwards = all(group[0] != name for group in _groups(level))
    drawn = partner if is_backwards else name
    length = round(num_frames * rng.uniform(0.75, 1.25))
    draw = _draw_easy if level == "easy" else hard_motions.draw_scene
    frames = draw(drawn, size=size, length=length, rng=rng)
    return frames[::-1] if is_backwards else frames


def _draw_easy(name: str, *, size: int, length: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    grid = pixel_grid(size)
    background = draw_background(rng)
    distractors = _draw_distractors(length, rng)
    shapes = [*distractors, *_MOTIONS[name](_phase(length, rng), background.mean.astype(np.float32), rng)]
    frames = []
    for t, clock in enumerate(np.linspace(-0.5, 0.5, length)):
        y, x = grid[0] + background.drift[0] * clock, grid[1] + background.drift[1] * clock
        frames.append(paint_frame(background.paint(y, x).astype(np.float32), grid, shapes, t))
    return np.stack(frames)


def _phase(length: int, rng: np.random.Generator) -> Floats:
    """Return the progress of the motion in each frame, rising within [0, 1]. Start, end, pace and rests differ."""
    rest_before, rest_after = rng.uniform(0, 0.15, size=2)
    moving = np.clip((np.linspace(0, 1, length) - rest_before) / (1 - rest_before - rest_after), 0, 1)
    start, end = rng.uniform(0, 0.25), rng.uniform(0.75, 1)
    pace = 2 ** rng.uniform(-0.7, 0.7)
    return (start + (end - start) * moving**pace).astype(np.float32)


def _rising(phase: Floats, ground_color: Floats, rng: np.random.Generator) -> list[Shape]:
    """Show one thing that goes up, a little aslant."""
    travel = rng.uniform(0.5, 0.62)
    top = rng.uniform(0.17, 0.83 - travel)
    y = top + travel * (1 - phase)
    x = rng.uniform(0.25, 0.75) + rng.uniform(-0.12, 0.12) * (phase - 0.5)
    radius = np.full_like(phase, rng.uniform(0.1, 0.16))
    return [draw_look(np.stack([y, x], 1), radius, ground_color, rng)]


def _moving_apart(phase: Floats, ground_color: Floats, rng: np.random.Generator) -> list[Shape]:
    """Two things part, along a line in any direction."""
    angle = rng.uniform(0, np.pi)
    middle = rng.uniform(0.45, 0.55, size=2)
    away = rng.uniform(0.1, 0.13) + phase * rng.uniform(0.16, 0.22)
    offset = away[:, None] * np.array([np.sin(angle), np.cos(angle)])
    radius = rng.uniform(0.09, 0.12, size=2)
    return [
        draw_look(middle + side * offset, np.full_like(phase, r), ground_color, rng)
        for side, r in zip((-1, 1), radius, strict=True)
    ]


def _growing(phase: Floats, ground_color: Floats, rng: np.random.Generator) -> list[Shape]:
    """Show one thing that comes nearer."""
    radius = rng.uniform(0.08, 0.11) * (1 + phase * rng.uniform(1.6, 2.2))
    center = rng.uniform(0.36, 0.64, size=2) + rng.uniform(-0.06, 0.06, size=2) * (phase[:, None] - 0.5)
    return [draw_look(center, radius, ground_color, rng)]


_MOTIONS: dict[str, Callable[[Floats, Floats, np.random.Generator], list[Shape]]] = {
    "rising": _rising,
    "moving_apart": _moving_apart,
    "growing": _growing,
}


def _draw_distractors(length: int, rng: np.random.Generator) -> list[Shape]:
    """Small things that rest, drift or swing in any direction."""
    shapes = []
    for _ in range(rng.integers(1, 4)):
        clock = np.linspace(0, 1, length)
        swing = np.sin(2 * np.pi * (clock * rng.uniform(0.5, 1.5) + rng.uniform()))
        course = rng.choice([0.0, 1.0]) * swing + rng.choice([-1.0, 0.0, 1.0]) * clock
        step = rng.normal(0, 0.03, size=2)
        center = rng.uniform(0.05, 0.95, size=2) + course[:, None] * step
        radius = np.full(length, rng.uniform(0.02, 0.04))
        shapes.append(draw_look(center, radius, np.full(3, 0.2), rng))
    return shapes

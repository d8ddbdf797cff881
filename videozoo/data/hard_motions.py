"""The hard level of the generated motions: what a large and a small thing do, seen by a moving camera.

Six pairs of classes are each other played backwards. The other eight look alike in both directions and differ in how
often, in what manner or around what a thing moves. Every picture has the same parts, so that none of them tells the
class: the two things, smaller ones that drift, a wall, at times a post that passes in front, and a camera that pans,
zooms and shakes. No class depends on left or right.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from .motion_drawing import Floats, Shape, draw_background, draw_look, paint_frame, pixel_grid

PAIRS = (
    ("moving_apart", "moving_together"),
    ("drawing_away", "catching_up"),
    ("pushing", "pulling"),
    ("hiding", "appearing"),
    ("speeding_up", "slowing_down"),
    ("large_then_small", "small_then_large"),
)
SINGLES = (
    "hopping_once",
    "hopping_twice",
    "hopping_three_times",
    "pausing",
    "stepping",
    "passing",
    "turning_back",
    "swapping",
)

_LARGE, _SMALL, _WALL = (0.11, 0.13), (0.07, 0.085), (0.14, 0.16)  # radii
_SLOPE = 0.4  # of a line, radians from the horizontal at most
_MARGIN = 0.2  # from the path of a thing to the edge of the picture
_TRIES = 40


@dataclass(frozen=True)
class _Scene:
    """Paths of the two things, (T, 2) each, and the place of the wall, None for anywhere beside them."""

    first: Floats
    second: Floats
    wall: Floats | None = None


@dataclass(frozen=True)
class _Camera:
    """The middle of the picture (T, 2) and its magnification (T,) in each frame."""

    center: Floats
    zoom: Floats

    def see(self, shape: Shape) -> Shape:
        """Return a shape as it is in the picture."""
        center = (shape.center - self.center) * self.zoom[:, None] + 0.5
        return replace(shape, center=center, radius=shape.radius * self.zoom)


def draw_scene(name: str, *, size: int, length: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Draw one clip of the first class of a pair, or of a class without partner: uint8 (T, size, size, 3)."""
    radii = rng.uniform(*_LARGE), rng.uniform(*_SMALL)
    if name not in _BY_SIZE and rng.random() < 0.5:
        radii = radii[::-1]
    scene = _SCENES[name](length, radii, rng)
    camera, background = _draw_camera(length, rng), draw_background(rng)
    shapes = [camera.see(shape) for shape in _draw_shapes(scene, radii, background.mean.astype(np.float32), rng)]
    grid = pixel_grid(size)
    frames = []
    for t in range(length):
        y, x = (grid - 0.5) / camera.zoom[t] + camera.center[t][:, None, None]
        frames.append(paint_frame(background.paint(y, x), grid, shapes, t))
    is_turned = name in SINGLES and rng.random() < 0.5  # such a class is the same in both directions
    return np.stack(frames[::-1] if is_turned else frames)


def _draw_camera(length: int, rng: np.random.Generator) -> _Camera:
    """Pan one way or there and back, zoom in or out, and shake."""
    clock = np.linspace(-0.5, 0.5, length)
    pan = np.sin(np.pi * clock * rng.choice([1, 2]))[:, None] * rng.uniform(-0.05, 0.05, size=2)
    shake = rng.normal(0, rng.uniform(0, 0.005), size=(length, 2))
    return _Camera(0.5 + pan + shake, np.exp(rng.uniform(-0.15, 0.15) * clock))


def _draw_shapes(
    scene: _Scene, radii: tuple[float, float], ground_color: Floats, rng: np.random.Generator
) -> list[Shape]:
    """Return all things of a scene from the back to the front."""
    length = len(scene.first)
    shapes = [_draw_drifting(length, ground_color, rng) for _ in range(rng.integers(1, 4))]
    paths = scene.first, scene.second
    actors = [draw_look(p, np.full(length, r), ground_color, rng) for p, r in zip(paths, radii, strict=True)]
    shapes += actors[:: rng.choice([-1, 1])]
    if rng.random() < 0.3:
        shapes.append(_draw_post(length, ground_color, rng))
    place = _place_beside(np.concatenate(paths), 0.22, rng) if scene.wall is None else scene.wall
    wall = draw_look(np.tile(place, (length, 1)), np.full(length, rng.uniform(*_WALL)), ground_color, rng)
    color = (wall.color + 2 * ground_color) / 3
    return [*shapes, replace(wall, kind="square", angle=rng.uniform(-0.2, 0.2), color=color, stripes=0)]


def _draw_drifting(length: int, ground_color: Floats, rng: np.random.Generator) -> Shape:
    """Draw a small thing that looks like the others and rests or goes its own way."""
    way = rng.normal(0, 0.15, size=2) * rng.integers(0, 2)
    center = rng.uniform(0.1, 0.9, size=2) + np.linspace(-0.5, 0.5, length)[:, None] * way
    return draw_look(center, np.full(length, rng.uniform(0.025, 0.04)), ground_color, rng)


def _draw_post(length: int, ground_color: Floats, rng: np.random.Generator) -> Shape:
    """Draw a post that crosses the picture from side to side."""
    clock = np.linspace(-0.5, 0.5, length) * rng.choice([-1, 1]) * rng.uniform(1.4, 2.4)
    x = 0.5 + clock + rng.uniform(-0.3, 0.3)
    center = np.stack([np.full(length, rng.uniform(0.2, 0.8)), x], 1)
    post = draw_look(center, np.full(length, rng.uniform(0.08, 0.1)), ground_color, rng)
    return replace(post, kind="post", angle=rng.uniform(-0.2, 0.2))


def _place_beside(path: Floats, distance: float, rng: np.random.Generator) -> Floats:
    """Draw a place that is at a distance from a path (N, 2), or nearly so where the path leaves no such place."""
    places = rng.uniform(_MARGIN, 1 - _MARGIN, size=(_TRIES, 2))
    near = (np.linalg.norm(places[:, None] - path, axis=-1) < distance).mean(axis=1)
    return places[np.argmin(near)]


def _draw_line(travel: float, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Return start and step of a line of a given length, to the left or right and within the margins."""
    while True:
        start = rng.uniform(_MARGIN, 1 - _MARGIN, size=2)
        angle = rng.uniform(-_SLOPE, _SLOPE) + np.pi * rng.integers(2)
        step = travel * np.array([np.sin(angle), np.cos(angle)])
        if np.all(np.abs(start + step - 0.5) < 0.5 - _MARGIN):
            return start, step


def _along(line: tuple[Floats, Floats], position: Floats) -> Floats:
    """Return places (T, 2) on a line, with positions (T,) from 0 at its start to 1 at its end."""
    return line[0] + position[:, None] * line[1]


def _draw_clock(length: int, active: float, rng: np.random.Generator) -> Floats:
    """Return 0 to 1 over a fraction of the clip, steadily, with rests before and after it."""
    before = rng.uniform(0, 1 - active)
    return np.clip((np.linspace(0, 1, length) - before) / active, 0, 1)


def _draw_progress(length: int, rng: np.random.Generator) -> Floats:
    """Return 0 to 1 over the clip at a changing speed, with rests before and after it."""
    clock = _draw_clock(length, rng.uniform(0.7, 1), rng)
    return clock + rng.uniform(-0.8, 0.8) * np.sin(2 * np.pi * clock) / (2 * np.pi)


def _move_apart(length: int, radii: tuple[float, float], rng: np.random.Generator) -> _Scene:
    """Two things begin close to each other and part."""
    travel = rng.uniform(0.5, 0.6)
    line, progress = _draw_line(travel, rng), _draw_progress(length, rng)
    gap, middle = sum(radii) * rng.uniform(1, 1.2) / travel, rng.uniform(0.4, 0.6)
    before, after = middle - gap / 2, middle + gap / 2
    return _Scene(_along(line, before * (1 - progress)), _along(line, after + (1 - after) * progress))


def _draw_away(length: int, radii: tuple[float, float], rng: np.random.Generator) -> _Scene:
    """Two things go the same way, and the one in front is faster."""
    travel = rng.uniform(0.52, 0.6)
    line, progress = _draw_line(travel, rng), _draw_progress(length, rng)
    gap = sum(radii) / travel
    return _Scene(_along(line, rng.uniform(0.2, 0.3) * progress), _along(line, gap + (1 - gap) * progress))


def _push(length: int, radii: tuple[float, float], rng: np.random.Generator) -> _Scene:
    """One thing reaches another and moves it along."""
    travel = rng.uniform(0.52, 0.6)
    line, progress = _draw_line(travel, rng), _draw_progress(length, rng)
    gap = 0.9 * sum(radii) / travel
    pusher = (1 - gap) * progress
    return _Scene(_along(line, pusher), _along(line, np.maximum(pusher + gap, gap + rng.uniform(0.2, 0.3))))


def _hide(length: int, radii: tuple[float, float], rng: np.random.Generator) -> _Scene:
    """One thing goes behind the wall and stays there."""
    line = _draw_line(rng.uniform(0.35, 0.5), rng)
    path = _along(line, np.clip(_draw_progress(length, rng) / rng.uniform(0.6, 0.8), 0, 1))
    return _Scene(path, _rest_beside(path, rng), wall=line[0] + line[1])


def _speed_up(length: int, radii: tuple[float, float], rng: np.random.Generator) -> _Scene:
    """One thing starts slowly and ends fast."""
    clock = _draw_clock(length, rng.uniform(0.9, 1), rng)
    path = _along(_draw_line(rng.uniform(0.5, 0.6), rng), clock ** rng.uniform(2.2, 3))
    return _Scene(path, _rest_beside(path, rng))


def _move_in_turn(length: int, radii: tuple[float, float], rng: np.random.Generator) -> _Scene:
    """One thing moves and comes to rest, then the other moves."""
    clock, switch = np.linspace(0, 1, length), rng.uniform(0.4, 0.6)
    paths: list[Floats] = []
    for turn in (clock / switch, (clock - switch) / (1 - switch)):
        rest = rng.uniform(0.05, 0.15)
        paths.append(_along(_draw_line(rng.uniform(0.3, 0.4), rng), np.clip((turn - rest) / (1 - 2 * rest), 0, 1)))
    return _Scene(*paths)


def _hop(length: int, radii: tuple[float, float], rng: np.random.Generator, times: int) -> _Scene:
    """One thing leaps up and comes down again, a number of times."""
    clock = _draw_clock(length, rng.uniform(0.3 * times, 1), rng)
    height, way = rng.uniform(0.25, 0.32), rng.uniform(-0.15, 0.15)
    y = rng.uniform(_MARGIN + height, 1 - _MARGIN) - height * np.abs(np.sin(np.pi * times * clock))
    x = rng.uniform(0.3, 0.7) + way * (clock - 0.5)
    path = np.stack([y, x], 1)
    return _Scene(path, _rest_beside(path, rng))


def _halt(length: int, radii: tuple[float, float], rng: np.random.Generator, times: int) -> _Scene:
    """One thing comes to rest on its way, a number of times, and goes on."""
    rest = rng.uniform(0.3, 0.4) / times**0.5
    leg = (1 - times * rest) / (times + 1)
    knots = np.cumsum([0, *([leg, rest] * times), leg])
    places = np.repeat(np.arange(times + 2), 2)[1:-1] / (times + 1)
    path = _along(_draw_line(rng.uniform(0.52, 0.6), rng), np.interp(np.linspace(0, 1, length), knots, places))
    return _Scene(path, _rest_beside(path, rng))


def _pass(length: int, radii: tuple[float, float], rng: np.random.Generator) -> _Scene:
    """One thing goes past another, in front of it or behind it."""
    line = _draw_line(rng.uniform(0.52, 0.6), rng)
    beside = rng.uniform(-0.6, 0.6) * np.array([line[1][1], -line[1][0]]) * sum(radii)
    place = line[0] + rng.uniform(0.4, 0.6) * line[1] + beside
    return _Scene(_along(line, _draw_progress(length, rng)), np.tile(place, (length, 1)))


def _turn_back(length: int, radii: tuple[float, float], rng: np.random.Generator) -> _Scene:
    """One thing goes up to another and returns."""
    travel = rng.uniform(0.5, 0.6)
    line, progress = _draw_line(travel, rng), _draw_progress(length, rng)
    reach = 1 - rng.uniform(1, 1.2) * sum(radii) / travel
    return _Scene(_along(line, reach * (1 - np.abs(2 * progress - 1))), _along(line, np.ones(length)))


def _swap(length: int, radii: tuple[float, float], rng: np.random.Generator) -> _Scene:
    """Two things trade places and go around each other."""
    line, progress = _draw_line(rng.uniform(0.4, 0.5), rng), _draw_progress(length, rng)
    bow = np.sin(np.pi * progress)[:, None] * np.array([line[1][1], -line[1][0]]) * rng.uniform(0.2, 0.3)
    return _Scene(_along(line, progress) + bow, _along(line, 1 - progress) - bow)


def _rest_beside(path: Floats, rng: np.random.Generator) -> Floats:
    """Return the path of a thing that rests away from another's."""
    return np.tile(_place_beside(path, 0.25, rng), (len(path), 1))


_BY_SIZE = {"large_then_small"}  # classes in which the large thing has the first part
_SCENES: dict[str, Callable[[int, tuple[float, float], np.random.Generator], _Scene]] = {
    "moving_apart": _move_apart,
    "drawing_away": _draw_away,
    "pushing": _push,
    "hiding": _hide,
    "speeding_up": _speed_up,
    "large_then_small": _move_in_turn,
    "hopping_once": partial(_hop, times=1),
    "hopping_twice": partial(_hop, times=2),
    "hopping_three_times": partial(_hop, times=3),
    "pausing": partial(_halt, times=1),
    "stepping": partial(_halt, times=2),
    "passing": _pass,
    "turning_back": _turn_back,
    "swapping": _swap,
}

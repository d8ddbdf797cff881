"""Tests of the hard level of the generated motions, and that it left the easy level as it was."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from videozoo.data import VideoReader, load_source
from videozoo.data.hard_motions import _SCENES, PAIRS, SINGLES
from videozoo.data.motions import draw_motion, motion_classes, partner_of, write_motions

# Number of frames and sum of the pixels of a clip, as the easy level was before there was another.
EASY = {"rising": (13, 1204835), "moving_apart": (13, 1238719), "growing": (13, 1790068)}
RADII = (0.11, 0.07)


def _draw(name: str, seed: int, level: str = "hard") -> np.ndarray:
    return draw_motion(name, size=32, num_frames=12, rng=np.random.default_rng(seed), level=level)


def _frames(path: Path) -> np.ndarray:
    with VideoReader(path) as reader:
        return reader.read(range(reader.num_frames)).numpy()


@pytest.fixture(scope="module")
def small_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("motions")
    return write_motions(root, clips_per_class=2, val_clips_per_class=1, size=32, num_frames=4, level="hard")


def test_twenty_classes_of_equal_size(small_set: Path) -> None:
    for split, count in (("train", 2), ("val", 1)):
        source = load_source(small_set / split)
        assert source.class_names == motion_classes("hard")
        assert Counter(record.label for record in source.records) == dict.fromkeys(range(20), count)


@pytest.mark.parametrize("pair", PAIRS)
def test_decoded_clips_of_a_pair_are_reversals_bit_for_bit(small_set: Path, pair: tuple[str, str]) -> None:
    for split in ("train", "val"):
        forwards, backwards = (_frames(small_set / split / name / "scene_000.mp4") for name in pair)
        np.testing.assert_array_equal(forwards, backwards[::-1])
        assert not np.array_equal(forwards, backwards)
    assert (partner_of(pair[0], "hard"), partner_of(pair[1], "hard")) == pair[::-1]
    np.testing.assert_array_equal(_draw(pair[0], seed=4), _draw(pair[1], seed=4)[::-1])


def test_a_class_without_pair_is_its_own_partner() -> None:
    assert [partner_of(name, "hard") for name in SINGLES] == list(SINGLES)


def test_no_scene_is_in_train_and_val_or_in_two_groups(small_set: Path) -> None:
    firsts = [name for name, _ in PAIRS] + list(SINGLES)
    files = [file for split in ("train", "val") for name in firsts for file in (small_set / split / name).iterdir()]
    assert len({_frames(file)[0].tobytes() for file in files}) == len(files)


def test_the_seed_fixes_every_pixel(tmp_path: Path, small_set: Path) -> None:
    options = {"clips_per_class": 1, "val_clips_per_class": 1, "size": 32, "num_frames": 4, "level": "hard"}
    same, other = (write_motions(tmp_path / str(seed), seed=seed, **options) for seed in (0, 1))
    for file in (Path("train", name, "scene_000.mp4") for name in ("pulling", "stepping")):
        assert (same / file).read_bytes() == (small_set / file).read_bytes()
        assert (other / file).read_bytes() != (small_set / file).read_bytes()


@pytest.mark.parametrize("name", _SCENES)
def test_things_move_as_the_class_says_and_stay_in_the_picture(name: str) -> None:
    """Both stay within the picture, and those that hop or halt do so as often as their name says."""
    for seed in range(20):
        scene = _SCENES[name](48, RADII, np.random.default_rng(seed))
        assert min(scene.first.min(), scene.second.min()) > 0.05
        assert max(scene.first.max(), scene.second.max()) < 0.95
        heights, speed = -scene.first[:, 0], np.linalg.norm(np.diff(scene.first, axis=0), axis=1)
        if name.startswith("hopping"):
            tops = np.sum((heights[1:-1] > heights[:-2]) & (heights[1:-1] >= heights[2:]))
            assert tops == {"once": 1, "twice": 2, "times": 3}[name.split("_")[-1]]
        elif name in ("pausing", "stepping"):
            assert np.sum(np.diff((speed < 1e-9).astype(int)) == 1) == {"pausing": 1, "stepping": 2}[name]


def test_only_order_separates_large_then_small_from_its_partner() -> None:
    scene = _SCENES["large_then_small"](24, RADII, np.random.default_rng(0))
    moves = [np.linalg.norm(np.diff(path, axis=0), axis=1) > 1e-9 for path in (scene.first, scene.second)]
    assert np.flatnonzero(moves[0]).max() < np.flatnonzero(moves[1]).min()


@pytest.mark.parametrize("name", EASY)
def test_the_easy_level_is_as_it_was(name: str) -> None:
    clip = _draw(name, seed=0, level="easy")
    length, total = EASY[name]
    assert len(clip) == length
    assert abs(int(clip.sum(dtype=np.int64)) - total) < 100  # the last bit may depend on the processor
    np.testing.assert_array_equal(clip, draw_motion(name, size=32, num_frames=12, rng=np.random.default_rng(0)))


def test_bad_arguments(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="level is 'medium'; it must be easy or hard"):
        write_motions(tmp_path / "a", level="medium")
    assert not (tmp_path / "a").exists()
    with pytest.raises(ValueError, match="level is 'medium'"):
        motion_classes("medium")
    with pytest.raises(ValueError, match="'rising' is no class of the generated set; they are appearing"):
        _draw("rising", seed=0)

"""Tests of the generated motions: exact reversals, valid files, fixed by the seed."""

from collections import Counter
from pathlib import Path

import av
import numpy as np
import pytest

from videozoo.data import load_source, read_frames
from videozoo.data.motions import PAIRS, draw_motion, motion_classes, partner_of, write_motions


def _frames(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


@pytest.fixture(scope="module")
def small_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("motions")
    return write_motions(root, clips_per_class=4, val_clips_per_class=2, size=32, num_frames=8)


def test_files_are_as_promised(small_set: Path) -> None:
    for split, count in (("train", 4), ("val", 2)):
        source = load_source(small_set / split)
        assert source.class_names == motion_classes()
        assert Counter(record.label for record in source.records) == dict.fromkeys(range(len(motion_classes())), count)
    clip = _frames(small_set / "val" / "rising" / "scene_000.mp4")
    assert clip.shape[1:] == (32, 32, 3)
    assert 6 <= len(clip) <= 10


@pytest.mark.parametrize("pair", PAIRS)
def test_decoded_clips_of_a_pair_are_reversals_bit_for_bit(small_set: Path, pair: tuple[str, str]) -> None:
    for split in ("train", "val"):
        files = sorted((small_set / split / pair[0]).iterdir())
        assert files
        for file in files:
            forwards, backwards = _frames(file), _frames(small_set / split / pair[1] / file.name)
            np.testing.assert_array_equal(forwards, backwards[::-1])
            assert not np.array_equal(forwards, backwards)


def test_a_pair_has_the_same_frames_without_their_order(small_set: Path) -> None:
    """The multiset of all frames of a class is its partner's, so neither one frame nor any set of frames leaks."""
    for first, second in PAIRS:
        bags = [
            Counter(frame.tobytes() for file in (small_set / "train" / name).iterdir() for frame in _frames(file))
            for name in (first, second)
        ]
        assert bags[0] == bags[1]


def test_our_reader_sees_the_same_reversal(small_set: Path) -> None:
    first, second = PAIRS[0]
    paths = [small_set / "val" / name / "scene_000.mp4" for name in (first, second)]
    count = len(_frames(paths[0]))
    assert read_frames(paths[0], range(count)).equal(read_frames(paths[1], range(count)).flip(0))


def test_no_scene_is_in_train_and_val(small_set: Path) -> None:
    first = {_frames(file)[0].tobytes() for file in (small_set / "train").rglob("*.mp4")}
    assert not first & {_frames(file)[0].tobytes() for file in (small_set / "val").rglob("*.mp4")}


def test_the_seed_fixes_every_byte(tmp_path: Path) -> None:
    options = {"clips_per_class": 1, "val_clips_per_class": 1, "size": 32, "num_frames": 6}
    roots = [write_motions(tmp_path / str(i), seed=seed, **options) for i, seed in enumerate((3, 3, 4))]
    files = sorted(path.relative_to(roots[0]) for path in roots[0].rglob("*.mp4"))
    assert len(files) == 2 * len(motion_classes())
    assert all((roots[0] / file).read_bytes() == (roots[1] / file).read_bytes() for file in files)
    assert all((roots[0] / file).read_bytes() != (roots[2] / file).read_bytes() for file in files)


@pytest.mark.parametrize("name", motion_classes())
def test_drawing_a_class_and_its_partner_gives_opposite_orders(name: str) -> None:
    clips = [draw_motion(n, size=32, num_frames=12, rng=np.random.default_rng(5)) for n in (name, partner_of(name))]
    np.testing.assert_array_equal(clips[0], clips[1][::-1])


@pytest.mark.parametrize(("name", "measure"), [("rising", "height"), ("growing", "area"), ("moving_apart", "spread")])
def test_the_motion_matches_its_name(name: str, measure: str) -> None:
    """The bright things rise, grow or part: measured on the pixels, over many scenes."""
    agreed = 0
    for scene in range(20):
        clip = draw_motion(name, size=48, num_frames=12, rng=np.random.default_rng(scene)).astype(np.float64).mean(-1)
        first, last = (_moments(clip[t])[measure] for t in (0, -1))
        agreed += last > first
    assert agreed >= 17


def _moments(image: np.ndarray) -> dict[str, float]:
    weight = np.clip(image - np.median(image) - 50, 0, None) ** 0.5
    y, x = np.mgrid[0 : image.shape[0], 0 : image.shape[1]]
    total = weight.sum() + 1e-9
    center_y, center_x = (weight * y).sum() / total, (weight * x).sum() / total
    spread = (weight * ((y - center_y) ** 2 + (x - center_x) ** 2)).sum() / total
    return {"height": -center_y, "area": float((weight > 0).sum()), "spread": spread}


def test_bad_arguments(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="size is 33; h264 needs an even number"):
        write_motions(tmp_path / "a", size=33)
    with pytest.raises(ValueError, match="clips_per_class is 0; it must be at least 1"):
        write_motions(tmp_path / "a", clips_per_class=0)
    with pytest.raises(ValueError, match="'waving' is no class of the generated set; they are falling"):
        draw_motion("waving", size=32, num_frames=8, rng=np.random.default_rng(0))
    (tmp_path / "b" / "train").mkdir(parents=True)
    with pytest.raises(FileExistsError, match="exists; give a new folder or remove it"):
        write_motions(tmp_path / "b")
    assert not (tmp_path / "a").exists()

"""Tests of splits by groups of names."""

import random
from dataclasses import replace
from pathlib import Path

import pytest

from videozoo.data import SourceError, VideoRecord, VideoSource, load_source, split_by_hash
from videozoo.data.name_groups import find_groups, hint_groups
from videozoo.data.splits import check_splits

PERSONS = ("daria", "eli", "ira", "lena", "moshe")
CLASSES = ("bend", "jump", "skip")


def _source(names: list[str], classes: tuple[str, ...] = CLASSES) -> VideoSource:
    """Return a source of videos ``CLASS/NAME.mp4`` that need not exist."""
    labels = [next(k for k, kind in enumerate(classes) if kind in name) for name in names]
    records = [
        VideoRecord(Path("/nowhere", classes[label], f"{name}.mp4"), label, f"x:{k}", f"{classes[label]}/{name}.mp4")
        for k, (name, label) in enumerate(zip(names, labels, strict=True))
    ]
    return VideoSource(tuple(records), classes)


WEIZMANN = [f"{person}_{kind}{twin}" for person in PERSONS for kind in CLASSES for twin in ("", "_mirror")]


@pytest.mark.parametrize("pattern", ["^([a-z]+)_", "^[a-z]+", r"(\w+?)_(bend|jump|skip)"])
def test_a_group_is_on_one_side(pattern: str) -> None:
    source = _source(WEIZMANN)
    train, val = split_by_hash(source, 0.3, pattern)
    persons = [{record.path.name.split("_")[0] for record in side.records} for side in (train, val)]
    assert not persons[0] & persons[1]
    assert persons[0] | persons[1] == set(PERSONS)
    assert {record.label for record in val.records} == {0, 1, 2}
    assert 0.15 < len(val.records) / len(source.records) < 0.45
    mixed = list(source.records)
    random.Random(0).shuffle(mixed)
    assert set(split_by_hash(replace(source, records=tuple(mixed)), 0.3, pattern)[1].records) == set(val.records)
    assert hint_groups(train, val) == ""


def test_a_group_keeps_its_films_whole(tmp_path: Path) -> None:
    for name in ("p1_a", "p1_b", "p2_c", "p2_d", "q_e", "q_f"):
        (tmp_path / f"{name}.mp4").write_bytes(name.encode())
    (tmp_path / "p2_link.mp4").symlink_to(tmp_path / "p1_a.mp4")  # joins p1 and p2
    rows = ["p1_a.mp4 0", "p1_b.mp4 1", "p2_c.mp4 0", "p2_d.mp4 1", "q_e.mp4 0", "q_f.mp4 1", "p2_link.mp4 0"]
    (tmp_path / "list.txt").write_text("\n".join(rows))
    train, val = split_by_hash(load_source(tmp_path / "list.txt"), 0.4, "^[a-z]+[0-9]?")
    sides = [{record.name[0] for record in side.records} for side in (train, val)]
    assert sorted(sides, key=sorted) == [{"p"}, {"q"}]
    assert check_splits(train, val) == []


def test_names_are_searched_before_paths() -> None:
    records = [VideoRecord(Path(f"p{k % 3}/clip_{k}.mp4"), k % 2, "", f"p{k % 3}/clip_{k}.mp4") for k in range(6)]
    assert find_groups(records, r"p(\d)") == ["0", "1", "2", "0", "1", "2"]
    assert find_groups(records, r"clip_([01])?") == ["0", "1", None, None, None, None]
    train, val = split_by_hash(VideoSource(tuple(records), ("a", "b")), 0.3, r"p(\d)")
    assert not {r.name[1] for r in train.records} & {r.name[1] for r in val.records}


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("(daria", r"val_group is '\(daria', no regular expression \(missing \), unterminated subpattern"),
        ("^[0-9]+", r"val_group is '\^\[0-9\]\+', which matches no name, such as daria_bend, daria_bend_mirror"),
        ("x*", "which matches no name"),
        ("mp4", "which matches no name"),
        ("_", "val_group is '_', which makes one group, '_'; validation needs another"),
        ("bend|jump|skip", "leaves no class with videos of two groups that could be parted"),
    ],
)
def test_patterns_that_are_refused(pattern: str, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        split_by_hash(_source(WEIZMANN), 0.2, pattern)


def test_a_class_of_one_group_is_named() -> None:
    names = [*(f"{person}_{kind}" for person in PERSONS for kind in ("bend", "jump")), "daria_skip", "daria_skip_2"]
    with pytest.raises(
        SourceError, match=r"no validation video of skip \(2 videos, all of 'daria'\); choose a pattern"
    ):
        split_by_hash(_source(names), 0.2, "^[a-z]+")


def _hint(names: list[str]) -> str:
    return hint_groups(*split_by_hash(_source(names), 0.3))


def test_hints() -> None:
    hint = _hint(WEIZMANN)
    assert hint.startswith(
        "the first part of the names comes in several classes and on both sides of the split (daria,"
    )
    assert "--val-group '^([^_. -]+)'" in hint
    assert len(set(find_groups(_source(WEIZMANN).records, "^([^_. -]+)"))) == 5
    hint = _hint([f"{kind}-{person}" for person in PERSONS for kind in CLASSES])
    assert hint.startswith("the second part of the names")
    records = _source([f"{kind}-{person}" for person in PERSONS for kind in CLASSES]).records
    assert set(find_groups(records, hint.split("'")[1])) == set(PERSONS)
    twins = [f"{kind}{number}{twin}" for kind in CLASSES for number in range(9) for twin in ("", "_flip", "_aug1")]
    hint = _hint(twins)
    assert "have a twin on the other side of the split" in hint
    pattern = hint.split("'")[1]
    groups = find_groups(_source(twins).records, pattern)
    assert groups == [f"{kind}{number}" for kind in CLASSES for number in range(9) for _ in range(3)]
    assert hint_groups(*split_by_hash(_source(twins), 0.3, pattern)) == ""


@pytest.mark.parametrize(
    "names",
    [
        [f"{kind}_{number:03d}" for kind in CLASSES for number in range(12)],
        [f"scene_{number:03d}_{kind}" for kind in CLASSES for number in range(12)],
        [f"{number:05d}{kind}" for kind in CLASSES for number in range(12)],
        [f"v_{kind}_g{number:02d}_c01" for kind in CLASSES for number in range(12)],
        [f"{number * 7919 % 104729:x}_{kind}" for kind in CLASSES for number in range(40)],
        ["bend", "jump", "skip", "bend_2", "jump_3", "skip_4", "bend_2x", "jump_9", "skip_0"],
    ],
)
def test_no_hint_without_good_ground(names: list[str]) -> None:
    assert _hint(names) == ""

"""Groups of classes: read, refused with the nearest names, measured against a naive loop."""

import json
from pathlib import Path

import pytest
import torch

from videozoo.engine import EngineError, EvalResult, load_groups, measure_group

NAMES = ("pour in", "pour out", "tear", "tear a bit", "no")


@pytest.mark.parametrize("ending", ["json", "yaml"])
def test_names_and_numbers(tmp_path: Path, ending: str) -> None:
    groups = {"pouring": ["pour in", 1], "all / of: it": [4, "tear", "tear a bit"]}
    (tmp_path / f"g.{ending}").write_text(json.dumps(groups))  # json is yaml too
    assert load_groups(tmp_path / f"g.{ending}", NAMES) == {"pouring": (0, 1), "all / of: it": (4, 2, 3)}


def test_names_that_are_numbers(tmp_path: Path) -> None:
    names = ("010", "1", "2.5", "no", "8", "caf\u00e9")
    (tmp_path / "g.yaml").write_text("a: [010, 2.5, no, '1']\nb: ['8', cafe\u0301]", encoding="utf-8")
    assert load_groups(tmp_path / "g.yaml", names) == {"a": (0, 2, 3, 1), "b": (4, 5)}
    (tmp_path / "g.json").write_text('{"a": [1, 0], "b": ["8", 2]}')
    assert load_groups(tmp_path / "g.json", names) == {"a": (1, 0), "b": (4, 2)}
    for text in ("a: [2, '1']", '{"a": [2, "1"]}'):
        path = tmp_path / ("g.yaml" if text[0] == "a" else "g.json")
        path.write_text(text)
        with pytest.raises(EngineError, match=r"2 is class '2' as a name and class '3' as an index; write '2' or '3'"):
            load_groups(path, ("1", "2", "3"))


def test_nested_aliases_are_refused_at_once(tmp_path: Path) -> None:
    lines = ["a0: &a0 [tear, no]", *(f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 10)}]" for k in range(1, 12))]
    (tmp_path / "g.yaml").write_text("\n".join(lines))
    with pytest.raises(EngineError, match="aliases such as"):
        load_groups(tmp_path / "g.yaml", NAMES)


@pytest.mark.parametrize(
    ("text", "messages"),
    [
        ("a: [pour in, por out]", ["group 'a': unknown class 'por out'; the nearest: 'pour out'"]),
        ("a: [pour in, 7]\nb: [tear, 9]", ["no class 7; they go from 0 to 4", "no class 9"]),
        ("a: [tear, tear]", ["'tear' is there twice"]),
        ("a: [tear, 2]", ["'tear' is there twice"]),
        ("a: [tear]", ["group 'a' is not a list of two classes or more"]),
        ("a: [yes, tear]", ["unknown class 'yes'"]),
        ("a: &x [tear, 2]\nb: *x", ["aliases such as *x are not read"]),
        ("[tear, tear a bit]", ["needs group names with lists of classes"]),
        ("a: [tear", ["not readable as yaml"]),
        ("", ["needs group names"]),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, messages: list[str]) -> None:
    (tmp_path / "g.yaml").write_text(text)
    with pytest.raises(EngineError) as caught:
        load_groups(tmp_path / "g.yaml", NAMES)
    assert all(message in str(caught.value) for message in messages)
    assert str(tmp_path / "g.yaml") in str(caught.value)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="no such file"):
        load_groups(tmp_path / "absent.yaml", NAMES)


def test_a_yaml_that_would_run_something_is_refused(tmp_path: Path) -> None:
    (tmp_path / "g.yaml").write_text(f"a: !!python/object/apply:os.mkdir ['{tmp_path}/made']")
    with pytest.raises(EngineError, match="not readable"):
        load_groups(tmp_path / "g.yaml", NAMES)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("group", [(0, 1), (3, 0, 4), (4, 3, 2, 1, 0)])
def test_against_a_naive_loop(group: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(3)
    scores = torch.rand(200, 5, generator=generator).softmax(dim=1)
    labels = torch.randint(-1, 5, (200,), generator=generator)
    result = EvalResult(scores.log(), scores.log(), labels, torch.arange(200), NAMES)
    counts = [[0] * (len(group) + 1) for _ in group]
    right = within = videos = 0
    for row, label in zip(scores.tolist(), labels.tolist(), strict=True):
        if label not in group:
            continue
        videos += 1
        best = max(range(5), key=row.__getitem__)
        best_inside = max(group, key=row.__getitem__)
        counts[group.index(label)][group.index(best) if best in group else len(group)] += 1
        right += best == label
        within += best_inside == label
    measured = measure_group(result, group)
    assert measured.counts.tolist() == counts
    assert measured.num_videos == videos
    assert measured.top1 == pytest.approx(right / videos)
    assert measured.within == pytest.approx(within / videos)
    assert measured.class_names == tuple(NAMES[label] for label in group)


def test_a_group_without_videos() -> None:
    result = EvalResult(torch.zeros(1, 5), torch.zeros(1, 5), torch.tensor([4]), torch.arange(1), NAMES)
    measured = measure_group(result, [0, 1])
    assert (measured.num_videos, measured.top1, measured.within) == (0, None, None)


def test_the_groups_of_the_documentation_are_classes_of_something_something_v1(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    text = (root / "docs" / "evaluation.md").read_text(encoding="utf-8")
    (tmp_path / "g.yaml").write_text(text.partition("```yaml\n")[2].partition("```")[0])
    names = (root / "videozoo/models/class_names/mm_ssv1.txt").read_text(encoding="utf-8").splitlines()
    groups = load_groups(tmp_path / "g.yaml", names)
    assert [len(labels) for labels in groups.values()] == [3, 3, 3, 6]

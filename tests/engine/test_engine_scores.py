"""Scores on the disk: read back as they were, joined video by video, refused where they do not fit."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from videozoo.engine import EngineError, EvalResult, Scores, join_scores, load_scores, name_videos, save_scores

CLASSES = ("up", "down", 'a "quoted" wörd')


def scores(
    seed: int = 0, *, count: int = 7, average: str = "prob", unread: tuple[int, ...] = (), **about: object
) -> Scores:
    """Random scores of ``count`` videos, those in ``unread`` without any."""
    generator = torch.Generator().manual_seed(seed)
    kept = [index for index in range(count) if index not in unread]
    views = 4 * torch.randn(len(kept), 2, 3, generator=generator)
    result = EvalResult(
        log_probs=views.softmax(-1).mean(1).log(),
        logits=views.mean(1),
        labels=torch.tensor([index % 4 - 1 for index in kept]),
        indices=torch.tensor(kept),
        class_names=CLASSES,
        num_views=2,
        average=average,
        unread=tuple((index, f"{index}.mp4: broken") for index in unread),
    )
    return Scores(result, {index: f"dir/{index}.mp4" for index in range(count)}, {"model": f"net{seed}", **about})


@pytest.mark.parametrize("average", ["prob", "logit"])
def test_everything_comes_back(tmp_path: Path, average: str) -> None:
    kept = scores(average=average, unread=(1, 5), data="val.txt", is_reversed=False)
    save_scores(tmp_path / "s.safetensors", kept)
    read = load_scores(tmp_path / "s.safetensors")
    for name in ("scores", "log_probs", "logits", "labels", "indices"):
        assert torch.equal(getattr(read.result, name), getattr(kept.result, name))
    for name in ("class_names", "num_views", "average", "unread", "top1", "top5", "mean_class", "loss"):
        assert getattr(read.result, name) == getattr(kept.result, name), name
    assert dict(read.names) == dict(kept.names)
    assert read.about == {**kept.about, "scores": str(tmp_path / "s.safetensors")}
    other = {"prob": "logit", "logit": "prob"}[average]
    again = load_scores(tmp_path / "s.safetensors", average=other).result
    assert torch.equal(again.scores, replace(kept.result, average=other).scores)


def test_names_of_files_may_be_of_any_bytes(tmp_path: Path) -> None:
    kept = scores(unread=(1,))
    kept = replace(kept, names={**kept.names, 0: "caf\udce9.mp4", 1: "\udcff.mp4"}, about={"data": "\udce9.csv"})
    save_scores(tmp_path / "s.safetensors", kept)
    read = load_scores(tmp_path / "s.safetensors")
    assert (dict(read.names), read.about["data"]) == (dict(kept.names), "\udce9.csv")


def test_any_reader_of_the_format_finds_the_scores(tmp_path: Path) -> None:
    kept = scores(unread=(2,))
    save_scores(tmp_path / "s.safetensors", kept)
    with safe_open(tmp_path / "s.safetensors", framework="numpy") as file:
        metadata, values = file.metadata(), file.get_tensor("scores")
    assert values.sum(axis=1) == pytest.approx(1, abs=1e-5)
    assert json.loads(metadata["names"]) == [f"dir/{index}.mp4" for index in range(7) if index != 2]
    assert tuple(json.loads(metadata["class_names"])) == CLASSES
    assert [path.name for path in tmp_path.iterdir()] == ["s.safetensors"]


@pytest.mark.parametrize("average", ["prob", "logit"])
def test_an_ensemble_averages_the_scores_of_each_video(average: str) -> None:
    parts = [scores(0, average=average), scores(1, average=average), scores(2, average=average)]
    shuffled = torch.tensor([3, 0, 6, 1, 5, 2, 4])
    result = parts[1].result  # the same videos, listed in another order
    moved = {name: getattr(result, name)[shuffled] for name in ("log_probs", "logits", "labels")}
    names = {place: parts[1].names[int(index)] for place, index in enumerate(shuffled)}
    joined = join_scores([parts[0], Scores(replace(result, **moved), names, parts[1].about), parts[2]])
    if average == "prob":
        wanted = sum(part.result.scores for part in parts) / 3
    else:
        wanted = (sum(part.result.logits for part in parts) / 3).softmax(dim=1)
    torch.testing.assert_close(joined.result.scores, wanted)
    assert torch.equal(joined.result.labels, parts[0].result.labels)
    assert joined.result.num_views == 6
    assert joined.about["model"] == ["net0", "net1", "net2"]


def test_what_one_part_could_not_read_is_unread() -> None:
    joined = join_scores([scores(0, unread=(1,)), scores(1, unread=(4, 1))])
    assert joined.result.indices.tolist() == [0, 2, 3, 5, 6]
    assert joined.result.unread == ((1, "1.mp4: broken"), (4, "4.mp4: broken"))
    first, second = scores(0, unread=(1,)).result, scores(1, unread=(4, 1)).result
    wanted = (first.scores[[0, 1, 2, 4, 5]] + second.scores[[0, 1, 2, 3, 4]]) / 2
    torch.testing.assert_close(joined.result.scores, wanted)


def renamed(part: Scores, **changes: object) -> Scores:
    return replace(part, result=replace(part.result, **changes))


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (scores(1, count=5), r"net0 and net1 are of other videos: 2 are not in the second \(dir/5.mp4, dir/6.mp4\)"),
        (scores(1, count=12), r"5 are not in the first \(dir/10.mp4, dir/11.mp4, dir/7.mp4, \.\.\.\)"),
        (renamed(scores(1), labels=torch.tensor([-1, 0, 2, 2, -1, 0, 0])), "2 videos other labels, such as dir/2.mp4"),
        (renamed(scores(1), class_names=("up", "left", CLASSES[2])), "class 1 is 'down' and 'left'"),
        (scores(1, average="logit"), r"different ways \(net0: prob, net1: logit\); say which"),
        (scores(1, is_reversed=True), "played backwards and some are not"),
    ],
)
def test_what_does_not_go_together_is_named(other: Scores, message: str) -> None:
    with pytest.raises(EngineError, match=message):
        join_scores([scores(0), other])


def test_unlike_averages_go_together_where_one_is_given() -> None:
    joined = join_scores([scores(0), scores(1, average="logit")], "logit")
    wanted = (scores(0).result.logits + scores(1).result.logits) / 2
    torch.testing.assert_close(joined.result.scores, wanted.softmax(dim=1))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": torch.zeros(3, dtype=torch.int64)}, "labels is"),
        ({"labels": torch.full((7,), 3)}, "labels out of range"),
        ({"logits": torch.full((7, 3), float("nan"))}, "not finite"),
        ({"log_probs": torch.zeros(7, 2)}, "log_probs is"),
        ({"indices": torch.zeros(7, dtype=torch.int64)}, "occurs twice"),
        ({"names": '["a"]'}, "shorter"),
        ({"names": "not json"}, "Expecting value"),
        ({"names": json.dumps([1, 2, 3, 4, 5, 6, 7])}, "not text"),
        ({"average": "median"}, "median"),
        ({"num_views": "many"}, "many"),
        ({"format": "other"}, "not scores of videozoo evaluate"),
    ],
)
def test_a_damaged_file_is_one_error(tmp_path: Path, change: dict, message: str) -> None:
    path = tmp_path / "s.safetensors"
    save_scores(path, scores())
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    tensors = load_file(path) | {key: value for key, value in change.items() if not isinstance(value, str)}
    save_file(tensors, path, metadata | {key: value for key, value in change.items() if isinstance(value, str)})
    with pytest.raises(EngineError, match=message):
        load_scores(path)


def test_no_file_and_no_safetensors(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="no such file; videozoo evaluate"):
        load_scores(tmp_path / "absent.safetensors")
    (tmp_path / "torn.safetensors").write_bytes(b"\x80\x04 a pickle, or nothing")
    with pytest.raises(EngineError, match="damaged, or not scores"):
        load_scores(tmp_path / "torn.safetensors")


def test_names_are_unique() -> None:
    assert list(name_videos(["a", "b", "a", "a (2)", "a"]).values()) == ["a", "b", "a (3)", "a (2)", "a (4)"]

"""``videozoo evaluate``: files from which all can be recomputed, models that vote, groups, what cannot be read."""

import csv
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import videozoo
from videozoo import TSM, TSN, Ensemble
from videozoo.cli import main
from videozoo.data import VideoReader, create_transform, resolve_data_config, sample_clips
from videozoo.data.motions import motion_classes
from videozoo.engine import evaluation_folder, load_scores, save_checkpoint
from videozoo.models import model_config

Capture = pytest.CaptureFixture[str]
QUIET = ["--workers", "0", "--device", "cpu"]
FILES = ["confusion.csv", "confusion.png", "per_class.csv", "results.json", "scores.safetensors", "videos.csv"]


def make_net(num_frames: int, temporal: Any = None, classes: list[str] | None = None, **cfg: Any) -> Any:
    names = classes or motion_classes()
    net = videozoo.compose("test_resnet", temporal or TSM(), num_classes=len(names), num_frames=num_frames)
    with torch.no_grad():  # a fresh classifier hardly tells classes apart
        net.get_classifier().weight.normal_(std=3)
    net.pretrained_cfg |= {"label_names": names, "input_size": (3, 32, 32), **cfg}
    return net.eval()


def save(net: Any, folder: Path) -> str:
    save_checkpoint(folder, net.state_dict(), model_config(net))
    return f"local-dir:{folder}"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Models of two, four and six frames, and two ensembles of them, as names."""
    torch.manual_seed(0)
    root = tmp_path_factory.mktemp("models")
    nets: dict[str, Any] = {"two": make_net(2), "four": make_net(4), "other": make_net(4, TSN()), "six": make_net(6)}
    nets["views"] = make_net(4, test_num_clips=2, test_num_crops=3)
    nets["four_other"] = Ensemble([nets["four"], nets["other"]])
    nets["two_six"] = Ensemble([nets["two"], nets["six"]])
    return {name: save(net, root / name) for name, net in nets.items()}


@pytest.fixture
def pictures() -> None:
    """Let this test draw."""


@pytest.fixture(autouse=True)
def _no_pictures(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing would be most of the time."""
    if "pictures" not in request.fixturenames:
        for name in ("plot_confusion", "plot_group"):
            monkeypatch.setattr(evaluation_folder, name, lambda path, *args: path.write_bytes(b""))


def evaluate(*argv: str, status: int = 0) -> None:
    assert main(["evaluate", *argv, *([] if "--scores" in argv else QUIET)]) == status


def read_json(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "results.json").read_text())


def read_csv(path: Path) -> list[list[str]]:
    return list(csv.reader(path.read_text().splitlines()))


def without_time(results: dict[str, Any]) -> dict[str, Any]:
    """What must be the same when the results are computed again."""
    left_out = ("date", "seconds", "scores")
    rest = {key: value for key, value in results.items() if key not in left_out}
    return {**rest, "models": [without_time(member) for member in results.get("models", [])]}


@pytest.mark.usefixtures("pictures")
def test_the_tables_follow_from_the_scores(
    models: dict[str, str], videos: Path, tmp_path: Path, capsys: Capture
) -> None:
    out = tmp_path / "out"
    evaluate(
        "--model", models["four"], "--data", str(videos / "train"), "--views", "2x3", "--output", str(out), "--json"
    )
    printed, written = json.loads(capsys.readouterr().out), read_json(out)
    assert printed.items() <= written.items()
    assert sorted(path.name for path in out.iterdir()) == sorted([*FILES, "errors.png"])
    saved = load_scores(out / "scores.safetensors")
    names, scores, labels = motion_classes(), saved.result.scores.tolist(), saved.result.labels.tolist()
    assert (written["num_videos"], written["num_views"], written["views"], written["num_unread"]) == (12, 6, "2x3", 0)
    best = [max(range(6), key=row.__getitem__) for row in scores]
    right = [guess == label for guess, label in zip(best, labels, strict=True)]
    assert written["top1"] == pytest.approx(sum(right) / 12)
    ranks = [sum(other > row[label] for other in row) for row, label in zip(scores, labels, strict=True)]
    assert written["top5"] == pytest.approx(sum(rank < 5 for rank in ranks) / 12)
    shares = [sum(right[k] for k in range(12) if labels[k] == label) / 2 for label in range(6)]
    assert written["per_class"] == pytest.approx(shares)
    assert written["mean_class"] == pytest.approx(sum(shares) / 6)
    assert [row[0] for row in read_csv(out / "per_class.csv")] == ["class", *names]
    assert [float(row[3]) for row in read_csv(out / "per_class.csv")[1:]] == pytest.approx(shares)
    counts = [[sum((a, b) == (r, c) for a, b in zip(labels, best, strict=True)) for c in range(6)] for r in range(6)]
    rows = [[name, *map(str, row)] for name, row in zip(names, counts, strict=True)]
    assert read_csv(out / "confusion.csv") == [["", *names], *rows]
    told = read_csv(out / "videos.csv")
    assert [row[0] for row in told[1:]] == list(saved.names.values())
    assert all(row[0].startswith(f"{row[1]}/") for row in told[1:])
    assert [row[2] for row in told[1:]] == [names[guess] for guess in best]
    with Image.open(out / "confusion.png") as image:
        assert image.width > 200


@pytest.mark.parametrize("average", ["prob", "logit"])
def test_an_ensemble_and_its_results_without_the_videos(
    models: dict[str, str], videos: Path, tmp_path: Path, average: str
) -> None:
    groups = tmp_path / "groups.json"
    groups.write_text(json.dumps({"up and down": ["rising", "falling"], "../size": [1, 5, 0]}))
    flags = ["--groups", str(groups), "--average", average]
    both = ["--model", models["two"], "--model", models["six"], "--data", str(videos / "val")]
    evaluate(*both, *flags, "--views", "1x3", "--output", str(tmp_path / "live"))
    for name in ("two", "six"):
        evaluate("--model", models[name], *both[4:], "--views", "1x3", "--output", str(tmp_path / name))
    live = read_json(tmp_path / "live")
    assert live["model"] == [models["two"], models["six"]]
    assert live["average"] == average
    assert live["num_views"] == 6
    saved = [load_scores(tmp_path / name / "scores.safetensors", average).result for name in ("two", "six")]
    joined = load_scores(tmp_path / "live" / "scores.safetensors").result
    if average == "prob":
        wanted = (saved[0].scores + saved[1].scores) / 2
    else:
        wanted = ((saved[0].logits + saved[1].logits) / 2).softmax(dim=1)
    torch.testing.assert_close(joined.scores, wanted)
    for k, (name, result) in enumerate(zip(("two", "six"), saved, strict=True)):
        assert live["models"][k]["model"] == models[name]
        assert live["models"][k]["top1"] == result.top1
        assert live["models"][k]["loss"] == pytest.approx(result.loss, rel=1e-5)
        assert sorted(path.name for path in (tmp_path / "live" / f"member_{k + 1}").iterdir()) == FILES
    files = [str(tmp_path / "live" / f"member_{k}" / "scores.safetensors") for k in (1, 2)]
    evaluate("--scores", files[0], "--scores", files[1], *flags, "--output", str(tmp_path / "again"))
    assert without_time(read_json(tmp_path / "again")) == without_time(live)
    whole = str(tmp_path / "live" / "scores.safetensors")
    evaluate("--scores", whole, *flags, "--output", str(tmp_path / "whole"))
    for name in ("confusion.csv", "per_class.csv", "videos.csv", "groups/up_and_down.csv", "groups/size.csv"):
        text = (tmp_path / "live" / name).read_text()
        assert (tmp_path / "again" / name).read_text() == text
        assert (tmp_path / "whole" / name).read_text() == text
    assert read_csv(tmp_path / "live" / "groups" / "up_and_down.csv")[0] == ["", "rising", "falling", "other classes"]
    assert sorted(path.name for path in (tmp_path / "live" / "groups").iterdir()) == [
        f"{name}.{ending}" for name in ("size", "up_and_down") for ending in ("csv", "png")
    ]


@pytest.mark.parametrize(("ensemble", "members"), [("four_other", ("four", "other")), ("two_six", ("two", "six"))])
def test_averaged_scores_equal_the_ensemble_where_its_members_see_the_same_frames(
    models: dict[str, str], videos: Path, tmp_path: Path, ensemble: str, members: tuple[str, str]
) -> None:
    """Equal numbers of frames, or an odd ratio; see ``Ensemble`` for the even ones."""
    data = ["--data", str(videos / "val")]
    evaluate("--model", models[ensemble], *data, "--output", str(tmp_path / "one"))
    evaluate(
        *(word for name in members for word in ("--model", models[name])), *data, "--output", str(tmp_path / "many")
    )
    one, many = (load_scores(tmp_path / name / "scores.safetensors").result for name in ("one", "many"))
    torch.testing.assert_close(one.scores, many.scores, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(many.scores, load_scores(tmp_path / "many/member_1/scores.safetensors").result.scores)


def test_each_file_is_opened_once(
    models: dict[str, str], videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    opened: Counter[str] = Counter()
    real = VideoReader.__init__

    def counting(self: VideoReader, path: Path, *args: Any, **kwargs: Any) -> None:
        opened[str(path)] += 1
        real(self, path, *args, **kwargs)

    monkeypatch.setattr(VideoReader, "__init__", counting)
    names = [word for name in ("two", "views", "six") for word in ("--model", models[name])]
    evaluate(*names, "--data", str(videos / "val"), "--json")
    assert len(opened) == 6
    assert set(opened.values()) == {1}
    results = json.loads(capsys.readouterr().out)
    assert results["views"] == ["1x1", "2x3", "1x1"]  # each config's own
    assert results["num_views"] == 8


def test_unread_videos_are_named_and_the_status_is_1(
    models: dict[str, str], videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    data = tmp_path / "data"
    shutil.copytree(videos / "val", data)
    (data / "rising" / "a broken one.mp4").write_bytes(b"no video")
    both = ["--model", models["two"], "--model", models["four"], "--data", str(data)]
    evaluate(*both, "--batch-size", "1", "--output", str(tmp_path / "out"), status=1)
    lines = capsys.readouterr().out.splitlines()
    place = next(k for k, line in enumerate(lines) if line.startswith("not read"))
    assert lines[place] == "not read    1, counted nowhere:"
    assert "rising/a broken one.mp4: " in lines[place + 1]
    results = read_json(tmp_path / "out")
    assert (results["num_videos"], results["num_unread"]) == (6, 1)
    assert results["unread"][0]["name"] == "rising/a broken one.mp4"
    told = [row for row in read_csv(tmp_path / "out" / "videos.csv") if row[-1]]
    assert [row[0] for row in told[1:]] == ["rising/a broken one.mp4"]
    evaluate("--scores", str(tmp_path / "out" / "scores.safetensors"), "--json", status=1)
    assert json.loads(capsys.readouterr().out)["num_unread"] == 1
    # A launcher takes the status of a process that has done all for a failure, and ends the others.
    monkeypatch.setattr("videozoo.cli.evaluate.num_processes", lambda: 2)
    evaluate("--scores", str(tmp_path / "out" / "scores.safetensors"), status=0)


def test_indices_mean_the_names_beside_the_list_and_warnings_are_printed(
    models: dict[str, str], videos: Path, tmp_path: Path, capsys: Capture
) -> None:
    names = [name for name in reversed(motion_classes()) if name != "rising"]
    paths = [path for path in (videos / "val").glob("*/*.mp4") if path.parent.name in names]
    rows = [f"{path} {names.index(path.parent.name)}" for path in paths]
    (tmp_path / "classes.txt").write_text("\n".join(names))
    (tmp_path / "list.txt").write_text("\n".join(rows))
    evaluate("--model", models["four"], "--data", str(tmp_path / "list.txt"), "--output", str(tmp_path / "out"))
    assert "warning: " + str(tmp_path / "list.txt") + ": 1 of 6 classes has no video: rising" in capsys.readouterr().err
    told = read_csv(tmp_path / "out" / "videos.csv")[1:]
    assert len(told) == 5
    assert all(row[1] in row[0].split("/") for row in told)
    (tmp_path / "classes.txt").write_text("\n".join(["hovering", *names[1:]]))
    assert main(["evaluate", "--model", models["four"], "--data", str(tmp_path / "list.txt"), *QUIET]) == 2
    error = capsys.readouterr().err
    assert "unknown class 'hovering' (classes.txt:1)" in error
    assert "name the right one: --class-names FILE" in error
    (tmp_path / "right.txt").write_text("\n".join(names))
    flags = ["--class-names", str(tmp_path / "right.txt"), "--output", str(tmp_path / "again")]
    evaluate("--model", models["four"], "--data", str(tmp_path / "list.txt"), *flags)
    assert [row[:2] for row in read_csv(tmp_path / "again" / "videos.csv")[1:]] == [row[:2] for row in told]
    assert main(["evaluate", "--model", models["four"], "--data", str(videos / "val"), *flags, *QUIET]) == 2
    assert "--class-names has no effect here" in capsys.readouterr().err


def test_folders_that_are_numbers_are_the_indices_of_a_model_without_names(videos: Path, tmp_path: Path) -> None:
    net = make_net(2)
    del net.pretrained_cfg["label_names"]
    for number in (2, 5):
        shutil.copytree(videos / "val" / "rising", tmp_path / "data" / str(number))
    name = save(net, tmp_path / "bare")
    evaluate("--model", name, "--data", str(tmp_path / "data"), "--output", str(tmp_path / "out"))
    assert sorted(row[1] for row in read_csv(tmp_path / "out" / "videos.csv")[1:]) == ["2", "5"]
    assert load_scores(tmp_path / "out" / "scores.safetensors").result.labels.tolist() == [2, 5]


@pytest.mark.slow
def test_two_processes_count_every_video_once(models: dict[str, str], videos: Path, tmp_path: Path) -> None:
    """Seven videos in batches of two, one of them broken: shares of unequal length, named by the first process."""
    data = tmp_path / "data"
    shutil.copytree(videos / "val", data)
    (data / "falling" / "a broken one.mp4").write_bytes(b"no video")
    argv = ["evaluate", "--model", models["two"], "--model", models["six"], "--data", str(data), "--batch-size", "2"]
    evaluate(*argv[1:], "--output", str(tmp_path / "one"), status=1)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "videozoo"]
    command = [*launch, *argv, *QUIET, "--output", str(tmp_path / "two")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "ChildFailedError" not in done.stderr
    assert done.stdout.count("top-1") == 1
    one, two = (read_json(tmp_path / name) for name in ("one", "two"))
    assert two["unread"] == one["unread"]
    assert (two["num_videos"], two["num_unread"]) == (6, 1)
    ours, theirs = (load_scores(tmp_path / name / "scores.safetensors").result for name in ("one", "two"))
    torch.testing.assert_close(ours.scores, theirs.scores)
    assert torch.equal(ours.labels, theirs.labels)


# A command whose parts are written after each batch, and which ends itself, as by SIGKILL, after some of them.
KILLED = """
import os, signal, sys
from videozoo.cli import main
from videozoo.jobs import output_parts

output_parts.PART_SECONDS = 0.0
left, add = [int(os.environ["PARTS_LEFT"])], output_parts.Parts.add

def add_and_die(self, first, rows):
    add(self, first, rows)
    left[0] -= 1
    if left[0] == 0:
        os.kill(os.getpid(), signal.SIGKILL)

output_parts.Parts.add = add_and_die
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("num_processes", [1, 2])
def test_a_killed_command_goes_on(
    models: dict[str, str], videos: Path, tmp_path: Path, num_processes: int, capsys: Capture
) -> None:
    (tmp_path / "killed.py").write_text(KILLED)
    out = tmp_path / "out"
    argv = ["evaluate", "--model", models["two"], "--model", models["six"], "--data", str(videos / "train"), *QUIET]
    argv += ["--batch-size", "2"]
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"] if num_processes > 1 else []
    command = [sys.executable, *launch, str(tmp_path / "killed.py"), *argv, "--output", str(out)]

    def run(parts_left: int) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, "PARTS_LEFT": str(parts_left), "PYTHONPATH": str(Path.cwd()), "OMP_NUM_THREADS": "1"}
        return subprocess.run(command, capture_output=True, text=True, timeout=300, env=env)

    def kept() -> int:
        return len(list(out.glob("scores*.parts/*.safetensors")))

    assert run(2).returncode != 0
    first = kept()
    assert 2 <= first <= 2 * num_processes
    assert not (out / "results.json").exists()
    assert main(["finetune", "--model", "test_dnr_tsn", "--data", str(videos), "--output", str(out)]) == 2
    assert "holds an evaluation" in capsys.readouterr().err
    done = run(100)
    assert done.returncode == 0, done.stderr
    assert kept() == 0
    assert sorted(path.name for path in out.iterdir()) == sorted([*FILES, "errors.png", "member_1", "member_2"])
    evaluate(*argv[1:-2], "--batch-size", "2", "--output", str(tmp_path / "whole"))
    ours, theirs = (load_scores(folder / "scores.safetensors").result for folder in (out, tmp_path / "whole"))
    if num_processes == 1:
        assert torch.equal(ours.log_probs, theirs.log_probs)
        assert torch.equal(ours.logits, theirs.logits)
    torch.testing.assert_close(ours.scores, theirs.scores)
    assert torch.equal(ours.labels, theirs.labels)


def test_an_evaluation_beside_the_weights_is_in_the_card(
    models: dict[str, str], videos: Path, tmp_path: Path, capsys: Capture
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(models["two"].removeprefix("local-dir:"), folder)
    evaluate("--model", f"local-dir:{folder}", "--data", str(videos / "train"), "--output", str(folder))
    capsys.readouterr()
    assert main(["card", str(folder)]) == 0
    card = capsys.readouterr().out
    top1 = read_json(folder)["top1"]
    assert f"| top-1 accuracy | {round(100 * top1, 2):g} % |" in card
    first = read_csv(folder / "confusion.csv")[1]
    assert f"| **{first[0]}** | {' | '.join(first[1:])} |" in card


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        ([], "needs --model and --data, or --scores"),
        (["--model", "FOUR"], "needs --model and --data, or --scores"),
        (["--scores", "absent.safetensors"], "absent.safetensors: no such file"),
        (["--scores", "absent.safetensors", "--views", "1x1"], "--views has no part in it"),
        (["--model", "FOUR", "--data", "VAL", "--views", "3x4"], "crops are 1 (the center), 3"),
        (["--model", "FOUR", "--data", "VAL", "--groups", "GROUPS"], "unknown class 'rizing'; the nearest: 'rising'"),
        (["--model", "FOUR", "--model", "SWAPPED", "--data", "VAL"], "class 0 is 'falling' for"),
        (["--model", "FOUR", "--model", "FEWER", "--data", "VAL"], "has 6 classes and"),
        (["--model", "FOUR", "--data", "VAL", "--output", "GROUPS/x"], "cannot be made"),
    ],
)
def test_what_is_refused(
    models: dict[str, str], videos: Path, tmp_path: Path, capsys: Capture, argv: list[str], expected: str
) -> None:
    names = motion_classes()
    (tmp_path / "groups.yaml").write_text("up: [rizing, falling]")
    places = {"FOUR": models["four"], "VAL": str(videos / "val"), "GROUPS": str(tmp_path / "groups.yaml")}
    if "SWAPPED" in argv:
        places["SWAPPED"] = save(make_net(2, classes=names[::-1]), tmp_path / "swapped")
    if "FEWER" in argv:
        places["FEWER"] = save(make_net(2, classes=names[:3]), tmp_path / "fewer")
    head = {word: places[word.split("/")[0]] + word.partition("/")[1] + word.partition("/")[2] for word in argv
            if word.split("/")[0] in places}  # fmt: skip
    evaluate(*(head.get(word, word) for word in argv), status=2)
    error = capsys.readouterr().err
    assert expected in error
    assert error.count("videozoo: error: ") == 1


@pytest.mark.parametrize("views", ["1x1", "2x3", "1x5", "1x10"])
def test_protocols_on_real_clips(shared_data: Path, tmp_path: Path, views: str) -> None:
    """Against a plain loop over clips, crops and frames, one model call per view."""
    root = shared_data / "order4"
    lines = (root / "val.txt").read_text().splitlines()[:3]
    (tmp_path / "val.txt").write_text("\n".join(lines))
    classes = (root / "classes.txt").read_text().split()
    net = make_net(4, classes=classes, input_size=(3, 64, 64), crop_pct=0.875)
    name = save(net, tmp_path / "net")
    data = ["--data", str(tmp_path / "val.txt"), "--data-root", str(root)]
    evaluate("--model", name, *data, "--views", views, "--output", str(tmp_path / "out"))
    result = load_scores(tmp_path / "out" / "scores.safetensors").result
    clips, crops = map(int, views.split("x"))
    assert result.num_views == clips * crops
    transform = create_transform(**resolve_data_config(net, test_num_clips=clips, test_num_crops=crops))
    for row, line in enumerate(lines):
        with VideoReader(root / line.rpartition(" ")[0]) as reader:
            places = sample_clips(reader.num_frames, num_frames=4, sampling="segment", num_clips=clips)
            seen = torch.cat([transform(reader.read(places[k]), None) for k in range(clips)])
        assert len(seen) == clips * crops
        with torch.no_grad():
            wanted = torch.stack([net(view[None])[0].softmax(dim=0) for view in seen]).mean(dim=0)
        torch.testing.assert_close(result.scores[row], wanted, rtol=1e-3, atol=1e-4)
        assert int(result.labels[row]) == int(line.rpartition(" ")[2])

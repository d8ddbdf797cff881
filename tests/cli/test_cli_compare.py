"""``videozoo compare``: what folders say beside each other, and what cannot be compared."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import save_model

import videozoo
from videozoo.cli import main
from videozoo.engine import EvalResult, Scores, write_evaluation
from videozoo.engine.compare import name_runs, read_compared
from videozoo.engine.metrics import wilson_interval
from videozoo.engine.results import EpochRow, write_results, write_summary
from videozoo.models import model_config
from videozoo.report import count_cost
from videozoo.text import columns_text

NAMES = ["up", "down"]


def make_run(folder: Path, top1: list[float], *, epochs: int | None = None, **settings: Any) -> Path:
    folder.mkdir(parents=True)
    rows = [EpochRow(k, 0.1, 1.0, 0.5, 1.0, share, 1.0, share, 2.0, 0.1) for k, share in enumerate(top1, 1)]
    defaults = {"model": "test_dnr_tsn", "lr": 0.01, "epochs": epochs or len(top1), "val": "val.txt", "data": "a"}
    (folder / "args.json").write_text(json.dumps({"settings": {**defaults, **settings}}))
    if not top1:
        return folder
    best = max(top1)
    write_summary(folder / "summary.csv", rows)
    results = {"top1": best, "num_videos": 20, "num_unread": 0, "num_labelled": 20, "class_names": NAMES}
    write_results(folder / "results.json", {**results, "epoch": 1 + top1.index(best), "total_seconds": 90.0})
    (folder / "best").mkdir()
    model = videozoo.create_model("test_dnr_tsn", num_classes=2, pretrained_cfg_overlay={"input_size": (3, 32, 32)})
    (folder / "best" / "config.json").write_text(json.dumps(model_config(model, class_names=NAMES)))
    save_model(model, folder / "best" / "model.safetensors")
    return folder


def objects(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


def test_runs_are_rows_in_the_order_given(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = make_run(tmp_path / "one", [0.5, 0.9, 0.8])
    two = make_run(tmp_path / "two", [0.95], init_from="tsm_r18.k400", lr=0.5)
    assert main(["compare", str(one / "best"), str(two), str(one), "--json"]) == 0
    first, second = objects(capsys)
    cost = count_cost(videozoo.create_model("test_dnr_tsn", num_classes=2), (3, 32, 32))
    low, high = wilson_interval(18, 20)
    assert first == {
        **{"run": "one", "model": "test_dnr_tsn", "start": "scratch", "frames": 8, "size": "32x32", "lr": 0.01},
        **{"best_epoch": 2, "epochs": 3, "planned_epochs": 3, "metric": "top1", "best": 0.9, "last": 0.8},
        **{"low": low, "high": high, "hits": 18, "videos": 20, "seconds": 90.0, "folder": str(one)},
        **{"params": cost.params, "macs": cost.macs},
    }
    assert (second["run"], second["start"], second["lr"]) == ("two", "tsm_r18.k400", 0.5)
    assert main(["compare", str(one), str(two)]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split()[:3] == ["run", "model", "start"]
    assert "90.0%  69.9 to 97.2  18 of 20  80.0%" in lines[0]
    assert "2 of 3" in lines[0]
    assert "1.5 min" in lines[0]


def test_the_curves_and_the_table_are_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders = [str(make_run(tmp_path / f"一个很长的名字_{k}" / "run", [0.1 * k, 0.2])) for k in range(10)]
    assert main(["compare", *folders, "--output", str(tmp_path / "a.png")]) == 0
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.width > 1000
    assert main(["compare", *folders, "--output", str(tmp_path / "a.csv")]) == 0
    with (tmp_path / "a.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["run"] for row in rows] == [f"一个很长的名字_{k}/run" for k in range(10)]
    assert "written: " in capsys.readouterr().err


def test_an_evaluation_beside_its_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run(tmp_path / "run", [0.5], val=str(tmp_path / "val.txt"))
    log = torch.tensor([[0.9, 0.1]] * 20).log()
    result = EvalResult(log, log, torch.tensor([0] * 15 + [1] * 5), torch.arange(20), tuple(NAMES))
    about = {"model": "m", "data": str(tmp_path / "val.txt")}
    write_evaluation(tmp_path / "measured", Scores(result, {k: str(k) for k in range(20)}, about))
    assert main(["compare", str(run), str(tmp_path / "measured"), "--json"]) == 0
    captured = capsys.readouterr()
    assert "not comparable" not in captured.err
    measured = json.loads(captured.out)[1]
    assert (measured["model"], measured["best"], measured["hits"]) == ("m", 0.75, 15)
    assert measured["last"] is measured["params"] is measured["epochs"] is None


def test_what_cannot_be_compared_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = make_run(tmp_path / "good", [0.5])
    begun, under_way = make_run(tmp_path / "begun", []), make_run(tmp_path / "under_way", [0.5], epochs=4)
    broken, other = make_run(tmp_path / "broken", [0.5]), make_run(tmp_path / "other", [0.5], val="other.txt")
    (broken / "results.json").write_text('{"top1": 0.5')
    empty = make_run(tmp_path / "empty", [0.5])
    (other / "best" / "config.json").write_text("{")
    (empty / "summary.csv").write_text("epoch,lr\n")
    (tmp_path / "nothing").mkdir()
    paths = [good, begun, under_way, broken, other, empty, tmp_path / "nothing", tmp_path / "absent"]
    assert main(["compare", *map(str, paths)]) == 1
    captured = capsys.readouterr()
    assert [line.split()[0] for line in captured.out.splitlines()[1:]] == ["good", "under_way", "other"]
    for text in (
        f"left out: {begun}: its run has not finished an epoch",
        f"left out: {broken}: its files are damaged",
        f"left out: {empty}: its files are damaged or do not fit together (results.json or summary.csv has no measured",
        f"left out: {tmp_path / 'nothing'}: no results.json in it",
        f"left out: {tmp_path / 'absent'}: no such folder",
        f"the size of {other / 'best'} is unknown (",
        "under_way: not finished, 1 of 4 epochs",
        "measured on 2 different sets of videos, so not comparable (good, under_way: 2 classes, 20 videos; other: ",
    ):
        assert text in captured.err, text
    assert main(["compare", str(tmp_path / "absent")]) == 2
    assert "none of these folders can be compared" in capsys.readouterr().err
    for output, text in (("a.txt", "must end in .png"), (".", "must end in"), ("b.png", "is a folder")):
        (tmp_path / "b.png").mkdir(exist_ok=True)
        assert main(["compare", str(good), "--output", str(tmp_path / output)]) == 2
        assert text in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "name", "value"),
    [
        ("results.json", "num_unread", "x"),
        ("results.json", "class_names", [["a"]]),
        ("results.json", "total_seconds", "x"),
        ("results.json", "top1", True),
        ("args.json", "epochs", "x"),
        ("args.json", "lr", "x"),
        ("args.json", "val_split", ["a"]),
    ],
)
def test_a_folder_with_odd_values_is_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], file: str, name: str, value: Any
) -> None:
    good, odd = make_run(tmp_path / "good", [0.5]), make_run(tmp_path / "odd", [0.5])
    content = json.loads((odd / file).read_text())
    (content["settings"] if file == "args.json" else content)[name] = value
    (odd / file).write_text(json.dumps(content))
    assert main(["compare", str(good), str(odd), "--output", str(tmp_path / "a.png")]) == 1
    captured = capsys.readouterr()
    assert f"left out: {odd}: its files are damaged" in captured.err
    assert [line.split()[0] for line in captured.out.splitlines()[1:]] == ["good"]


def test_runs_with_all_and_with_none_right_are_drawn(tmp_path: Path) -> None:
    runs = []
    for share, total in ((1.0, 10), (0.0, 3)):
        run = make_run(tmp_path / f"of_{total}", [share])
        results = json.loads((run / "results.json").read_text()) | {"num_labelled": total}
        (run / "results.json").write_text(json.dumps(results))
        runs.append(str(run))
    assert main(["compare", *runs, "--output", str(tmp_path / "a.png")]) == 0


def test_names_tell_runs_apart(tmp_path: Path) -> None:
    runs = [read_compared(make_run(tmp_path / name / "run", [0.5])) for name in ("a", "b")]
    assert name_runs(runs) == ["a/run", "b/run"]
    assert name_runs(runs[:1]) == ["run"]


def test_the_interval_is_wilson_s() -> None:
    assert wilson_interval(0, 10) == pytest.approx((0, 0.27753), abs=1e-5)
    assert wilson_interval(22, 24) == pytest.approx((0.74152, 0.97684), abs=1e-5)
    with pytest.raises(ValueError, match="3 of 2"):
        wilson_interval(3, 2)


def test_columns_are_aligned_by_what_a_terminal_shows() -> None:
    assert columns_text(("name", "n", "none"), [("推动", "1", ""), ("a", "22", "")], ["n"]) == [
        "name   n",
        "推动   1",
        "a     22",
    ]

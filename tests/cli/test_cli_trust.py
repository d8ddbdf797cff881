"""What finetune and evaluate say of how far their accuracies can be trusted."""

import json
from pathlib import Path

import pytest

from videozoo.cli import main
from videozoo.cli.accuracy import describe_chance

Capture = pytest.CaptureFixture[str]


def test_finetune_gives_counts_interval_chance_and_the_last_epoch(
    videos: Path, tmp_path: Path, capsys: Capture
) -> None:
    flags = ["--epochs", "3", "--img-size", "32", "--num-frames", "4", "--workers", "0", "--device", "cpu"]
    argv = ["finetune", "--model", "test_arc_tsm", "--data", str(videos), "--output", str(tmp_path / "run")]
    assert main([*argv, *flags]) == 0
    said = capsys.readouterr()
    assert "warning: accuracies on 6 validation videos say little: one video is 16.7 points" in said.err
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    low, high = results["top1_interval"]
    counts = f"{results['num_correct']} of 6 videos, 95% interval {low:.1%} to {high:.1%}"
    assert counts in said.out
    assert "chance 16.7%; the epoch was chosen on these videos" in said.out
    assert results["num_train_videos"] == 12
    assert (results["last"]["epoch"], results["epochs"]) == (3, 3)
    assert (f"last epoch {results['last']['top1']:.1%}" in said.out) == (results["epoch"] != 3)


def test_evaluate_names_the_worst_classes_and_confusions(model_name: str, videos: Path, capsys: Capture) -> None:
    argv = ["evaluate", "--model", model_name, "--data", str(videos), "--workers", "0", "--device", "cpu"]
    assert main([*argv, "--json"]) == 0
    results = json.loads(capsys.readouterr().out)
    assert main(argv) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = {line[:12].strip(): line[12:] for line in lines}
    wrong = [row for row in results["per_class"] if row < 1]
    assert wrong  # an epoch on 12 videos
    assert rows["worst"].count(" of ") == min(3, len(wrong))
    worst = results["confusions"][0]
    first = f"{worst['label']} taken for {worst['prediction']} {worst['num_videos']} of {worst['of']}"
    assert rows["confused"].startswith(first)
    assert rows["chance"] == "16.7%"
    assert f"{results['num_correct']} of 6 videos, 95% interval" in lines[1]


def test_the_largest_class_is_named_where_it_is_clearly_more_than_chance() -> None:
    assert describe_chance({"chance": 0.25, "largest_class": 0.26}) == ["chance 25.0%"]
    assert describe_chance({"chance": 0.25, "largest_class": 0.5}) == ["chance 25.0%", "always the largest class 50.0%"]

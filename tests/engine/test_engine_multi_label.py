"""Several classes a video: average precision against a brute force, training, resuming, and what is left behind."""

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from engine_tiny import NAMES, SeveralClips, TinyClips, assert_same_run, run, tiny_net
from timm.loss import BinaryCrossEntropy
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader

from videozoo.engine import (
    EngineError,
    EvalResult,
    FitConfig,
    Scores,
    evaluate,
    join_scores,
    load_scores,
    measure_group,
    name_videos,
    result_dict,
    save_scores,
    write_evaluation,
)
from videozoo.engine.metrics import average_precisions, mean_average_precision
from videozoo.engine.plots import plot_curves
from videozoo.engine.run_record import read_run
from videozoo.fit_config import SettingError


def _loaders() -> dict[str, DataLoader]:
    train = DataLoader(SeveralClips(15), batch_size=4, shuffle=True)
    return {"train": train, "val": DataLoader(SeveralClips(10, 2), batch_size=4)}


def test_average_precision_by_hand() -> None:
    scores = torch.tensor([[0.9, 0.5, 0.1], [0.8, 0.5, 0.2], [0.7, 0.5, 0.3], [0.6, 0.9, 0.4]])
    labels = torch.tensor([[1, 1, 0], [0, 0, 0], [1, 0, 0], [0, 1, 0]])
    # Ranks 1 and 3; rank 1, and the last of three equal ones: 2 of 4.
    assert average_precisions(scores, labels) == [pytest.approx((1 + 2 / 3) / 2), pytest.approx((1 + 2 / 4) / 2), None]
    assert mean_average_precision([0.5, None, 1.0]) == 0.75
    assert math.isnan(mean_average_precision([None]))
    assert average_precisions(scores[:0], labels[:0]) == [None] * 3


def _brute_force(scores: np.ndarray, labels: np.ndarray) -> float:
    """The area under precision over recall as scikit-learn defines it: a step at each threshold that occurs."""
    area, recall_before = 0.0, 0.0
    for threshold in sorted(set(scores.tolist()), reverse=True):
        chosen = scores >= threshold
        hits = (labels[chosen] == 1).sum()
        recall = hits / labels.sum()
        area += (recall - recall_before) * hits / chosen.sum()
        recall_before = recall
    return area


def test_average_precision_with_ties_against_a_brute_force() -> None:
    rng = np.random.default_rng(0)
    for num_classes, digits in ((3, 1), (130, 1), (5, 8)):
        scores = rng.random((60, num_classes)).round(digits).astype(np.float32)
        labels = (rng.random((60, num_classes)) < 0.15).astype(np.int64)
        labels[:, 1] = 0
        found = average_precisions(torch.from_numpy(scores), torch.from_numpy(labels))
        order = torch.from_numpy(rng.permutation(60))
        moved = average_precisions(torch.from_numpy(scores)[order], torch.from_numpy(labels)[order])
        for value, other, column, truth in zip(found, moved, scores.T, labels.T, strict=True):
            assert (value is None) == (other is None) == (truth.sum() == 0)
            assert value is None or value == pytest.approx(_brute_force(column, truth)) == pytest.approx(other)


def _result(logits: Tensor, labels: Tensor, **options: object) -> EvalResult:
    count = len(logits)
    return EvalResult(functional.logsigmoid(logits), logits, labels, torch.arange(count), NAMES, **options)  # type: ignore[arg-type]


def test_scores_beyond_float32_keep_their_order_and_the_loss_is_finite() -> None:
    logits = torch.tensor([[60.0, -70.0, 0.0], [50.0, -80.0, 1.0], [40.0, -90.0, 2.0]])
    labels = torch.tensor([[1, 1, 0], [0, 0, 0], [0, 0, 1]])
    result = _result(logits, labels)
    assert result.average_precisions == [1.0, 1.0, 1.0]
    wanted = functional.binary_cross_entropy_with_logits(logits.double(), labels.double()).item()
    assert result.loss == pytest.approx(wanted)
    assert math.isfinite(_result(logits, labels, num_views=2).loss)


def test_videos_without_a_class_count_as_wrong_answers() -> None:
    logits = torch.tensor([[2.0, 0.0, 0.0], [1.0, 0.0, 0.0], [3.0, 0.0, 0.0]])
    result = _result(logits, torch.tensor([[1, 0, 0], [0, 1, 0], [0, 0, 0]]))
    assert result.num_without_class == 1
    assert result.num_labelled == 3
    assert result.average_precisions == [0.5, pytest.approx(1 / 3), None]
    assert result.map == pytest.approx((1 / 2 + 1 / 3) / 2)
    assert result.map_labelled == pytest.approx((1 + 1 / 2) / 2)
    assert result.chance == pytest.approx(1 / 3)  # each of two classes has one of three videos


def test_views_are_averaged_as_sigmoids_or_as_logits() -> None:
    net = tiny_net().eval()
    loader = DataLoader(SeveralClips(6, 3), batch_size=4)
    items = [loader.dataset[k] for k in range(6)]
    with torch.no_grad():
        logits = torch.stack([net(item["video"]) for item in items])
    result = evaluate(net, loader, class_names=NAMES, device="cpu", multi_label=True)
    torch.testing.assert_close(result.scores, logits.sigmoid().mean(1))
    assert result.labels.tolist() == [item["label"].tolist() for item in items]
    loss = functional.binary_cross_entropy(logits.sigmoid().mean(1), result.labels.float())
    assert result.loss == pytest.approx(loss.item(), rel=1e-5)
    other = evaluate(net, loader, class_names=NAMES, device="cpu", multi_label=True, average="logit")
    torch.testing.assert_close(other.scores, logits.mean(1).sigmoid())


@pytest.mark.parametrize("multi_label", [False, True])
def test_labels_of_the_other_kind_are_refused(tmp_path: Path, multi_label: bool) -> None:
    clips = TinyClips if multi_label else SeveralClips
    with pytest.raises(ValueError, match=f"as multi_label is {multi_label}"):
        evaluate(tiny_net(), DataLoader(clips(4, 1), 4), class_names=NAMES, device="cpu", multi_label=multi_label)
    with pytest.raises(ValueError, match=f"as multi_label is {multi_label}"):
        run(tmp_path, train=DataLoader(clips(4), 4), multi_label=multi_label)


def test_a_run_learns_and_leaves_no_confusion(tmp_path: Path, pictures: None) -> None:
    lines: list[float | None] = []
    result = run(
        tmp_path, **_loaders(), multi_label=True, epochs=12, on_epoch=lambda row: lines.append(row.val_map), lr=0.05
    )
    assert result.best["map"] > 0.9
    assert lines == [row.val_map for row in result.history]
    assert result.history[-1].train_loss < 0.6 * result.history[0].train_loss
    with (tmp_path / "summary.csv").open() as file:
        head = next(csv.reader(file))
    assert head == ["epoch", "lr", "train_loss", "val_loss", "val_map", "seconds", "data_seconds"]
    results = json.loads((tmp_path / "results.json").read_text())
    assert not results.keys() & {"top1", "top5", "mean_class"}
    assert len(results["per_class"]) == 3
    best = max(result.history, key=lambda row: (row.val_map, -row.val_loss))
    assert results["epoch"] == best.epoch
    assert (tmp_path / "curves.png").is_file()
    assert not (tmp_path / "confusion.png").exists()
    metrics = json.loads((tmp_path / "best/config.json").read_text())["pretrained_cfg"]["metrics"]
    assert metrics == {"map": results["map"], "epoch": results["epoch"]}
    record = read_run(tmp_path)
    assert record.confusion is None
    assert record.settings["multi_label"] is True


def test_a_resumed_run_is_the_run(tmp_path: Path) -> None:
    run(tmp_path / "whole", **_loaders(), multi_label=True, epochs=3)

    def stop(row: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "stopped", **_loaders(), multi_label=True, epochs=3, on_epoch=stop)
    run(tmp_path / "stopped", **_loaders(), multi_label=True, epochs=3, resume=True)
    assert_same_run(tmp_path / "whole", tmp_path / "stopped")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"multi_label": True, "eval_metric": "top1"}, "which measures map"),
        ({"eval_metric": "map"}, "with one class, not map"),
        ({"multi_label": True, "bce_loss": True}, "has that loss already"),
        ({"bce_target_thresh": 0.2}, "needs bce_loss"),
        ({"bce_loss": True, "class_weights": (1.0, 2.0, 3.0)}, "is for cross entropy"),
        ({"multi_label": True, "class_weights": (1.0, 2.0, 3.0)}, "is for cross entropy"),
    ],
)
def test_settings_that_do_not_go_together(settings: dict[str, object], said: str) -> None:
    with pytest.raises(SettingError, match=said):
        FitConfig(**settings)  # type: ignore[arg-type]


def test_the_metric_of_the_best_epoch_has_a_default() -> None:
    assert FitConfig().eval_metric == "top1"
    assert FitConfig(multi_label=True).eval_metric == "map"


@pytest.mark.parametrize("settings", [{}, {"smoothing": 0.2}, {"smoothing": 0.2, "bce_target_thresh": 0.1}])
@pytest.mark.parametrize("multi_label", [False, True])
def test_the_loss_is_that_of_timm(tmp_path: Path, settings: dict[str, float], multi_label: bool) -> None:
    net = tiny_net()
    clips = SeveralClips(4) if multi_label else TinyClips(4)
    loader = DataLoader(clips, batch_size=4)
    kind = {"multi_label": True, "val": DataLoader(SeveralClips(4, 1), 4)} if multi_label else {"bce_loss": True}
    batch = next(iter(DataLoader(clips, batch_size=4)))
    criterion = BinaryCrossEntropy(
        settings.get("smoothing", 0.0), settings.get("bce_target_thresh"), smooth_dense=multi_label
    )
    wanted = criterion(net(batch["video"]), batch["label"]).item()
    result = run(tmp_path, net=net, train=loader, epochs=1, lr=1e-9, warmup_epochs=0, **kind, **settings)  # type: ignore[arg-type]
    assert result.history[0].train_loss == pytest.approx(wanted, abs=2e-3)


def test_an_evaluation_is_written_read_and_joined(tmp_path: Path, pictures: None) -> None:
    nets = [tiny_net(seed) for seed in (0, 1)]
    loader = DataLoader(SeveralClips(6, 1), batch_size=4)
    parts = [
        Scores(evaluate(net, loader, class_names=NAMES, device="cpu", multi_label=True), name_videos(list("abcdef")))
        for net in nets
    ]
    single = evaluate(nets[0], DataLoader(TinyClips(6, 1), 4), class_names=NAMES, device="cpu")
    write_evaluation(tmp_path / "out", Scores(single, parts[0].names))
    assert (tmp_path / "out/confusion.png").is_file()
    joined = join_scores(parts)
    torch.testing.assert_close(joined.result.scores, (parts[0].result.scores + parts[1].result.scores) / 2)
    written = write_evaluation(tmp_path / "out", joined, members=parts)
    assert not any("confusion" in name for name in written)
    assert not (tmp_path / "out/confusion.png").exists()
    with (tmp_path / "out/per_class.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["videos"] for row in rows] == [str(count) for count in joined.result.labels.sum(0).tolist()]
    assert float(rows[0]["average_precision"]) == pytest.approx(joined.result.average_precisions[0], rel=1e-4)
    with (tmp_path / "out/videos.csv").open() as file:
        labels = [row["labels"] for row in csv.DictReader(file)]
    assert labels[:3] == ["down|left", "up|left", ""]
    results = json.loads((tmp_path / "out/results.json").read_text())
    assert results["map"] == pytest.approx(joined.result.map)
    assert [member["map"] for member in results["models"]] == [part.result.map for part in parts]
    again = load_scores(tmp_path / "out/scores.safetensors")
    assert result_dict(again.result) | {"seconds": 0} == result_dict(joined.result) | {"seconds": 0}
    with pytest.raises(EngineError, match="some of the scores are of multi-label evaluations"):
        join_scores([parts[0], Scores(single, parts[0].names)])
    with pytest.raises(EngineError, match="a multi-label evaluation has no confusion"):
        measure_group(joined.result, [0, 1])


def test_damaged_scores_are_refused(tmp_path: Path) -> None:
    labels = torch.tensor([[1, 0, 2]])
    save_scores(tmp_path / "s.safetensors", Scores(_result(torch.zeros(1, 3), labels), {0: "a"}))
    with pytest.raises(EngineError, match="labels out of range"):
        load_scores(tmp_path / "s.safetensors")


def test_a_validation_without_any_class_is_refused(tmp_path: Path) -> None:
    class Empty(SeveralClips):
        def __getitem__(self, index: int) -> dict[str, object]:
            return {**super().__getitem__(index), "label": torch.zeros(3)}

    with pytest.raises(ValueError, match="no validation video has a class"):
        run(tmp_path, train=_loaders()["train"], val=DataLoader(Empty(4, 1), 4), multi_label=True)
    with pytest.raises(ValueError, match="empty"):
        plot_curves(tmp_path / "c.png", [])

"""Accuracies against hand counts and a second implementation; views, order, labels."""

import math

import numpy as np
import pytest
import torch
from engine_tiny import NAMES, TinyNet, tiny_net, val_loader
from torch import Tensor, nn

from videozoo import batched_forward
from videozoo.engine import EngineError, EvalResult, TrainingError, evaluate, result_dict
from videozoo.engine.evaluation_folder import model_title
from videozoo.engine.metrics import class_accuracies, confusion_matrix, mean_class_accuracy, topk_accuracy


def test_metrics_by_hand() -> None:
    scores = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6], [0.4, 0.5, 0.1], [0.2, 0.3, 0.5], [0.9, 0.1, 0.0]])
    labels = torch.tensor([0, 1, 1, 1, -1])
    assert topk_accuracy(scores, labels, 1) == 0.5
    assert topk_accuracy(scores, labels, 2) == 1.0
    assert topk_accuracy(scores, labels, 5) == 1.0
    assert confusion_matrix(scores, labels).tolist() == [[1, 0, 0], [0, 1, 2], [0, 0, 0]]
    assert class_accuracies(confusion_matrix(scores, labels)) == [1.0, 1 / 3, None]
    assert mean_class_accuracy(confusion_matrix(scores, labels)) == pytest.approx(2 / 3)


def test_metrics_against_a_second_implementation() -> None:
    rng = np.random.default_rng(0)
    for num_classes in (2, 7, 30):
        scores = rng.random((200, num_classes)).astype(np.float32).round(1)  # with ties
        labels = rng.integers(-1, num_classes, 200)
        hits = {1: 0, 5: 0}
        counts = np.zeros((num_classes, num_classes), dtype=int)
        for row, label in zip(scores, labels, strict=True):
            if label < 0:
                continue
            order = sorted(range(num_classes), key=lambda c: (-row[c], c))
            for k in hits:
                hits[k] += label in order[:k]
            counts[label, order[0]] += 1
        total = (labels >= 0).sum()
        given = torch.from_numpy(scores), torch.from_numpy(labels)
        assert topk_accuracy(*given, 1) == pytest.approx(hits[1] / total)
        assert topk_accuracy(*given, 5) == pytest.approx(hits[5] / total)
        assert (confusion_matrix(*given).numpy() == counts).all()
        recall = [counts[c, c] / counts[c].sum() for c in range(num_classes) if counts[c].sum()]
        assert mean_class_accuracy(confusion_matrix(*given)) == pytest.approx(np.mean(recall))


def test_no_label_at_all_is_not_a_number() -> None:
    scores, labels = torch.rand(4, 3), torch.full((4,), -1)
    assert math.isnan(topk_accuracy(scores, labels, 1))
    assert math.isnan(mean_class_accuracy(confusion_matrix(scores, labels)))
    result = evaluate(tiny_net(), [batch(labels=[-1, -1])], class_names=NAMES, device="cpu")
    assert result.num_labelled == 0
    assert result_dict(result)["top1"] is None
    assert result_dict(result)["loss"] is None


def batch(labels: list[int], indices: list[int] | None = None, num_views: int = 2) -> dict[str, Tensor]:
    video = torch.randn(len(labels), num_views, 3, 4, 6, 6, generator=torch.Generator().manual_seed(1))
    return {"video": video, "label": torch.tensor(labels), "index": torch.tensor(indices or list(range(len(labels))))}


@pytest.mark.parametrize("max_clips", [1, 4, 100])
def test_views_are_averaged_as_probabilities(max_clips: int) -> None:
    given = batch([0, 1, 2], num_views=5)
    net = tiny_net().eval()
    with torch.no_grad():
        wanted = torch.stack([net(views).softmax(dim=1).mean(dim=0) for views in given["video"]])
    result = evaluate(net, [given], class_names=NAMES, device="cpu", max_clips=max_clips)
    torch.testing.assert_close(result.scores, wanted)
    assert result.scores.dtype == torch.float32
    assert result.num_views == 5
    loss = -wanted[torch.arange(3), torch.arange(3)].log().mean().item()
    assert result.loss == pytest.approx(loss, rel=1e-5)


def test_views_are_averaged_as_logits() -> None:
    given = batch([0, 1, 2], num_views=5)
    net = tiny_net().eval()
    with torch.no_grad():
        wanted = [net(views).mean(dim=0).softmax(dim=0) for views in given["video"]]
    result = evaluate(net, [given], class_names=NAMES, device="cpu", average="logit")
    torch.testing.assert_close(result.scores, torch.stack(wanted))
    as_probs = evaluate(net, [given], class_names=NAMES, device="cpu")
    assert not torch.equal(result.scores, as_probs.scores)
    assert torch.equal(result.log_probs, as_probs.log_probs)  # both are kept, whichever counts
    assert result.loss == pytest.approx(-sum(row[k].log().item() for k, row in enumerate(wanted)) / 3, rel=1e-5)
    with pytest.raises(ValueError, match="average is 'mean'; choose from prob, logit"):
        evaluate(net, [given], class_names=NAMES, device="cpu", average="mean")


def test_bytes_are_made_ready_on_the_way() -> None:
    given = batch([0, 1, 2], num_views=2)
    as_bytes = {**given, "video": (given["video"] * 40 + 128).clamp(0, 255).byte()}
    seen: list[tuple[int, ...]] = []

    def prepare(views: Tensor) -> Tensor:
        seen.append(tuple(views.shape))
        return (views.float() - 128) / 40

    plain = {**given, "video": (as_bytes["video"].float() - 128) / 40}
    ours, wanted = (
        evaluate(tiny_net(), [one], class_names=NAMES, device="cpu", max_clips=4, prepare_batch=ready)
        for one, ready in ((as_bytes, prepare), (plain, None))
    )
    assert torch.equal(ours.scores, wanted.scores)
    assert seen == [(4, 3, 4, 6, 6), (2, 3, 4, 6, 6)]


def test_unread_videos_are_named_and_counted_nowhere() -> None:
    read = batch([0, 1], indices=[0, 3])
    batches = [
        {**read, "broken": [(1, "b.mp4: not a video")]},
        {"video": None, "label": torch.zeros(0).long(), "index": torch.zeros(0).long(), "broken": [(2, "c.mp4: gone")]},
    ]
    result = evaluate(tiny_net(), batches, class_names=NAMES, device="cpu")
    alone = evaluate(tiny_net(), [read], class_names=NAMES, device="cpu")
    assert torch.equal(result.scores, alone.scores)
    assert result.indices.tolist() == [0, 3]
    assert result.unread == ((1, "b.mp4: not a video"), (2, "c.mp4: gone"))
    told = result_dict(result)
    assert (told["num_videos"], told["num_unread"]) == (2, 2)
    assert told["unread"][1] == {"index": 2, "problem": "c.mp4: gone"}
    with pytest.raises(TrainingError, match=r"none of 1 videos could be read; the first is number 2: c.mp4: gone"):
        evaluate(tiny_net(), batches[1:], class_names=NAMES, device="cpu")


class Greedy(nn.Module):
    """A model whose memory holds ``most`` clips; it counts what it answered."""

    def __init__(self, most: int, error: Exception) -> None:
        super().__init__()
        self.net, self.most, self.error, self.answered = tiny_net(), most, error, []

    def forward(self, x: Tensor) -> Tensor:
        if len(x) > self.most:
            raise self.error
        self.answered += x[:, 0, 0, 0, 0].tolist()
        return self.net(x)


OUT_OF_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB."),
    torch.OutOfMemoryError("the device is full"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:118] err == 0. DefaultCPUAllocator: can't allocate memory: you tried"),
]


@pytest.mark.parametrize(
    ("error", "most"), list(zip(OUT_OF_MEMORY, (3, 5, 1), strict=True)), ids=["cuda", "type", "cpu"]
)
def test_out_of_memory_halves_the_chunk_and_counts_nothing_twice(
    error: Exception, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(
        batched_forward, "clear_device_cache", lambda garbage_collection: None
    )  # slow; nothing is full here
    monkeypatch.setattr(batched_forward._log, "warning", lambda text, *args: said.append(text % args))
    given = batch([0, 1, 2, 1], num_views=5)
    net = Greedy(most, error)
    batches = [given, {**given, "index": torch.arange(4, 8)}]
    result = evaluate(net, batches, class_names=NAMES, device="cpu", max_clips=8)
    wanted = evaluate(net.net, [given], class_names=NAMES, device="cpu")
    torch.testing.assert_close(result.scores, wanted.scores.repeat(2, 1))
    assert net.answered == 2 * given["video"][:, :, 0, 0, 0, 0].flatten().tolist()
    sizes = {1: ["4 views go", "2 views go", "1 view goes"], 3: ["4 views go", "2 views go"], 5: ["4 views go"]}[most]
    # Said once each, not again for the second batch.
    assert said == [f"out of memory: from here on {size} through the model at a time" for size in sizes]


def test_out_of_memory_with_one_clip_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batched_forward, "clear_device_cache", lambda garbage_collection: None)
    with pytest.raises(EngineError, match="out of memory with a single view of 3 x 4 x 6 x 6; free memory"):
        evaluate(Greedy(0, OUT_OF_MEMORY[0]), [batch([0, 1])], class_names=NAMES, device="cpu")
    with pytest.raises(RuntimeError, match="mat1 and mat2"):  # another error is no matter of memory
        evaluate(Greedy(0, RuntimeError("mat1 and mat2")), [batch([0, 1])], class_names=NAMES, device="cpu")


def test_single_view_without_view_axis() -> None:
    given = batch([0, 1, 2], num_views=1)
    flat = {**given, "video": given["video"][:, 0]}
    results = [evaluate(tiny_net(), [one], class_names=NAMES, device="cpu") for one in (given, flat)]
    assert torch.equal(results[0].scores, results[1].scores)


def test_scores_come_in_index_order() -> None:
    given = batch([0, 1, 2, -1], indices=[7, 2, 9, 4])
    result = evaluate(tiny_net(), [given], class_names=NAMES, device="cpu")
    straight = evaluate(tiny_net(), [{**given, "index": torch.arange(4)}], class_names=NAMES, device="cpu")
    assert result.indices.tolist() == [2, 4, 7, 9]
    assert result.labels.tolist() == [1, -1, 0, 2]
    assert torch.equal(result.scores, straight.scores[[1, 3, 0, 2]])
    assert (result.num_videos, result.num_labelled) == (4, 3)
    assert int(result.confusion.sum()) == 3


def test_loader_and_list_agree_and_modes_come_back() -> None:
    net = tiny_net().train()
    net.norm.eval()
    loaded = evaluate(net, val_loader(), class_names=NAMES, device="cpu")
    listed = evaluate(net, list(val_loader()), class_names=NAMES, device="cpu")
    assert torch.equal(loaded.scores, listed.scores)
    assert net.training
    assert not net.norm.training
    assert loaded.seconds > 0


def test_bf16_stays_near_full_precision() -> None:
    full, half = (
        evaluate(tiny_net(), val_loader(), class_names=NAMES, amp=amp, device="cpu") for amp in ("no", "bf16")
    )
    torch.testing.assert_close(full.scores, half.scores, atol=0.02, rtol=0.05)
    assert not torch.equal(full.scores, half.scores)


class Constant(nn.Module):
    def __init__(self, value: float, num_classes: int = 3) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.full((num_classes,), value))

    def forward(self, x: Tensor) -> Tensor:
        return self.value.expand(len(x), -1)


@pytest.mark.parametrize(
    ("net", "loader", "error", "message"),
    [
        (TinyNet(), [], ValueError, "gives no batch"),
        (TinyNet(), [batch([0, 3])], ValueError, "labels go from 0 to 3"),
        (TinyNet(), [batch([0, 1], indices=[5, 5])], ValueError, "index 5 came twice"),
        (TinyNet(), [{"video": torch.zeros(1, 3), "label": torch.zeros(1)}], ValueError, r"video is \(1, 3\)"),
        (
            TinyNet(),
            [{"video": torch.zeros(1, 3, 4, 6, 6), "label": torch.zeros(1).long()}],
            ValueError,
            "index is not in",
        ),
        (Constant(0.0, 5), [batch([0, 1])], ValueError, "num_classes=3"),
        (Constant(float("nan")), [batch([0, 1], indices=[6, 3])], TrainingError, "video 3 are not finite"),
    ],
)
def test_wrong_input_is_named(net: nn.Module, loader: list, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        evaluate(net, loader, class_names=NAMES, device="cpu")


def test_equal_scores_are_chance_not_luck() -> None:
    """A dead model names class 0 everywhere: its top-1 is that class's share."""
    result = evaluate(Constant(0.0), val_loader(9), class_names=NAMES, device="cpu")
    assert isinstance(result, EvalResult)
    assert result.top1 == pytest.approx(1 / 3)
    assert result.mean_class == pytest.approx(1 / 3)
    assert result.loss == pytest.approx(math.log(3), rel=1e-5)


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("runs/arc/best", "arc"),
        ("runs/tsm/last/", "tsm"),
        ("local-dir:/x/mine", "mine"),
        ("hf-hub:org/net", "net"),
        ("tsm_r18.x", "tsm_r18.x"),
    ],
)
def test_models_are_called_by_what_differs_between_runs(name: str, title: str) -> None:
    assert model_title(name) == title

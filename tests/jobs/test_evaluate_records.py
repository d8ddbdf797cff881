"""An evaluation as a job: the figures of a plain pass, whatever is killed; what is kept, what is refused."""

import multiprocessing
import os
import signal
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from killed_jobs import run_with_kills
from torch import nn
from torch.utils.data import DataLoader

import videozoo
from videozoo import TSN
from videozoo.data import (
    ClipNormalizer,
    JointDataset,
    VideoDataset,
    VideoRecord,
    collate_clips,
    create_transform,
    resolve_data_config,
    sampling_options,
)
from videozoo.engine import EvalResult, TrainingError, evaluate
from videozoo.jobs import clips as clips_module
from videozoo.jobs import output_parts
from videozoo.jobs.errors import JobError
from videozoo.jobs.evaluate import evaluate_records

NAMES = ("a", "b", "c")
PARTS = "scores.safetensors.parts"
by_fork = pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="workers must be forks")


def make_nets() -> list[Any]:
    """Two models that want other frames and sizes, one of them in training mode."""
    torch.manual_seed(0)
    nets: list[Any] = [
        videozoo.create_model("test_dnr_tsn", num_classes=3, num_frames=2),
        videozoo.compose("test_resnet", TSN(), num_classes=3, num_frames=4),
    ]
    for net, size in zip(nets, (32, 48), strict=True):
        with torch.no_grad():
            net.get_classifier().weight.normal_(std=3)
        net.pretrained_cfg |= {"input_size": (3, size, size)}
    return [nets[0].eval(), nets[1].train()]


@pytest.fixture(scope="module")
def nets() -> list[Any]:
    return make_nets()


@pytest.fixture
def records(clips: list[Path], tmp_path: Path) -> list[VideoRecord]:
    """Eleven videos, the third one broken, the last one without a label."""
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    paths = [*clips[:2], tmp_path / "broken.mp4", *clips[2:10]]
    labels = [*(k % 3 for k in range(10)), -1]
    return [
        VideoRecord(path, label, f"list.txt:{k}") for k, (path, label) in enumerate(zip(paths, labels, strict=True))
    ]


def score(nets: list[Any], records: list[VideoRecord], **options: Any) -> list[EvalResult]:
    given = {"class_names": NAMES, "device": "cpu", "workers": 0, "batch_size": 2, **options}
    with evaluate_records(nets, records, **given) as results:
        return results


def score_by_loader(net: Any, records: list[VideoRecord], views: tuple[int, int] | None = None) -> EvalResult:
    """The same by the evaluation that training uses."""
    num_clips, num_crops = views or (None, None)
    config = resolve_data_config(net, test_num_clips=num_clips, test_num_crops=num_crops)
    dataset = VideoDataset(
        records, create_transform(**config, normalize=False), **sampling_options(config), on_broken="report"
    )
    normalizer = ClipNormalizer(config["mean"], config["std"], config["channel_order"])
    loader = DataLoader(dataset, batch_size=2, collate_fn=collate_clips)
    return evaluate(net, loader, class_names=NAMES, device="cpu", prepare_batch=normalizer)


def assert_same(one: EvalResult, other: EvalResult) -> None:
    """To the last bit."""
    for name in ("log_probs", "logits", "labels", "indices", "scores"):
        assert torch.equal(getattr(one, name), getattr(other, name)), name
    for name in ("class_names", "num_views", "average", "unread"):
        assert getattr(one, name) == getattr(other, name), name


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("views", [None, (2, 3)])
def test_each_model_is_scored_as_by_a_plain_pass(
    nets: list[Any], records: list[VideoRecord], views: tuple[int, int] | None, workers: int
) -> None:
    modes = [[module.training for module in net.modules()] for net in nets]
    results = score(nets, records, views=views, workers=workers)
    for net, result in zip(nets, results, strict=True):
        assert_same(result, score_by_loader(net, records, views))
        assert result.num_views == (6 if views else 1)
        assert result.seconds >= result.data_seconds > 0
    assert [[module.training for module in net.modules()] for net in nets] == modes
    assert results[0].unread[0][0] == 2
    assert results[0].unread[0][1].endswith("[listed in list.txt:2]")


def test_backwards(nets: list[Any], records: list[VideoRecord]) -> None:
    class Backwards(nn.Module):
        def __init__(self, net: Any) -> None:
            super().__init__()
            self.net, self.pretrained_cfg, self.num_frames = net, net.pretrained_cfg, net.num_frames

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.net(x.flip(2))

    (result,) = score(nets[:1], records, is_reversed=True)
    (wanted,) = score([Backwards(nets[0])], records)
    assert_same(result, wanted)


class _Killed(BaseException):
    pass


def _stop_after(count: int) -> Callable[[int, int], None]:
    def stop(done: int, _errors: int) -> None:
        if done >= count:
            raise _Killed

    return stop


def test_a_stopped_evaluation_goes_on_and_keeps_nothing_in_the_end(
    nets: list[Any], records: list[VideoRecord], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output_parts, "PART_SECONDS", 0.0)
    folder = tmp_path / "out"
    with pytest.raises(_Killed):
        score(nets, records, folder=folder, on_progress=_stop_after(5))
    told: list[tuple[int, int]] = []
    results = score(nets, records, folder=folder, on_progress=lambda *counts: told.append(counts), average="logit")
    assert told == [(6, 1), (8, 1), (10, 1), (11, 1)]
    for one, other in zip(results, score(nets, records, average="logit"), strict=True):
        assert_same(one, other)
    assert not folder.exists() or not list(folder.iterdir())
    # Results that could not be made use of leave the scores where they are.
    given: dict[str, Any] = {"class_names": NAMES, "device": "cpu", "workers": 0, "folder": folder}
    with pytest.raises(_Killed), evaluate_records(nets, records, **given):
        raise _Killed
    assert (folder / PARTS).is_dir()
    told.clear()
    score(nets, records, folder=folder, on_progress=lambda *counts: told.append(counts))
    assert told == [(11, 1)]


def test_videos_that_changed_meanwhile_are_scored_again(
    nets: list[Any], records: list[VideoRecord], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output_parts, "PART_SECONDS", 0.0)
    copy = tmp_path / "copy.mp4"
    copy.write_bytes(records[1].path.read_bytes())
    mine = [replace(records[0], path=copy), *records[1:4]]
    with pytest.raises(_Killed):
        score(nets, mine, folder=tmp_path / "out", on_progress=_stop_after(2))
    copy.write_bytes(records[0].path.read_bytes())
    for one, other in zip(score(nets, mine, folder=tmp_path / "out"), score(nets, mine), strict=True):
        torch.testing.assert_close(one.log_probs, other.log_probs, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("change", "expected"), [("net", "specs: "), ("weights", "weights: "), ("views", "videos: "), ("list", "list: ")]
)
def test_scores_of_something_else_are_refused(
    nets: list[Any],
    records: list[VideoRecord],
    change: str,
    expected: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(output_parts, "PART_SECONDS", 0.0)
    plain = nets[1]
    with pytest.raises(_Killed):
        score([plain], records, folder=tmp_path / "out", on_progress=_stop_after(3))
    other, options = plain, {}
    if change == "net":  # another model on the very same weights
        other = videozoo.compose("test_resnet", videozoo.TSM(), num_classes=3, num_frames=4)
        other.load_state_dict(plain.state_dict())
        other.pretrained_cfg |= plain.pretrained_cfg
    elif change == "weights":
        other = make_nets()[1]
        other.get_classifier().bias.data[0] += 1
    elif change == "views":
        options["views"] = (2, 1)
    else:
        records = records[:-1]
    with pytest.raises(JobError, match="belongs to another run") as caught:
        score([other], records, folder=tmp_path / "out", **options)
    assert expected in str(caught.value)


def test_what_is_of_no_use_is_not_kept(nets: list[Any], records: list[VideoRecord], tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="none of 1 videos could be read"):
        score(nets, records[2:3], folder=tmp_path / "out")
    assert not (tmp_path / "out" / PARTS).exists()


def test_an_interrupt_keeps_what_is_scored(nets: list[Any], records: list[VideoRecord], tmp_path: Path) -> None:
    def interrupt(done: int, _errors: int) -> None:
        if done == 4:
            raise KeyboardInterrupt  # as Ctrl-C does, also where the shell ignores its signal

    with pytest.raises(KeyboardInterrupt):
        score(nets, records, folder=tmp_path / "out", on_progress=interrupt)
    told: list[int] = []
    score(nets, records, folder=tmp_path / "out", on_progress=lambda done, _: told.append(done))
    assert told[0] == 4


@by_fork
def test_a_video_that_kills_its_decoder_is_unread(
    nets: list[Any], records: list[VideoRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    deadly = records[4]

    class Deadly(JointDataset):
        def __getitem__(self, index: int) -> dict[str, Any]:
            if self.records[index] == deadly:
                os.kill(os.getpid(), signal.SIGKILL)
            return super().__getitem__(index)

    with monkeypatch.context() as patch:
        patch.setattr(clips_module, "JointDataset", Deadly)
        results = score(nets, records, workers=2)
    problem = f"{deadly.path}: the process that read it died (SIGKILL) [listed in list.txt:4]"
    whole = score(nets, records)
    for result, other in zip(results, whole, strict=True):
        assert result.unread[1] == (4, problem)
        assert [index for index, _ in result.unread] == [2, 4]
        assert result.indices.tolist() == [index for index in range(11) if index not in (2, 4)]
        row = other.indices != 4
        torch.testing.assert_close(result.scores, other.scores[row])


def _work(records: list[VideoRecord], folder: Path, decoded: Path, workers: int) -> None:
    """A process' whole life: score the list, noting each file that is asked of the reader."""

    class Noting(JointDataset):
        def __getitem__(self, index: int) -> dict[str, Any]:
            with open(decoded, "a") as file:
                file.write(f"{self.records[index].path}\n")
            return super().__getitem__(index)

    torch.set_num_threads(1)
    multiprocessing.set_start_method("fork", force=True)  # or the workers would not know Noting
    clips_module.JointDataset = Noting  # type: ignore[misc]
    output_parts.PART_SECONDS = 0.0
    with evaluate_records(
        make_nets(), records, class_names=NAMES, device="cpu", workers=workers, batch_size=2, folder=folder
    ) as results:
        torch.save([(result.log_probs, result.logits) for result in results], folder / "answer.tmp")
        (folder / "answer.tmp").rename(folder / "answer.pt")


@pytest.fixture
def many(clips: list[Path], tmp_path: Path) -> list[VideoRecord]:
    records = []
    for number in range(40):
        path = tmp_path / f"{number:03d}.mp4"
        path.write_bytes(b"broken" if number % 11 == 3 else clips[number % len(clips)].read_bytes())
        records.append(VideoRecord(path, number % 3, "list.txt:1"))
    return records


@pytest.mark.slow
@by_fork
@pytest.mark.parametrize(("workers", "num_kills"), [(0, 8), (1, 5)])
def test_killed_at_any_moment(workers: int, num_kills: int, many: list[VideoRecord], tmp_path: Path) -> None:
    folder, decoded = tmp_path / "out", tmp_path / "decoded.txt"
    num_killed, reached = run_with_kills(
        _work,
        *(many, folder, decoded, workers),
        decoded=decoded,
        parts=folder / PARTS,
        preload="videozoo.jobs.evaluate",
        num_kills=num_kills,
        seed=workers,
    )
    assert num_killed >= 3
    answers = torch.load(folder / "answer.pt", weights_only=True)
    for net, (log_probs, logits) in zip(make_nets(), answers, strict=True):
        wanted = score_by_loader(net, many)
        assert torch.equal(log_probs, wanted.log_probs)
        assert torch.equal(logits, wanted.logits)
    assert [path.name for path in folder.iterdir()] == ["answer.pt"]
    times = Counter(decoded.read_text().splitlines())
    in_work = 2 * (1 + 3 * workers)
    assert sum(times.values()) <= len(many) + num_killed * in_work
    assert len(set(reached)) >= 3, "the kills hit different moments"

"""Models measured on labeled videos: scores are kept until all are there, so that a killed evaluation goes on."""

import contextlib
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor, nn

from videozoo.data import ClipNormalizer, VideoRecord, resolve_data_config
from videozoo.engine import EvalResult, TrainingError
from videozoo.engine.device import make_accelerator
from videozoo.engine.eval_result import check_average
from videozoo.engine.evaluate import VideoScorer, join_results
from videozoo.engine.evaluation_folder import SCORES
from videozoo.engine.evaluation_mode import evaluation_mode
from videozoo.engine.interrupts import Interrupts
from videozoo.probabilities import is_multi_label

from .clips import ClipBatch, iterate_batches
from .describe import describe_job, describe_kind, digest_weights
from .listing import RecordList, Shard
from .output_parts import Parts, fill_parts
from .prediction import Prediction
from .shards import check_shard, shard_path


@contextlib.contextmanager
def evaluate_records(
    models: Sequence[nn.Module],
    records: Sequence[VideoRecord],
    *,
    class_names: Sequence[str],
    views: tuple[int, int] | None = None,
    is_reversed: bool = False,
    batch_size: int = 8,
    workers: int = 2,
    amp: str = "no",
    device: str = "auto",
    average: str = "prob",
    folder: Path | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Iterator[list[EvalResult]]:
    """Score every video once with each model, and give a result per model, as `videozoo.engine.evaluate` does.

    Scores are kept in ``FOLDER/scores.safetensors.parts`` until the context is left without an error: killed at any
    moment and called again, it scores only the videos that are not kept yet. Several processes of one launch share the
    videos out. Each gets all results.

    Args:
        models: models with the same classes. A file is read once for all of them. Multi-label ones measure a record's
            ``classes``, others its one label.
        class_names: of the labels.
        views: clips and crops. None takes each model's own.
        is_reversed: play every clip backwards.
        batch_size: videos that are decoded together.
        workers: decoding processes. 0 decodes in this one, which a file that crashes the decoder then ends.
        amp, device, average: as in `videozoo.engine.evaluate`.
        folder: where scores are kept. None: nowhere.
        on_progress: called with the videos scored and the unread ones among them, of this process' share.
    Raises:
        JobError: the scores kept are of other models, videos or settings, or the disk refused.
        TrainingError, EngineError, ValueError: as in `videozoo.engine.evaluate`.
    """
    check_average(average)
    multi_label = is_multi_label(models[0])
    if any(is_multi_label(model) != multi_label for model in models):
        raise ValueError("evaluate: some models are multi-label and some are not; they cannot be averaged.")
    if not multi_label and any(record.labels is not None for record in records):
        raise ValueError("evaluate: the videos have several labels each; that needs a multi-label model.")
    accelerator = make_accelerator(amp, device)
    count, rank = accelerator.num_processes, accelerator.process_index
    num_clips, num_crops = views or (None, None)
    configs = [resolve_data_config(net, test_num_clips=num_clips, test_num_crops=num_crops) for net in models]
    listing = RecordList(records)
    job = describe_job(
        listing,
        count,
        rank,
        weights=[digest_weights(model) for model in models],
        specs=[str(getattr(model, "spec", "")) for model in models],
        class_names=list(class_names),
        videos=configs,
        amp=amp,
        is_reversed=is_reversed,
        **describe_kind(models[0]),
    )
    scorers = [
        VideoScorer(model, len(class_names), accelerator, prepare=ClipNormalizer.of(config), multi_label=multi_label)
        for model, config in zip(models, configs, strict=True)
    ]
    shard = Shard(listing, count, rank)
    started, waited = time.perf_counter(), 0.0

    def answer(some: Sequence[VideoRecord], first: int) -> Generator[list[Prediction]]:
        nonlocal waited
        batches = iterate_batches(
            some,
            configs,
            start=first,
            batch_size=batch_size,
            workers=workers,
            pin_memory=accelerator.device.type == "cuda",
            is_reversed=is_reversed,
        )
        with contextlib.closing(batches):
            while True:
                begin = time.perf_counter()
                batch = next(batches, None)
                waited += time.perf_counter() - begin
                if batch is None:
                    return
                yield _score(batch, scorers, accelerator.device)
                interrupts.check()

    with contextlib.ExitStack() as stack:
        home = folder or Path(stack.enter_context(TemporaryDirectory()))
        check_shard(home / SCORES, count, rank)
        parts = stack.enter_context(contextlib.closing(Parts(shard_path(home / SCORES, count, rank), job)))
        with Interrupts() as interrupts, evaluation_mode(*models), torch.no_grad():
            fill_parts(parts, shard, answer, 2 * len(models) * len(class_names), on_progress)
        rows, unread = _read_rows(parts, records, len(models), len(class_names) if multi_label else None)
        try:
            results = join_results(
                rows,
                unread,
                class_names=class_names,
                num_views=[config["test_num_clips"] * config["test_num_crops"] for config in configs],
                average=average,
                accelerator=accelerator,
                seconds=(time.perf_counter() - started, waited),
                multi_label=multi_label,
            )
        except TrainingError:  # what is kept is of no use
            parts.remove()
            raise
        yield results
        accelerator.wait_for_everyone()  # by then the first process has written what it makes of the results
        parts.remove()


def _score(batch: ClipBatch, scorers: Sequence[VideoScorer], device: torch.device) -> list[Prediction]:
    """Return for each video both averages of each model, one behind the other."""
    answers = [Prediction(path, None) for path in batch.paths]
    for place, error in batch.errors.items():
        answers[place] = Prediction(batch.paths[place], None, str(error))
    if batch.videos:
        pairs = zip(scorers, batch.videos, strict=True)
        averages = [rows for score, video in pairs for rows in score(video.to(device, non_blocking=True))]
        for place, row in zip(batch.read, torch.cat(averages, dim=1).cpu().numpy(), strict=True):
            answers[place] = Prediction(batch.paths[place], row)
    return answers


def _labels_of(records: Sequence[VideoRecord], multi_hot: int | None) -> Tensor:
    if multi_hot is None:
        return torch.tensor([record.label for record in records], dtype=torch.int64)
    labels = torch.zeros(len(records), multi_hot, dtype=torch.int64)
    for row, record in zip(labels, records, strict=True):
        row[list(record.classes)] = 1
    return labels


def _read_rows(
    parts: Parts, records: Sequence[VideoRecord], num_models: int, multi_hot: int | None
) -> tuple[list[tuple[Tensor, ...]], dict[int, str]]:
    """Return what `join_results` wants: rows of the videos that were read, and the others' problems by index.

    Args:
        multi_hot: number of classes, where labels are to be multi-hot.
    """
    found: list[tuple[Tensor, ...]] = []
    unread: dict[int, str] = {}
    for rows in parts.rows():
        indices, errors = rows.columns["index"], rows.columns["error"]
        is_read = torch.tensor([error is None for error in errors])
        read = torch.tensor(indices, dtype=torch.int64)[is_read]
        labels = _labels_of([records[index] for index in read.tolist()], multi_hot)
        found.append((read, labels, *torch.from_numpy(rows.values)[is_read].chunk(2 * num_models, dim=1)))
        pairs = zip(indices, errors, strict=True)
        unread |= {index: f"{error}{records[index].listed}" for index, error in pairs if error}
    return found, unread

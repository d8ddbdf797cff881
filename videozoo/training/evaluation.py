"""Evaluation from settings to result: check everything, then measure.

Heavy imports inside.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from videozoo.arguments import UsageError, check_ranges, flag_of, refuse_empty
from videozoo.choices import is_onnx
from videozoo.jobs.output_folders import hold_output, refuse_file, refuse_inside_data

from .measure import JobBar, Setup, no_bar
from .sources import Data

if TYPE_CHECKING:
    from torch import Tensor

    from videozoo.engine import Scores

ERRORS = "errors.png"

_OF_A_NEW_EVALUATION = (
    *("model", "data", "data_root", "data_format", "split", "class_names", "views"),
    *("reverse", "batch_size", "workers", "amp", "max_frames", "index_cache"),
)


@dataclass(frozen=True, kw_only=True)
class EvaluationSettings:
    """Settings of an evaluation.

    Names and meanings are those of the flags of ``videozoo evaluate``.

    Args:
        model: names with weights, folders or ONNX files. Several are averaged.
        data, data_root, data_format, split: labeled videos. ``data`` may be a list of (path, label) too.
        class_names: file of class names, one a line, that the indices of a list mean. A ``classes.txt`` beside the list
            is found by itself.
        scores: files ``scores.safetensors`` of earlier evaluations, in place of ``model`` and ``data``.
        views: clips x crops, such as ``10x3``. None: each model's own.
        average: over views and models, ``prob`` (None is the same) or ``logit``.
        reverse: play every clip backwards.
        groups: a json or yaml file of group names with lists of classes.
        batch_size: videos per batch. None: 8, fewer for many views.
        workers: decoding processes. None: 2.
        amp: mixed precision (bfloat16).
        device: ``auto`` or a device of torch.
        max_frames: frames that may be decoded for one video.
        index_cache: folder that keeps the indexes of videos for later runs.
        output: folder for results, tables, pictures and scores.
    """

    model: tuple[str, ...] = ()
    data: Data | None = None
    data_root: str | None = None
    data_format: str | None = None
    split: str | None = None
    class_names: str | None = None
    scores: tuple[str, ...] = ()
    views: str | None = None
    average: str | None = None
    reverse: bool = False
    groups: str | None = None
    batch_size: int | None = None
    workers: int | None = None
    amp: bool = False
    device: str = "auto"
    max_frames: int | None = None
    index_cache: str | None = None
    output: str | None = None


@dataclass(frozen=True)
class Evaluation:
    """Result of an evaluation.

    Args:
        scores: of the model, or of several together.
        members: of each of several models, else none.
        groups: numbers of each group's classes.
        read_clip: from a video's index to its frames, for the picture of the worst errors. None without the videos.
    """

    scores: "Scores"
    members: "list[Scores]" = field(default_factory=list)
    groups: Mapping[str, Sequence[int]] = field(default_factory=dict)
    read_clip: "Callable[[int], Tensor | None] | None" = None

    def to_dict(self) -> dict[str, Any]:
        """Return the content of results.json."""
        from videozoo.engine import evaluation_dict

        return evaluation_dict(self.scores, self.groups, self.members)

    def write(self, folder: Path) -> list[str]:
        """Write all files of an evaluation, see `videozoo.engine.write_evaluation`, and ``errors.png``."""
        from videozoo.engine import write_evaluation
        from videozoo.explain.mosaic import plot_errors

        picture = folder / ERRORS
        picture.unlink(missing_ok=True)
        written = write_evaluation(folder, self.scores, self.groups, self.members)
        names, result = self.scores.names.__getitem__, self.scores.result
        if self.read_clip is not None and plot_errors(picture, result, names, self.read_clip, "evaluation"):
            written.append(ERRORS)
        return written


@contextlib.contextmanager
def run_evaluation(settings: EvaluationSettings, job_bar: JobBar = no_bar) -> Iterator[Evaluation]:
    """Evaluate models, or join saved scores, and return the result.

    Kept scores are removed once the context is left.

    Raises:
        UsageError: settings, models or videos that do not fit.
        WeightsError, UnknownModelError, SourceError, JobError, EngineError: as of the parts that it uses.
    """
    _check(settings)
    from videozoo.engine import join_scores, load_groups, load_scores
    from videozoo.explain.mosaic import clip_reader

    with _hold_output(settings), contextlib.ExitStack() as stack:  # found out before hours of decoding
        read_clip = None
        if settings.scores:
            members = [load_scores(Path(file), settings.average) for file in settings.scores]
            class_names: Sequence[str] = members[0].result.class_names
        else:
            setup = _set_up(settings)
            class_names = setup.class_names
            read_clip = clip_reader(setup.models[0], setup.source.records, is_reversed=settings.reverse)
        is_multi = members[0].result.multi_label if settings.scores else setup.source.multi_label
        if settings.groups and is_multi:
            raise UsageError("evaluate: --groups is for videos with one class; a multi-label model has no confusion.")
        groups = load_groups(Path(settings.groups), class_names) if settings.groups else {}
        if not settings.scores:
            scored = setup.measure(
                views=settings.views,
                is_reversed=settings.reverse,
                batch_size=settings.batch_size,
                workers=2 if settings.workers is None else settings.workers,
                amp="bf16" if settings.amp else "no",
                average=settings.average or "prob",
                folder=Path(settings.output) if settings.output else None,
                job_bar=job_bar,
            )
            members = stack.enter_context(scored)
        joined = members[0] if len(members) == 1 else join_scores(members, settings.average)
        yield Evaluation(joined, members if len(members) > 1 else [], groups, read_clip)


def _set_up(settings: EvaluationSettings) -> Setup:
    where = {"data_root": settings.data_root, "data_format": settings.data_format, "split": settings.split}
    where["names_file"] = settings.class_names
    setup = Setup(settings.model, settings.data or "", device=settings.device, **where)
    if settings.data_root and setup.source.data_format in ("class_folders", "shards"):
        raise UsageError("evaluate: --data-root has no effect here; it is for the paths in lists.")
    if settings.class_names and setup.source.data_format in ("class_folders", "shards"):
        raise UsageError("evaluate: --class-names has no effect here; it is for the indices in lists.")
    return setup


def _check(settings: EvaluationSettings) -> None:
    refuse_empty("evaluate", vars(settings))
    check_ranges("evaluate", vars(settings))
    if settings.output:
        _check_output(Path(settings.output).expanduser(), settings.data if isinstance(settings.data, str) else None)
    if settings.scores:
        values = {name: getattr(settings, name) for name in _OF_A_NEW_EVALUATION}
        values["device"] = None if settings.device == "auto" else settings.device
        given = (name for name, value in values.items() if value is not None and value is not False and value != ())
        for flag in map(flag_of, given):
            raise UsageError(f"evaluate: --scores come from an evaluation that is done; {flag} has no part in it.")
    elif not settings.model or not settings.data:
        raise UsageError("evaluate: needs --model and --data, or --scores (see videozoo evaluate --help)")
    elif settings.amp and any(map(is_onnx, settings.model)):
        raise UsageError("evaluate: --amp is not for an ONNX file, which runs in the precision that it has.")


def _check_output(output: Path, data: str | None) -> None:
    refuse_file(output)
    run = output.resolve().parent
    if output.resolve().name in ("last", "best") and (run / "last").exists() and (run / "summary.csv").exists():
        raise UsageError(f"{output}: is replaced as a whole when the run {run} goes on; give another --output.")
    refuse_inside_data(output, data)


def _hold_output(settings: EvaluationSettings) -> contextlib.AbstractContextManager[None]:
    if not settings.output:
        return contextlib.nullcontext()
    return hold_output(Path(settings.output), "an evaluation", beside=("the weights of a model",))

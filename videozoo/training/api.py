"""Training and evaluation as functions; the commands of the same names are thin layers over the same parts."""

import contextlib
import dataclasses
import operator
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from videozoo.arguments import (
    INDEX_CACHE_VARIABLE,
    MAX_FRAMES_VARIABLE,
    UsageError,
    name_arguments,
    refuse_unknown,
    set_index_cache,
    set_max_frames,
)
from videozoo.launch import is_main_process

from .evaluation import EvaluationSettings, run_evaluation
from .parse_values import read_values
from .resolve_settings import settle
from .run import run_training
from .settings import DEFAULTS
from .sources import Data

if TYPE_CHECKING:
    from videozoo.engine import EvalResult, FitResult

# What settings change for the reader, in this process and in its workers.
_VARIABLES = (MAX_FRAMES_VARIABLE, INDEX_CACHE_VARIABLE)


def finetune(
    *,
    output: str | Path,
    model: str | Path | None = None,
    data: Data | None = None,
    **options: Any,
) -> "FitResult":
    """Train a model on labelled videos and keep everything in one run folder, as ``videozoo finetune`` does.

    ``finetune(model="arc_tsm_r18", data="videos", output="run", epochs=20, lr=1e-3)``. Options have the names, the
    values and the defaults of the command's flags, with underscores: ``batch_size=16``, ``resume=True``,
    ``recipe="arc_ssv1"``, ``opt_betas=(0.9, 0.99)``; None is the default, or nothing where a recipe sets something.
    ``videozoo finetune --help`` lists them. Messages go to the log ``videozoo``, which
    ``logging.basicConfig(level=logging.INFO)`` shows.

    Args:
        output: the run folder to make, or with ``resume=True`` to continue.
        model: a name of `list_models`, a folder with weights or ``hf-hub:ORG/NAME``; a continued run has one.
        data: a folder ROOT/CLASS/VIDEO, a list, shards, or a list of (path, label) in Python, as ``val`` may be too;
            a continued run has it.
        options: every other setting by its name.
    Returns:
        the result: ``best`` (the content of results.json), ``best_epoch``, ``history`` (a row per epoch), ``output``,
        and ``best_model``, the best epoch's weights as `create_model` and `Predictor` take them.
    Raises:
        TypeError: an option that does not exist; it names the nearest.
        UsageError: (a ValueError) a setting, or what it names, cannot be used.
        WeightsError, UnknownModelError, SourceError, JobError, EngineError: the model, the videos, the folder, the
            training.
        KeyboardInterrupt: Ctrl-C or SIGTERM; the run can be continued with ``resume=True``.
    """
    refuse_unknown("finetune", options, DEFAULTS)
    given: dict[str, Any] = {"model": model, "data": data, "val": options.pop("val", None)}
    given = {name: value for name, value in given.items() if value is not None}
    listed = {name: given.pop(name) for name in ("data", "val") if isinstance(given.get(name), list | tuple)}
    if listed and not {"data", "val"} & given.keys():  # so that the run is continued from anywhere
        options = {"data_root": os.getcwd(), **options}
    listed = {name: [_plain(item) for item in items] for name, items in listed.items()}
    with _in_words_of_python(DEFAULTS):
        return run_training(settle(read_values({**given, "output": output, **options}, "finetune") | listed))


def evaluate(
    *,
    model: str | Path | Sequence[str | Path] = (),
    data: Data | None = None,
    **options: Any,
) -> "EvalResult":
    """Measure a model, or several together, on labelled videos, as ``videozoo evaluate`` does.

    ``evaluate(model="run/best", data="videos/val", views="10x3").top1``

    Args:
        model: a name with weights, a folder such as ``RUN/best``, ``hf-hub:ORG/NAME`` or a ``FILE.onnx``; of several
            the predictions are averaged.
        data: labelled videos, as for `finetune`.
        options: the other arguments of `EvaluationSettings`, which has their meanings and defaults; with ``output`` all
            files of an evaluation are written there.
    Returns:
        the result: ``top1``, ``top5``, ``mean_class``, ``confusion`` (of a multi-label model ``map``), ``scores``,
        ``labels``, ``unread`` and so on.
    Raises:
        TypeError: an option that does not exist; it names the nearest.
        UsageError: (a ValueError) an option, or what it names, cannot be used.
        WeightsError, UnknownModelError, SourceError, JobError, EngineError: the model, the videos, the folder, the
            measuring.
    """
    defaults = {entry.name: entry.default for entry in dataclasses.fields(EvaluationSettings)}
    refuse_unknown("evaluate", options, defaults)
    given = {"model": model, "data": data, **options}
    values: dict[str, Any] = {name: _as_text(value) for name, value in given.items()}
    if values.get("device") is not None:
        values["device"] = str(values["device"])  # of a torch.device too
    for name in ("model", "scores"):
        one = values.get(name)
        values[name] = () if one is None else one if isinstance(one, tuple) else (one,)
    _check_kinds(values)
    settings = EvaluationSettings(**values)
    with _in_words_of_python(defaults):
        if settings.max_frames is not None:
            set_max_frames(settings.max_frames)
        if settings.index_cache is not None:
            set_index_cache(settings.index_cache)
        with run_evaluation(settings) as found:
            if settings.output and is_main_process():
                found.write(Path(settings.output))
            return found.scores.result


def _check_kinds(values: dict[str, Any]) -> None:
    """Refuse values of another kind than an argument of `evaluate` has; NumPy's integers become Python's.

    Raises:
        UsageError: names the argument and its value.
    """
    for entry in dataclasses.fields(EvaluationSettings):
        value = values.get(entry.name)
        if value is None:
            continue
        if entry.name in ("model", "scores"):
            is_good, needed = all(isinstance(one, str) for one in value), "a name or a path, or a list of them"
        elif entry.name == "data":
            is_good, needed = isinstance(value, str | tuple), "a path, or a list of (path, label)"
        elif entry.default is False:
            is_good, needed = isinstance(value, bool), "True or False"
        elif entry.type == int | None:
            is_good, needed = hasattr(value, "__index__") and not isinstance(value, bool), "a whole number"
            values[entry.name] = operator.index(value) if is_good else value
        else:
            is_good, needed = isinstance(value, str), "a text"
        if not is_good:
            raise UsageError(f"evaluate: {entry.name} is {value!r}; it must be {needed}.")


def _plain(value: Any) -> Any:
    """Return a path, a label or several of them as JSON holds them, NumPy's integers too."""
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return operator.index(value) if hasattr(value, "__index__") and not isinstance(value, bool) else value


def _as_text(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return tuple(map(_as_text, value))
    return str(value) if isinstance(value, os.PathLike) else value


@contextlib.contextmanager
def _in_words_of_python(defaults: Mapping[str, Any]) -> Iterator[None]:
    """Let errors name arguments where they name flags, and give the environment back as it was."""
    before = {name: os.environ[name] for name in _VARIABLES if name in os.environ}
    try:
        yield
    except UsageError as error:
        error.args = (name_arguments(str(error), defaults),)
        raise
    finally:
        for name in _VARIABLES:
            os.environ.pop(name, None)
        os.environ.update(before)

"""Functions that train and evaluate as the commands of the same names do."""

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
from .resolve_settings import resolve_settings
from .run import run_training
from .settings import DEFAULTS
from .sources import Data

if TYPE_CHECKING:
    from videozoo.engine import EvalResult, FitResult

# What settings change for the reader, in this process and in its workers.
_VARIABLES = (MAX_FRAMES_VARIABLE, INDEX_CACHE_VARIABLE)


def finetune(
    *,
    output: str | Path | None = None,
    model: str | Path | None = None,
    data: Data | None = None,
    **options: Any,
) -> "FitResult":
    """Train a model on labeled videos and write everything to one run folder, as ``videozoo finetune`` does.

    The options have the names, values and defaults of the command's flags, with underscores: ``batch_size=16``,
    ``resume=True``, ``recipe="arc_ssv1"``, ``opt_betas=(0.9, 0.99)``. None is the default, or turns off what a recipe
    sets. ``videozoo finetune --help`` lists them. Messages go to the log ``videozoo``.
    ``logging.basicConfig(level=logging.INFO)`` shows them.

    Args:
        output: the run folder to write, or with ``resume=True`` to continue. None: a new one,
            ``runs/DATE-TIME-MODEL``, which the result and the log name.
        model: a name of `list_models`, a folder with weights or ``hf-hub:ORG/NAME``. A run that is continued has one.
            None: published weights that suit the machine, which the log names with the reason.
        data: a folder ROOT/CLASS/VIDEO, a list, shards, or in Python a list of (path, label). The option ``val`` takes
            the same. A run that is continued has it.
        options: every other setting by its name.
    Returns:
        the result: ``best`` (the content of results.json), ``best_epoch``, ``history`` (a row per epoch), ``output``,
            and ``best_model``, the weights of the best epoch in the form that `create_model` and `Predictor` take.
    Raises:
        TypeError: an option that does not exist. The message has the nearest name.
        UsageError: (a ValueError) a setting, or the file or folder that it names, cannot be used.
        WeightsError, UnknownModelError, SourceError, JobError, EngineError: errors of the model, the videos, the folder
            or the training.
        KeyboardInterrupt: Ctrl-C or SIGTERM. You can continue the run with ``resume=True``.
    Example:
        >>> import videozoo
        >>> result = videozoo.finetune(model="test_arc_tsm", data="videos", output="runs/mine", epochs=1, device="cpu")
        >>> 0 <= result.best["top1"] <= 1
        True
        >>> videozoo.Predictor(result.best_model, device="cpu")("clip.mp4").ok
        True
    """
    refuse_unknown("finetune", options, DEFAULTS)
    given: dict[str, Any] = {"model": model, "data": data, "val": options.pop("val", None), "output": output}
    given = {name: value for name, value in given.items() if value is not None}
    listed = {name: given.pop(name) for name in ("data", "val") if isinstance(given.get(name), list | tuple)}
    if listed and not {"data", "val"} & given.keys():  # so that the run is continued from anywhere
        options = {"data_root": os.getcwd(), **options}
    listed = {name: [_plain(item) for item in items] for name, items in listed.items()}
    with _errors_name_arguments(DEFAULTS):
        return run_training(resolve_settings(read_values({**given, **options}, "finetune") | listed))


def evaluate(
    *,
    model: str | Path | Sequence[str | Path] = (),
    data: Data | None = None,
    **options: Any,
) -> "EvalResult":
    """Evaluate a model, or an ensemble of several, on labeled videos, as ``videozoo evaluate`` does.

    Args:
        model: a name with weights, a folder such as ``RUN/best``, ``hf-hub:ORG/NAME`` or a ``FILE.onnx``. The
            predictions of several models are averaged.
        data: labeled videos, as for `finetune`.
        options: the flags of the command with underscores, such as ``views="10x3"`` (clips x crops of a video),
            ``average``, ``reverse=True``, ``groups``, ``batch_size``, ``workers``, ``amp``, ``device``, or ``scores``
            (files of earlier evaluations in place of ``model`` and ``data``). ``videozoo evaluate --help`` lists them.
            With ``output`` all files of an evaluation are written to that folder.
    Returns:
        the result: ``top1``, ``top5``, ``mean_class``, ``confusion`` (for a multi-label model ``map``), ``scores``,
            ``labels``, ``unread`` and so on.
    Raises:
        TypeError: an option that does not exist. The message has the nearest name.
        UsageError: (a ValueError) an option, or the file or folder that it names, cannot be used.
        WeightsError, UnknownModelError, SourceError, JobError, EngineError: errors of the model, the videos, the folder
            or the evaluation.
    Example:
        >>> import videozoo
        >>> result = videozoo.evaluate(model="test_arc_tsm.motions", data="more_videos", workers=0, device="cpu")
        >>> result.num_videos, result.top1 > 0.5, result.confusion.shape
        (12, True, torch.Size([6, 6]))
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
    with _errors_name_arguments(defaults):
        if settings.max_frames is not None:
            set_max_frames(settings.max_frames)
        if settings.index_cache is not None:
            set_index_cache(settings.index_cache)
        with run_evaluation(settings) as found:
            if settings.output and is_main_process():
                found.write(Path(settings.output))
            return found.scores.result


def _check_kinds(values: dict[str, Any]) -> None:
    """Refuse values of another kind than an argument of `evaluate` has. NumPy's integers become Python's.

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


def _name_arguments(value: Any, defaults: Mapping[str, Any]) -> Any:
    return name_arguments(value, defaults) if isinstance(value, str) else value


@contextlib.contextmanager
def _errors_name_arguments(defaults: Mapping[str, Any]) -> Iterator[None]:
    """Name arguments in place of flags in errors, and restore the environment at the end."""
    before = {name: os.environ[name] for name in _VARIABLES if name in os.environ}
    try:
        yield
    except Exception as error:
        error.args = tuple(_name_arguments(value, defaults) for value in error.args)
        vars(error).update({name: _name_arguments(value, defaults) for name, value in vars(error).items()})
        raise
    finally:
        for name in _VARIABLES:
            os.environ.pop(name, None)
        os.environ.update(before)

"""Resolution of a run's settings from flags, recipe, defaults and the continued run."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from videozoo.arguments import UsageError, check_ranges, flag_of, refuse_empty, set_index_cache, set_max_frames
from videozoo.choices import FREE_ON_RESUME
from videozoo.jobs.output_folders import refuse_file, refuse_inside_data
from videozoo.launch import is_main_process
from videozoo.text import json_text
from videozoo.version import __version__

from .checks import check_effects, check_frozen, whole_starts
from .recipes import is_recipe_file, read_recipe
from .run_log import note
from .run_output import RUNS
from .settings import AUTO, DEFAULT_LR, DEFAULTS, Settings
from .sizes import parse_frame_size

FILE_NAME = "args.json"
# What may change when a run is continued: where things lie, how fast it goes, how long it lasts.
FREE_FLAGS = FREE_ON_RESUME | {
    *("output", "resume", "data", "val", "data_root", "class_names", "workers", "max_frames", "index_cache"),
    *("batch_size", "grad_accum_steps"),  # the engine sees to it that a step has as many clips
}
_IMAGE_STARTS = ("backbone_weights", "from_scratch")
_PATHS = ("data", "val", "data_root", "class_names", "initial_checkpoint", "output", "index_cache")


def resolve_settings(given: Mapping[str, Any]) -> Settings:
    """Join the given settings, those of the continued run or the recipe, and the defaults.

    Check what can be at once.

    Args:
        given: values by the names of settings, of the kinds that the flags give.
    Raises:
        UsageError: a flag that is needed is missing, the output is taken, or a continued run was another.
    """
    given = dict(given)
    refuse_empty("finetune", given)
    if given.get("resume") and not given.get("output"):
        raise UsageError("finetune: --resume needs --output RUN, the folder of the run to continue.")
    output = Path(given.get("output") or RUNS).expanduser()  # a new run without one makes a folder in that
    refuse_file(output)
    if given.get("model") and Path(given["model"]).expanduser().is_dir():
        from videozoo.models import is_model

        if not is_model(given["model"]):
            given["model"] = f"local-dir:{given['model']}"
    if given.get("recipe") and is_recipe_file(given["recipe"]):
        given["recipe"] = os.path.abspath(os.path.expanduser(given["recipe"]))
    if given.get("class_weights") not in (None, "balanced"):
        given["class_weights"] = os.path.abspath(os.path.expanduser(given["class_weights"]))
    is_resumed = bool(given.get("resume"))
    if is_resumed:
        _check_continues(output)
    stored = _read(output) if is_resumed else {}
    if stored and given.get("batch_size") == AUTO:  # it was found when the run began
        del given["batch_size"]
    _check_same(given, stored, output)
    if stored:
        settings = Settings(**{**DEFAULTS, **stored, **given, "output": str(output)})
    else:
        settings = _start({**given, "output": str(output) if given.get("output") else None})
    settings.resume, settings.given = is_resumed, frozenset(given)
    if settings.output and output.exists():
        from videozoo.engine.run_folder import has_checkpoint, holds_run

        if not is_resumed and holds_run(output):
            raise UsageError(f"{output}: holds a run already; continue it with --resume, or give another --output.")
        settings.is_continued = is_resumed and has_checkpoint(output)
    if settings.max_frames is not None:
        set_max_frames(settings.max_frames)
    if settings.index_cache is not None:
        set_index_cache(settings.index_cache)
    _check(settings, output)
    if settings.batch_size != AUTO:
        resolve_lr(settings)
    settings.eval_metric = settings.eval_metric or ("map" if settings.multi_label else "top1")
    return settings


def _start(given: dict[str, Any]) -> Settings:
    """Return the settings of a new run: a flag goes before the recipe, the recipe before the default."""
    values, start_from = dict(DEFAULTS), ""
    if given.get("recipe"):
        recipe = read_recipe(given["recipe"])
        values, start_from = {**values, **recipe.settings}, recipe.start_from
        values |= _scaled_test_sizes(values, given.get("img_size"))
        if given.get("lr_base") is not None:  # a flag's base goes before a recipe's rate
            values["lr"] = None
        if whole_starts(given) or given.get("from_scratch"):  # nothing is left for image weights to start
            values["backbone_weights"] = None
        if whole_starts(given) or given.get("backbone_weights"):
            values["from_scratch"] = False
    if "backbone_weights" in given and given["backbone_weights"] is None and not whole_starts({**values, **given}):
        values["from_scratch"] = True
    return Settings(**{**values, **given}, start_from=start_from)


def _scaled_test_sizes(recipe: dict[str, Any], img_size: int | None) -> dict[str, Any]:
    """Return a recipe's test crop and test frames for another image size than its own: in proportion."""
    if not recipe["img_size"] or not img_size:
        return {}
    factor, frame = img_size / recipe["img_size"], parse_frame_size(recipe["test_resize"])
    sizes: dict[str, Any] = {"test_resize": frame and "x".join(str(round(side * factor)) for side in frame)}
    if recipe["test_crop_size"]:
        sizes["test_crop_size"] = round(recipe["test_crop_size"] * factor)
    return sizes


def resolve_lr(settings: Settings) -> None:
    """Set ``lr`` to a number.

    A continued run has one already: the schedule must not change with the machines.
    """
    if settings.lr is not None:
        return
    base = settings.lr_base
    settings.lr = DEFAULT_LR if base is None else base * settings.global_batch / settings.lr_base_size


def describe_lr(settings: Settings) -> str:
    """Describe how the learning rate was chosen.

    Empty if it was given.
    """
    if settings.lr_base is None or settings.is_continued:
        return ""
    scaled = settings.lr_base * settings.global_batch / settings.lr_base_size
    if settings.lr != scaled:
        return f"lr {settings.lr:g} as given, not --lr-base"
    return f"lr {settings.lr:g} = {settings.lr_base:g} x {settings.global_batch} / {settings.lr_base_size}"


def _check(settings: Settings, output: Path) -> None:
    if not settings.data:
        why = f" (there is no run in {output} to continue)" if settings.resume else ""
        raise UsageError(f"finetune: --data needed{why} (see videozoo finetune --help).")
    if not settings.model:
        starts = [name for name in (*whole_starts(vars(settings)), *_IMAGE_STARTS) if getattr(settings, name)]
        if starts:
            flag = flag_of(starts[0])
            raise UsageError(f"finetune: --model needed; without it weights are chosen, and {flag} is set.")
    check_ranges("finetune", vars(settings))
    for name in ("scale", "ratio"):
        if (pair := getattr(settings, name)) and pair[0] > pair[1]:
            text = f"{flag_of(name)} is {pair[0]:g} {pair[1]:g}"
            raise UsageError(f"finetune: {text}; the first number must not be above the second.")
    if not settings.is_continued:
        check_effects(settings, sorted(settings.given))
        check_frozen(settings)
        for name in ("data", "val"):
            data = getattr(settings, name)
            refuse_inside_data(output, data if isinstance(data, str) else None, flag_of(name))


def _check_continues(output: Path) -> None:
    """Refuse to continue a folder of weights, or results without their run.

    Raises:
        UsageError: says which folder can be continued, or what else to do.
    """
    from videozoo.engine.run_folder import RESULTS, has_checkpoint

    if has_checkpoint(output):
        return
    if (output / "model.safetensors").exists():
        run = output.resolve().parent
        advice = "start a new run from them: with this folder as --model, and another --output"
        if has_checkpoint(run):
            advice = f"the run that they are of goes on with --resume --output {run}"
        raise UsageError(f"{output}: holds weights and no run to continue; {advice}.")
    found = [name for name in RESULTS if (output / name).exists()]
    if found:
        raise UsageError(
            f"{output}: holds results ({', '.join(found)}) and no `last` to go on from; start a new run from its "
            f"weights with --model {output / 'best'} and another --output."
        )


def write_settings(settings: Settings) -> None:
    """Write args.json into the run folder, for people and for ``--resume``.

    Paths become absolute.

    Raises:
        CheckpointError: the disk refused.
    """
    from videozoo.engine.checkpoint import replace_file

    if not is_main_process():
        return
    not_kept = ("is_continued", "start_from", "default_start", "resume", "given")
    values = {name: value for name, value in vars(settings).items() if name not in not_kept}
    values |= {name: os.path.abspath(values[name]) for name in _PATHS if isinstance(values[name], str) and values[name]}
    output = Path(settings.output)
    output.mkdir(parents=True, exist_ok=True)
    content = {"videozoo": __version__, "command": "finetune", "settings": values}
    replace_file(output / FILE_NAME, json_text(content, 2) + "\n")


def _read(output: Path) -> dict[str, Any]:
    """Return the settings in a run's args.json, or an empty dict if it does not exist."""
    path = output / FILE_NAME
    if not path.exists():
        return {}
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))["settings"]
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path}: not readable ({error}); give the run's flags again without this file.") from error
    values = dict(settings)
    if values.pop("decoder", "pyav") != "pyav":
        note(f"{output}: it was begun with --decoder torchcodec, which is gone; PyAV reads its videos from now on")
    return values


def _check_same(given: dict[str, Any], stored: dict[str, Any], output: Path) -> None:
    changed = []
    for name in sorted(given.keys() - FREE_FLAGS) if stored else ():
        now = os.path.abspath(given[name]) if name in _PATHS and given[name] else given[name]
        if now != stored.get(name):
            changed.append(f"{flag_of(name)} was {stored.get(name)}, is {given[name]}")
    if changed:
        raise UsageError(
            f"{output}: {'; '.join(changed)}. A continued run keeps its settings; leave the flags out, or start "
            f"a new run from its weights with --model {output / 'best'}."
        )

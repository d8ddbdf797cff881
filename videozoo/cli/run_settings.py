"""The settings of a run: what was given, what is the default, and what a continued run had."""

import argparse
import json
import os
from pathlib import Path
from typing import Any

from videozoo.cli.console import CommandError, is_main_process
from videozoo.version import __version__

FILE_NAME = "args.json"
# What may change when a run is continued: where things lie, how fast it goes, how long it lasts.
FREE_ON_RESUME = frozenset(
    {"output", "resume", "data", "val", "data_root", "class_names", "workers", "epochs", "device", "log_interval"}
)
_PATHS = ("data", "val", "data_root", "class_names", "initial_checkpoint", "output")


class Settings(argparse.Namespace):
    """Every flag of finetune with its value, and ``is_continued``: whether there is a run to go on with."""

    is_continued: bool = False

    def __getattr__(self, name: str) -> Any:  # only reached for names that are not there
        raise AttributeError(f"Settings: no flag {name!r}")


def settle(args: argparse.Namespace) -> Settings:
    """Join flags, the continued run's settings and the defaults; check what can be checked at once.

    Raises:
        CommandError: a flag that is needed is missing, the output is taken, or a continued run was another.
    """
    given = {name: value for name, value in vars(args).items() if name in args.defaults}
    if not given.get("output"):
        needed = "--output RUN" if given.get("resume") else "--model NAME, --data DIR_OR_LIST and --output RUN"
        raise CommandError(f"finetune: {needed} needed (see videozoo finetune --help).")
    output = Path(given["output"]).expanduser()
    if output.exists() and not output.is_dir():
        raise CommandError(f"{output}: is a file; --output needs a folder.")
    stored = _read(output) if given.get("resume") else {}
    _check_same(given, stored, output)
    settings = Settings(**{**args.defaults, **stored, **given, "output": str(output)})
    settings.resume = bool(given.get("resume"))
    is_run = any((output / name).exists() for name in ("last", "best", "summary.csv"))
    if is_run and not settings.resume:
        raise CommandError(f"{output}: holds a run already; continue it with --resume, or give another --output.")
    settings.is_continued = settings.resume and _has_checkpoint(output)
    missing = [f"--{name}" for name in ("model", "data") if not getattr(settings, name)]
    if missing:
        raise CommandError(f"finetune: {' and '.join(missing)} needed (see videozoo finetune --help).")
    for name, least in (("batch_size", 1), ("workers", 0)):
        if getattr(settings, name) < least:
            flag = name.replace("_", "-")
            raise CommandError(f"finetune: --{flag} is {getattr(settings, name)}; it must be at least {least}.")
    return settings


def write_settings(settings: Settings) -> None:
    """Write args.json into the run folder, for people and for ``--resume``; paths become absolute.

    Raises:
        CheckpointError: the disk refused.
    """
    from videozoo.engine.checkpoint import replace_file

    if not is_main_process():
        return
    values = {name: value for name, value in vars(settings).items() if name not in ("is_continued", "resume")}
    values |= {name: os.path.abspath(values[name]) for name in _PATHS if values[name]}
    output = Path(settings.output)
    output.mkdir(parents=True, exist_ok=True)
    content = {"videozoo": __version__, "command": "finetune", "settings": values}
    replace_file(output / FILE_NAME, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def _read(output: Path) -> dict[str, Any]:
    """The settings in a run's args.json; nothing where there is none."""
    path = output / FILE_NAME
    if not path.exists():
        return {}
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))["settings"]
    except (ValueError, KeyError, TypeError) as error:
        raise CommandError(f"{path}: not readable ({error}); give the run's flags again without this file.") from error
    return dict(settings)


def _check_same(given: dict[str, Any], stored: dict[str, Any], output: Path) -> None:
    if not stored:
        return
    changed = []
    for name in sorted(given.keys() - FREE_ON_RESUME):
        now = os.path.abspath(given[name]) if name in _PATHS and given[name] else given[name]
        if now != stored.get(name):
            changed.append(f"--{name.replace('_', '-')} was {stored.get(name)}, is {given[name]}")
    if changed:
        raise CommandError(
            f"{output}: {'; '.join(changed)}. A continued run keeps its settings; leave the flags out, or start "
            f"a new run from its weights with --model local-dir:{output / 'best'}."
        )


def _has_checkpoint(output: Path) -> bool:
    from videozoo.engine.checkpoint import recover_folder

    recover_folder(output / "last")
    return (output / "last" / "config.json").exists()

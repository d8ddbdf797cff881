"""Declaration of a sub-command: its help text and its flags."""

import argparse
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

from videozoo.cli.console import CommandError
from videozoo.text import near_names

Container = argparse.ArgumentParser | argparse._ArgumentGroup
Flag = Callable[[Container], Any]  # adds itself to a parser or a group


@dataclass(frozen=True)
class Command:
    """Declaration of a sub-command, in the terms of `argparse`."""

    help: str
    description: str
    flags: tuple[Flag, ...]
    epilog: str | None = None
    usage: str | None = None

    def add(
        self, commands: "argparse._SubParsersAction[Parser]", name: str, run: Callable[[argparse.Namespace], int]
    ) -> None:
        """Add the parser of the sub-command. The parsed arguments have ``run`` and the command itself."""
        texts = {key: value for key, value in vars(self).items() if key != "flags"}
        parser = commands.add_parser(name, **texts)
        for add_flag in self.flags:
            add_flag(parser)
        parser.set_defaults(run=run, parser=parser)


def flag(*names: str, **options: Any) -> Flag:
    """Return a flag or an argument, as `argparse` takes it."""
    return lambda parser: parser.add_argument(*names, **options)


def switch(*names: str, help: str) -> Flag:
    """Return a flag without a value, off by default."""
    return flag(*names, action="store_true", help=help)


def group(title: str, *flags: Flag) -> Flag:
    """Return flags under their own title in the help."""

    def add_all(parser: Container) -> None:
        found = parser.add_argument_group(title)
        for add in flags:
            add(found)

    return add_all


def one_of(*flags: Flag) -> Flag:
    """Return mutually exclusive flags."""

    def add_all(parser: Container) -> None:
        found = parser.add_mutually_exclusive_group()
        for add in flags:
            add(found)

    return add_all


class Parser(argparse.ArgumentParser):
    """Parser with defaults in the help and errors of one line."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=_Formatter, **options)

    def error(self, message: str) -> NoReturn:
        raise CommandError(f"{message} (see {self.prog} --help)")


class CommandParser(Parser):
    """Parser of a sub-command that reports unknown flags itself. argparse leaves that to the main parser."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        # Before what is missing: a mistyped flag is both.
        flags = (arg.partition("=")[0] for arg in itertools.takewhile(lambda arg: arg != "--", args or ()))
        for given in flags:
            if given.startswith("--") and " " not in given and given not in self._option_string_actions:
                hint = near_names(given, self._option_string_actions, "; did you mean {}?", most=2, cutoff=0.75)
                self.error(f"unrecognized arguments: {given}{hint}")
        for before, given in itertools.pairwise(("", *(args or ()))):
            if not given or (given.startswith("--") and given.endswith("=")):
                name = given.rstrip("=") or (before if before.startswith("-") else "an argument")
                self.error(f"{name} is empty; give a value, or leave it out")
        found, rest = super().parse_known_args(args, namespace)
        if rest:
            self.error(f"unrecognized arguments: {' '.join(rest)}")
        return found, rest


class _Formatter(argparse.HelpFormatter):
    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=30)

    def _get_help_string(self, action: argparse.Action) -> str | None:
        text = action.help or ""
        is_shown = isinstance(action.default, int | float | str) and action.default not in ("", argparse.SUPPRESS)
        return f"{text}; default: %(default)s" if is_shown and not isinstance(action.default, bool) else text

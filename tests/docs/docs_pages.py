"""Functions that find, shrink and run the code blocks of README.md and docs/."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from helpers import REPO

PAGES = [path.relative_to(REPO).as_posix() for path in (REPO / "README.md", *sorted((REPO / "docs").rglob("*.md")))]
_MARK = re.compile(r"<!-- (not run|run|needs|with): (.+) -->")

# What every page is made small by. Models become the two tiny ones that travel with the package, weights that would
# be downloaded are left out, and commands get these flags behind their own (the last one counts).
_TRAINING = "--epochs 1 --warmup-epochs 0 --img-size 32 --num-frames 4 --batch-size 4 --grad-accum-steps 1"
_FLAGS = {
    "finetune": f"{_TRAINING} --workers 0 --device cpu",
    "evaluate": "--workers 0 --device cpu",
    "check-data": "--workers 1",
    "predict": "--workers 0 --device cpu",
    "extract": "--workers 0 --device cpu",
    "explain": "--device cpu",
    "stream": "--device cpu",
}
_NETWORK = re.compile(r"(?:arc_|dnr_)?(?:tsn|tsm|msn|tanet|tdn|tea|trn)_(?:r\d+|mbv2)(\.\w+)?")


@dataclass(frozen=True)
class Block:
    """A fenced block; ``mark`` is the comment right above it, or None.

    It is ("not run", reason), ("run", name), ("needs", extras) where packages of extras are used, or ("with", package)
    where the block is run only if a package of others is installed.
    """

    page: str
    line: int
    language: str
    code: str
    mark: tuple[str, str] | None

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def runs(self) -> bool:
        """Whether the tests run it here: README's blocks with a name are run by ``.ci/run``."""
        return self.language in ("python", "bash") and (
            self.mark is None
            or self.mark[0] == "needs"
            or (self.mark[0] == "with" and find_spec(self.mark[1]) is not None)
        )


def read_blocks(page: str) -> list[Block]:
    """Every fenced block of a page, in order."""
    lines = (REPO / page).read_text(encoding="utf-8").splitlines()
    found: list[Block] = []
    start: int | None = None
    for number, line in enumerate(lines):
        if not line.startswith("```"):
            continue
        if start is None:
            start = number
            continue
        mark = _MARK.fullmatch(lines[start - 1]) if start else None
        code = "\n".join(lines[start + 1 : number]) + "\n"
        found.append(Block(page, start + 1, lines[start][3:], code, (mark[1], mark[2]) if mark else None))
        start = None
    assert start is None, f"{page}: the block of line {start} does not end"
    return found


def commands(code: str) -> Iterator[list[str]]:
    """The commands of a shell block, as words, without comments."""
    for line in code.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        while words:
            end = words.index("&&") if "&&" in words else len(words)
            yield words[:end]
            words = words[end + 1 :]


def arguments(words: list[str]) -> list[str] | None:
    """What a command hands to ``videozoo``, also through a launcher; None where it is another program."""
    if words[0].endswith("videozoo"):
        return words[1:]
    for k, word in enumerate(words[1:], 1):
        if word == "videozoo" and (words[k - 1] == "-m" or words[0] == "srun"):
            return words[k + 1 :]
    return None


def small_network(name: str) -> str:
    """The tiny model in the place of a named one; other words stay."""
    found = _NETWORK.fullmatch(name)
    if found is None:
        return name
    return ("test_arc_tsm" if name.startswith("arc_") else "test_dnr_tsn") + (".motions" if found[1] else "")


def small_arguments(words: list[str]) -> list[str]:
    """Arguments of ``videozoo`` with tiny models, without downloads, with flags for tiny videos."""
    words = [small_network(word) for word in words]
    while "--backbone-weights" in words:
        k = words.index("--backbone-weights")
        del words[k : k + 2]
    if "--recipe" in words:
        recipe = words[words.index("--recipe") + 1]
        network = [] if "--model" in words else ["--model", small_network(f"{recipe[:4]}tsm_r50")]
        words += [*network, "--backbone-weights", "none"]
    if "--scores" in words or "--resume" in words:
        return words
    flags = "--device cpu" if "--segments" in words else _FLAGS.get(words[0], "")
    return [*words, *flags.split()]


def small_python(code: str) -> str:
    """Python with tiny models and without downloads."""
    code = code.replace(', backbone_weights="tv_in1k"', "")
    return re.sub(r'"([\w.]+)"', lambda m: f'"{small_network(m[1])}"', code)


def run_block(block: Block, names: dict[str, Any], replace: dict[str, str]) -> None:
    """Run a block in the current folder; the Python of a page shares its names.

    Commands of ``videozoo`` run in this process: starting Python and torch for each would take longer than all of them.
    """
    from videozoo.cli import main

    code = block.code
    for old, new in replace.items():
        code = code.replace(old, new)
    if block.language == "python":
        lines = "\n" * block.line + small_python(code)  # errors then name the page's own line
        exec(compile(lines, block.page, "exec"), names)
        return
    for words in commands(code):
        own = arguments(words)
        assert own is not None, f"{block}: a test cannot run {words[0]}; mark the block as not run"
        status = main(small_arguments(own))
        assert status == 0, f"{block}: {' '.join(words)} ended with {status}"

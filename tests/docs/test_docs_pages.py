"""Tests that every Python and shell block of README.md and docs/ runs and that every flag exists."""

import argparse
import collections
import re
from pathlib import Path

import pytest
from docs_pages import PAGES, arguments, commands, read_blocks, run_block
from docs_settings import NOT_RUN, SETTINGS, Done
from docs_world import World
from helpers import REPO

from videozoo.cli import build_parser

BLOCKS = [block for page in PAGES for block in read_blocks(page)]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("page", [page for page in PAGES if any(block.runs for block in read_blocks(page))])
@pytest.mark.extras
def test_the_blocks_of_a_page_run(
    page: str, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    setting = SETTINGS[page]
    blocks = [block for block in BLOCKS if block.page == page and block.runs]
    for package in setting.packages:
        pytest.importorskip(package)
    text = "".join(block.code for block in blocks)
    assert [old for old in setting.replace if old not in text] == [], "these stand on the page no more"
    for name, kind in setting.needs.items():
        world.put(kind, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "__main__", **setting.names()}
    with setting.around():
        for block in blocks:
            run_block(block, names, setting.replace)
    setting.check(Done(tmp_path, names, capsys.readouterr().out))


def test_every_command_line_has_only_flags_that_exist(capsys: pytest.CaptureFixture[str]) -> None:
    parser = build_parser()
    wrong = []
    for block in BLOCKS:
        for words in commands(block.code) if block.language == "bash" else ():
            own = arguments([word.replace("$SLURM_ARRAY_TASK_ID", "3") for word in words])
            try:
                if own is not None:
                    parser.parse_args(own)
            except SystemExit:
                wrong.append(f"{block}: {' '.join(words)}: {capsys.readouterr().err}")
    assert wrong == []


def test_flags_in_running_text_exist() -> None:
    parser = build_parser()
    (commands,) = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    known = {option for command in commands.choices.values() for option in command._option_string_actions}
    known |= {"--nproc-per-node", "--use_fsdp", "--fsdp_version", "--logdir"}  # torchrun, accelerate, tensorboard
    wrong = []
    for page in PAGES:
        text = re.sub(r"^```.*?^```$", "", (REPO / page).read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
        flags = {flag for code in re.findall(r"`([^`]+)`", text) for flag in re.findall(r"(?<!\S)--[a-z][\w-]*", code)}
        wrong += [f"{page}: {flag}" for flag in sorted(flags - known)]
    assert wrong == []


def test_blocks_that_are_not_run_have_a_reason_and_are_few() -> None:
    marks = [(block.page, block.mark[0]) for block in BLOCKS if block.mark is not None]
    for block in BLOCKS:
        if block.language == "python":
            compile(block.code, str(block), "exec")
    assert {page for page, kind in marks if kind == "run"} == {"README.md"}, "only the README's are run by .ci/run"
    assert collections.Counter(page for page, kind in marks if kind == "not run") == NOT_RUN


def test_every_block_is_of_a_language_that_the_tests_know() -> None:
    assert {block.language for block in BLOCKS} <= {"python", "bash", "yaml", "diff", "bibtex", ""}

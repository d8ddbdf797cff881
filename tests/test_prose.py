"""Tests of the English: help texts, messages, documentation and docstrings (``-s`` prints all help and messages)."""

import argparse
import ast
import re
from pathlib import Path

import pytest

from videozoo.cli import build_parser

REPO = Path(__file__).resolve().parents[1]
DOCS = sorted([REPO / "README.md", *REPO.glob("C*.md"), *(REPO / "docs").rglob("*.md")])
CODE = sorted((REPO / "videozoo").rglob("*.py"))
# Words that this field does not use in this sense, and what it says instead.
ODD_WORDS = {
    r"\btold\b|\btells?\b|\btelling\b": "report, log, print, show",
    r"\bminds\b|\bminded\b": "handle",
    r"\bvotes?\b|\bvoting\b": "average the predictions",
    r"\banew\b": "again",
    r"\bstands\b|\bstood\b": "is",
    r"\blies in\b|\blie in\b|\blies at\b": "is in",
    r"\bthousand million": "billion (G)",
    r"\bspeaks? for (a|the) class": "evidence for a class",
    r"\brooms?\b": "subpackage",
    r"\bdoors?\b": "entry point, API",
    r"\bfor trials\b": "for testing",
    r"travels? with the package": "bundled",
    r"\bwithout a network\b|\bno network\b|over the network": "offline, over the internet",
    r"\bthe classes of now\b": "current predictions",
    r"\bown gradient\b": "custom autograd.Function",
}
# For help and messages, in addition.
ODD_IN_MESSAGES = {
    r"\b(mirrored|mirroring)\b": "horizontally flipped",
    r"\bnetworks?\b(?! (address|drive|folder|share|stream))": "model",
    r"\b(quantis|normalis|standardis|recognis|optimis|initialis|summaris)\w+": "-ize",
    r"\b(colour|grey|behaviour|licence)\w*": "color, gray, behavior, license",
}
MESSAGE_CALLS = {
    *("CommandError", "UsageError", "Interrupted", "SettingError", "ArgumentTypeError"),
    *("debug", "info", "warning", "error", "warn", "print_result", "print_status", "print_error"),
}


def count_words(text: str) -> int:
    """Return the number of words, at least 1."""
    return max(1, len(re.findall(r"[A-Za-z][A-Za-z'-]*", text)))


def split_sentences(text: str) -> list[str]:
    """Return the sentences of a text."""
    return [part for part in re.split(r"(?<=[.!?:])\s+", text) if count_words(part) > 2]


def find_odd(text: str, odd: dict[str, str]) -> list[str]:
    """Return each odd word of a text with what to write."""
    hits = [(match.group(), better) for pattern, better in odd.items() for match in re.finditer(pattern, text, re.I)]
    return [f"{word!r} (write: {better})" for word, better in hits]


def message_text(node: ast.AST) -> str:
    """Return the words of a message: literals as they are, values as ``{}``."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    if isinstance(node, ast.JoinedStr):
        return "".join(message_text(part) if isinstance(part, ast.Constant) else "{}" for part in node.values)
    if isinstance(node, ast.BinOp):
        return message_text(node.left) + message_text(node.right)
    if isinstance(node, ast.IfExp):
        return f"{message_text(node.body)} | {message_text(node.orelse)}"
    return "{}"


def help_texts() -> list[tuple[str, str]]:
    """Return place and text of every description, epilog and flag of the command line."""
    rows: list[tuple[str, str]] = []

    def collect(parser: argparse.ArgumentParser) -> None:
        rows.extend((parser.prog, text) for text in (parser.description, parser.epilog) if text)
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                rows.extend((f"{parser.prog} {entry.dest}", entry.help or "") for entry in action._choices_actions)
                for command in action.choices.values():
                    collect(command)
            elif action.dest != "help":
                name = action.option_strings[-1] if action.option_strings else action.dest
                rows.append((f"{parser.prog} {name}", action.help or ""))
        rows.extend((parser.prog, group.title or "") for group in parser._action_groups)

    collect(build_parser())
    return rows


def messages() -> list[tuple[str, str]]:
    """Return place and text of every message that is raised, warned of, logged or printed."""
    rows = []
    for path in CODE:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            is_raise = isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call)
            call = node.exc if is_raise else node
            if not isinstance(call, ast.Call):
                continue
            name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
            if is_raise or name in MESSAGE_CALLS:
                text = " ".join(message_text(part) for part in call.args)
                if re.search(r"[A-Za-z]{3}", text):
                    rows.append((f"{path.relative_to(REPO)}:{call.lineno}", text))
    return sorted(set(rows))


def test_help_and_messages_are_plain_english() -> None:
    problems = []
    for place, text in help_texts() + messages():
        print(f"{place}: {text}")  # noqa: T201  # to be read with -s
        for problem in find_odd(text, ODD_WORDS | ODD_IN_MESSAGES):
            problems.append(f"{place}: {problem}")
        for sentence in split_sentences(re.sub(r"\{\}|`[^`]*`|videozoo [^;]*", " ", text)):
            if count_words(sentence) > 35:
                problems.append(f"{place}: {count_words(sentence)} words in a sentence: {sentence}")
    assert not problems, "\n".join(problems)


def test_every_flag_has_a_help_text() -> None:
    assert [place for place, text in help_texts() if not text.strip()] == []


def doc_prose(path: Path) -> str:
    """Return the prose of a page: no code, tables, headings or addresses."""
    text = re.sub(r"```.*?```", " ", path.read_text(encoding="utf-8"), flags=re.S)
    text = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith(("|", "<!--", "#")))
    return re.sub(r"`[^`]*`|\]\([^)]*\)|https?://\S+", " ", text)


def test_documentation_is_plain_english() -> None:
    text = "\n".join(map(doc_prose, DOCS))
    per_1000 = 1000 / count_words(text)
    sentences = [part for part in re.split(r"(?<=[.!?])\s+", text) if count_words(part) > 2]
    assert text.count(";") * per_1000 < 3
    assert len(re.findall(r"\b(you|your|we|our)\b", text, re.I)) * per_1000 > 8
    assert sum(count_words(part) > 35 for part in sentences) < 0.03 * len(sentences)
    problems = [f"{path.relative_to(REPO)}: {odd}" for path in DOCS for odd in find_odd(doc_prose(path), ODD_WORDS)]
    assert len(problems) * per_1000 < 0.5, "\n".join(problems)


def test_docstrings_are_plain_english() -> None:
    documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    docs = [
        (f"{path.relative_to(REPO)}:{getattr(node, 'lineno', 1)}", text)
        for path in CODE
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, documented) and (text := ast.get_docstring(node))
    ]
    per_1000 = 1000 / sum(count_words(text) for _, text in docs)
    questions = ("What", "How", "Whether", "When", "Where", "Which", "Who")
    assert sum(text.count(";") for _, text in docs) * per_1000 < 4
    asking = [place for place, text in docs if text.split()[0].rstrip(",") in questions]
    assert len(asking) < 0.02 * len(docs), "\n".join(asking)
    problems = [f"{place}: {odd}" for place, text in docs for odd in find_odd(text, ODD_WORDS)]
    assert len(problems) * per_1000 < 0.5, "\n".join(problems)


@pytest.mark.parametrize("text", ["the models vote", "it is told", "a network", "normalised", "colours"])
def test_odd_words_are_found(text: str) -> None:
    assert find_odd(text, ODD_WORDS | ODD_IN_MESSAGES)

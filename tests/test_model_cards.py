"""``model_cards/`` is what ``scripts/model_cards.py`` writes."""

from types import ModuleType

import pytest
from helpers import REPO, load_file_as_module

import videozoo

CARDS = REPO / "model_cards"


def _script() -> ModuleType:
    return load_file_as_module(REPO / "scripts" / "model_cards.py")


def test_every_architecture_has_a_page_and_a_row() -> None:
    names = videozoo.list_models()
    assert {path.stem for path in CARDS.glob("*.md")} == {*names, "README"}
    index = (CARDS / "README.md").read_text(encoding="utf-8")
    assert [name for name in names if f"| [`{name}`]({name}.md) |" not in index] == []
    for name in names:
        page = (CARDS / f"{name}.md").read_text(encoding="utf-8")
        weights = videozoo.list_pretrained(name)
        assert [full for full in weights if f"`{full}`" not in page] == []
        assert ("None are published yet" in page) == (not weights)


def test_a_page_says_what_the_network_is() -> None:
    script = _script()
    made = script.make_pages(["tsm_r18"])
    assert made["tsm_r18.md"] == (CARDS / "tsm_r18.md").read_text(encoding="utf-8")
    (line,) = script.costs_text(["tsm_r18"]).splitlines()[1:-1]
    assert f"{line},\n" in script.COSTS.read_text(encoding="utf-8")
    stage = next(line for line in made["tsm_r18.md"].splitlines() if line.startswith("stage 2"))
    assert stage.split("  ")[1] == "TSM: conv1 x2"
    assert stage.endswith("  (B, 128, 8, 28, 28)")
    assert f"{sum(p.numel() for p in videozoo.create_model('tsm_r18').parameters()):,}" in made["tsm_r18.md"]


@pytest.mark.slow
def test_pages_are_what_the_script_writes() -> None:
    script = _script()
    made = script.make_pages(videozoo.list_models())
    stale = [name for name, text in made.items() if (CARDS / name).read_text(encoding="utf-8") != text]
    assert stale == [], "run: python scripts/model_cards.py"
    assert script.COSTS.read_text(encoding="utf-8") == script.costs_text(videozoo.list_models())

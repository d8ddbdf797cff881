"""Tests that ``model_cards/``, ``benchmarks/results.csv`` and README's table are what the scripts write."""

from types import ModuleType

import pytest
from helpers import REPO, load_file_as_module

import videozoo

CARDS = REPO / "model_cards"
METHODS = (
    *(
        "tsn",
        "tsm",
        "msn",
        "tanet",
        "tdn",
        "trn",
        "tea",
        "gst",
        "smallbig",
        "abm",
        "stm",
        "mvf",
        "action",
        "tin",
        "tei",
    ),
    *("gsm", "blvnettam", "attlstm", "arc", "dnr", "tpn", "slowfast", "i3d", "r2plus1d", "inception_3d", "csn", "x3d"),
    *(
        "movinet",
        "eco",
        "rubiksnet",
        "uniformer",
        "timesformer",
        "videomae",
        "vivit",
        "hiera",
        "vjepa2",
        "mvit",
        "swin3d",
    ),
    "test_models",
)


@pytest.fixture
def cards(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(REPO / "scripts"))
    return load_file_as_module(REPO / "scripts" / "model_cards.py")


@pytest.fixture
def results(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(REPO / "scripts"))
    return load_file_as_module(REPO / "scripts" / "results.py")


def test_each_model_and_tag_is_in_the_index_and_on_one_page() -> None:
    assert {path.stem for path in CARDS.glob("*.md")} == {*METHODS, "README"}
    index = (CARDS / "README.md").read_text(encoding="utf-8")
    pages = [(CARDS / f"{method}.md").read_text(encoding="utf-8") for method in METHODS]
    for name in videozoo.list_models():
        assert index.count(f"\n| `{name}` |") == 1
        assert sum(f"\n| `{name}` | {part} on" in page for page in pages for part in ("ARC", "DNR")) <= 1
        assert any(f"\n| `{name}` |" in page for page in pages)
    for tag in videozoo.list_pretrained():
        assert index.count(f"\n| `{tag}` |") == 1
        assert sum(page.count(f"\n| `{tag}` |") for page in pages) == 1


def test_page_shows_parts_cost_and_shapes(cards: ModuleType) -> None:
    page = cards.make_pages(["tsm_r18"])["tsm.md"]
    params = sum(p.numel() for p in videozoo.create_model("tsm_r18").parameters())
    row = f"| `tsm_r18` | TSM on `resnet18` | 8x224x224 | {params / 1e6:.2f} | 14.55 | 512 | TSM: conv1 x8 |"
    assert row in page
    assert row in (CARDS / "tsm.md").read_text(encoding="utf-8")
    stage = next(line for line in page.splitlines() if line.startswith("stage 2"))
    assert stage.split("  ")[1] == "TSM: conv1 x2"
    assert stage.endswith("  (B, 128, 8, 28, 28)")
    (line,) = cards.costs_text(["tsm_r18"]).splitlines()[1:-1]
    assert f"{line},\n" in cards.COSTS.read_text(encoding="utf-8")


def test_results_have_the_recorded_accuracy_of_every_tag(results: ModuleType) -> None:
    rows = {row["model"]: row for row in results.read_results()}
    assert list(rows) == videozoo.list_pretrained()
    for name, row in rows.items():
        metrics = videozoo.get_pretrained_cfg(name).metrics or {}
        for key in ("top1", "top5"):
            assert row[key] == (f"{100 * metrics[key]:.2f}" if key in metrics else "")
        assert bool(row["views"]) != bool(row["measured_with"]), "views as a number or in words"
    readme = results.README.read_text(encoding="utf-8")
    assert readme == results.readme_text(readme, list(rows.values())), "run: python scripts/results.py"
    assert rows["tsm_mbv2.mit_k400_dense_8f"]["top5"] == "", "its authors publish no top-5"


@pytest.mark.slow
def test_pages_are_what_the_script_writes(cards: ModuleType) -> None:
    pages = cards.make_pages(videozoo.list_models())
    stale = [name for name, text in pages.items() if (CARDS / name).read_text(encoding="utf-8") != text]
    assert stale == [], "run: python scripts/model_cards.py"
    assert cards.COSTS.read_text(encoding="utf-8") == cards.costs_text(videozoo.list_models())


@pytest.mark.slow
def test_results_are_what_the_script_writes(results: ModuleType) -> None:
    assert results.read_results() == results.make_results(), "run: python scripts/results.py"

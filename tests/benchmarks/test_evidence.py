"""Tests of benchmarks/evidence*.py: the runs, the paired test and the page."""

from pathlib import Path
from types import ModuleType

import pytest
from helpers import REPO, load_file_as_module

FOLDER = REPO / "benchmarks"
pytestmark = [pytest.mark.slow, pytest.mark.extras]


def _script(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    pytest.importorskip("scipy")
    monkeypatch.syspath_prepend(str(FOLDER))
    return load_file_as_module(FOLDER / f"{name}.py")


def _line(model: str, split: int, top1: float, study: str = "models", clips: str = "strokes") -> dict[str, str]:
    scores = {"top1": top1, "mean_class": top1, "reversed_top1": 0.1, "partner": 0.2, "last_val_top1": top1}
    scores |= dict.fromkeys(("with_partner", "without_partner"), top1 if clips == "hard_motions" else "")
    line = {"study": study, "clips": clips, "model": model, "split": split, "flags": "", "train_seconds": 60}
    return {key: str(value) for key, value in {**line, **scores, "train_top1": 1.0}.items()}


def test_every_run_has_a_name_of_its_own_and_flags_that_the_command_takes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from videozoo.cli import build_parser

    script = _script("evidence", monkeypatch)
    runs = list(script.all_runs())
    assert len({run.name for run in runs}) == len(runs)
    assert all(script.name_of({**vars(run), "split": str(run.split)}) == run.name for run in runs)
    parser = build_parser()
    for run in runs:
        for command in script.commands_of(run, tmp_path, tmp_path / "runs").values():
            parser.parse_args(command)


def test_paired_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    page = _script("evidence_page", monkeypatch)
    found = page.compare([0.52, 0.54, 0.53], [0.50, 0.50, 0.50])
    assert found.mean == pytest.approx(3)
    assert found.error == pytest.approx(1 / 3**0.5)
    assert found.high - found.mean == pytest.approx(4.303 / 3**0.5, abs=1e-3)
    assert found.p == pytest.approx(0.0351, abs=1e-4)
    assert found.wins == (3, 3)
    assert page.compare([0.5], [0.4]) is None


def test_a_confusion_matrix_tells_classes_with_a_partner_from_others(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    script = _script("evidence", monkeypatch)
    matrix = tmp_path / "confusion.csv"
    matrix.write_text("true\\predicted,pulling,pushing,swapping\npulling,3,1,0\npushing,2,1,1\nswapping,0,2,2\n")
    expected = {"partner": 3 / 12, "with_partner": 4 / 8, "without_partner": 2 / 4}
    assert script.partner_scores("hard_motions", matrix) == expected
    assert script.partner_scores("grid_words", matrix) == {}
    matrix.write_text("true\\predicted,wave_back,wave_go\nwave_back,3,1\nwave_go,2,2\n")
    assert script.partner_scores("strokes", matrix) == {"partner": 3 / 8}


def test_page_and_figure_are_made_of_the_lines(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    page = _script("evidence_page", monkeypatch)
    lines = [_line(model, fold, top1) for model, top1 in (("tsm", 0.5), ("arc_tsm", 0.6)) for fold in (1, 2)]
    lines[0]["top1"] = "0.52"
    lines.append(_line("dnr_none", 1, 0.3, study="ablations"))
    lines.append(_line("dnr_tsn", 1, 0.4))
    lines += [_line("arc_tsm", fold, 0.54, study="equal_time") for fold in (1, 2)]
    lines.append({**_line("tsm", 1, 0.45, study="starts"), "flags": "--epochs 16"})
    lines += [
        _line(f"narrow_{model}", fold, top1, study="longer")
        for model, top1 in (("tsm", 0.7), ("arc_tsm", 0.75))
        for fold in (1, 2)
    ]
    lines += [
        {**_line(name, 1, 0.42, study="batches"), "flags": "--batch-size 2 --lr 0.0025"} for name in ("tsm", "tsm_gn")
    ]
    text = page.page(lines)
    assert "| `arc_tsm - tsm` | +5.0 ± 0.0 |" in text
    assert "| `arc_tsm - tsm` | +3.0 ± 1.0 |" in text
    assert "| `tsm, 16 epochs` | 45.0 | 45.0 |" in text
    assert "| `arc_tsm` | 60.0 | 60.0 |" in text, "of the fold that all models have"
    assert "| `arc_tsm - tsm` | +9.0 ± 1.0 |" in text
    assert "| `dnr_none` | 1d | 30.0 | -10.0 | -1.5 | yes |" in text
    assert "| clips a step | 1 | 2 | 4 | 16 |" in text
    assert "| `tsm` |  | 42.0 |  | 52.0 |" in text
    assert page.panels_of(lines) == []
    lines += [_line("tsm", 3, 0.5), _line("arc_tsm", 3, 0.6)]
    assert page.panels_of(lines) == ["strokes"]
    page.draw(lines, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 5000


def test_weights_are_those_of_the_best_validation(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script = _script("evidence_weights", monkeypatch)
    lines = [_line("tsm", 1, 0.5), _line("tsm", 2, 0.7), _line("tsm", 3, 0.7), _line("arc_tsm", 1, 0.1, "ablations")]
    assert [run.name for run in script.best_runs(lines)] == ["models-strokes-tsm-2"]
    log = f"$ videozoo finetune --data {tmp_path}/d/train.txt --output {tmp_path}/r/x"
    assert script.without_paths(log, tmp_path / "d", tmp_path / "r") == (
        "$ videozoo finetune --data DATA/train.txt --output RUNS/x"
    )
    runs = Path("runs") / "evidence"
    assert script.without_paths(f"{runs}/x {runs.resolve()}/y", tmp_path / "d", runs) == "RUNS/x RUNS/y"


def test_the_page_is_written_from_the_csv(monkeypatch: pytest.MonkeyPatch) -> None:
    page = _script("evidence_page", monkeypatch)
    assert page.PAGE.read_text(encoding="utf-8") == page.page(page.read_csv(page.CSV))


def test_the_readme_has_the_differences_of_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    page = _script("evidence_page", monkeypatch)
    lines = page.read_csv(page.CSV)
    readme, guide = (
        " ".join((REPO / path).read_text(encoding="utf-8").split()) for path in ("README.md", "docs/guides/choose.md")
    )
    gaps = {}
    for clips in ("strokes", "hard_motions"):
        found = dict(page.found_differences(page.scores_of(lines, "models", clips)))
        gaps[clips] = [found[pair] for pair in ("dnr_tsn - tsm", "arc_tsm - tsm")]
    strokes, hard = ([f"{gap.mean:.1f} ± {gap.error:.1f}" for gap in pair] for pair in gaps.values())
    assert f"DNR adds {strokes[0]} points to TSM, ARC {strokes[1]}." in readme
    assert f"DNR adds {hard[0]}, ARC {hard[1]}." in readme
    dnr, arc = gaps["hard_motions"]
    assert f"DNR added {gaps['strokes'][0].mean:.1f} points to TSM" in guide
    assert f"ARC added {arc.mean:.1f} points to TSM, and DNR {dnr.mean:.1f} (" in guide


def test_the_guide_has_the_figures_of_the_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    page = _script("evidence_page", monkeypatch)
    scores = page.start_scores(page.read_csv(page.CSV))
    folds = sorted(scores["arc_tsm from tsm"])
    found = {label: f"{100 * sum(page.values(scores, label, 'top1', folds)) / len(folds):.1f} %" for label in scores}
    guide = " ".join((REPO / "docs/guides/finetune.md").read_text(encoding="utf-8").split())
    assert f"reaches {found['arc_tsm from tsm']} after eight more" in guide
    assert f"reaches {found['arc_tsm, 16 epochs']} after sixteen" in guide
    assert f"reached {found['tsm, 16 epochs']} after sixteen" in guide
    assert f"gave {found['dnr_tsn, keep_affine']} instead of {found['dnr_tsn']}" in guide

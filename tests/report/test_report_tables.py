"""Tests of the papers' rows: transcription, names, verdicts, reasons, report and page."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from helpers import REPO, shared_folder

from videozoo.models import is_model, list_models
from videozoo.report import format_markdown, load_papers, paper_report, tables
from videozoo.report.cost_cache import Meter
from videozoo.report.table_models import Setup, architecture_of, build_model
from videozoo.report.tables import _is_match, _reason, _setup

Rows = list[dict[str, Any]]
ADDED = {
    "architecture",
    "clip_shape",
    "measured_gmacs",
    "executed_gmacs",
    "measured_params_m",
    "gmacs_difference",
    "params_difference",
    "verdict",
    "reason",
}


@pytest.fixture
def only(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Rows]:
    """The report on some of the rows, by their number."""

    def report(*numbers: int, paper: str | None = None) -> Rows:
        data = load_papers()
        data["rows"] = [row for row in data["rows"] if row["row"] in numbers]
        monkeypatch.setattr(tables, "load_papers", lambda: data)
        return paper_report(paper)

    return report


def check_schema(rows: Rows) -> None:
    printed = {(row["paper"], row["row"]): row for row in load_papers()["rows"]}
    for row in json.loads(json.dumps(rows)):
        assert {key: row[key] for key in row if key not in ADDED} == printed[row["paper"], row["row"]]
        if not row["in_zoo"]:
            assert (row["architecture"], row["verdict"]) == (None, "not built")
            assert row["reason"]
            continue
        assert set(row) >= ADDED
        assert is_model(row["architecture"])
        assert row["verdict"] in ("match", "differs", "no figure")
        assert bool(row["reason"]) == (row["verdict"] == "differs")
        has_figure = "gflops_per_view" in row or "params_m" in row
        assert (row["verdict"] == "no figure") == (not has_figure)
        assert (row["gmacs_difference"] is None) == ("gflops_per_view" not in row)
        assert (row["params_difference"] is None) == ("params_m" not in row)
        assert row["executed_gmacs"] <= row["measured_gmacs"]
        assert len(row["clip_shape"]) == 4


def test_rows_are_those_of_the_transcription() -> None:
    folder = shared_folder("papers")
    if folder is None:
        pytest.skip("no shared transcription of the tables: set VIDEOZOO_SHARED to a folder with papers/tables.json")
    printed = json.loads((folder / "tables.json").read_text())["rows"]
    ours = load_papers()["rows"]
    for row in (*ours, *printed):
        del row["in_zoo"]
    assert json.dumps(ours) == json.dumps(printed)  # as text: 27 and 27.0 are different digits


def test_every_row_in_the_zoo_has_a_name() -> None:
    data = load_papers()
    names = {architecture_of(row, data["backbones"], data["names"]) for row in data["rows"] if row["in_zoo"]}
    assert names == {
        *("tsn_r50", "tsn_r101", "tsm_r18", "tsm_r50", "tsm_r101", "arc_tsm_r18", "arc_tsm_r50", "arc_tsm_r50_8f16f"),
        *("dnr_tsn_r50", "dnr_tsn_r101", "dnr_tsm_r50", "tsn_bninception", "dnr_tsn_bninception", "tsn_inception_v3"),
        *("tsn_rx101", "dnr_tsn_rx101", "gn_tsn_r50", "dnr_gn_tsn_r50", "msn_r18", "msn_r50", "arc_msn_r18"),
        *("arc_msn_r50", "tanet_r50", "dnr_tanet_r50", "tdn_r50", "dnr_tdn_r50", "r2plus1d_r34", "dnr_r2plus1d_r34"),
        *("slowfast_r18", "dnr_slowfast_r18", "slowonly_r50", "slowfast_r101_16x8", "slowfast_r50_4x16_fb"),
        *("slowfast_r101", "nl_slowfast_r101_16x8", "i3d_r50", "nl_i3d_r50", "i3d_inception", "s3dg", "eco_lite"),
        *("x3d_xl", "timesformer_l", "trn_bninception", "stm_r50", "gsm_inception_v3", "tpn_tsm_r50", "tea_r50"),
        *("abm_iabp_r18", "rubiksnet_large", "att_lstm_r18", "gst_r50", "smallbig_r50", "teinet_r50", "blvnet_tam_r50"),
    }
    for paper, about in data["papers"].items():
        assert {row["table"] for row in data["rows"] if row["paper"] == paper} <= set(about["tables"])


@pytest.mark.slow
def test_rows_appear_with_their_names(monkeypatch: pytest.MonkeyPatch, only: Callable[..., Rows]) -> None:
    monkeypatch.setattr(tables, "list_models", lambda: list(set(list_models()) - {"tsm_r18", "msn_r50"}))
    assert [row["architecture"] for row in only(0, 1, 16)] == ["arc_tsm_r18"]  # rows 0 and 16 are those two


@pytest.mark.parametrize(
    ("measured", "printed", "match"),
    [(14.574, 14.57, True), (15.446, 15.44, True), (17.162, 17, True), (65.92, 65, False), (34.178, 34.4, False)],
)
def test_match_is_the_printed_digits_or_half_a_percent(measured: float, printed: float, match: bool) -> None:
    assert _is_match(measured, printed) is match


@pytest.mark.slow
def test_report_of_some_rows(only: Callable[..., Rows]) -> None:
    rows = only(0, 1, 4, 36, 43, 115)
    check_schema(rows)
    plain, arc, diving, ablation, two_steps, one_frame = rows
    assert [row["verdict"] for row in rows] == ["match", "match", "differs", "no figure", "differs", "match"]
    assert plain["executed_gmacs"] < plain["measured_gmacs"] == pytest.approx(14.574, abs=5e-4)
    assert arc["measured_gmacs"] == pytest.approx(17.162, abs=5e-4)
    assert arc["executed_gmacs"] == pytest.approx(16.708, abs=5e-4)
    assert arc["measured_params_m"] == 14.190318
    assert diving["clip_shape"] == [3, 16, 224, 224]
    assert diving["reason"] == "11.27 M is with a classifier of 174 classes (11.27 M), with 48 it is 11.20 M"
    assert ablation["measured_gmacs"] < arc["measured_gmacs"]
    assert "17.2 G is the figure of n = 4 (17.16 G)" in two_steps["reason"]
    assert "n = 2 has 13.59 M" in two_steps["reason"]
    assert one_frame["clip_shape"] == [3, 1, 224, 224]
    assert one_frame["measured_gmacs"] == one_frame["executed_gmacs"] == pytest.approx(4.11, abs=5e-3)
    check_page(format_markdown(rows), rows)


def test_unknown_cause_is_reported(monkeypatch: pytest.MonkeyPatch, only: Callable[..., Rows]) -> None:
    data = load_papers()
    row = {**data["rows"][0], "gflops_per_view": 15.1}
    monkeypatch.setattr(tables, "load_papers", lambda: {**data, "rows": [row]})
    assert paper_report()[0]["reason"] == "15.1 G is printed, 14.57 G measured (-3.483%); cause unknown"


@pytest.mark.parametrize(
    ("model", "backbone", "printed", "beside", "added"),
    [
        ("msn", "resnet18", 11.6, 11.3, "0.02 M"),
        ("arc_msn", "resnet18", 14.5, 14.2, "0.02 M"),
        ("msn", "resnet50", 24.6, 24.3, "0.07 M"),
        ("arc_msn", "resnet50", 27.3, 27, "0.07 M"),
    ],
)
def test_parameters_of_msn_are_printed_as_those_of_tsm_and_a_constant(
    model: str, backbone: str, printed: float, beside: float, added: str
) -> None:
    data, meter = load_papers(), Meter()
    row = next(r for r in data["rows"] if (r["table"], r["model"], r["backbone"]) == ("7", model, backbone))
    assert row["params_m"] == printed
    name = architecture_of(row, data["backbones"], data["names"])
    setup = Setup(name, 174, 8)
    reason = _reason("params_m", row, setup, meter.params_m(setup), data, meter)
    assert f"{printed} M is the {beside} M that the table prints for {name.replace('msn', 'tsm')}" in reason
    assert f"the module has {added} here" in reason
    other = {**row, "params_m": 12.7}
    assert "cause unknown" in _reason("params_m", other, setup, meter.params_m(setup), data, meter)


def test_3d_models_count_at_the_input_of_their_papers() -> None:
    data = load_papers()
    row = next(r for r in data["rows"] if (r["table"], r["model"]) == ("6", "r2plus1d"))
    setup = _setup(row, "r2plus1d_r34", data["clips"])
    assert Meter().clip_shape(setup) == (3, 32, 112, 112)
    slowfast = next(r for r in data["rows"] if r["model"] == "slowfast_8x8")
    assert Meter().clip_shape(_setup(slowfast, "slowfast_r18", data["clips"])) == (3, 32, 224, 224)


@pytest.mark.slow
def test_r2plus1d_is_printed_without_pooling(only: Callable[..., Rows]) -> None:
    (row,) = only(63)
    assert row["clip_shape"] == [3, 32, 112, 112]
    assert "without max pooling behind the stem, its convolutions and classifier alone (152.36 G)" in row["reason"]


def test_one_paper_only(only: Callable[..., Rows]) -> None:
    assert [row["row"] for row in only(0, 115, paper="dnr")] == [115]


def test_errors() -> None:
    with pytest.raises(ValueError, match="unknown paper 'tsm'; choose one of arc, dnr"):
        paper_report("tsm")
    with pytest.raises(ValueError, match=r"options \['color'\] of a row have no effect on arc_tsm_r18"):
        build_model(Setup("arc_tsm_r18", 5).change({"options": {"color": "red"}}))


@pytest.mark.parametrize(
    ("options", "order", "field", "value"),
    [
        ({"ct": "BN1"}, "ct_bn", "ct_group_frames", 4),
        ({"cl": "BN2", "ct": "BN1"}, "ct_cl", "cl_distance", 1),
        ({"cl": "BN1", "ct": "BN2"}, "cl_ct", "cl_distance", 1),
        ({"ct_distance": 8}, "bn_ct", "ct_group_frames", 8),
        ({"cl_distance": 2}, "cl_bn", "cl_distance", 2),
        ({"depth": 2}, "cl_ct", "depth", 2),
        ({"clips_per_gpu": 4}, "cl_ct", "reduction", 4),
    ],
)
def test_options_of_dnr(options: dict[str, Any], order: str, field: str, value: int) -> None:
    net: Any = build_model(Setup("dnr_tsn_r50", 200, 8).change({"options": options}))
    (dnr,) = net.spec.augmenters
    assert dnr.order == order
    assert getattr(dnr, field) == value


def test_options_of_arc() -> None:
    options = {"steps": 2, "res_stages": [4, 5], "embedding": False, "interaction": "multiplicative", "layer": "fc"}
    net: Any = build_model(Setup("arc_tsm_r18", 174).change({"options": options}))
    (arc,) = net.spec.augmenters
    assert (arc.num_steps, arc.stages, arc.embedding, arc.interaction) == (2, (3, 4), False, "multiplicative")


def check_page(page: str, rows: Rows) -> None:
    widths: set[int] = set()
    lines = 0
    for line in page.splitlines():
        if line.startswith("|"):
            widths.add(line.count("|"))
            lines += line.startswith("| `")
        else:
            assert len(widths) <= 1  # all lines of one table have the same columns
            widths.clear()
    assert lines == sum(row["architecture"] is not None for row in rows)  # the others have no name
    assert page.endswith("\n")
    assert not page.endswith("\n\n")
    for row in rows:
        assert f"### {row['paper'].upper()}, Table {row['table']}: " in page
        assert row["reason"] in page


@pytest.mark.slow
def test_the_whole_report() -> None:
    rows = paper_report()
    check_schema(rows)
    page = format_markdown(rows)
    check_page(page, rows)
    printed = load_papers()["rows"]
    assert [(row["paper"], row["row"]) for row in rows] == [(row["paper"], row["row"]) for row in printed]
    assert [row["row"] for row in printed if not row["in_zoo"]] == [15, 32]  # CorrNet
    for row in rows:
        if row["paper"] == "arc" and row["table"] == "5c":
            assert row["verdict"] == "match"
        # ResNet-101's 63.1 G are 0.503 % more than ours, Inception-V3's 3.2 G fit no size. Of four systems no code of
        # the authors is public or it costs otherwise: NL-I3D, S3D-G, I3D on Inception and X3D-XL.
        assert ("cause unknown" in row["reason"]) == (row["row"] in (11, 19, 20, 59, 62, 113))
    written = (REPO / "benchmarks" / "paper_tables.md").read_text(encoding="utf-8")
    assert written == page, "run: videozoo report --markdown > benchmarks/paper_tables.md"

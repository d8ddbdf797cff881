"""Tests that our counts equal those of fvcore for the original authors' code, and of the page of goldens."""

import json
from collections import Counter
from pathlib import Path

import pytest
import torch
from helpers import REPO, load_file_as_module

from videozoo.hub.convert.checkpoint import convert_checkpoint, unwrap
from videozoo.models import ModelSpec, build
from videozoo.report.cost import total_macs, trace_operators

NAMES = [
    "dnr_official_r50",
    "mm_r2plus1d_r34_8x8",
    "mm_slowfast_r50_8x8",
    "mm_tanet_r50",
    "mm_tsm_r50",
    "mm_tsn_r50",
    "msnet_official_r18",
    "tdn_official_r50",
    "tsm_official_r18",
    "tsm_official_r50",
    "tsn_official_bninception",
    "tsn_official_r50",
]
DIGITS = 1e-5  # the files give billions to five digits


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_counts_equal_the_original_within_half_a_percent(name: str, goldens: Path) -> None:
    golden = json.loads((goldens / f"{name}.json").read_text())
    state = {key: torch.empty(shape, device="meta") for key, shape in golden["keys"]}
    converted, _ = convert_checkpoint(unwrap(state))
    with torch.device("meta"):
        model = build(ModelSpec.from_dict(converted.spec))
    counts = trace_operators(model, (3, golden["flops_frames"], 224, 224))[""]
    assert total_macs(counts, "executed") / 1e9 == pytest.approx(golden["flops_fvcore_G"], rel=0.005)

    ours = Counter({operator: n / 1e9 for operator, n in counts.items()})
    theirs = Counter(golden["flops_by_operator_G"])
    per_class = 2048 * golden["num_classes"] / 1e9
    if name.startswith("msnet"):
        # Their classifier is a convolution over 8 frames, ours a linear layer on their mean.
        theirs["conv"] -= 8 * 512 * golden["num_classes"] / 1e9
        # All pairs of positions there; here, for each of 15 rows around a pixel, all pairs with its 28 + 14 columns.
        assert theirs.pop("bmm") == pytest.approx(7 * 28**4 * 64 / 1e9, abs=DIGITS)
        assert ours.pop("matmul") == pytest.approx(7 * 28 * 15 * 28 * (28 + 14) * 64 / 1e9, abs=DIGITS)
    elif name.startswith("dnr"):
        # Their scale and shift are products and sums of maps, which fvcore does not count; ours count as the norm.
        assert ours["batch_norm"] + ours["addcmul"] == pytest.approx(0.17782, abs=DIGITS)  # as a plain ResNet-50
        ours["batch_norm"] = theirs["batch_norm"]
    elif name == "mm_tanet_r50":
        # Theirs pools by an adaptive pooling before each module, ours takes the mean, which costs nothing.
        theirs["adaptive_avg_pool2d"] = ours["adaptive_avg_pool2d"]
        theirs["linear"] -= 7 * per_class
    elif "linear" in theirs and theirs["linear"] > ours["linear"] + DIGITS:
        # Their classifier sees each of 8 frames, ours the mean of their features.
        assert theirs["linear"] == pytest.approx(8 * ours["linear"], abs=DIGITS)
        theirs["linear"] = ours["linear"]
    for operator in ("conv", "batch_norm", "upsample_nearest2d"):
        assert ours[operator] == pytest.approx(theirs[operator], abs=2 * DIGITS), operator
    if not name.startswith("msnet"):
        assert ours["linear"] == pytest.approx(theirs["linear"], abs=2 * DIGITS)


@pytest.mark.slow
def test_page_is_what_the_script_writes(goldens: Path) -> None:
    """All words and, for the time they take, two of the rows; the differences depend on the processor."""
    script = load_file_as_module(REPO / "scripts" / "goldens.py")
    names = script.names_on(script.PAGE)
    assert names == sorted(path.stem for path in goldens.glob("*.json"))

    def cells(line: str) -> list[str]:
        row = line.split(" | ")
        return row[:6] + row[7:]

    made = script.page_text(goldens, ["tsm_official_r18", "msnet_official_r18"]).splitlines()
    written = script.PAGE.read_text(encoding="utf-8").splitlines()
    other = [f"| {name} |" for name in names if name not in ("tsm_official_r18", "msnet_official_r18")]
    assert [cells(line) for line in made] == [cells(line) for line in written if not line.startswith(tuple(other))]

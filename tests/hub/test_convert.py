"""Tests of converting checkpoints of other code bases."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import golden_fill
from torch import Tensor

import videozoo
from videozoo.cli import main
from videozoo.hub import WeightsError
from videozoo.hub.convert.base import ConvertError
from videozoo.hub.convert.checkpoint import SOURCES, convert_checkpoint, open_checkpoint, unwrap
from videozoo.models import ModelSpec, model_from_state, spec_of

GOLDENS = {
    "tsn_official_r50": "tsn_r50",
    "tsn_official_bninception": "tsn_bninception",
    "tsm_official_r18": "tsm_r18",
    "tsm_official_r50": "tsm_r50",
    "tdn_official_r50": "tdn_r50",
    "msnet_official_r18": "msn_r18",
    "dnr_official_r50": "dnr_tsn_r50",
    "mm_tsn_r50": "tsn_r50",
    "mm_tsm_r50": "tsm_r50",
    "mm_tanet_r50": "tanet_r50",
    "mm_slowfast_r50_8x8": "slowfast_r50",
    "mm_r2plus1d_r34_8x8": "r2plus1d_r34",
}


@pytest.mark.parametrize("golden", GOLDENS)
def test_a_converted_model_gives_the_logits_of_the_original_code(golden: str, goldens: Path) -> None:
    fill = golden_fill(goldens)
    facts: dict[str, Any] = json.loads((goldens / f"{golden}.json").read_text())
    original = fill.fill_keys(facts["keys"], facts["fill_gain"])
    state = unwrap({"state_dict": {f"module.{key}": value for key, value in original.items()}})
    converted, _ = convert_checkpoint(state)
    spec = ModelSpec.from_dict(converted.spec)
    named = spec_of(GOLDENS[golden])
    assert spec.backbone == named.backbone
    assert type(spec.temporal) is type(named.temporal)
    model = model_from_state(spec, dict(converted.state), name=GOLDENS[golden], source=golden).eval()
    unused = sum(state[key].numel() for key in converted.dropped if not re.search("running|num_batches", key))
    assert sum(p.numel() for p in model.parameters()) + unused == facts["params_total"]
    with torch.no_grad():
        logits = model(fill.make_input(facts["frames"], facts["size"]))
    assert (logits - torch.tensor(facts["logits_all"])).abs().max() <= facts["suggested_atol"]


def authors_tsm(model: torch.nn.Module) -> dict[str, Tensor]:
    """Our TSM under the names of its authors' code."""
    out = {}
    for key, value in model.state_dict().items():
        name = key.replace("backbone.", "base_model.").replace("fc.", "new_fc.")
        out[re.sub(r"(layer\d\.\d+\.conv1)\.", r"\1.net.", name)] = value
    return out


def test_there_and_back(tmp_path: Path) -> None:
    model = videozoo.create_model("tsm_r18", num_classes=7).eval()
    torch.save(
        {"epoch": 3, "state_dict": {f"module.{k}": v for k, v in authors_tsm(model).items()}}, tmp_path / "a.pth"
    )
    assert main(["convert", str(tmp_path / "a.pth"), "--model", "tsm_r18", "--output", str(tmp_path / "out")]) == 0
    back = videozoo.create_model(f"local-dir:{tmp_path / 'out'}", pretrained=True).eval()
    x = torch.randn(1, 3, 8, 32, 32)
    assert back.pretrained_cfg["architecture"] == "tsm_r18"
    assert torch.equal(back(x), model(x))


def test_the_command_reports_mismatched_keys(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = authors_tsm(videozoo.create_model("tsm_r18", num_classes=7))
    torch.save(state, tmp_path / "a.pth")
    torch.save({**state, "base_model.layer1.0.odd.weight": torch.zeros(1)}, tmp_path / "odd.pth")
    torch.save({"weights.0": torch.zeros(1)}, tmp_path / "unknown.pth")
    out = str(tmp_path / "out")
    for file, flags, words in (
        ("a.pth", ["--model", "tsm_r50"], "it is tsm_r18"),
        ("a.pth", ["--model", "tsm_r99"], "did you mean"),
        ("a.pth", ["--from", "tdn"], "not tdn's"),
        ("a.pth", ["--from", "nobody"], "unknown source 'nobody'"),
        ("a.pth", ["--num-classes", "5"], "7 classes, not 5"),
        ("odd.pth", [], "base_model.layer1.0.odd.weight"),
        ("unknown.pth", [], "weights.0"),
        ("gone.pth", [], "no such file"),
    ):
        assert main(["convert", str(tmp_path / file), "--output", out, *flags]) == 2
        assert words in capsys.readouterr().err
        assert not Path(out).exists()


def test_damaged_files_are_reported(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(1000)}, tmp_path / "a.pth")
    whole = (tmp_path / "a.pth").read_bytes()
    (tmp_path / "cut.pth").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.pth").write_bytes(b"")
    (tmp_path / "text.pth").write_text("not a checkpoint")
    for name in ("cut.pth", "empty.pth", "text.pth"):
        with pytest.raises(WeightsError, match=name):
            open_checkpoint(tmp_path / name)


def test_wrappers() -> None:
    weight = {"a.weight": torch.zeros(2)}
    for wrapped in (
        weight,
        {"state_dict": weight},
        {"model_state": weight, "epoch": 1},
        {"state_dict": {"module.a.weight": torch.zeros(2)}},
    ):
        assert list(unwrap(wrapped)) == ["a.weight"]
    averaged = {"state_dict": {"b": torch.zeros(1)}, "state_dict_ema": weight}
    assert list(unwrap(averaged, averaged=True)) == ["a.weight"]
    with pytest.raises(ConvertError, match="no averaged weights"):
        unwrap({"state_dict": weight}, averaged=True)
    with pytest.raises(ConvertError, match="no state dict"):
        unwrap({"epoch": 3})
    with pytest.raises(ConvertError, match="no state dict"):
        unwrap([1, 2])


def test_every_source_has_a_name() -> None:
    assert {"tsm", "tanet", "tdn", "motionsqueeze", "dnr", "tea", "mmaction2", "pyslowfast"} <= set(SOURCES)

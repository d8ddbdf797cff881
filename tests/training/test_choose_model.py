"""What `finetune` starts from where nobody names a model."""

import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_hub import FakeHub, Fault
from helpers import REPO
from huggingface_hub import constants

import videozoo
from videozoo import VideoCfg
from videozoo.arguments import UsageError
from videozoo.cli import main
from videozoo.data.motions import write_motions
from videozoo.hub import retry
from videozoo.models import registry
from videozoo.models.published import BUNDLED
from videozoo.training import choose
from videozoo.training.choose import CHOICES, Choice, Machine, choice_for
from videozoo.training.resolve_settings import resolve_settings
from videozoo.training.settings import DEFAULTS, Settings
from videozoo.training.start import choose_model

FIRST, SECOND = "test_arc_tsm.here", "test_dnr_tsn.here"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """A hub with the weights of two tags, of which the first is the choice for every CPU, and empty caches."""
    monkeypatch.setattr(retry, "DELAYS", (0.0, 0.0))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    with FakeHub() as hub:
        hub.patch(monkeypatch, tmp_path / "home")
        for name in (FIRST, SECOND):
            arch, _, tag = name.partition(".")
            files = {path.name: path.read_bytes() for path in (BUNDLED / arch).iterdir() if path.is_file()}
            hub.put(f"lab/{arch}", files)
            record: dict[str, Any] = {"architecture": arch, "tag": tag, "hf_hub_id": f"lab/{arch}", "num_classes": 6}
            record |= {"dataset": "Kinetics-400", "metrics": {"top1": 0.9}}
            monkeypatch.setitem(registry._CFGS[arch], tag, VideoCfg(**record))
        monkeypatch.setattr(choose, "CHOICES", (Choice(FIRST, False, 0, 0, 50),))
        yield hub


def _chosen() -> str:
    settings = Settings(**{**DEFAULTS, "device": "cpu", "given": frozenset()})
    choose_model(settings)
    return str(settings.model)


def test_the_choice_is_downloaded_and_then_taken_from_the_cache(hub: FakeHub, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "videozoo")
    assert _chosen() == FIRST
    pattern = rf"no --model: {FIRST} \(90.0% on Kinetics-400\), for a CPU of \d+ cores and \d+ GB; --model NAME takes"
    assert re.match(pattern, caplog.messages[-1])
    hub.faults.append(Fault(".*", "reset", times=None))
    assert _chosen() == FIRST


@pytest.mark.parametrize("how", ["variable", "no network", "a server that fails"])
def test_offline_the_cached_weights_are_taken_and_else_the_bundled(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    caplog.set_level(logging.INFO, "videozoo")
    videozoo.create_model(SECOND, pretrained=True)  # into the cache
    if how == "variable":
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    else:
        is_cut = how == "no network"
        hub.faults.append(Fault(".*", "reset", times=None) if is_cut else Fault("test_arc", "status", 503, times=None))
    assert _chosen() == SECOND
    refused = [message for message in caplog.messages if message.startswith(f"not {FIRST}, the start for a CPU of")]
    assert len(refused) == 1
    monkeypatch.setattr(constants, "HF_HUB_CACHE", constants.HF_HUB_CACHE + "-empty")
    assert _chosen() == "arc_tsm_narrow_r18.strokes_64px"
    assert caplog.records[-1].levelno == logging.WARNING
    assert "a small model, as no other weights are here" in caplog.messages[-1]


def test_weights_of_a_tag_only_are_no_start_even_if_they_are_cached(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    videozoo.create_model(SECOND, pretrained=True)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert _chosen() == SECOND
    monkeypatch.setattr(choose, "BY_TAG_ONLY", {SECOND})
    assert _chosen() == "arc_tsm_narrow_r18.strokes_64px"


def test_a_run_of_data_alone_is_trained_and_continued(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    videos = write_motions(tmp_path / "videos", clips_per_class=1, val_clips_per_class=1, size=32, num_frames=6)
    monkeypatch.chdir(tmp_path)
    options = {"epochs": 1, "warmup_epochs": 0, "img_size": 32, "num_frames": 4, "workers": 0, "device": "cpu"}
    run = videozoo.finetune(data=videos, **options).output
    assert [tmp_path / run] == list((tmp_path / "runs").iterdir())
    settings = json.loads((run / "args.json").read_text())["settings"]
    assert (settings["model"], settings["output"]) == (FIRST, str(tmp_path / run))
    assert main(["finetune", "--resume", "--output", str(run), "--epochs", "2"]) == 0
    assert videozoo.create_model(f"local-dir:{run / 'best'}").num_classes == 6


def test_a_start_needs_a_name(tmp_path: Path) -> None:
    given = {"data": "videos", "output": str(tmp_path / "run")}
    for start in ({"from_scratch": True}, {"backbone_weights": "tv_in1k"}, {"init_from": "tsn_r50.x"}):
        with pytest.raises(UsageError, match=r"--model needed; without it weights are chosen, and --\w+-\w+ is set"):
            resolve_settings({**given, **start})
    assert resolve_settings(given).model is None


def test_every_machine_has_a_choice_and_none_is_beaten_at_its_cost() -> None:
    facts = registry.weights_facts()
    for choice in CHOICES:
        own = facts[choice.weights]
        assert choice_for(Machine(choice.is_gpu, choice.gb, choice.cores)) is choice
        assert registry.get_pretrained_cfg(choice.weights).sha256_prefix
        better = [
            name
            for name in videozoo.list_pretrained(data_set="k400", max_gmacs=own["macs"] / 1e9)
            if facts[name]["top1"] > own["top1"] + 0.005 and "NC" not in facts[name]["license"]
        ]
        assert not better, choice
    for is_gpu in (True, False):
        assert choice_for(Machine(is_gpu, 0.5, 1)).is_gpu == is_gpu


def test_the_page_has_the_table_of_choices() -> None:
    text = (REPO / "docs" / "training.md").read_text(encoding="utf-8")
    rows = re.findall(r"\| (GPU|CPU)[^|]* \| `([\w.]+)` \| ([\d.]+) \| ([\d.]+) \|", text)
    facts = registry.weights_facts()
    assert [(kind == "GPU", name) for kind, name, _, _ in rows] == [(row.is_gpu, row.weights) for row in CHOICES]
    for _, name, top1, gmacs in rows:
        assert f"{100 * facts[name]['top1']:.1f}" == top1
        assert f"{facts[name]['macs'] / 1e9:.1f}" == gmacs

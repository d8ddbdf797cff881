"""The default start of a training: published weights, those of the base, ImageNet weights, or none."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from fake_hub import FakeHub, Fault
from safetensors.torch import save

import videozoo
from videozoo.arguments import UsageError
from videozoo.data.motions import write_motions
from videozoo.hub import WeightsError
from videozoo.hub.write import save_weights
from videozoo.models import default_start
from videozoo.models.default_start import Start, default_starts
from videozoo.models.registry import list_models
from videozoo.training import start as start_module
from videozoo.training.model import _describe_start
from videozoo.training.resolve_settings import resolve_settings
from videozoo.training.settings import DEFAULTS, Settings
from videozoo.training.start import make_started_model

NAMES = ("a", "b", "c")


def _settings(model: str, **given: Any) -> Settings:
    return Settings(**{**DEFAULTS, "model": model, "output": "run", "img_size": 32, "given": frozenset(), **given})


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    with FakeHub() as hub:
        hub.patch(monkeypatch, tmp_path / "home")
        yield hub


def test_what_a_name_starts_from() -> None:
    def names(name: str) -> list[tuple[str, str]]:
        return [(start.option, start.name) for start in default_starts(name)]

    image = ("backbone_weights", "resnet50.tv_in1k")
    assert names("tsm_r50") == [("pretrained", "tsm_r50.mm_k400_8f"), image]
    assert names("arc_tsm_r50") == [("init_from", "tsm_r50.mm_k400_8f"), image]
    assert names("dnr_tsn_r50") == [("init_from", "tsn_r50.mm_k400_8f"), image]
    assert names("arc_tsm_r18") == [("backbone_weights", "resnet18.tv_in1k")]
    assert names("test_arc_tsm")[0] == ("pretrained", "test_arc_tsm.motions")
    assert names("slowfast_r18") == []
    for name in list_models():
        assert all(start.url or start.is_here for start in default_starts(name)), name


def test_image_weights_are_fetched_and_offline_taken_from_the_cache(hub: FakeHub) -> None:
    image = timm.create_model("resnet18")
    image.layer1[0].conv1.weight.data.fill_(0.25)
    hub.put("timm/resnet18.tv_in1k", {"model.safetensors": save(image.state_dict())})
    for _ in range(2):
        settings = _settings("tsn_r18")
        model = make_started_model(settings, NAMES)
        assert (settings.backbone_weights, settings.default_start) == ("tv_in1k", "resnet18.tv_in1k")
        assert model.backbone.layer1[0].conv1.weight.unique().tolist() == [0.25]
        hub.faults.append(Fault(".*", "reset", times=None))


def test_offline_with_nothing_cached_trains_from_scratch_soon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    waits: list[float] = []
    monkeypatch.setattr("time.sleep", waits.append)
    with FakeHub() as hub:
        hub.patch(monkeypatch, tmp_path / "home")  # gone when the block ends
    monkeypatch.setattr(default_start, "cache_folder", lambda name: tmp_path / name)
    monkeypatch.setattr(default_start, "can_reach", lambda url: "mmlab" not in url and default_reach(url))
    settings = _settings("tsm_r50")
    model = make_started_model(settings, NAMES)
    assert settings.from_scratch
    assert _describe_start(settings, model).endswith("from scratch (or from a file: --backbone-weights FILE)")
    named = _settings("tsm_r50", from_scratch=True, given=frozenset({"from_scratch"}))
    assert _describe_start(named, model).endswith("from scratch (--backbone-weights tv_in1k starts from ImageNet)")
    (row,) = [row for row in caplog.records if row.levelno == logging.WARNING]
    assert "training from scratch, as no weights to start from can be had" in row.getMessage()
    assert "tsm_r50.mm_k400_8f is not in the cache" in row.getMessage()
    assert "resnet50.tv_in1k is not in the cache" in row.getMessage()
    assert waits == []


default_reach = default_start.can_reach


@pytest.mark.parametrize("error", [WeightsError("damaged", source="x"), ValueError("other frames")])
def test_weights_that_do_not_fit_are_passed_over(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    starts = [Start("pretrained", True, "no.fit", True, ""), Start("backbone_weights", "tag", "b.tag", True, "")]
    monkeypatch.setattr(default_start, "default_starts", lambda name: starts)
    tried = []

    def make(settings: Settings, names: Any) -> str:
        tried.append((settings.pretrained, settings.backbone_weights))
        if settings.pretrained:
            raise error
        return "model"

    monkeypatch.setattr(start_module, "make_model", make)
    settings = _settings("tsm_r50")
    assert make_started_model(settings, NAMES) == "model"
    assert tried == [(True, None), (False, "tag")]
    assert (settings.pretrained, settings.backbone_weights) == (False, "tag")


@pytest.mark.parametrize("frames", [4, 5])
def test_another_number_of_frames_and_size_is_fine(frames: int) -> None:
    settings = _settings("test_arc_tsm", num_frames=frames, img_size=40)
    model = make_started_model(settings, NAMES)
    assert settings.default_start == "test_arc_tsm.motions"
    assert model(torch.zeros(1, 3, frames, 40, 40)).shape == (1, 3)


def test_the_clips_stay_those_of_the_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The published weights of this name are of dense clips, and tested on 30 views."""
    published = videozoo.create_model("tanet_r50.mm_k400_dense_8f")
    save_weights(published.state_dict(), tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(videozoo.model_config(published)))
    monkeypatch.setattr("videozoo.models.load.weights_folder", lambda *args: tmp_path)
    monkeypatch.setattr(default_start, "can_reach", lambda url: True)
    settings = _settings("dnr_tanet_r50", img_size=None)
    model = make_started_model(settings, NAMES)
    assert settings.init_from == "tanet_r50.mm_k400_dense_8f"
    cfg, own = model.pretrained_cfg, videozoo.get_pretrained_cfg(settings.model)
    for name in ("frame_sampling", "frame_stride", "test_num_clips", "test_num_crops"):
        assert cfg[name] == getattr(own, name)


def test_a_named_start_or_none_is_left_alone(tmp_path: Path) -> None:
    def settled(**given: Any) -> Settings:
        return resolve_settings({"data": "videos", "output": str(tmp_path / "run"), **given})

    assert settled(recipe="dnr_ssv1").from_scratch
    assert not settled(recipe="dnr_ssv1", init_from="tsn_r50.x").from_scratch
    assert settled(recipe="arc_ssv1", from_scratch=True).backbone_weights is None
    assert settled(recipe="arc_ssv1").backbone_weights == "tv_in1k"
    assert settled(model="tsm_r50", backbone_weights=None).from_scratch
    for start in ({"pretrained": True}, {"backbone_weights": "tv_in1k"}, {"model": "tsm_r50.mm_k400_8f"}):
        with pytest.raises(UsageError, match="--from-scratch has no effect here; it is for runs that do not start"):
            settled(**{"model": "tsm_r50", "from_scratch": True, **start})


def test_a_run_logs_its_start_and_keeps_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    videos = write_motions(tmp_path / "videos", clips_per_class=1, val_clips_per_class=1, size=32, num_frames=6)
    logging.getLogger("videozoo").propagate = True
    caplog.set_level(logging.INFO, "videozoo")
    options = {"epochs": 1, "warmup_epochs": 0, "img_size": 32, "num_frames": 4, "workers": 0, "device": "cpu"}
    videozoo.finetune(model="test_arc_tsm", data=videos, output=tmp_path / "run", **options)
    start = next(message for message in caplog.messages if message.startswith("test_arc_tsm, 4 frames"))
    assert "starting from the weights of test_arc_tsm.motions (by default; --from-scratch, " in start
    settings = json.loads((tmp_path / "run" / "args.json").read_text())["settings"]
    assert (settings["pretrained"], settings["from_scratch"]) == (True, False)
    caplog.clear()
    videozoo.finetune(output=tmp_path / "run", resume=True, epochs=2)
    assert any(f"continued from {tmp_path / 'run' / 'last'}" in message for message in caplog.messages)

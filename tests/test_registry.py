"""Tests of model names in videozoo's and timm's registry."""

import re
from typing import Any

import pytest
import timm
import torch
from helpers import one_of_each_family

import videozoo
from videozoo import Ensemble, UnknownModelError, VideoCfg, VideoNet, WeightsError
from videozoo.models import model_entrypoint, register_architecture, spec_of
from videozoo.models.registry import _CFGS, _ENTRYPOINTS, BY_TAG_ONLY, pretrained_name

NAMES = videozoo.list_models()
PROMISED = [
    f"{way}_{net}"
    for way in ("tsn", "tsm", "arc_tsm", "arc_tsn", "dnr_tsn", "dnr_tsm")
    for net in ("r18", "r34", "r50", "r101")
]
PROMISED += ["tsn_mbv2", "tsm_mbv2"]


def test_all_promised_names_exist_once() -> None:
    assert set(PROMISED) <= set(NAMES)
    assert len(NAMES) == len(set(NAMES))


def test_natural_order() -> None:
    assert videozoo.list_models("tsm_r*") == ["tsm_r18", "tsm_r34", "tsm_r50", "tsm_r101"]
    assert sorted(NAMES, key=lambda n: [int(p) if p.isdigit() else p for p in re.split(r"(\d+)", n)]) == NAMES


@pytest.mark.parametrize(
    ("filter_", "exclude", "expected"),
    [
        ("arc_*_r50", "", ["arc_tsm_r50", "arc_tsn_r50"]),
        (["tsn_mbv2", "tsm_r1?"], "", ["tsm_r18", "tsn_mbv2"]),
        ("*_mbv2", "tsn*", ["tsm_mbv2"]),
        ("*", ["*_r*", "tsm_*"], ["tsn_mbv2"]),
        ("tsn_r18", "", ["tsn_r18"]),
        ("nothing*", "", []),
        ("TSN*", "", []),
    ],
)
def test_wildcards(filter_: Any, exclude: Any, expected: list[str]) -> None:
    assert [n for n in videozoo.list_models(filter_, exclude) if n in PROMISED] == expected


def test_every_listed_weight_has_a_source() -> None:
    for name in videozoo.list_pretrained():
        cfg = videozoo.get_pretrained_cfg(name)
        assert cfg.url or cfg.hf_hub_id or cfg.file
    for name in set(NAMES) - set(videozoo.list_models(pretrained=True)):
        with (
            torch.device("meta"),
            pytest.raises(WeightsError, match=rf"{name}: no published weights.*videozoo finetune"),
        ):
            videozoo.create_model(name, pretrained=True)


def test_is_model() -> None:
    assert all(videozoo.is_model(name) for name in NAMES)
    assert not videozoo.is_model("resnet50")
    assert not videozoo.is_model("tsm_r19")


@pytest.mark.parametrize("name", NAMES)
def test_every_entry_point_has_its_name_and_a_docstring(name: str) -> None:
    entry = model_entrypoint(name)
    assert entry.__name__ == name
    assert entry.__doc__
    assert len(entry.__doc__) > 20


QUICK = one_of_each_family(NAMES)
every_name = pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in NAMES]
)


@pytest.mark.slow
@every_name
def test_timm_creates_every_name(name: str) -> None:
    with torch.device("meta"):
        frames = spec_of(name).num_frames // 2 // (5 if "tdn" in name else 1) * (5 if "tdn" in name else 1)
        net = timm.create_model(name, num_classes=5, num_frames=frames)
        assert isinstance(net, VideoNet | Ensemble)
        ours = videozoo.create_model(name, num_classes=5, num_frames=frames)
    assert ours.spec == net.spec
    assert list(ours.state_dict()) == list(net.state_dict())
    assert net.pretrained_cfg == ours.pretrained_cfg
    assert net.pretrained_cfg["architecture"] == name


@every_name
def test_the_config_is_in_timms_registry(name: str) -> None:
    cfg = timm.get_pretrained_cfg(name)
    assert isinstance(cfg, VideoCfg)
    assert cfg == videozoo.get_pretrained_cfg(name)
    with torch.device("meta"):
        net = videozoo.create_model(name)
    assert net.pretrained_cfg["num_frames"] == net.num_frames == cfg.num_frames
    assert net.pretrained_cfg["num_classes"] == net.num_classes == cfg.num_classes
    assert net.default_cfg is net.pretrained_cfg
    classifier = net.pretrained_cfg["classifier"]
    if isinstance(net, Ensemble):
        assert [net.get_submodule(one) for one in classifier] == list(net.get_classifier())
    else:
        assert net.get_submodule(classifier) is net.fc
    assert cfg.classifier == classifier
    first = net.pretrained_cfg["first_conv"]
    for conv in (first,) if isinstance(first, str) else first:
        stacked = net.frames_per_segment if "abm" in name else 1
        assert net.get_submodule(conv).in_channels == stacked * net.pretrained_cfg["input_size"][0] == stacked * 3


def test_configs_are_handed_out_as_copies() -> None:
    videozoo.get_pretrained_cfg("tsn_r18").num_classes = 3
    assert videozoo.get_pretrained_cfg("tsn_r18").num_classes == 400
    with torch.device("meta"):
        net = videozoo.create_model("tsn_r18")
        net.pretrained_cfg["mean"] = None
        assert videozoo.create_model("tsn_r18").pretrained_cfg["mean"] is not None


def test_timm_lists_the_models() -> None:
    assert set(NAMES) <= set(timm.list_models())
    assert timm.is_model("arc_tsm_r50")
    assert timm.is_model("resnet50")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("arc_tsm_r5", r"unknown model 'arc_tsm_r5'; did you mean .*arc_tsm_r50"),
        ("tms_r50", "did you mean .*tsm_r50"),
        ("ARC_TSM_R50x", "unknown model"),
        ("zzzzzzzz", "videozoo.list_models"),
        ("resnet50", r"image model of timm.*compose\(backbone='resnet50'"),
        ("tsm_r50.ssv1_8f", "tsm_r50 has no weights with the tag 'ssv1_8f'"),
        ("", "unknown model"),
    ],
)
def test_unknown_names_list_similar_names(name: str, message: str) -> None:
    for ask in (videozoo.create_model, videozoo.get_pretrained_cfg):
        with pytest.raises(UnknownModelError, match=message):
            ask(name)
    assert issubclass(UnknownModelError, ValueError)


@pytest.mark.parametrize(("name", "owner"), [("resnet18", "timm"), ("tsn_r18", "videozoo")])
def test_an_existing_name_is_refused_and_nothing_changes(name: str, owner: str) -> None:
    def entry(pretrained: bool = False, **kwargs: Any) -> None:
        """Entry point that is never called."""

    entry.__name__ = name
    before, names = timm.models.model_entrypoint(name), list(videozoo.list_models())
    with pytest.raises(ValueError, match=f"{owner} already has a model named '{name}'"):
        register_architecture(entry, VideoCfg(architecture=name))
    assert timm.models.model_entrypoint(name) is before
    assert videozoo.list_models() == names


def test_a_custom_architecture() -> None:
    def my_video_net(pretrained: bool = False, **kwargs: Any) -> str:
        """Custom model of this test."""
        return f"built with {sorted(kwargs)}"

    try:
        small = VideoCfg(hf_hub_id="lab/small")
        register_architecture(my_video_net, VideoCfg(architecture="my_video_net"), more_weights={"small": small})
        assert videozoo.is_model("my_video_net")
        assert videozoo.list_pretrained("my_video_net") == ["my_video_net.small"]
        assert pretrained_name("my_video_net.small") == "my_video_net.small"
        with pytest.raises(WeightsError, match=r"no default; name them with their tag: my_video_net\.small"):
            pretrained_name("my_video_net")
        assert "my_video_net" in timm.list_models()
        assert model_entrypoint("my_video_net")() == "built with []"
    finally:
        for table in (_ENTRYPOINTS, _CFGS):
            table.pop("my_video_net", None)
        BY_TAG_ONLY.discard("my_video_net.small")
        registry = timm.models._registry
        registry._model_entrypoints.pop("my_video_net", None)
        for names in registry._module_to_models.values():
            names.discard("my_video_net")


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"shift_div": 4}, r"tsm_r18: unknown arguments \['shift_div'\].*videozoo.compose"),
        ({"num_frames": 0}, "num_frames is 0; need a whole number, 1 or more"),
        ({"in_chans": 0}, "in_chans is 0"),
        ({"num_classes": -1}, "num_classes is -1"),
        ({"pretrained_cfg_overlay": {"meen": 0}}, r"unknown fields \['meen'\]"),
    ],
)
def test_senseless_arguments_are_refused(kwargs: dict[str, Any], message: str) -> None:
    with torch.device("meta"), pytest.raises(ValueError, match=message):
        videozoo.create_model("tsm_r18", **kwargs)


def test_overlays_change_single_fields() -> None:
    with torch.device("meta"):
        net = videozoo.create_model("tsm_r18", pretrained_cfg_overlay={"frame_sampling": "dense", "frame_stride": 8})
        assert (net.pretrained_cfg["frame_sampling"], net.pretrained_cfg["frame_stride"]) == ("dense", 8)
        assert net.pretrained_cfg["num_frames"] == 8
        classes = videozoo.create_model("tsm_r18", pretrained_cfg={"num_classes": 12, "mean": [0.1, 0.2, 0.3]})
        assert classes.num_classes == classes.fc.out_features == 12
        assert classes.pretrained_cfg["mean"] == (0.1, 0.2, 0.3)

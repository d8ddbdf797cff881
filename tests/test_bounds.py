"""Tests of the limits on configs from other sources."""

import json
from pathlib import Path
from typing import Any

import pytest

import videozoo
from videozoo.bounds import CHOICES, check_fields, check_work
from videozoo.cli import main
from videozoo.data import SAMPLINGS, resolve_data_config
from videozoo.hub import WeightsError
from videozoo.models import model_config

WRONG: dict[str, list[Any]] = {
    "input_size": [[3, 60000, 60000], [3, 0, 32], [3, 32], "abc", [3, 32.0, 32], [3, True, 32], None],
    "test_crop_size": [10**6, 0, [64, 10**6], "32"],
    "test_resize": [[10**6, 10**6], [64], 64],
    "crop_pct": [1e-4, 0, 1.5, float("nan"), "0.9", None],
    "test_num_clips": [10**6, 0, 1.0, True],
    "test_num_crops": [7, 10**6, "3"],
    "num_frames": [10**6, 0, 8.0],
    "frame_stride": [10**9, 0],
    "num_classes": [10**9, -1, 4.0],
    "mean": [[0, 0, float("inf")], [0, 0], "abc", [1e300] * 3],
    "std": [[0, 1, 1], [-1, 1, 1], [float("nan")] * 3, [1e-300] * 3],
    "interpolation": ["lanczos", 3, []],
    "channel_order": ["bgra", None],
    "frame_sampling": ["backwards", []],
    "label_names": [["a"] * 6, ["a", "b"], [1, 2, 3, 4, 5, 6], ["a", "b", "c", "d", "e", "\x1b[2J"], "abcdef"],
}
LARGE = [
    {"test_num_clips": 1000, "test_num_crops": 10, "num_frames": 64},
    {"input_size": [3, 4096, 4096], "num_frames": 256},
    {"crop_pct": 0.1, "input_size": [3, 2048, 2048], "num_frames": 8},
    {"test_resize": [4096, 4096], "test_num_clips": 100},
]


@pytest.fixture(scope="module")
def config() -> dict[str, Any]:
    model = videozoo.create_model("test_arc_tsm", num_classes=6)
    return json.loads(json.dumps(model_config(model)))


def _write(folder: Path, config: dict[str, Any]) -> str:
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "model.safetensors").write_bytes(b"")
    return f"local-dir:{folder}"


@pytest.mark.parametrize("field", WRONG)
def test_a_config_out_of_range_is_refused_as_such(field: str, config: dict[str, Any], tmp_path: Path) -> None:
    for value in WRONG[field]:
        changed = {**config, "pretrained_cfg": {**config["pretrained_cfg"], field: value}}
        with pytest.raises(WeightsError, match=r"config\.json: not a videozoo config") as caught:
            videozoo.create_model(_write(tmp_path, changed))
        assert field in str(caught.value) or field == "num_classes"  # which must agree with the composition's first
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < 700


@pytest.mark.parametrize("changes", LARGE, ids=str)
def test_fields_that_are_too_much_together(changes: dict[str, Any], config: dict[str, Any], tmp_path: Path) -> None:
    check_fields(changes)
    cfg = {**config["pretrained_cfg"], **changes}
    spec = {**config["spec"], "num_frames": cfg["num_frames"]}
    with pytest.raises(WeightsError, match=r"config\.json: .*billion pixels a video"):
        videozoo.create_model(_write(tmp_path, {**config, "pretrained_cfg": cfg, "spec": spec}))
    with pytest.raises(ValueError, match=r"resolve_data_config: .*billion pixels a video"):
        resolve_data_config(cfg)


@pytest.mark.parametrize(
    "change",
    [
        {"num_frames": 10**9},
        {"in_chans": 10**6},
        {"num_classes": 10**9},
        {"drop_rate": 2},
        {"temporal": {"name": "tsm", "shift_div": 0}},
        {"augmenters": [{"name": "arc", "num_steps": 10**9}]},
        {"augmenters": [{"name": "dnr", "depth": 10**6}]},
    ],
    ids=str,
)
def test_a_composition_out_of_range_is_refused(change: dict[str, Any], config: dict[str, Any], tmp_path: Path) -> None:
    changed = {**config, "spec": {**config["spec"], **change}}
    if "num_classes" in change:
        changed["pretrained_cfg"] = {**config["pretrained_cfg"], **change, "label_names": None}
    with pytest.raises(WeightsError, match=r"config\.json: not a videozoo config"):
        videozoo.create_model(_write(tmp_path, changed))


def test_the_command_line_blames_the_config(config: dict[str, Any], tmp_path: Path, capsys: Any) -> None:
    name = _write(tmp_path, {**config, "pretrained_cfg": {**config["pretrained_cfg"], "test_num_clips": 10**6}})
    assert main(["predict", "--model", name, "a.mp4"]) == 2
    error = capsys.readouterr().err
    assert "config.json" in error
    assert "test_num_clips is 1000000, must be a whole number from 1 to 1000" in error
    assert "a.mp4" not in error


def test_values_in_range_are_accepted() -> None:
    for name in videozoo.list_pretrained():
        cfg = vars(videozoo.get_pretrained_cfg(name))
        check_fields(cfg)
        check_work(cfg)
    check_work({**resolve_data_config({}), "test_num_clips": 10, "test_num_crops": 3, "num_frames": 64})
    assert set(CHOICES["frame_sampling"]) == set(SAMPLINGS)

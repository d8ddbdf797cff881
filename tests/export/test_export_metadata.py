"""What an exported file says of itself: read back as written, and refused where it is wrong."""

import json
from typing import Any

import pytest
from tiny_onnx import description

import videozoo
from videozoo.data import resolve_data_config
from videozoo.export import ExportError, describe, read_description


@pytest.mark.parametrize("name", ["test_dnr_tsn.motions", "test_arc_tsm"])
def test_a_description_is_read_back(name: str) -> None:
    model = videozoo.create_model(name)
    info = read_description(describe(model), "x.onnx")
    assert info.num_classes == model.num_classes
    assert info.label_names == model.pretrained_cfg.get("label_names")
    assert info.data == resolve_data_config(model)


def test_sizes_of_a_test_travel() -> None:
    changes = {"test_crop_size": 40, "test_resize": [48, 64], "test_num_clips": 2, "test_num_crops": 3}
    data = read_description(json.dumps(description(data=changes)), "x").data
    assert (data["test_crop_size"], data["test_resize"]) == (40, (48, 64))
    assert (data["test_num_clips"], data["test_num_crops"]) == (2, 3)


WRONG: dict[str, tuple[Any, str]] = {
    "not JSON": ("{", "cannot be used"),
    "a list": ("[]", "not a JSON object"),
    "deep": ("[" * 100_000, "cannot be used"),
    "newer": (description(format=3), "format 3; videozoo .* reads formats 1 and 2"),
    "no classes": (description(num_classes=0), "num_classes is 0"),
    "half a class": (description(num_classes=4.0), "num_classes is 4.0"),
    "too many classes": (description(num_classes=10**9, label_names=None), "from 0 to 100000"),
    "names of another number": (description(label_names=["a", "b"]), "label_names must be a list of 4 names"),
    "names that are none": (description(label_names=[1, 2, 3, 4]), "is no text"),
    "a name that the terminal obeys": (description(label_names=["a", "b", "c", "\x1b[2J"]), "control characters"),
    "no data": (description() | {"data": None}, "data is not a JSON object"),
    "mean of letters": (description(data={"mean": "abc"}), "mean is 'abc'"),
    "std of zero": (description(data={"std": [1.0, 0.0, 1.0]}), "three numbers, one a channel"),
    "std of nothing": (description(data={"std": [1.0, float("nan"), 1.0]}), "three numbers, one a channel"),
    "a huge clip": (description(data={"num_frames": 10**9}), "num_frames is 1000000000"),
    "huge frames": (description(data={"input_size": [3, 10**6, 10**6]}), "each from 1 to 4096"),
    "a huge resize": (description(data={"test_resize": [10**9, 10**9]}), "each from 1 to 4096"),
    "a huge border": (description(data={"crop_pct": 1e-9}), "crop_pct is 1e-09"),
    "many views": (description(data={"test_num_clips": 10**8}), "test_num_clips is 100000000"),
    "seven crops": (description(data={"test_num_crops": 7}), "must be 1, 3, 5 or 10"),
    "a sampling of its own": (description(data={"frame_sampling": "backwards"}), "frame_sampling is 'backwards'"),
    "a sampling that is a list": (description(data={"frame_sampling": []}), "must be segment, dense or uniform"),
    "a size of words": (description(data={"input_size": ["3", "a", "b"]}), "each from 1 to 4096"),
    "four channels": (description(data={"input_size": [4, 32, 32]}), "input_size is"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_metadata_are_refused_in_one_line(case: str) -> None:
    content, message = WRONG[case]
    text = content if isinstance(content, str) else json.dumps(content)
    with pytest.raises(ExportError, match=message) as caught:
        read_description(text, "some.onnx")
    assert str(caught.value).startswith("some.onnx: ")
    assert "\n" not in str(caught.value)


def test_a_file_without_metadata_says_what_is_missing() -> None:
    with pytest.raises(ExportError, match="no metadata of videozoo") as caught:
        read_description(None, "foreign.onnx")
    assert "videozoo export" in str(caught.value)

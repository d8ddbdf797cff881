"""Tests of the messages for arguments of a wrong type, of the public functions and classes."""

from pathlib import Path

import pytest

import videozoo

BUNDLED = "test_arc_tsm.motions"


@pytest.mark.parametrize("function", ["create_model", "is_model", "get_pretrained_cfg"])
def test_name_of_a_wrong_type_is_refused(function: str) -> None:
    with pytest.raises(TypeError, match="the name of a model is 5; pass text such as 'tsm_r50'"):
        getattr(videozoo, function)(5)


@pytest.mark.parametrize("function", [videozoo.list_models, videozoo.list_pretrained])
def test_filter_of_a_wrong_type_is_refused(function: object) -> None:
    with pytest.raises(TypeError, match="filter is 5; pass a pattern"):
        function(5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"views": 3}, "views is 3; write clips x crops"),
        ({"views": (1, 2, 3)}, r"views is \(1, 2, 3\); write clips x crops"),
        ({"batch_size": "8"}, "batch_size is '8'; it must be a whole number"),
        ({"workers": -1}, "workers is -1; it must be a whole number, at least 0"),
    ],
)
def test_options_of_predictor_are_checked(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        videozoo.Predictor(BUNDLED, **options)


def test_model_of_a_wrong_type_is_refused() -> None:
    with pytest.raises(TypeError, match="Predictor: model has type int; pass a name"):
        videozoo.Predictor(3)
    with pytest.raises(TypeError, match="model_config: got str; pass a model"):
        videozoo.model_config("tsm_r18")
    with pytest.raises(TypeError, match="Stream: got str; pass a model"):
        videozoo.Stream("tsm_r18")


def test_topk_of_a_wrong_type_is_refused() -> None:
    with pytest.raises(ValueError, match="k is '3'; it must be a whole number"):
        videozoo.Prediction("a.mp4", None).topk("3")


def test_arguments_of_video_dataset_are_checked() -> None:
    transform = videozoo.create_transform()
    for records in ("videos", ["a.mp4"], 3):
        with pytest.raises(TypeError, match=r"VideoDataset: records is a \w+, not of VideoRecord; pass load_source"):
            videozoo.VideoDataset(records, transform, num_frames=8)
    records = videozoo.load_source([("a.mp4", 0)], check_files=False).records
    for number in (0, "8"):
        with pytest.raises(ValueError, match=f"num_frames is {number!r}; it must be a whole number"):
            videozoo.VideoDataset(records, transform, num_frames=number)


def test_data_and_size_of_a_wrong_type_are_refused() -> None:
    with pytest.raises(ValueError, match="data is 3; pass a folder of class folders"):
        videozoo.load_source(3)
    with pytest.raises(ValueError, match="input_size is 224, must be"):
        videozoo.create_transform(224)


def test_text_in_place_of_a_number_is_refused() -> None:
    with pytest.raises(ValueError, match="epochs is '3'; it must be a number, at least 1"):
        videozoo.FitConfig(epochs="3")


def test_missing_folder_of_the_example_video_is_reported(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such folder; create it first"):
        videozoo.write_example_video(tmp_path / "missing" / "a.mp4")

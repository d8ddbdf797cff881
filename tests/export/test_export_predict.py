"""An ONNX file answers videos by its metadata alone; no model is built."""

import json
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_onnx import FRAMES, MATRIX, SIZE, description, make_onnx

import videozoo
from videozoo import Predictor
from videozoo.cli import main
from videozoo.data import VideoDataset, VideoRecord, create_transform, resolve_data_config, sampling_options
from videozoo.data.motions import write_motions
from videozoo.export import ExportError, OnnxNet
from videozoo.jobs.describe import digest_weights


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("export") / "m"
    write_motions(folder, clips_per_class=1, val_clips_per_class=1, size=SIZE, num_frames=8)
    return sorted(folder.rglob("*.mp4"))[:3]


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def test_scores_are_those_of_the_transformed_clips(videos: list[Path], tmp_path: Path) -> None:
    data = {"test_num_clips": 2, "test_num_crops": 3, "channel_order": "bgr", "crop_pct": 0.8}
    path = make_onnx(tmp_path / "a.onnx", json.dumps(description(data=data)))
    config = resolve_data_config(description(data=data)["data"])
    records = [VideoRecord(video, -1, "") for video in videos]
    dataset = VideoDataset(records, create_transform(**config), **sampling_options(config))
    predictor = Predictor(str(path), max_clips=4)
    assert predictor.class_names == ("red", "green", "blue", "none of them")
    for index, answer in enumerate(predictor(videos)):
        views = dataset[index]["video"].numpy()
        assert views.shape == (6, 3, FRAMES, SIZE, SIZE)
        assert answer.scores is not None
        np.testing.assert_allclose(answer.scores, softmax(views.mean((2, 3, 4)) @ MATRIX).mean(0), atol=1e-5)


def test_no_model_is_built(videos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a model was built")

    monkeypatch.setattr("timm.create_model", refuse)
    (answer,) = Predictor(str(make_onnx(tmp_path / "a.onnx")))(videos[:1])
    assert answer.scores is not None
    assert answer.scores.sum() == pytest.approx(1, abs=1e-5)


def test_any_batch_and_only_fitting_sizes(tmp_path: Path) -> None:
    net = OnnxNet(make_onnx(tmp_path / "a.onnx"))
    clips = torch.randn(5, 3, FRAMES, SIZE, SIZE)
    for count in (1, 2, 5):
        expected = clips[:count].mean((2, 3, 4)) @ torch.from_numpy(MATRIX)
        torch.testing.assert_close(net(clips[:count]), expected)
    for shape in ((3, FRAMES, SIZE, SIZE), (1, 3, FRAMES - 1, SIZE, SIZE), (1, 3, FRAMES, SIZE, SIZE + 1)):
        with pytest.raises(ValueError, match=r"a.onnx takes \(B, C, T, H, W\) = \(any, 3, 8, 32, 32\)"):
            net(torch.zeros(shape))
    free = OnnxNet(make_onnx(tmp_path / "b.onnx", shape=("batch", 3, FRAMES, "height", "width")))
    assert free(torch.zeros(2, 3, FRAMES, 20, 50)).shape == (2, 4)


@pytest.mark.parametrize(
    ("changes", "shape", "message"),
    [
        ({"num_classes": 7, "label_names": None}, None, "the output has shape .* say 7 classes"),
        ({"data": {"num_frames": 16}}, None, r"say \[3, 16, 32, 32\]"),
        ({"data": {"test_crop_size": 40, "test_resize": [40, 40]}}, None, r"say \[3, 8, 40, 40\]"),
        ({}, (1, 3, FRAMES, SIZE, SIZE), "a free batch"),
        ({}, ("batch", 3, FRAMES, SIZE), r"not \(B, 3, T, H, W\)"),
    ],
)
def test_a_graph_must_fit_its_metadata(changes: dict[str, Any], shape: Any, message: str, tmp_path: Path) -> None:
    path = make_onnx(tmp_path / "a.onnx", json.dumps(description(**changes)), **({"shape": shape} if shape else {}))
    with pytest.raises(ExportError, match=message) as caught:
        OnnxNet(path)
    assert "\n" not in str(caught.value)


def test_files_tell_each_other_apart(tmp_path: Path) -> None:
    """A job over a list goes on only with the same weights."""
    first, same = OnnxNet(make_onnx(tmp_path / "a.onnx")), OnnxNet(make_onnx(tmp_path / "b.onnx"))
    other = OnnxNet(make_onnx(tmp_path / "c.onnx", gain=2))
    assert digest_weights(first) == digest_weights(same) != digest_weights(other)


def test_a_predictor_is_pickled_as_its_file(videos: list[Path], tmp_path: Path) -> None:
    predictor = Predictor(str(make_onnx(tmp_path / "a.onnx")))
    again = pickle.loads(pickle.dumps(predictor))
    (expected,), (answer,) = predictor(videos[:1]), again(videos[:1])
    assert np.array_equal(expected.scores, answer.scores)


@pytest.mark.parametrize("options", [{"device": "cuda"}, {"amp": "bf16"}])
def test_a_file_runs_on_the_processor_as_it_is(options: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="an ONNX file runs on the processor"):
        Predictor(str(make_onnx(tmp_path / "a.onnx")), **options)  # type: ignore[arg-type]


def one_error(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    """The line of a command line that fails with status 2."""
    assert main(argv) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert error.startswith("videozoo: error: ")
    assert "unexpected" not in error
    return error


def test_the_command_answers_by_a_file(videos: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = make_onnx(tmp_path / "a.onnx")
    assert main(["predict", "--model", str(path), "--topk", "2", "--json", str(videos[0])]) == 0
    rows = json.loads(capsys.readouterr().out)["predictions"]
    (answer,) = Predictor(str(path))(videos[:1])
    assert answer.scores is not None
    best = int(answer.scores.argmax())
    assert len(rows) == 2
    assert rows[0]["label"] == best
    assert rows[0]["class"] == description()["label_names"][best]


def test_files_of_others_are_refused_in_one_line(
    videos: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    video = str(videos[0])
    foreign = make_onnx(tmp_path / "foreign.onnx", text=None)
    assert "no metadata of videozoo" in one_error(capsys, "predict", "--model", str(foreign), video)
    garbage = tmp_path / "garbage.onnx"
    garbage.write_bytes(b"no model at all")
    assert "onnxruntime cannot read it" in one_error(capsys, "predict", "--model", str(garbage), video)
    (tmp_path / "empty.onnx").touch()
    assert "onnxruntime cannot read it" in one_error(capsys, "predict", "--model", str(tmp_path / "empty.onnx"), video)
    assert "no such file" in one_error(capsys, "predict", "--model", str(tmp_path / "absent.onnx"), video)
    whole = make_onnx(tmp_path / "whole.onnx").read_bytes()
    (tmp_path / "cut.onnx").write_bytes(whole[: len(whole) // 2])
    assert "cut.onnx" in one_error(capsys, "predict", "--model", str(tmp_path / "cut.onnx"), video)


def test_a_missing_runtime_names_the_extra(
    videos: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_onnx(tmp_path / "a.onnx")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    error = one_error(capsys, "predict", "--model", str(path), str(videos[0]))
    assert "needs onnxruntime" in error
    assert "pip install onnx onnxruntime onnxscript" in error


def test_wrong_usage_of_export_costs_no_work(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    taken = tmp_path / "taken.onnx"
    taken.touch()
    model = ("export", "--model", "test_dnr_tsn.motions", "--output")
    error = one_error(capsys, *model, str(tmp_path / "a.pt2"))
    assert "must end in .onnx; for .pt2 give --format torch-export" in error
    assert "must end in .safetensors" in one_error(capsys, *model, str(tmp_path / "a"), "--format", "state-dict")
    assert "exists already" in one_error(capsys, *model, str(taken))
    assert "--clips" in one_error(capsys, *model, str(tmp_path / "a.onnx"), "--int8")
    assert [path.name for path in tmp_path.iterdir()] == ["taken.onnx"]


def test_weights_alone_are_written_with_their_description(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from safetensors import safe_open

    from videozoo.export import read_description

    path = tmp_path / "a.safetensors"
    argv = ["export", "--model", "test_dnr_tsn.motions", "--output", str(path), "--format", "state-dict"]
    assert main(argv) == 0
    assert str(path) in capsys.readouterr().out
    model = videozoo.create_model("test_dnr_tsn.motions", pretrained=True)
    with safe_open(path, "pt") as file:
        info = read_description(file.metadata()["videozoo"], "a")
        assert set(file.keys()) == set(model.state_dict())
    assert info.label_names == model.pretrained_cfg["label_names"]
    again = videozoo.create_model("test_dnr_tsn", num_classes=model.num_classes, checkpoint_path=path)
    assert all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in again.state_dict().items())

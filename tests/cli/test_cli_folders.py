"""A plain folder is a model's name everywhere, and a run folder stands for its best; ONNX files are measured too."""

import json
from pathlib import Path

import pytest

import videozoo
from videozoo import Predictor
from videozoo.cli import main
from videozoo.models import WeightsError

Capture = pytest.CaptureFixture[str]
CPU = ["--workers", "0", "--device", "cpu"]


@pytest.fixture(scope="module")
def clip(videos: Path) -> str:
    return str(next((videos / "val").rglob("*.mp4")))


@pytest.mark.parametrize("where", ["", "best"])
def test_a_folder_is_a_models_name(where: str, run_folder: Path, videos: Path, clip: str, capsys: Capture) -> None:
    folder = run_folder / where
    model = videozoo.create_model(str(folder), pretrained=True)
    assert model.num_classes == 6
    assert videozoo.create_model("arc_tsm_r18", init_from=str(folder), num_classes=6, num_frames=4).init_report
    assert Predictor(str(folder), device="cpu")(clip).ok
    assert Predictor(folder, device="cpu")(clip).ok
    capsys.readouterr()
    commands = [
        ["predict", "--model", str(folder), clip],
        ["info", str(folder)],
        ["evaluate", "--model", str(folder), "--data", str(videos / "val"), *CPU],
        ["stream", "--model", str(folder), "--source", clip],
    ]
    for command in commands:
        assert main(command) == 0
        out, err = capsys.readouterr()
        assert out
        if command[0] != "stream":
            assert ("is a run folder: taking" in err) == (where == "")


def test_training_goes_on_from_a_folder(run_folder: Path, videos: Path, tmp_path: Path, capsys: Capture) -> None:
    flags = ["--epochs", "1", "--warmup-epochs", "0", "--img-size", "32", "--num-frames", "4", "-b", "6", *CPU]
    argv = ["finetune", "--model", str(run_folder), "--data", str(videos), "--output", str(tmp_path / "run"), *flags]
    assert main(argv) == 0
    assert f"taking {run_folder / 'best'}" in capsys.readouterr().err
    stored = json.loads((tmp_path / "run" / "args.json").read_text())["settings"]["model"]
    assert stored == f"local-dir:{run_folder}"


def test_a_registered_name_goes_before_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "test_arc_tsm").mkdir()
    (tmp_path / "empty").mkdir()
    (tmp_path / "run" / "last").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert videozoo.create_model("test_arc_tsm").num_classes == 400
    with pytest.raises(WeightsError, match=r"empty: config\.json is missing"):
        videozoo.create_model("empty")
    with pytest.raises(WeightsError, match="without a best epoch so far"):
        videozoo.create_model("run")
    (tmp_path / "run" / "best").mkdir()
    (tmp_path / "run" / "best" / "model.safetensors").touch()
    for option in ("checkpoint_path", "backbone_weights"):
        with pytest.raises(WeightsError, match=r"run: a folder, and a file is needed; the file in it is .*best/model"):
            videozoo.create_model("test_arc_tsm", **{option: tmp_path / "run"})
    with pytest.raises(videozoo.UnknownModelError, match="there is no such folder"):
        videozoo.create_model("absent/run")


@pytest.mark.slow
def test_an_onnx_file_is_measured_as_its_model(videos: Path, tmp_path: Path, capsys: Capture) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    data, file = ["--data", str(videos / "val"), *CPU, "--json"], tmp_path / "m.onnx"
    assert main(["export", "--model", "test_arc_tsm.motions", "--output", str(file)]) == 0
    found = []
    for name in ("test_arc_tsm.motions", str(file)):
        capsys.readouterr()
        assert main(["evaluate", "--model", name, *data]) == 0
        found.append(json.loads(capsys.readouterr().out))
    assert found[0]["top1"] == found[1]["top1"]
    assert found[0]["loss"] == pytest.approx(found[1]["loss"], abs=1e-4)
    for argv, words in (
        (["stream", "--model", str(file), "--source", str(next((videos / "val").rglob("*.mp4")))], "takes whole clips"),
        (["evaluate", "--model", str(file), *data, "--amp"], "--amp is not for an ONNX file"),
    ):
        assert main(argv) == 2
        assert words in capsys.readouterr().err

"""Several labels a video, from a list to scores: finetune, evaluate, predict and the rest; and who refuses them."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from video_fixtures import write_video

import videozoo
from videozoo.cli import main
from videozoo.data import load_source, resolve_data_config
from videozoo.demo.inference import classify_video
from videozoo.demo.models import ModelPool
from videozoo.export import ExportError
from videozoo.export.metadata import read_description
from videozoo.inference import Predictor
from videozoo.probabilities import is_multi_label, join_logits, probabilities

COLORS = ("red", "green", "blue")
TINY = ["--img-size", "32", "--num-frames", "4", "--batch-size", "8", "--workers", "0", "--device", "cpu"]
Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def colors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clips with squares of none to three colors; train.csv with names, val.txt with the same classes as indices."""
    root = tmp_path_factory.mktemp("colors")
    rng = np.random.default_rng(0)
    names, lines = ["path,labels"], []
    for number in range(24):
        labels = [color for color in range(3) if rng.random() < 0.5]
        images = rng.integers(0, 60, (6, 32, 32, 3)).astype(np.uint8)
        for color in labels:
            images[:, 10 * color + 1 : 10 * color + 9, 4:28, color] = 230
        write_video(root / f"v{number}.mp4", images, "mpeg4")
        if number < 16:
            names.append(f"v{number}.mp4,{'|'.join(COLORS[color] for color in labels)}")
        else:
            lines.append(" ".join([f"v{number}.mp4", *map(str, labels)]))
    (root / "train.csv").write_text("\n".join(names) + "\n")
    (root / "val.txt").write_text("\n".join(lines) + "\n")
    (root / "classes.txt").write_text("red\ngreen\nblue\n")
    return root


def _finetune(colors: Path, output: Path, *flags: str) -> int:
    lists = ["--data", str(colors / "train.csv"), "--val", str(colors / "val.txt")]
    start = ["--class-names", str(colors / "classes.txt"), "--from-scratch"]
    model = ["--model", "test_arc_tsm", "--output", str(output)]
    return main(["finetune", *model, *lists, *start, *TINY, *flags])


@pytest.fixture(scope="module")
def run(colors: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run."""
    output = tmp_path_factory.mktemp("multi") / "run"
    flags = ["--multi-label", "--epochs", "3", "--lr", "2e-2", "--warmup-epochs", "0", "--mixup", "0.1"]
    assert _finetune(colors, output, *flags, "--smoothing", "0.02", "--train-crop", "rrc", "--scale", "0.9", "1") == 0
    return output


@pytest.fixture(scope="module")
def single(run: Path, colors: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on videos with one class each, by binary cross entropy, from the weights of a multi-label one."""
    folder = tmp_path_factory.mktemp("single")
    rows = [f"{colors / f'v{number}.mp4'},{COLORS[number % 3]}" for number in range(9)]
    (folder / "list.csv").write_text("\n".join(["path,label", *rows]))
    flags = ["--bce-loss", "--bce-target-thresh", "0.2", "--cutmix", "0.5", "--epochs", "1", "--warmup-epochs", "0"]
    given = ["--data", str(folder / "list.csv"), "--model", str(run / "best"), "--output", str(folder / "run")]
    assert main(["finetune", *given, "--class-names", str(colors / "classes.txt"), *TINY, *flags]) == 0
    return folder / "run"


def test_the_run_folder(run: Path) -> None:
    results = json.loads((run / "results.json").read_text())
    assert results["class_names"] == list(COLORS)
    assert results["map"] > 0.5
    assert results["num_without_class"] == sum(not row["labels"] for row in _rows(run))
    assert not (run / "confusion.png").exists()
    with (run / "summary.csv").open() as file:
        assert "val_map" in next(csv.reader(file))
    config = json.loads((run / "best/config.json").read_text())["pretrained_cfg"]
    assert config["multi_label"] is True
    assert config["metrics"]["map"] == results["map"]


def _rows(run: Path) -> list[dict[str, str]]:
    folder = run.parent / "measured"
    data = json.loads((run / "args.json").read_text())["settings"]["val"]
    if not folder.exists():
        given = ["--model", str(run / "best"), "--data", data, "--output", str(folder), "--device", "cpu", "-j", "0"]
        assert main(["evaluate", *given]) == 0
    with (folder / "videos.csv").open() as file:
        return list(csv.DictReader(file))


def test_the_evaluation_is_the_runs(run: Path, capsys: Capture) -> None:
    _rows(run)
    best, measured = (json.loads((run.parent / name / "results.json").read_text()) for name in ("run", "measured"))
    for key in ("map", "map_labelled", "per_class", "loss"):
        assert measured[key] == pytest.approx(best[key], rel=1e-5)
    capsys.readouterr()
    assert main(["evaluate", "--scores", str(run.parent / "measured/scores.safetensors")]) == 0
    out = capsys.readouterr().out
    assert f"mAP         {best['map']:.1%}" in out
    assert "a wrong answer for every class" in out
    assert f"chance      {best['chance']:.1%}, the mAP of equal scores" in out
    name, value = min(zip(COLORS, best["per_class"], strict=True), key=lambda pair: pair[1])
    assert f"worst       {name} {value:.1%}" in out


def test_the_continued_run(run: Path, colors: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "run")
    assert main(["finetune", "--resume", "--output", str(tmp_path / "run"), "--epochs", "4"]) == 0
    assert videozoo.create_model(f"local-dir:{tmp_path / 'run/last'}", pretrained=True).pretrained_cfg["multi_label"]


def test_scores_are_sigmoids_wherever_they_are_shown(run: Path, colors: Path, capsys: Capture) -> None:
    file = colors / "v16.mp4"
    predictor = Predictor(run / "best", device="cpu")
    answer = predictor(file)
    logits: list[torch.Tensor] = []
    handle = predictor.model.register_forward_hook(lambda *args: logits.append(args[2]))
    predictor(file)
    handle.remove()
    np.testing.assert_allclose(answer.scores, logits[0][0].sigmoid().numpy(), rtol=1e-6)
    assert abs(answer.scores.sum() - 1) > 1e-3
    capsys.readouterr()
    assert main(["predict", "--model", str(run / "best"), "--device", "cpu", "--json", str(file)]) == 0
    shown = {row["class"]: row["score"] for row in json.loads(capsys.readouterr().out)["predictions"]}
    assert [shown[name] for name in COLORS] == pytest.approx(answer.scores.tolist(), abs=1e-6)
    pool = ModelPool([f"local-dir:{run / 'best'}"], has_registry=False, device="cpu")
    result = classify_video(file, pool.get(pool.titles[0]))
    assert dict(result.best) == pytest.approx(dict(zip(COLORS, answer.scores.tolist(), strict=True)), abs=1e-4)
    model = ["--model", str(run / "best"), "--nearest", "--device", "cpu"]
    assert main(["stream", *model, "--source", str(file), "--json"]) == 0
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    scores = [row["score"] for row in last["predictions"]]
    assert len(scores) == 3
    assert abs(sum(scores) - 1) > 1e-3


def test_an_ensemble_averages_sigmoids() -> None:
    logits = torch.randn(3, 5, 7, dtype=torch.float64)
    for multi_label in (False, True):
        joined = probabilities(join_logits(logits, multi_label), multi_label)
        torch.testing.assert_close(joined, probabilities(logits, multi_label).mean(0))


def test_check_data_keeps_the_labels(colors: Path, tmp_path: Path) -> None:
    (tmp_path / "c.mp4").write_bytes(b"no video")
    rows = (colors / "train.csv").read_text().replace("\nv", f"\n{colors}/v") + "c.mp4,red|blue\n"
    (tmp_path / "list.csv").write_text(rows)
    given = ["--data", str(tmp_path / "list.csv"), "--multi-label", "--output", str(tmp_path / "out")]
    assert main(["check-data", *given, "-j", "1"]) == 1
    clean = load_source(tmp_path / "out/clean.csv", multi_label=True)
    before = load_source(colors / "train.csv", multi_label=True)
    assert [record.labels for record in clean.records] == [record.labels for record in before.records]
    assert clean.class_names == before.class_names
    assert main(["prepare", *given[:3], "--output", str(tmp_path / "small"), "--shards", "1MB"]) == 2


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--balanced-sampling"], "goes by the one class of a video"),
        (["--class-weights", "balanced"], "goes by the one class of a video"),
        (["--bce-loss"], "is the loss of --multi-label already"),
        (["--eval-metric", "mean_class"], "a multi-label run, which measures map"),
        (["--data-format", "frame_list"], "in which a video has one class"),
    ],
)
def test_flags_that_do_not_go_with_several_labels(
    colors: Path, tmp_path: Path, capsys: Capture, flags: list[str], said: str
) -> None:
    assert _finetune(colors, tmp_path / "run", "--multi-label", *flags) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "run/last").exists()


def test_a_list_of_several_labels_names_the_flag(colors: Path, tmp_path: Path, capsys: Capture) -> None:
    assert _finetune(colors, tmp_path / "run") == 2
    assert "--multi-label" in capsys.readouterr().err


def test_models_of_the_two_kinds(run: Path, single: Path, colors: Path, capsys: Capture, tmp_path: Path) -> None:
    data = ["--data", str(colors / "val.txt"), "--device", "cpu"]
    measured = json.loads((single / "results.json").read_text())
    assert {"top1", "mean_class"} <= measured.keys()
    assert (single / "confusion.png").is_file()
    assert "multi_label" not in json.loads((single / "best/config.json").read_text())["pretrained_cfg"]
    _rows(run)
    (tmp_path / "groups.yaml").write_text("warm: [red, green]\n")
    (tmp_path / "folders/red").mkdir(parents=True)
    shutil.copy(colors / "v1.mp4", tmp_path / "folders/red")
    one, several = str(single / "best"), str(run / "best")
    for command, said in (
        (["evaluate", "--model", one, *data], "for multi-label models only"),
        (["evaluate", "--model", one, "--model", several, *data], "they cannot be averaged"),
        (["evaluate", "--model", several, "--data", str(tmp_path / "folders")], "in which a video has one class"),
        (["evaluate", "--model", several, *data, "--groups", str(tmp_path / "groups.yaml")], "has no confusion"),
        (["confusion", str(run.parent / "measured"), "--output", str(tmp_path / "c")], "has no confusion"),
    ):
        assert main(command) == 2
        assert said in capsys.readouterr().err
    nets = [videozoo.create_model(f"local-dir:{folder}", pretrained=True) for folder in (one, several)]
    assert [is_multi_label(net) for net in nets] == [False, True]  # whatever the weights were before
    with pytest.raises(ValueError, match="they cannot be averaged"):
        videozoo.Ensemble(nets)


def test_metadata_of_exported_files() -> None:
    content = {"format": 2, "num_classes": 2, "label_names": None, "multi_label": True, "data": {"num_frames": 4}}
    content["data"] = resolve_data_config({"num_frames": 4})
    assert read_description(json.dumps(content), "m.onnx").multi_label
    assert not read_description(json.dumps({**content, "format": 1, "multi_label": None}), "m.onnx").multi_label
    with pytest.raises(ExportError, match="multi_label is 'yes', must be False or True"):
        read_description(json.dumps({**content, "multi_label": "yes"}), "m.onnx")


@pytest.mark.slow
def test_exported_files_answer_alike(run: Path, colors: Path, tmp_path: Path, capsys: Capture) -> None:
    pytest.importorskip("onnxruntime")
    assert main(["export", "--model", str(run / "best"), "--output", str(tmp_path / "m.onnx")]) == 0
    file = colors / "v16.mp4"
    np.testing.assert_allclose(
        Predictor(tmp_path / "m.onnx")(file).scores, Predictor(run / "best", device="cpu")(file).scores, atol=1e-5
    )
    capsys.readouterr()
    assert main(["evaluate", "--model", str(tmp_path / "m.onnx"), "--data", str(colors / "val.txt"), "-j", "0"]) == 0
    assert "mAP" in capsys.readouterr().out

"""evaluate and predict on a run; list, info and report; the console's own behavior."""

import json
from pathlib import Path

import pytest
import torch
from PIL import Image

import videozoo
from videozoo.cli import console, main
from videozoo.data import read_frames
from videozoo.data.motions import motion_classes, partner_of
from videozoo.engine import load_scores
from videozoo.training.flip_labels import describe_mirrors, mirror_labels

Capture = pytest.CaptureFixture[str]
CPU = ["--device", "cpu"]
TABLE_ROWS = ["top-1", "top-5", "mean-class", "chance", "worst", "confused", "videos", "views", "seconds"]


def test_evaluate_prints_a_table(model_name: str, videos: Path, capsys: Capture) -> None:
    assert main(["evaluate", "--model", model_name, "--data", str(videos / "val"), "--workers", "0", *CPU]) == 0
    out = capsys.readouterr().out
    assert [title for line in out.splitlines() if (title := line[:12].strip())] == TABLE_ROWS


def test_reversed_clips_score_as_their_partners(model_name: str, videos: Path, tmp_path: Path, capsys: Capture) -> None:
    """A clip of `rising` backwards is the clip of `falling` of the same name, up to the centers of even segments."""
    scores = {}
    for direction in ("forwards", "backwards"):
        flags = ["--reverse"] if direction == "backwards" else []
        argv = ["evaluate", "--model", model_name, "--data", str(videos), "--workers", "0", *CPU, *flags]
        assert main([*argv, "--output", str(tmp_path / direction)]) == 0
        result = load_scores(tmp_path / direction / "scores.safetensors").result
        rows = zip(result.labels.tolist(), result.scores.tolist(), strict=True)
        scores[direction] = {motion_classes()[label]: row for label, row in rows}
    for name in motion_classes():
        own, partner = scores["backwards"][name], scores["forwards"][partner_of(name)]
        assert own == pytest.approx(partner, abs=0.05)
    assert scores["forwards"] != scores["backwards"]
    assert "backwards" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--views", "10by3"], "--views is '10by3'; write clips x crops"),
        (["--views", "1x2"], "crops are 1 (the center), 3"),
        (["--batch-size", "0"], "--batch-size is 0"),
        (["--data", "nowhere"], "nowhere: no such file or folder"),
        (["--model", "tsm_r18"], "tsm_r18: no published weights exist"),
    ],
)
def test_evaluate_refuses(
    flags: list[str], expected: str, model_name: str, run_folder: Path, videos: Path, capsys: Capture
) -> None:
    assert main(["evaluate", "--model", model_name, "--data", str(videos / "val"), *CPU, *flags]) == 2
    error = capsys.readouterr().err
    assert expected in error
    assert error.count("videozoo: error: ") == 1


def test_evaluate_refuses_unknown_classes(model_name: str, videos: Path, tmp_path: Path, capsys: Capture) -> None:
    clip = videos / "val" / "rising" / "scene_000.mp4"
    (tmp_path / "list.csv").write_text(f"path,label\n{clip},soaring\n")
    assert main(["evaluate", "--model", model_name, "--data", str(tmp_path / "list.csv"), *CPU]) == 2
    assert "list.csv:2: unknown class 'soaring'" in capsys.readouterr().err


def test_predict_answers_the_good_files_and_names_the_broken(
    model_name: str, videos: Path, tmp_path: Path, capsys: Capture
) -> None:
    good = videos / "val" / "growing" / "scene_000.mp4"
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video at all")
    frames = tmp_path / "frames"
    frames.mkdir()
    for number, frame in enumerate(read_frames(good, range(4))):
        Image.fromarray(frame.permute(1, 2, 0).numpy()).save(frames / f"{number}.png")
    files = [str(good), str(broken), str(tmp_path / "absent.mp4"), str(frames)]
    assert main(["predict", "--model", model_name, "--topk", "2", *CPU, *files]) == 1
    captured = capsys.readouterr()
    errors = captured.err.strip().splitlines()
    assert [line.split(": ")[:3] for line in errors] == [
        ["videozoo", "error", str(broken)],
        ["videozoo", "error", str(tmp_path / "absent.mp4")],
    ]
    blocks = captured.out.strip().split("\n\n")
    assert [block.splitlines()[0] for block in blocks] == [str(good), str(frames)]
    assert all(len(block.splitlines()) == 3 for block in blocks)
    assert all(line.split()[1] in motion_classes() for block in blocks for line in block.splitlines()[1:])


def test_predict_json_is_the_models_own_answer(model_name: str, videos: Path, tmp_path: Path, capsys: Capture) -> None:
    clip = videos / "val" / "growing" / "scene_000.mp4"
    argv = ["predict", "--model", model_name, "--json", "--topk", "9", "--views", "2x3", *CPU]
    assert main([*argv, str(clip), str(tmp_path / "absent.mp4")]) == 1
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert second == {"file": str(tmp_path / "absent.mp4"), "error": "no such file or folder"}
    assert first["file"] == str(clip)
    assert sum(row["score"] for row in first["predictions"]) == pytest.approx(1, abs=1e-4)
    scores = [row["score"] for row in first["predictions"]]
    assert scores == sorted(scores, reverse=True)
    assert all(motion_classes()[row["label"]] == row["class"] for row in first["predictions"])
    argv = [
        "evaluate",
        "--model",
        model_name,
        "--views",
        "2x3",
        "--workers",
        "0",
        *CPU,
        "--output",
        str(tmp_path / "o"),
    ]
    assert main([*argv, "--data", str(videos / "val")]) == 0
    saved = load_scores(tmp_path / "o" / "scores.safetensors")
    row = next(k for k, name in enumerate(saved.names.values()) if name == "growing/scene_000.mp4")
    for answer in first["predictions"]:
        assert float(saved.result.scores[row, answer["label"]]) == pytest.approx(answer["score"], abs=1e-5)


def test_predict_without_class_names_gives_numbers(videos: Path, tmp_path: Path, capsys: Capture) -> None:
    from videozoo.engine import save_checkpoint
    from videozoo.models import model_config

    model = videozoo.create_model("tsn_r18", num_classes=3, num_frames=2)
    save_checkpoint(tmp_path / "plain", model.state_dict(), model_config(model))
    clip = str(videos / "val" / "growing" / "scene_000.mp4")
    assert main(["predict", "--model", f"local-dir:{tmp_path / 'plain'}", clip, *CPU]) == 0
    assert sorted(line.split()[1] for line in capsys.readouterr().out.splitlines()[1:]) == ["0", "1", "2"]


def test_list(capsys: Capture) -> None:
    assert main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == videozoo.list_models(), "names come first, without a head in a pipe"
    assert main(["list", "arc_*_r18", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    names = ["arc_gsm_r18", "arc_msn_r18", "arc_tsm_narrow_r18", "arc_tsm_r18", "arc_tsn_r18"]
    assert [row["name"] for row in rows] == names
    keys = {"params": 14306256, "macs": 16707809280, "frames": 8, "size": [224, 224], "weights": []}
    assert rows[3] == {"name": "arc_tsm_r18", **keys}
    assert main(["list", "mbv2"]) == 0
    assert "tsm_mbv2   2.74M   2.50  8 x 224x224  1" in capsys.readouterr().out.splitlines()
    assert main(["list", "resnext"]) == 2
    assert "no model named like 'resnext'" in capsys.readouterr().err


def test_info_of_a_3d_model_has_no_temporal_module(capsys: Capture) -> None:
    assert main(["info", "x3d_xs"]) == 0
    assert "temporal" not in capsys.readouterr().out


def test_info(model_name: str, capsys: Capture) -> None:
    assert main(["info", model_name, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    model = videozoo.create_model(model_name, pretrained=True)
    assert facts["params"] == sum(p.numel() for p in model.parameters())
    assert facts["macs"] > 0
    assert facts["class_names"] == list(motion_classes())
    assert facts["temporal"] == {"name": "tsm", "shift_div": 8, "shift_shortcut": False}
    assert facts["videos"]["input_size"] == [3, 32, 32]
    assert main(["info", model_name]) == 0
    out = capsys.readouterr().out
    assert f"{facts['params']:,}" in out
    assert f"{facts['macs'] / 1e9:.2f} GMACs" in out
    assert main(["info", "arc_tsm_r19"]) == 2
    assert "did you mean arc_tsm_r18" in capsys.readouterr().err


def test_the_report_command_prints_the_report(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    import videozoo.report as room

    rows = [{"paper": "arc", "verdict": "match"}]
    asked: list[str | None] = []
    monkeypatch.setattr(room, "paper_report", lambda paper=None: asked.append(paper) or rows)
    monkeypatch.setattr(room, "format_markdown", lambda given: f"| {given[0]['verdict']} |\n")
    assert main(["report", "--paper", "arc", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == rows
    assert main(["report"]) == 0
    assert capsys.readouterr().out == "| match |\n"
    assert asked == ["arc", None]
    assert main(["report", "--json", "--markdown"]) == 2


def test_quickstart_refuses_a_folder_in_use(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    assert main(["quickstart", "--output", str(tmp_path)]) == 2
    assert "exists; remove it, or give another folder with --output" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
    (tmp_path / "notes.txt").rename(tmp_path / "quickstart.json")
    assert main(["quickstart", "--output", str(tmp_path)]) == 2
    (tmp_path / "quickstart.json").write_text('{"seed": 1}')
    assert main(["quickstart", "--output", str(tmp_path)]) == 2
    assert "another --seed" in capsys.readouterr().err


def test_quickstart_goes_on_however_early_it_was_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Path] = []
    monkeypatch.setattr("videozoo.cli.quickstart._run", lambda output, *args: started.append(output) or 0)
    (tmp_path / ".lock").write_bytes(b"")
    (tmp_path / ".quickstart.json.17.tmp").write_text('{"se')
    for _ in range(2):
        assert main(["quickstart", "--output", str(tmp_path)]) == 0
    assert started == [tmp_path, tmp_path]
    assert [path.name for path in tmp_path.iterdir()] == ["quickstart.json"]


def test_accuracy_within_pairs() -> None:
    from videozoo.cli.quickstart import within_pairs
    from videozoo.engine import EvalResult

    names = motion_classes()
    labels = torch.arange(6)
    own = torch.eye(6)
    partners = torch.eye(6)[[names.index(partner_of(name)) for name in names]]
    for scores, expected in ((own, 1.0), (partners, 0.0), (own + partners, 0.5)):
        result = EvalResult(scores.log(), scores, labels, labels, tuple(names))
        assert within_pairs(result) == expected


def test_unexpected_errors_are_a_line_and_a_traceback_on_request(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    def work() -> int:
        raise RuntimeError("out of paper\nsecond line")

    monkeypatch.delenv("VIDEOZOO_DEBUG", raising=False)
    assert console.answer(work) == 2
    error = capsys.readouterr().err
    assert error.startswith("videozoo: error: unexpected RuntimeError: out of paper (set VIDEOZOO_DEBUG=1")
    assert len(error.splitlines()) == 1
    monkeypatch.setenv("VIDEOZOO_DEBUG", "1")
    assert console.answer(work) == 2
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize("layer", [torch.nn.Conv3d(1, 1, (1, 2, 2)), torch.nn.MaxPool3d((1, 2, 2))])
def test_maps_that_are_too_small(layer: torch.nn.Module, capsys: Capture) -> None:
    assert console.answer(lambda: layer(torch.zeros(1, 1, 4, 1, 1)).numel()) == 2
    assert "error: the frames are too small for this model, or too few" in capsys.readouterr().err


def test_ctrl_c_is_130(capsys: Capture) -> None:
    def work() -> int:
        raise console.Interrupted("finished epochs are kept")

    assert console.answer(work) == 130
    assert capsys.readouterr().err == "videozoo: interrupted: finished epochs are kept\n"


def test_mirror_labels() -> None:
    names = ["turn_left", "turn_right", "wave", "Look Right", "anticlockwise", "Clockwise", "leftover", "copyright"]
    assert mirror_labels(names) == {0: 1, 1: 0, 3: None, 4: 5, 5: 4}
    both = ["Pushing from left to right", "Pushing from right to left"]
    assert mirror_labels(both) == {0: 1, 1: 0}
    text = describe_mirrors(names, mirror_labels(names))
    assert "turn_left <-> turn_right" in text
    assert "never flipped: Look Right" in text
    assert "no class name has left, right" in describe_mirrors(["a", "b"], {})


@pytest.mark.slow
def test_quickstart_continues_after_an_interruption(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    from videozoo.cli import quickstart

    for name, value in {"CLIPS_PER_CLASS": 1, "VAL_CLIPS_PER_CLASS": 1, "SIZE": 32}.items():
        monkeypatch.setattr(quickstart, name, value)
    tiny = "--epochs 1 --batch-size 6 --img-size 32 --num-frames 4 --workers 0"
    monkeypatch.setattr(quickstart, "TRAINING", tiny)
    output = tmp_path / "first steps"
    argv = ["quickstart", "--output", str(output), *CPU]

    def stop(*args: object, **options: object) -> None:
        raise KeyboardInterrupt

    for module, name in (("videozoo.data.motions", "write_mp4"), ("videozoo.cli.quickstart", "_evaluate")):
        with monkeypatch.context() as patch:
            patch.setattr(f"{module}.{name}", stop)
            assert main(argv) == 130
        assert "run the same command again to continue" in capsys.readouterr().err
        assert (output / "videos").exists() == (name == "_evaluate")
    weights = output / "tsn_r18/best/model.safetensors"
    trained = weights.stat().st_mtime_ns

    assert main(argv) == 0
    assert weights.stat().st_mtime_ns == trained
    out = capsys.readouterr().out
    assert "$ videozoo predict --model test_arc_tsm.motions" in out
    rows = {line.split()[0]: line.split()[1:] for line in out.splitlines() if line.startswith(("tsn_r18 ", "arc_"))}
    assert list(rows) == ["tsn_r18", "arc_tsm_r18"]
    assert "$ videozoo finetune --model arc_tsm_r18 --data '" in out
    for name in rows:
        for file in ("curves.png", "confusion.png", "best/model.safetensors"):
            assert (output / name / file).is_file()
        assert str(output / name / "curves.png") in out
    assert len(list(output.glob("videos/*/*/*.mp4"))) == 12


def test_predict_notes_a_still_picture(model_name: str, tmp_path: Path, capsys: Capture) -> None:
    photo = tmp_path / "photo.jpg"
    Image.new("RGB", (64, 48)).save(photo)
    assert main(["predict", "--model", model_name, "--json", *CPU, str(photo)]) == 0
    captured = capsys.readouterr()
    assert "photo.jpg: it has one frame only, like a still picture" in " ".join(captured.err.split())
    assert json.loads(captured.out)["note"] == "it has one frame only, like a still picture"

"""``videozoo explain`` and ``videozoo confusion``: pictures written, errors of one line."""

import io
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from PIL import Image

from videozoo.cli import main
from videozoo.data.motions import write_motions
from videozoo.engine import EvalResult, Scores, save_scores
from videozoo.explain import (
    FilmRow,
    NormPairs,
    TemporalKernels,
    animate_cam,
    overlay_maps,
    plot_attention,
    plot_cam,
    plot_kernels,
    plot_norms,
    plot_states,
    read_clip,
    write_animation,
)
from videozoo.explain.arc_states import ArcStates


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = write_motions(tmp_path_factory.mktemp("motions"), clips_per_class=1, val_clips_per_class=1, size=48)
    return root / "val" / "rising" / "scene_000.mp4"


def explain(*argv: object) -> int:
    return main(["explain", "--device", "cpu", *map(str, argv)])


def one_error(capsys: pytest.CaptureFixture[str]) -> str:
    """The only line on stderr."""
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("videozoo: error: ")
    return lines[0]


def test_class_maps_of_two_models(video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ("--model", "test_arc_tsm", "--compare", "test_dnr_tsn", "--class", "rising", "--show", "cam")
    assert explain(*argv, video, "--output", tmp_path / "out") == 0
    told = capsys.readouterr().out
    assert "test_arc_tsm: rising" in told
    assert "test_dnr_tsn: " in told
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["cam.gif", "cam.mp4", "cam.png"]
    sizes = set()
    for name in ("cam.gif", "cam.mp4"):
        with av.open(str(tmp_path / "out" / name)) as container:
            frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        assert len(frames) == 8
        sizes.add(frames[0].shape)
    assert len(sizes) == 1
    height, width, _ = sizes.pop()
    assert width > 3 * 0.9 * (height - 40)  # three panels side by side
    with Image.open(tmp_path / "out" / "cam.png") as picture:
        assert picture.width > picture.height
        assert len(np.unique(np.asarray(picture.convert("L")))) > 50


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "files"),
    [("test_arc_tsm", ["states.png", "attention.png"]), ("test_dnr_tsn", ["norms.png"])],
)
def test_everything_a_model_has_is_drawn(model: str, files: list[str], video: Path, tmp_path: Path) -> None:
    assert explain("--model", model, video, "--output", tmp_path) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"cam.gif", "cam.mp4", "cam.png", *files}


def test_bad_input_is_one_line(video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output, arc = tmp_path / "out", ("--model", "test_arc_tsm")
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"this is no video at all" * 10)
    file = tmp_path / "file"
    file.write_text("")
    cases: list[tuple[tuple[object, ...], str]] = [
        ((*arc, video, "--output", output, "--stage", "res9"), "no stage 'res9'; choose 1 to 4"),
        ((*arc, video, "--output", output, "--class", "rissing"), "no class 'rissing'"),
        ((*arc, video, "--output", output, "--class", "6"), "a number from 0 to 5"),
        ((*arc, video, "--output", output, "--show", "cam,state"), "choose from cam, states"),
        ((*arc, video, "--output", output, "--layer", "layer9"), "no layer 'layer9'"),
        (("--model", "test_dnr_tsn", video, "--output", output, "--show", "states"), "no layer of ARC"),
        (
            ("--model", "test_dnr_tsn", video, "--output", output, "--layer", "layer2.0.conv1"),
            "no states are drawn here",
        ),
        ((*arc, video, "--output", output, "--show", "states", "--compare", "test_dnr_tsn"), "add cam"),
        (("--model", "tsm_r18", video, "--output", output), "tsm_r18"),
        ((*arc, broken, "--output", output), str(broken)),
        ((*arc, tmp_path / "absent.mp4", "--output", output), "no such file"),
        ((*arc, video, "--output", file), "is a file; --output needs a folder"),
        ((*arc, video, "--output", file / "below"), "cannot be made"),
    ]
    for argv, text in cases:
        assert explain(*argv) == 2, argv
        assert text in one_error(capsys)
    assert not output.exists() or not any(output.iterdir())


def test_a_read_clip_is_what_a_test_of_one_view_takes(video: Path) -> None:
    import videozoo
    from videozoo.data import VideoDataset, VideoRecord, create_transform, resolve_data_config, sampling_options

    model = videozoo.create_model("test_arc_tsm", pretrained=True)
    config = resolve_data_config(model, test_num_clips=1, test_num_crops=1)
    dataset = VideoDataset([VideoRecord(video, 0, "here")], create_transform(**config), **sampling_options(config))
    clip = read_clip(video, model)
    assert torch.equal(clip.video, dataset[0]["video"])
    assert len(clip.indices) == 8
    assert list(clip.indices) == sorted(clip.indices)
    mean, std = (torch.tensor(config[key]) for key in ("mean", "std"))
    again = (clip.frames / 255 - mean) / std
    torch.testing.assert_close(again.permute(3, 0, 1, 2)[None], clip.video, atol=1e-5, rtol=1e-4)


def test_heat_is_laid_where_the_map_is_high() -> None:
    frames = torch.full((2, 32, 32, 3), 128, dtype=torch.uint8)
    maps = torch.zeros(2, 4, 4)
    maps[1, 0, 0] = 1
    mixed = overlay_maps(frames, maps)
    assert mixed.shape == frames.shape
    red, blue = mixed[1, 2, 2, 0].int(), mixed[1, 2, 2, 2].int()
    assert red - blue > 60
    assert (mixed[0].int() - 128).abs().max() < 20
    assert torch.equal(mixed[1, -8:, -8:], mixed[0, -8:, -8:])


def test_moving_pictures_keep_the_order_of_frames(tmp_path: Path) -> None:
    frames = torch.stack([torch.full((33, 47, 3), 40 * t, dtype=torch.uint8) for t in range(6)])
    for name in ("a.mp4", "a.gif"):
        write_animation(tmp_path / name, frames)
        with av.open(str(tmp_path / name)) as container:
            values = [int(frame.to_ndarray(format="rgb24").mean()) for frame in container.decode(video=0)]
        assert [round(value / 40) for value in values] == [0, 1, 2, 3, 4, 5]
    with pytest.raises(ValueError, match=r"a\.webm must end in one of \.mp4, \.gif"):
        write_animation(tmp_path / "a.webm", frames)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.gif", "a.mp4"]


def test_an_unwritable_folder_is_said_and_nothing_is_left(tmp_path: Path) -> None:
    from videozoo.engine import CheckpointError

    frames = torch.zeros(2, 16, 16, 3, dtype=torch.uint8)
    row = FilmRow("net", "class", frames, torch.zeros(2, 4, 4))
    with pytest.raises(CheckpointError, match="could not be written"):
        animate_cam(tmp_path / "absent" / "cam.gif", [row])
    (tmp_path / "cam.png").mkdir()
    with pytest.raises(CheckpointError, match="could not be written"):
        plot_cam(tmp_path / "cam.png", [row], ["1", "2"])
    assert [path.name for path in tmp_path.iterdir()] == ["cam.png"]


def test_pictures_that_cannot_be_drawn_say_why(tmp_path: Path) -> None:
    frames = torch.zeros(2, 16, 16, 3, dtype=torch.uint8)
    row = FilmRow("net", "class", frames, torch.zeros(2, 4, 4))
    with pytest.raises(ValueError, match=r"lengths \[2, 3\]"):
        plot_cam(tmp_path / "x.png", [row], ["1", "2", "3"])
    trace = ArcStates("layer", torch.zeros(1, 4, 3, 5, 5), None)
    with pytest.raises(ValueError, match="for 2 frames"):
        plot_states(tmp_path / "x.png", trace, frames, ["1", "2"])
    with pytest.raises(ValueError, match="none of the layers has backward attention"):
        plot_attention(tmp_path / "x.png", [trace])
    empty: list[NormPairs] = []
    with pytest.raises(ValueError, match="no norms"):
        plot_norms(tmp_path / "x.png", empty)
    none: list[TemporalKernels] = []
    with pytest.raises(ValueError, match="no kernels"):
        plot_kernels(tmp_path / "x.png", none)


def make_scores(path: Path, model: str, hits: list[int], names: tuple[str, ...] = ("a", "b", "c")) -> Path:
    """An evaluation of six videos, two of each class; ``hits`` are the predicted classes."""
    labels = torch.tensor([0, 0, 1, 1, 2, 2])
    first, second = (torch.nn.functional.one_hot(of, len(names)) for of in (torch.tensor(hits), labels))
    logits = 5.0 * first + second  # the true class comes second
    result = EvalResult(logits.log_softmax(1), logits, labels, torch.arange(6), class_names=names)
    path.mkdir()
    save_scores(path / "scores.safetensors", Scores(result, {k: f"{k}.mp4" for k in range(6)}, {"model": model}))
    return path


def confusion(*argv: object) -> int:
    return main(["confusion", *map(str, argv)])


def test_confusion_of_two_evaluations(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = make_scores(tmp_path / "one", "local-dir:runs/tsm/best", [0, 1, 1, 2, 2, 2])
    two = make_scores(tmp_path / "two", "local-dir:runs/arc/best", [0, 0, 1, 1, 2, 0])
    groups = tmp_path / "groups.yaml"
    groups.write_text("first two: [a, b]\nall/of them: [a, b, c]\n")
    output = tmp_path / "out"
    assert confusion(one, two / "scores.safetensors", "--groups", groups, "--output", output) == 0
    told = capsys.readouterr().out
    assert "first two: 4 videos of 2 classes" in told
    assert "tsm" in told
    assert "right 50.0%, within group 75.0%" in told
    names = ["all_of_them.csv", "all_of_them.png", "first_two.csv", "first_two.png"]
    assert sorted(path.name for path in output.iterdir()) == names
    rows = (output / "first_two.csv").read_text().splitlines()
    assert rows == [
        "evaluation,true class,a,b,other classes",
        "tsm,a,1,1,0",
        "tsm,b,0,1,1",
        "arc,a,2,0,0",
        "arc,b,0,2,0",
    ]
    with Image.open(io.BytesIO((output / "first_two.png").read_bytes())) as picture:
        assert picture.width > 400


def test_confusion_without_groups(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = make_scores(tmp_path / "one", "x", [0, 0, 1, 2, 2, 2])
    two = make_scores(tmp_path / "two", "y", [0, 0, 1, 2, 2, 2], ("c", "b", "a"))
    assert confusion(one, two, "--output", tmp_path / "out") == 0
    assert (
        "all classes: 6 videos of 3 classes\n  x                              right 83.3%\n" in capsys.readouterr().out
    )
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["x.csv", "x.png", "y.csv", "y.png"]
    rows = (tmp_path / "out" / "y.csv").read_text().splitlines()
    assert rows == ["true class,a,b,c", "a,2,0,0", "b,1,1,0", "c,0,0,2"]


def test_confusion_of_classes_in_another_order(tmp_path: Path) -> None:
    one = make_scores(tmp_path / "one", "x", [0, 0, 1, 2, 2, 2])
    two = make_scores(tmp_path / "two", "y", [0, 0, 1, 2, 2, 2], ("c", "b", "a"))
    (tmp_path / "g.yaml").write_text("g: [a, b]\n")
    assert confusion(one, two, "--groups", tmp_path / "g.yaml", "--output", tmp_path / "out") == 0
    rows = (tmp_path / "out" / "g.csv").read_text().splitlines()[1:]
    assert rows == ["x,a,2,0,0", "x,b,0,1,1", "y,a,2,0,0", "y,b,1,1,0"]


def test_confusion_says_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = make_scores(tmp_path / "one", "x", [0, 1, 1, 2, 2, 2])
    other = make_scores(tmp_path / "other", "y", [0, 1, 1, 2, 2, 2], ("a", "b", "d"))
    empty = tmp_path / "empty"
    empty.mkdir()
    groups = tmp_path / "groups.json"
    groups.write_text('{"g": ["a", "b"]}')
    bad: Any = tmp_path / "bad.json"
    bad.write_text('{"g": ["a", "bb"]}')
    output = tmp_path / "out"
    cases = [
        ((one, other, "--groups", groups), "not all evaluations have the classes 'c', 'd'"),
        ((empty, "--groups", groups), "no scores.safetensors in this folder; make it with videozoo evaluate"),
        ((tmp_path / "absent", "--groups", groups), "no such file"),
        ((one, "--groups", tmp_path / "absent.yaml"), "no such file"),
        ((groups, "--groups", groups), "damaged, or not scores"),
    ]
    for argv, text in cases:
        assert confusion(*argv, "--output", output) == 2
        assert text in one_error(capsys)
    assert confusion(one, "--groups", bad, "--output", output) == 2
    assert "unknown class 'bb'" in capsys.readouterr().err
    assert confusion(one, "--groups", groups, "--output", bad) == 2
    assert "is a file; --output needs a folder" in one_error(capsys)
    assert not output.exists()


def test_evaluations_of_one_model_have_distinct_titles(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders = [make_scores(tmp_path / name, "same", [0, 0, 1, 1, 2, 2]) for name in ("before", "after")]
    groups = tmp_path / "groups.json"
    groups.write_text('{"g": ["a", "b"]}')
    assert confusion(*folders, "--groups", groups, "--output", tmp_path / "out") == 0
    told = capsys.readouterr().out
    assert "before" in told
    assert "after" in told

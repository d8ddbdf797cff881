"""Occlusion maps: they find the place and the moment that a model looks at, and take exported files."""

import argparse
from pathlib import Path

import pytest
import torch
from explain_tiny import make
from torch import Tensor, nn

from videozoo.cli import main
from videozoo.cli.explain import Explained, FrameNames
from videozoo.data.motions import write_motions
from videozoo.explain import occlusion_maps
from videozoo.explain.occlusion import count_forwards
from videozoo.video.reader import VideoReader

OCCLUSION = {f"occlusion.{end}" for end in ("png", "mp4", "gif")}


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> str:
    root = write_motions(tmp_path_factory.mktemp("motions"), clips_per_class=1, val_clips_per_class=1, size=48)
    return str(root / "val" / "rising" / "scene_000.mp4")


class Spot(nn.Module):
    """A model that looks at one patch of one frame, and counts the clips that it sees."""

    def __init__(self, frame: int, row: int, column: int) -> None:
        super().__init__()
        self.place, self.seen = (frame, row, column), [0]

    def forward(self, x: Tensor) -> Tensor:
        self.seen[0] += len(x)
        frame, row, column = self.place
        score = x[:, 0, frame, row * 10 : row * 10 + 10, column * 10 : column * 10 + 10].mean((1, 2))
        return torch.stack([score, -score], 1)

    def __deepcopy__(self, memo: object) -> "Spot":
        return self


@pytest.mark.parametrize(("frames", "moments"), [(4, [0, 1, 2, 3]), (16, [0, 2, 4, 6, 8, 10, 12, 14])])
def test_the_patch_that_decides_is_found(frames: int, moments: list[int]) -> None:
    spot = Spot(frame=frames // 2, row=1, column=3)
    found = occlusion_maps(spot, torch.ones(2, 3, frames, 50, 50))
    assert found.maps.shape == (2, len(moments), 5, 5)
    assert list(found.frames) == moments
    assert spot.seen == [2 * count_forwards(frames)]
    assert (found.maps > 0).sum() == 2
    assert (found.maps[:, len(moments) // 2, 1, 3] == 1).all()
    torch.testing.assert_close(found.peaks, torch.full((2,), torch.tensor([1.0, -1.0]).softmax(0)[0].item() - 0.5))


def test_what_lowers_another_class_is_not_shown() -> None:
    found = occlusion_maps(Spot(0, 0, 0), torch.ones(1, 3, 2, 50, 50), classes=1)
    assert found.classes.tolist() == [1]
    assert not found.maps.any()
    with pytest.raises(ValueError, match="occlusion_maps: classes is 7"):
        occlusion_maps(Spot(0, 0, 0), torch.ones(1, 3, 2, 50, 50), classes=7)


def test_the_model_keeps_its_mode() -> None:
    model = make().train()
    x = torch.randn(1, 3, 4, 32, 32)
    found = occlusion_maps(model, x)
    assert model.training
    torch.testing.assert_close(found.logits, model.eval()(x).detach())


@pytest.mark.slow
def test_an_exported_file_is_explained(video: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    file = str(tmp_path / "m.onnx")
    assert main(["export", "--model", "test_arc_tsm", "--output", file]) == 0
    assert main(["explain", "--model", file, video, "--output", str(tmp_path / "out")]) == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == OCCLUSION


def test_of_an_exported_file_only_occlusion_is_drawn(
    video: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(name: str) -> nn.Module:
        if not name.endswith(".onnx"):
            return make()
        net = Spot(1, 1, 1)
        net.num_classes, net.num_frames = 2, 4  # type: ignore[assignment]
        net.pretrained_cfg = {"input_size": (3, 48, 48), "num_frames": 4}  # type: ignore[assignment]
        return net

    monkeypatch.setattr("videozoo.inference.network.load_network", load)
    argv = ["explain", video, "--output", str(tmp_path / "out"), "--model"]
    assert main([*argv, "m.onnx"]) == 0
    assert "occlusion: 101 clips go through the model" in capsys.readouterr().err
    assert {path.name for path in (tmp_path / "out").iterdir()} == OCCLUSION
    for more, refused in (
        (["--show", "occlusion,states"], "--show states"),
        (["--stage", "res3"], "--stage"),
        (["--layer", "layer2.0.conv1"], "--layer"),
    ):
        assert main([*argv, "m.onnx", *more]) == 2
        assert f"{refused} has no part in --model m.onnx: an ONNX file has no layers" in capsys.readouterr().err
    assert main([*argv, "a_model", "--compare", "m.onnx"]) == 2
    assert "--show cam has no part in --compare m.onnx" in capsys.readouterr().err


def test_frames_are_named_by_their_seconds(video: str, tmp_path: Path) -> None:
    with VideoReader(video) as reader:
        names = FrameNames(Path(video), reader.num_frames)
        assert names.of([0, 6]) == ["0.00 s\nframe 0", f"{6 / reader.fps:.2f} s\nframe 6"]
    assert FrameNames(tmp_path, 3).of([2]) == ["frame 2"], "a folder has no clock"


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("videos/rising/a.mp4", "a.mp4 (true class: rising, by its folder)"),
        ("videos/other/a.mp4", "a.mp4"),
    ],
)
def test_the_true_class_is_that_of_the_folder(file: str, text: str) -> None:
    explained = object.__new__(Explained)
    explained.args = argparse.Namespace(file=file)
    explained.model = nn.Module()
    explained.model.pretrained_cfg = {"label_names": ["falling", "rising"]}
    assert explained._about_file() == text

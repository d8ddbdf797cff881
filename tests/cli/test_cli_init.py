"""finetune --init-from: an augmented model starts from its base."""

from pathlib import Path

import pytest
import torch

import videozoo
from videozoo.cli import main

Capture = pytest.CaptureFixture[str]
TINY = ["--img-size", "32", "--num-frames", "4", "--batch-size", "6", "--workers", "0", "--device", "cpu"]


def _argv(model: str, videos: Path, output: Path, *flags: str) -> list[str]:
    return ["finetune", "--model", model, "--data", str(videos), "--output", str(output), *TINY, *flags]


def test_arc_is_fine_tuned_from_the_weights_of_its_base(
    model_name: str, videos: Path, tmp_path: Path, capsys: Capture
) -> None:
    flags = ["--init-from", model_name, "--epochs", "1", "--lr", "1e-12", "--warmup-lr", "0", "--freeze-bn"]
    assert main(_argv("arc_tsm_r18", videos, tmp_path / "run", *flags)) == 0
    said = capsys.readouterr().err
    assert f"starting from its base {model_name}" in said
    assert "122 tensors taken over; new: " in said
    net = videozoo.create_model(f"local-dir:{tmp_path / 'run' / 'best'}", pretrained=True)
    base = videozoo.create_model(model_name, pretrained=True)
    own, given = net.state_dict(), base.state_dict()
    for key in given:  # next to nothing is learnt at such a rate
        torch.testing.assert_close(own[key], given[key], rtol=0, atol=1e-9)


def test_a_wrong_base_is_refused_in_one_line(model_name: str, videos: Path, tmp_path: Path, capsys: Capture) -> None:
    assert main(_argv("arc_tsm_r50", videos, tmp_path / "run", "--init-from", model_name)) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("videozoo: error: ")
    assert "is TSM on resnet18, no base of arc_tsm_r50, which is TSM+ARC on resnet50" in error
    assert not (tmp_path / "run").exists()

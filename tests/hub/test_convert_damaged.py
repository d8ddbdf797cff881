"""Damaged checkpoints of other code bases: the error names the source and what is wrong."""

from pathlib import Path

import pytest
import torch

from videozoo import create_model
from videozoo.hub import WeightsError
from videozoo.hub.convert.base import ConvertError
from videozoo.hub.convert.checkpoint import convert_checkpoint
from videozoo.models.convert import convert_file


@pytest.mark.parametrize("shape", [(), (7,)])
def test_classifier_of_other_dimensions(shape: tuple[int, ...]) -> None:
    state = {
        "base.0.conv_s.weight": torch.empty(64, 3, 1, 7, 7),
        "base.15.branch0.0.conv.weight": torch.empty(384, 832, 1, 1, 1),
        "fc.0.weight": torch.empty(shape),
    }
    with pytest.raises(ConvertError, match=r"s3d: a tensor that shows the structure .* get the checkpoint again"):
        convert_checkpoint(state)


def test_weights_that_are_not_finite(tmp_path: Path) -> None:
    state = create_model("tsm_r18", num_classes=2).state_dict()
    state["backbone.layer1.0.conv1.weight"][0, 0, 0, 0] = torch.nan
    torch.save(state, tmp_path / "mine.pth")
    with pytest.raises(WeightsError, match=r"1 tensors are not finite \(backbone\.layer1\.0\.conv1\.weight\)"):
        convert_file(tmp_path / "mine.pth", name="tsm_r18")


def test_weights_of_videozoo_without_a_name(tmp_path: Path) -> None:
    torch.save({"backbone.conv1.weight": torch.zeros(1), "fc.weight": torch.zeros(1)}, tmp_path / "mine.pth")
    with pytest.raises(WeightsError, match="keys of a videozoo model: give its name, --model NAME"):
        convert_file(tmp_path / "mine.pth")
    with pytest.raises(WeightsError, match="keys of a videozoo model, but not of tsm_r18"):
        convert_file(tmp_path / "mine.pth", name="tsm_r18")

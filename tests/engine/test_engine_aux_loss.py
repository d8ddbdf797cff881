"""Training with an auxiliary head: its loss is added with its weight, in one process."""

from pathlib import Path
from typing import Any

import pytest
import torch
from engine_tiny import SeveralClips, TinyNet, run, train_loader
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.utils.data import DataLoader


class WithAux(TinyNet):
    """A model with two classifiers, as a ``VideoNet`` with TPN has them."""

    aux_weight = 0.25

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.aux = nn.Linear(8, 3)

    def forward(self, x: Tensor, with_aux: bool = False) -> Any:
        features = self.norm(self.conv(x)).relu().mean(dim=(2, 3, 4))
        logits = self.head(features * self.scale.mean(dim=1))
        return (logits, self.aux(features)) if with_aux else logits


def net(**kwargs: Any) -> WithAux:
    torch.manual_seed(0)
    return WithAux(**kwargs)


def test_loss_is_added_with_its_weight(tmp_path: Path) -> None:
    """One step of plain SGD on all clips: the weights move by the gradient of both losses."""
    loader = train_loader(6, 6, jitter=0.0)
    trained, expected = net(norm=False), net(norm=False)
    batch = next(iter(DataLoader(loader.dataset, batch_size=6)))
    logits, aux = expected(batch["video"], with_aux=True)
    loss = nn.functional.cross_entropy(logits, batch["label"])
    (loss + 0.25 * nn.functional.cross_entropy(aux, batch["label"])).backward()
    options = {"opt": "sgd", "momentum": 0.0, "weight_decay": 0.0, "warmup_epochs": 0, "epochs": 1, "lr": 0.1}
    result = run(tmp_path / "run", net=trained, train=loader, smoothing=0.0, **options)
    for name, parameter in expected.named_parameters():
        moved = parameter - 0.1 * parameter.grad
        torch.testing.assert_close(trained.get_parameter(name), moved, rtol=1e-4, atol=1e-6)
    assert result.history[0].train_loss > loss.item()


@pytest.mark.parametrize("settings", [{"grad_accum_steps": 2}, {"smoothing": 0.1}, {"bce_loss": True}])
def test_other_losses_and_accumulation(tmp_path: Path, settings: dict[str, Any]) -> None:
    model = net()
    before = model.aux.weight.detach().clone()
    run(tmp_path / "run", net=model, epochs=1, **settings)
    assert not torch.equal(model.aux.weight, before)
    assert "aux.weight" in load_file(tmp_path / "run/last/model.safetensors")


def test_several_classes_a_video(tmp_path: Path) -> None:
    model = net()
    before = model.aux.weight.detach().clone()
    data = [DataLoader(SeveralClips(12, views), batch_size=4) for views in (0, 1)]
    run(tmp_path / "run", net=model, train=data[0], val=data[1], epochs=1, multi_label=True, eval_metric="map")
    assert not torch.equal(model.aux.weight, before)
    assert isinstance(model(torch.zeros(1, 3, 4, 6, 6)), Tensor)

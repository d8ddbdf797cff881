"""Logits in training, with those of an auxiliary head where the model has one."""

from typing import Any

from torch import Tensor, nn

__all__ = ["training_logits"]


def training_logits(model: nn.Module, net: Any, video: Tensor) -> list[tuple[Tensor, float]]:
    """Return the logits of a model in training, each with the weight of its loss: those of the classifier first.

    A model with a positive ``aux_weight``, as `VideoNet` has with TPN, gives two logits to ``with_aux=True``.

    Args:
        model: what accelerate made of the model.
        net: the model.
        video: the input.
    """
    weight = getattr(net, "aux_weight", 0.0)
    if not isinstance(weight, float) or weight <= 0:
        return [(model(video), 1.0)]
    logits, aux = model(video, with_aux=True)
    return [(logits, 1.0), (aux, weight)]

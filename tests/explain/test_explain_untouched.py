"""An explained model is left as it was, whatever happens, and other threads may use it meanwhile."""

import threading
from typing import Any

import pytest
import torch
from explain_tiny import make
from helpers import clips
from torch import Tensor

from videozoo import ARC, DNR, TSM
from videozoo.explain import grad_cam
from videozoo.explain.capture import private_copy


def state_of(model: Any) -> dict[str, Any]:
    """Everything that a look inside might leave behind."""
    return {
        "modes": [module.training for module in model.modules()],
        "hooks": [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules()],
        "attributes": [sorted(module.__dict__) for module in model.modules()],
        "needs": [parameter.requires_grad for parameter in model.parameters()],
        "gradients": [parameter.grad for parameter in model.parameters()],
        "tensors": {name: value.clone() for name, value in model.state_dict().items()},
    }


def same(before: dict[str, Any], after: dict[str, Any]) -> bool:
    tensors, others = before.pop("tensors"), after.pop("tensors")
    return before == after and all(torch.equal(tensors[name], others[name]) for name in tensors)


@pytest.mark.parametrize("is_training", [False, True])
def test_the_model_is_left_as_it_was(is_training: bool) -> None:
    model = make(TSM(), (ARC(), DNR())).train(is_training)
    x = clips(2, 4, 48)
    before = state_of(model)
    found = grad_cam(model, x)
    assert same(before, state_of(model))
    with torch.no_grad():
        torch.testing.assert_close(found.logits, model.eval()(x), atol=1e-5, rtol=1e-4)


def test_an_error_in_the_middle_leaves_nothing_behind() -> None:
    model = make(TSM(), (ARC(),))
    x = clips(1, 4, 48)
    with torch.no_grad():
        plain = model(x)
    before = state_of(model)

    def fail(_: Tensor) -> Tensor:
        raise RuntimeError("in the middle")

    model.backbone.layer4[0].forward = fail
    with pytest.raises(RuntimeError, match="in the middle"):
        grad_cam(model, x)
    del model.backbone.layer4[0].forward
    assert same(before, state_of(model))
    with torch.no_grad():
        assert torch.equal(model(x), plain)


def test_a_copy_shares_the_weights() -> None:
    model = make(TSM(), (DNR(),))
    other = private_copy(model)
    pairs = list(zip(model.state_dict().values(), other.state_dict().values(), strict=True))
    assert all(a.data_ptr() == b.data_ptr() for a, b in pairs)
    assert not any(parameter.requires_grad for parameter in other.parameters())


def test_gradient_checkpointing_does_not_hide_a_stage() -> None:
    model = make(TSM())
    x = clips(1, 4, 48)
    plain = grad_cam(model, x, stage=2)
    model.set_grad_checkpointing()
    assert torch.equal(grad_cam(model, x, stage=2).maps, plain.maps)
    assert model.backbone.grad_checkpointing


def test_threads_do_not_see_each_other() -> None:
    model = make(TSM(), (ARC(), DNR()))
    x = clips(2, 4, 48)
    with torch.no_grad():
        plain = model(x)
    maps = grad_cam(model, x, classes=0).maps
    wrong: list[str] = []

    def explain() -> None:
        if not torch.equal(grad_cam(model, x, classes=0).maps, maps):
            wrong.append("maps")

    def answer() -> None:
        with torch.no_grad():
            if not torch.equal(model(x), plain):
                wrong.append("logits")

    threads = [threading.Thread(target=work) for work in (explain, answer) * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong

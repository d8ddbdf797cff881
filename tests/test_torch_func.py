"""Tests of ``torch.func`` transforms against loops over clips, for all parts."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from helpers import clips, gradients, randomize, small_video_net
from torch import Tensor
from torch.autograd import forward_ad
from torch.func import functional_call, grad, hessian, jvp, vmap

from videozoo import ARC, DNR, TPN, TSM, TSN, VideoNet, fuse
from videozoo.layers import MotionSqueeze
from videozoo.temporal import MSN, TEMPORAL

CASES: dict[str, tuple[Any, ...]] = {
    **{name: (kind(),) for name, kind in TEMPORAL.items()},
    "msn near": (MSN(reach=1),),
    "arc": (TSN(), (ARC(),)),
    "arc on tsm": (TSM(), (ARC(memory="recompute"),)),
    "arc gru": (TSN(), (ARC(attention_layer="gru"),)),
    "tpn": (TSM(), (TPN(aux_weight=0.0),)),
    "dnr": (TSN(), (DNR(ct_group_frames=2),)),
    "dnr on tsm": (TSM(), (DNR(ct_group_frames=1, bidirectional=True, keep_affine=True),)),
}
every_case = pytest.mark.parametrize("case", CASES)


def make(case: str) -> VideoNet:
    return randomize(small_video_net(*CASES[case])).double().eval()  # type: ignore[return-value]


def batch(net: VideoNet, count: int = 2) -> tuple[Tensor, Tensor]:
    return clips(count, net.num_frames, 32).double(), torch.arange(count)


def close(got: Tensor, want: Tensor) -> None:
    assert got.shape == want.shape
    assert (got - want).abs().max() <= 1e-8 * want.abs().max() + 1e-12


@every_case
def test_gradients_of_each_clip_equal_the_loop(case: str) -> None:
    net = make(case)
    x, labels = batch(net)

    def loss(parameters: dict[str, Tensor], clip: Tensor, label: Tensor) -> Tensor:
        return F.cross_entropy(functional_call(net, parameters, (clip[None],)), label[None])

    parameters = {name: p.detach() for name, p in net.named_parameters()}
    got = vmap(grad(loss), in_dims=(None, 0, 0))(parameters, x, labels)
    for b in range(len(x)):
        net.zero_grad()
        F.cross_entropy(net(x[b : b + 1]), labels[b : b + 1]).backward()
        want = gradients(net)
        assert set(want) == set(got)
        for name, row in got.items():
            close(row[b], want[name])


@every_case
def test_directional_derivatives_equal_the_gradients(case: str) -> None:
    net = make(case)
    x, _ = batch(net)
    direction = torch.randn_like(x)
    y, change = jvp(net, (x,), (direction,))
    leaf = x.clone().requires_grad_()
    out = net(leaf)
    close(y, out)
    weights = torch.randn_like(out)
    (of_x,) = torch.autograd.grad(out, leaf, weights)
    close((weights * change).sum(), (of_x * direction).sum())
    with forward_ad.dual_level():
        dual = net(forward_ad.make_dual(x, direction))
        close(forward_ad.unpack_dual(dual).tangent, change)


def test_gradient_in_training() -> None:
    """Without vmap, norms take the statistics of the batch."""
    net = make("dnr").train()
    x, labels = batch(net)
    parameters = {name: p.detach() for name, p in net.named_parameters()}
    buffers = {name: b.clone() for name, b in net.named_buffers()}

    def loss(parameters: dict[str, Tensor], buffers: dict[str, Tensor]) -> Tensor:
        return F.cross_entropy(functional_call(net, (parameters, buffers), (x,)), labels)

    got = grad(loss)(parameters, buffers)
    F.cross_entropy(net(x), labels).backward()
    for name, want in gradients(net).items():
        close(got[name], want)


def test_second_derivatives_of_the_motion() -> None:
    layer = MotionSqueeze(2, 2, reach=1, squeezed=2).double().eval()
    x = torch.rand(2, 2, 2, 2, dtype=torch.float64)
    assert hessian(lambda x: layer(x).square().sum())(x).isfinite().all()


@pytest.mark.parametrize("case", ["tsm", "arc"])
def test_fused_models_differentiate_their_input(case: str) -> None:
    net = make(case)
    x, _ = batch(net)
    fused = fuse(net.float())
    got, change = jvp(fused, (x.float(),), (torch.ones_like(x).float(),))
    want, expected = jvp(net, (x.float(),), (torch.ones_like(x).float(),))
    assert (got - want).abs().max() < 1e-4 * want.abs().max()
    assert (change - expected).abs().max() < 1e-3 * expected.abs().max()
    batched = vmap(lambda clip: fused(clip[None])[0])(x.float())
    assert (batched - want).abs().max() < 1e-4 * want.abs().max()

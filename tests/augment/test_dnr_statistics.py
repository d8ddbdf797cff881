"""Tests of the batch statistics of the cross-temporal norm in training."""

import copy
import json
from typing import Any

import pytest
import torch
from helpers import clips, count_calls, gradients, randomize, shared_folder, small_resnet
from reference_dnr import apply_pairs, cross_temporal, group_rows, under
from torch import Tensor, nn

import videozoo
from videozoo import DNR, TSN
from videozoo.augment import CrossTemporalNorm2d, CrossTemporalNorm3d
from videozoo.hub.convert.dnr import convert
from videozoo.layers import RelayCell
from videozoo.models import ModelSpec
from videozoo.shapes import fold_time, to_clips

C, B = 6, 2


def make(norm: nn.Module, frames: int, group: int | None, statistics: Any = "group") -> CrossTemporalNorm2d:
    """A norm in float64 with random statistics and cell, folded or not as ``norm`` is."""
    kind = CrossTemporalNorm3d if isinstance(norm, nn.BatchNorm3d) else CrossTemporalNorm2d
    new = kind(norm, frames, RelayCell(C), group, statistics=statistics)
    return randomize(new.double(), 0.4).train()  # type: ignore[return-value]


def frames_of(count: int, size: tuple[int, int] = (3, 2)) -> Tensor:
    """Folded maps whose channels and frames differ in mean and in scale."""
    x = torch.randn(B * count, C, *size, dtype=torch.float64) * (
        1 + torch.rand(B * count, C, 1, 1, dtype=torch.float64)
    )
    return x + torch.randn(B * count, C, 1, 1, dtype=torch.float64)


def slow_group_norm(x: Tensor, plain: nn.BatchNorm2d, frames: int, group: int) -> Tensor:
    """A plain batch norm that is called on the frames of one group after the other."""
    out: dict[int, Tensor] = {}
    for rows in group_rows(frames, group):
        index = [b * frames + t for b in range(B) for t in rows]
        out |= dict(zip(index, plain(x[index]), strict=True))
    return torch.stack([out[i] for i in range(len(x))])


@pytest.mark.parametrize("momentum", [0.1, 0.6])
@pytest.mark.parametrize(("frames", "group"), [(8, 2), (8, 3), (5, 4), (4, 4), (3, 4), (4, 1)])
@pytest.mark.parametrize("is_3d", [False, True])
def test_group_statistics_equal_a_norm_called_group_by_group(
    frames: int, group: int, momentum: float, is_3d: bool
) -> None:
    """Values, gradients and running statistics, over two steps; whole groups and a shorter last one."""
    torch.manual_seed(0)
    norm = make((nn.BatchNorm3d if is_3d else nn.BatchNorm2d)(C, momentum=momentum), frames, group)
    plain = nn.BatchNorm2d(C, momentum=momentum, affine=False).double().train()
    for name in ("running_mean", "running_var"):
        getattr(plain, name).copy_(getattr(norm, name))
    for step in (1, 2):
        x = frames_of(frames).requires_grad_()
        params = under(dict(norm.named_parameters()), "cell")
        expected = apply_pairs(slow_group_norm(x, plain, frames, group), cross_temporal(x, params, frames, group))
        out = fold_time(norm(to_clips(x, frames))) if is_3d else norm(x)
        torch.testing.assert_close(out, expected, rtol=0, atol=1e-11)
        up = torch.randn_like(out)
        over = [x, *norm.parameters()]
        got = torch.autograd.grad(out, over, up, allow_unused=True)
        for a, b in zip(got, torch.autograd.grad(expected, over, up, allow_unused=True), strict=True):
            if a is None or b is None:  # the slow one leaves out what is zero
                assert not any(g is not None and g.any() for g in (a, b))
            else:
                torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-10)
        for name in ("running_mean", "running_var"):
            torch.testing.assert_close(getattr(norm, name), getattr(plain, name), rtol=0, atol=1e-13)
        assert norm.num_batches_tracked == step


def test_running_statistics_move_once_per_group_in_time_order() -> None:
    """By hand: r <- (1 - m) r + m (mean, unbiased variance) of the first group, then of the next."""
    norm = make(nn.BatchNorm2d(C, momentum=0.3), 5, 2)
    mean, var = norm.running_mean.clone(), norm.running_var.clone()
    x = frames_of(5)
    norm(x)
    for rows in ([0, 1], [2, 3], [4]):
        part = x.unflatten(0, (B, 5))[:, rows].transpose(0, 2).flatten(1)
        mean, var = 0.7 * mean + 0.3 * part.mean(1), 0.7 * var + 0.3 * part.var(1)
    torch.testing.assert_close(norm.running_mean, mean)
    torch.testing.assert_close(norm.running_var, var)


def test_only_training_differs() -> None:
    """The default is the whole batch; in evaluation, in one group and in a whole clip there is none."""
    for frames, group, training, same in (
        (8, 2, True, False),
        (8, 2, False, True),
        (4, 4, True, True),
        (4, None, True, True),
    ):
        torch.manual_seed(0)
        by_group = make(nn.BatchNorm2d(C), frames, group)
        whole = make(nn.BatchNorm2d(C), frames, group, "batch")
        default = CrossTemporalNorm2d(nn.BatchNorm2d(C), frames, RelayCell(C), group).double()
        x = frames_of(frames)
        state = copy.deepcopy(by_group.state_dict())
        outs = []
        for norm in (by_group, whole, default):
            norm.load_state_dict(state)
            outs.append(norm.train(training)(x))
        assert torch.equal(outs[1], outs[2])
        assert torch.allclose(outs[0], outs[1], rtol=0, atol=1e-12) == same


def test_option() -> None:
    assert DNR().ct_statistics == "batch"
    old = {"backbone": "resnet18", "augmenters": [{"name": "dnr", "ct_group_frames": 2}]}
    assert ModelSpec.from_dict(old).augmenters == (DNR(ct_group_frames=2),)
    spec = ModelSpec("resnet18", augmenters=(DNR(ct_statistics="group"),))
    assert ModelSpec.from_dict(spec.to_dict()) == spec
    with pytest.raises(ValueError, match="ct_statistics is 'clip'; choose one of"):
        DNR(ct_statistics="clip")  # type: ignore[arg-type]
    net = small_resnet()
    DNR(ct_statistics="group").apply(net, 4)
    norms = [m for m in net.modules() if isinstance(m, CrossTemporalNorm2d)]
    assert [norm.statistics for norm in norms] == ["group" if norm.group_frames else "batch" for norm in norms]
    assert "statistics=group" in str(net)
    with pytest.raises(ValueError, match="a group norm standardizes each frame by itself"):
        DNR(ct_statistics="group", norm="gn").apply(small_resnet(), 4)


@pytest.mark.parametrize("is_3d", [False, True])
def test_compiles_as_one_graph_in_training(is_3d: bool) -> None:
    norm = make((nn.BatchNorm3d if is_3d else nn.BatchNorm2d)(C), 5, 2)
    x = to_clips(frames_of(5), 5) if is_3d else frames_of(5)
    compiled = copy.deepcopy(norm)
    torch._dynamo.reset()
    torch.testing.assert_close(torch.compile(compiled, fullgraph=True, backend="eager")(x), norm(x))
    for name, buffer in norm.named_buffers():
        torch.testing.assert_close(compiled.get_buffer(name), buffer)


def test_gradient_checkpointing_gives_the_same_gradients() -> None:
    torch.manual_seed(0)
    augmenters = [DNR(ct_statistics="group", ct_group_frames=2)]
    plain = randomize(videozoo.compose("test_resnet", TSN(), augmenters, num_classes=3, num_frames=5)).double().train()
    saving: Any = copy.deepcopy(plain)
    saving.set_grad_checkpointing()
    x = clips(2, 5, 32).double()
    last = [m for m in saving.backbone.modules() if isinstance(m, CrossTemporalNorm2d)][-1]
    calls = count_calls(last)
    for net in (plain, saving):
        net(x).square().mean().backward()
    assert calls() == 2
    expected = gradients(plain)
    for name, grad in gradients(saving).items():
        torch.testing.assert_close(grad, expected[name])


def test_a_checkpoint_of_the_authors_goes_on_as_it_was_trained() -> None:
    folder = shared_folder("goldens")
    if folder is None:
        pytest.skip("no shared goldens: set VIDEOZOO_SHARED to a folder with goldens/dnr_official_r50.json")
    keys = json.loads((folder / "dnr_official_r50.json").read_text())["keys"]
    spec = ModelSpec.from_dict(convert({key: torch.zeros(shape) for key, shape in keys}).spec)
    assert spec.augmenters == (DNR(ct_group_frames=2, interlace=False, linear_bias=True, ct_statistics="group"),)

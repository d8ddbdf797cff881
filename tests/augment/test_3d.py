"""Tests of ARC and DNR in 3-D models, Inception and linear layers against slow loops in float64."""

import copy
import itertools
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import videozoo
from videozoo import ARC, DNR, TSN
from videozoo.augment import ArcConv2d, ArcConv3d, ArcLinear, CrossLayerNorm2d, CrossLayerNorm3d, CrossTemporalNorm3d
from videozoo.layers import RelayCell
from videozoo.layers.temporal_shift import ClipShift
from videozoo.nets import BasicBlock3d, Bottleneck3d, ResNet3d
from videozoo.nets.blocks3d import BlockOptions, make_stage
from videozoo.surgery import RelayStage, new_state
from videozoo.surgery.pre_conv import PreConv3d


def randomize(module: nn.Module, scale: float = 0.3) -> nn.Module:
    """Small random numbers in everything that starts at zero, random statistics in every norm."""
    with torch.no_grad():
        for part in module.modules():
            if getattr(part, "running_mean", None) is not None:
                part.running_mean.normal_(0, 0.2)
                part.running_var.uniform_(0.6, 1.4)
        for parameter in module.parameters():
            if not parameter.any():
                parameter.normal_(0, scale)
    return module


def nearest(y: Tensor, size: tuple[int, ...]) -> Tensor:
    """Nearest upsampling of (C, t, h, w), index by index."""
    out = torch.empty(y.shape[0], *size, dtype=y.dtype)
    for index in itertools.product(*(range(n) for n in size)):
        source = tuple(i * have // want for i, have, want in zip(index, y.shape[1:], size, strict=True))
        out[(slice(None), *index)] = y[(slice(None), *source)]
    return out


def matrix_on(matrix: Tensor, y: Tensor) -> Tensor:
    return torch.einsum("oc,cthw->othw", matrix.flatten(1), y)


def slow_arc_clip(x: Tensor, layer: ArcConv3d, gate: bool = False) -> Tensor:
    """Equations 2 to 7 for one clip (C, T, H, W): the matrices act on maps that were upsampled first."""
    sizes, size = layer.sizes, tuple(x.shape[1:])
    starts = [sum(sizes[:i]) for i in range(len(sizes))]
    parts: list[Tensor] = []
    for i, (start, count) in enumerate(zip(starts, sizes, strict=True)):
        z = x
        if i:
            linear = x + (matrix_on(layer.embed, x) if layer.embed is not None else 0)
            attention = torch.zeros_like(x)
            for j in range(i):
                columns = slice(starts[j], starts[j] + sizes[j])
                if layer.fuse is not None:
                    linear = linear + matrix_on(layer.fuse[:, columns], nearest(parts[j], size))
                if layer.attend is not None:
                    over_space = torch.stack([frame.flatten(1).max(1).values for frame in parts[j].unbind(1)], 1)
                    over_time = parts[j].max(1, keepdim=True).values
                    both = over_space[:, :, None, None] + over_time
                    attention = attention + matrix_on(layer.attend[:, columns], nearest(both, size))
            z = linear * 2 * torch.sigmoid(attention) if gate else linear + attention
            z = torch.maximum(z, x.clamp_max(0))  # ReLU(ReLU(z)) where X is not negative
        bias = None if layer.bias is None else layer.bias[start : start + count]
        weight = layer.weight[start : start + count]
        parts.append(F.conv3d(z[None], weight, bias, layer.stride, layer.padding)[0])
    return torch.cat(parts)


@pytest.mark.parametrize(
    ("kernel", "stride", "bias"),
    [((1, 3, 3), (1, 1, 1), False), ((1, 3, 3), (1, 2, 2), True), ((3, 3, 3), (2, 2, 2), False)],
)
@pytest.mark.parametrize("interaction", ["additive", "multiplicative"])
def test_arc_on_3d_convolutions_is_the_slow_loop(kernel: Any, stride: Any, bias: bool, interaction: Any) -> None:
    conv = nn.Conv3d(5, 10, kernel, stride, tuple(k // 2 for k in kernel), bias=bias).double()
    options = ARC(num_steps=4, layers=("conv3d",), interaction=interaction)
    layer = randomize(ArcConv3d.from_layer(conv, 99, options))
    assert layer.weight is conv.weight
    x = torch.randn(2, 5, 5, 7, 6, dtype=torch.float64)
    slow = torch.stack([slow_arc_clip(clip, layer, interaction == "multiplicative") for clip in x])
    torch.testing.assert_close(layer(x), slow, rtol=0, atol=1e-12)


@pytest.mark.parametrize("options", [{"fusion": False}, {"embedding": False, "attention": False}, {"num_steps": 1}])
def test_arc_in_3d_with_parts_left_out(options: dict[str, Any]) -> None:
    conv = nn.Conv3d(4, 8, (1, 3, 3), 1, (0, 1, 1)).double()
    layer = randomize(ArcConv3d.from_layer(conv, 4, ARC(layers=("conv3d",), **options)))
    x = torch.randn(2, 4, 3, 5, 5, dtype=torch.float64)
    torch.testing.assert_close(layer(x), torch.stack([slow_arc_clip(clip, layer) for clip in x]), rtol=0, atol=1e-12)


@pytest.mark.parametrize("aggregation", ["S+T", "S", "T", "ST"])
@pytest.mark.parametrize("attention_layer", ["fc", "gru"])
@pytest.mark.parametrize("interaction", ["additive", "multiplicative"])
def test_both_layouts_give_the_same(aggregation: Any, attention_layer: Any, interaction: Any) -> None:
    """A 1x3x3 convolution on clips is a 3x3 convolution on their frames, with every option."""
    options = ARC(
        layers=("conv2d", "conv3d"),
        aggregation=aggregation,
        attention_layer=attention_layer,
        interaction=interaction,
    )
    flat = randomize(ArcConv2d.from_layer(nn.Conv2d(4, 8, 3, 2, 1).double(), 3, options))
    deep = ArcConv3d.from_layer(nn.Conv3d(4, 8, (1, 3, 3), (1, 2, 2), (0, 1, 1)).double(), 3, options)
    deep.load_state_dict({k: v.reshape(deep.state_dict()[k].shape) for k, v in flat.state_dict().items()})
    x = torch.randn(2, 4, 3, 7, 7, dtype=torch.float64)
    frames = flat(x.transpose(1, 2).flatten(0, 1)).unflatten(0, (2, 3)).transpose(1, 2)
    torch.testing.assert_close(deep(x), frames, rtol=0, atol=1e-12)


def test_arc_in_3d_starts_as_the_plain_convolution() -> None:
    conv = nn.Conv3d(4, 9, (3, 3, 3), (2, 2, 2), 1)
    x = torch.rand(2, 4, 6, 9, 9)
    torch.testing.assert_close(ArcConv3d.from_layer(conv, 6, ARC(layers=("conv3d",)))(x), conv(x))


@pytest.mark.parametrize("tokens", [(), (5,), (3, 4)])
@pytest.mark.parametrize("attention_layer", ["fc", "gru"])
def test_arc_on_linear_layers_is_arc_on_1x1_convolutions(tokens: tuple[int, ...], attention_layer: Any) -> None:
    """Tokens are positions: a linear layer on (B*S, ..., C) is a 1x1 convolution on (B*S, C, N, 1)."""
    options = ARC(layers=("linear", "pointwise"), attention_layer=attention_layer)
    linear = randomize(ArcLinear.from_layer(nn.Linear(4, 8).double(), 3, options))
    conv = ArcConv2d.from_layer(nn.Conv2d(4, 8, 1).double(), 3, options)
    conv.load_state_dict({k: v.reshape(conv.state_dict()[k].shape) for k, v in linear.state_dict().items()})
    x = torch.randn(6, *tokens, 4, dtype=torch.float64)
    maps = conv(x.reshape(6, -1, 4).transpose(1, 2).unsqueeze(-1))
    expected = maps.squeeze(-1).transpose(1, 2).reshape(6, *tokens, 8)
    torch.testing.assert_close(linear(x), expected, rtol=0, atol=1e-12)


def slow_arc_linear(x: Tensor, layer: ArcLinear) -> Tensor:
    """Equations 2 to 7 for the tokens (S, N, C) of one clip, token by token."""
    parts: list[Tensor] = []
    starts = [sum(layer.sizes[:i]) for i in range(len(layer.sizes))]
    for i, (start, count) in enumerate(zip(starts, layer.sizes, strict=True)):
        part = torch.empty(*x.shape[:2], count, dtype=x.dtype)
        for s, n in itertools.product(range(x.shape[0]), range(x.shape[1])):
            z = x[s, n]
            if i:
                z = z + layer.embed @ x[s, n]
                for j in range(i):
                    columns = slice(starts[j], starts[j] + layer.sizes[j])
                    pooled = parts[j][s].max(0).values + parts[j][:, n].max(0).values
                    z = z + layer.fuse[:, columns] @ parts[j][s, n] + layer.attend[:, columns] @ pooled
                z = torch.maximum(z, x[s, n].clamp_max(0))
            part[s, n] = layer.weight[start : start + count] @ z + layer.bias[start : start + count]
        parts.append(part)
    return torch.cat(parts, -1)


def test_arc_on_linear_layers_is_the_slow_loop() -> None:
    layer = randomize(ArcLinear.from_layer(nn.Linear(5, 11).double(), 3, ARC(layers=("linear",))))
    x = torch.randn(6, 4, 5, dtype=torch.float64)
    slow = torch.cat([slow_arc_linear(clip, layer) for clip in x.unflatten(0, (2, 3))])
    torch.testing.assert_close(layer(x), slow, rtol=0, atol=1e-12)


def test_arc_changes_3d_models_by_choice_only() -> None:
    with pytest.raises(ValueError, match=r"are 3-D, which ARC changes by choice only; pass layers=\('conv3d',\)"):
        videozoo.compose("r2plus1d_resnet18_tv", TSN(), [ARC()])
    model = videozoo.compose("r2plus1d_resnet18_tv", TSN(), [ARC(layers=("conv3d",))], num_classes=3)
    assert len(model.sites["arc"]) == 12  # two spatial halves in each of the six blocks of res3, res4, res5
    assert all(name.endswith(".spatial") for name in model.sites["arc"])
    assert model.spec == type(model.spec).from_dict(model.spec.to_dict())
    pairs = videozoo.compose("slowfast_resnet18_8x8", TSN(), [ARC(layers=("conv3d",), stages=(1,))], num_classes=3)
    assert {name.rsplit(".", 2)[0] for name in pairs.sites["arc"]} == {"layer1.slow", "layer1.fast"}


def test_arc_on_1x1_layers_by_choice() -> None:
    model = videozoo.compose("test_convnext2", TSN(), [ARC(layers=("linear",), stages=(4,))], num_classes=3)
    assert all(type(model.backbone.get_submodule(name)) is ArcLinear for name in model.sites["arc"])
    assert model(torch.randn(1, 3, 8, 32, 32)).shape == (1, 3)
    points = videozoo.compose("resnet18", TSN(), [ARC(layers=("pointwise",))], num_classes=3)
    assert points.sites["arc"] == [f"layer{i}.0.downsample.0" for i in (2, 3, 4)]
    for wrong in ((), ("conv1d",), "conv2d"):
        with pytest.raises(ValueError, match="ARC: layers is"):
            ARC(layers=wrong)  # type: ignore[arg-type]


def test_linear_layers_of_3d_models_are_refused() -> None:
    class Net(ResNet3d):
        stage_names = ("layer1",)

        def __init__(self) -> None:
            nn.Module.__init__(self)
            self.layer1 = nn.Sequential(nn.Linear(8, 8))

    with pytest.raises(ValueError, match="a 3-D model: the input of a linear layer"):
        ARC(layers=("linear",), stages=(1,)).apply(Net(), 8)


def slow_cell(cell: RelayCell, x_bar: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Equations 3 to 7 for vectors (C,)."""

    def phi(part: nn.Module, v: Tensor) -> Tensor:
        return part[2].weight @ (part[0].weight @ v).relu()  # type: ignore[index]

    h, c = state
    out = phi(cell.phi_x, x_bar) + cell.bias
    if cell.phi_h is not None:
        out = out + phi(cell.phi_h, h)
    f, i, g, o = out.chunk(4)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.sigmoid(c), c


def slow_norm(x: Tensor, norm: Any, gamma: Tensor, beta: Tensor) -> Tensor:
    """Frames (C, T, H, W) of one clip with a pair (C,)."""
    shape = (-1, 1, 1, 1)
    x = (x - norm.running_mean.view(shape)) / (norm.running_var.view(shape) + norm.eps).sqrt()
    return gamma.view(shape) * x + beta.view(shape)


@pytest.mark.parametrize("frames", [1, 3, 4, 6, 8])
def test_cross_temporal_norm_on_clips_is_the_slow_loop(frames: int) -> None:
    base = randomize(nn.BatchNorm3d(8).double())
    norm = randomize(CrossTemporalNorm3d(base, 99, RelayCell(8).double(), 4)).eval()
    assert not hasattr(norm, "num_segments")
    x = torch.randn(2, 8, frames, 3, 5, dtype=torch.float64)
    slow = torch.empty_like(x)
    for b in range(2):
        state = (torch.zeros(8, dtype=x.dtype), torch.zeros(8, dtype=x.dtype))
        for start in range(0, frames, 4):  # the last group may be shorter
            group = x[b, :, start : start + 4]
            state = slow_cell(norm.cell, group.flatten(1).mean(1), state)
            slow[b, :, start : start + 4] = slow_norm(group, norm, *state)
    torch.testing.assert_close(norm(x), slow, rtol=0, atol=1e-12)


def test_training_statistics_on_clips_are_those_of_the_whole_batch() -> None:
    plain = nn.BatchNorm3d(8).double()
    norm = CrossTemporalNorm3d(copy.deepcopy(plain), 8, RelayCell(8).double(), 2).train()
    x = torch.randn(2, 8, 5, 3, 3, dtype=torch.float64) + 1
    norm(x)
    plain(x)
    torch.testing.assert_close(norm.running_mean, plain.running_mean)
    torch.testing.assert_close(norm.running_var, plain.running_var)


class TwoStages(nn.Module):
    """Two stages of 3-D blocks, the second of which halves T."""

    is_3d = True
    mixes_time = True

    def __init__(self, block: Any) -> None:
        super().__init__()
        options = BlockOptions()
        self.layer1 = make_stage(block, 8, 8, [options] * 2, (1, 1), [0.0, 0.0])
        self.layer2 = make_stage(block, 8 * block.expansion, 16, [options] * 3, (2, 2), [0.0, 0.0, 0.0])

    def forward(self, x: Tensor) -> Tensor:
        return self.layer2(self.layer1(x))


def slow_block(block: Any, x: Tensor, stage: Any, state: Any) -> tuple[Tensor, Any]:
    """One clip (1, C, T, H, W) through one block, CL on the first norm and CT on the second."""
    shortcut = x if getattr(block, "downsample", None) is None else block.downsample(x)
    y = block.conv1(x)[0]
    state = slow_cell(stage.relay.get_submodule("0"), y.flatten(1).mean(1), state)
    y = slow_norm(y, block.bn1, *state).relu()
    y = block.conv2(y[None])[0]
    own = (torch.zeros(y.shape[0], dtype=y.dtype),) * 2
    out = torch.empty_like(y)
    for start in range(0, y.shape[1], 4):
        group = y[:, start : start + 4]
        own = slow_cell(block.bn2.cell, group.flatten(1).mean(1), own)
        out[:, start : start + 4] = slow_norm(group, block.bn2, *own)
    y = out[None]
    if hasattr(block, "conv3"):
        y = block.bn3(block.conv3(y.relu()))
    return (y + shortcut).relu(), state


@pytest.mark.parametrize("block", [BasicBlock3d, Bottleneck3d])
def test_dnr_in_a_3d_model_equals_the_slow_loop(block: Any) -> None:
    net = TwoStages(block).double().eval()
    names = DNR().apply(net, 6)
    randomize(net).eval()
    assert len(names) == 10
    assert not any(isinstance(module, PreConv3d) for module in net.modules())  # 3-D nets mix time: no interlacing
    x = torch.randn(2, 8, 6, 7, 7, dtype=torch.float64)
    rows = []
    for clip in x:
        y = clip[None]
        for stage in (net.layer1, net.layer2):
            assert isinstance(stage, RelayStage)
            state: Any = (torch.zeros(stage.relay.get_submodule("0").channels, dtype=x.dtype),) * 2
            for name in stage.child_names:
                y, state = slow_block(getattr(stage, name), y, stage, state)
        rows.append(y)
    torch.testing.assert_close(net(x), torch.cat(rows), rtol=0, atol=1e-10)


def test_interlacing_of_clips_is_a_shift_of_frames() -> None:
    x = torch.randn(2, 16, 5, 3, 3)
    expected = x.clone()
    for t in range(5):
        expected[:, :2, t] = x[:, :2, t + 1] if t < 4 else 0
        expected[:, 2:4, t] = x[:, 2:4, t - 1] if t > 0 else 0
    assert torch.equal(ClipShift()(x), expected)
    net = TwoStages(BasicBlock3d)
    names = DNR(interlace=True).apply(net, 6)
    assert [name for name in names if name.endswith("conv1")] == [
        f"layer{s}.{i}.conv1" for s, n in ((1, 2), (2, 3)) for i in range(n)
    ]
    assert net(torch.randn(1, 8, 6, 7, 7)).shape == (1, 16, 3, 4, 4)


def test_each_pathway_of_slowfast_has_its_own_relays() -> None:
    model = videozoo.compose("slowfast_resnet18_8x8", TSN(), [DNR()], num_frames=8, num_classes=3)
    for i in range(1, 5):
        stage = model.backbone.get_submodule(f"layer{i}")
        assert isinstance(stage.slow, RelayStage)
        assert isinstance(stage.fast, RelayStage)
        assert (stage.slow.relay[0].channels, stage.fast.relay[0].channels) == (64 * 2 ** (i - 1), 8 * 2 ** (i - 1))
        assert type(stage.lateral.bn) is nn.BatchNorm3d
    assert model(torch.randn(2, 3, 8, 32, 32)).shape == (2, 3)


def test_r2plus1d_keeps_the_norms_between_the_halves() -> None:
    model = videozoo.compose("r2plus1d_resnet18_tv", TSN(), [DNR()], num_classes=3)
    block = model.backbone.layer2.get_submodule("1")
    assert type(block.bn1) is CrossLayerNorm3d
    assert type(block.bn2) is CrossTemporalNorm3d
    assert type(block.conv1.bn) is nn.BatchNorm3d


def test_inception_relays_along_each_branch() -> None:
    model = videozoo.compose("bninception", TSN(), [DNR(interlace=False)], num_classes=3)
    stage = model.backbone.stage3
    runs: dict[int, list[str]] = {}
    for name, block in zip(stage.child_names, stage, strict=True):
        for norm in block.modules():
            if type(norm) is CrossLayerNorm2d:
                runs.setdefault(norm.run, []).append(name)
    # Reducing convolutions: 3x3 has 128 64 96 128 128 channels in 3c 4a 4b 4c 4d, double 3x3 has 64 96 96 128 160.
    assert sorted(runs.values()) == [["inception_4a", "inception_4b"], ["inception_4c", "inception_4d"]]
    assert len(model.backbone.stage2.relay) == 2  # both branches of 3a and 3b, in the same two modules
    x = torch.randn(2, 3, 8, 64, 64)
    randomize(model).eval()
    with torch.no_grad():
        y = model(x)
        torch.testing.assert_close(model(x[1:])[0], y[1], rtol=1e-4, atol=1e-5)
        # The relay arrives: what the cell of the last modules sees depends on the state of the ones before.
        stage.relay[0].phi_h[2].weight.mul_(2)
        assert not torch.equal(model(x), y)


def test_two_branches_of_a_module_relay_as_two_slow_loops() -> None:
    """Stage 2 of BN-Inception: the state of each branch goes from 3a to 3b, and not to the other branch."""
    model = videozoo.compose("bninception", TSN(), [DNR(order="cl_bn", interlace=False)], num_classes=3, num_frames=2)
    stage = randomize(model.backbone.stage2.double()).eval()
    seen: list[Any] = []
    for name in ("inception_3a", "inception_3b"):
        for branch in ("3x3", "double_3x3"):
            norm = stage.get_submodule(f"{name}.bn_{branch}_reduce")
            norm.register_forward_hook(lambda norm, args, _: seen.append((args[0], new_state(norm.run))))
    with torch.no_grad():
        stage(torch.rand(2, 192, 8, 8, dtype=torch.float64))
    assert len(seen) == 4
    for branch in (0, 1):
        state: Any = (torch.zeros(64, dtype=torch.float64),) * 2
        for x, out in (seen[branch], seen[branch + 2]):
            state = slow_cell(stage.relay[branch], x.mean((0, 2, 3)), state)
            torch.testing.assert_close(out.h[0], state[0])
            torch.testing.assert_close(out.c[0], state[1])

"""What is captured of ARC, DNR, MSN and TANet is what these layers computed."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from explain_tiny import make
from helpers import clips
from torch import Tensor, nn

import videozoo
from videozoo import ARC, DNR, TSM, TSN
from videozoo.augment import ArcConv2d, ArcConv3d, ArcLinear
from videozoo.explain import (
    arc_layers,
    arc_states,
    flow_colors,
    grad_cam,
    motion_vectors,
    norm_pairs,
    temporal_kernels,
)
from videozoo.explain.arc_states import default_arc_layer, retrace_arc
from videozoo.explain.capture import capture_activations
from videozoo.explain.layer_figures import kinds_of
from videozoo.explain.norm_pairs import norm_layers
from videozoo.layers import TemporalShift
from videozoo.models.causal import causal_form
from videozoo.surgery import PreConv2d
from videozoo.temporal import MSN, TANet

ARC_OPTIONS = [
    ARC(),
    ARC(num_steps=3, interaction="multiplicative"),
    ARC(aggregation="ST"),
    ARC(aggregation="S", fusion=False),
    ARC(aggregation="T", embedding=False),
    ARC(attention=False),
    ARC(attention_layer="gru"),
    ARC(attention_layer="gru", interaction="multiplicative", aggregation="T"),
    ARC(num_steps=1),
]


def random_layer(layer: nn.Module) -> Any:
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_(0, 0.3)
    return layer.eval()


@pytest.mark.parametrize("options", ARC_OPTIONS, ids=str)
def test_retraced_parts_give_the_layers_own_output(options: ARC) -> None:
    steps = options.num_steps
    folded = torch.randn(8, 6, 9, 8).double()
    shifted = PreConv2d.from_conv(nn.Conv2d(6, 4 * steps, 3, 2, 1), TemporalShift(4, 2))
    layers = [
        (ArcConv2d.from_layer(shifted, 4, options), folded),
        (ArcConv2d.from_layer(nn.Conv2d(6, 4 * steps, (1, 3), padding=(0, 1), bias=False), 4, options), folded),
        (ArcConv3d.from_layer(nn.Conv3d(6, 4 * steps, 3, 2, 1), 4, options), torch.randn(2, 6, 4, 8, 8).double()),
        (ArcLinear.from_layer(nn.Linear(6, 4 * steps), 4, options), torch.randn(8, 3, 5, 6).double()),
    ]
    for made, x in layers:
        layer = random_layer(made).double()
        with torch.no_grad():
            expected = layer(x)
            traced = retrace_arc(layer, x)
        torch.testing.assert_close(traced.output, expected, atol=1e-5, rtol=1e-5)
        assert len(traced.states) == steps
        floor = traced.states[0].clamp_max(0)
        assert all(bool((state >= floor).all()) for state in traced.states[1:])


def test_uneven_parts_are_retraced() -> None:
    layer = random_layer(ArcConv2d.from_layer(nn.Conv2d(5, 10, 3, padding=1), 2, ARC(num_steps=4)))
    x = torch.randn(4, 5, 6, 6)
    with torch.no_grad():
        torch.testing.assert_close(retrace_arc(layer, x).output, layer(x), atol=1e-5, rtol=1e-5)


def test_attention_is_equation_7_frame_by_frame() -> None:
    layer = random_layer(ArcConv2d.from_layer(nn.Conv2d(3, 8, 3, padding=1), 2, ARC(num_steps=2)))
    x = torch.randn(4, 3, 5, 5)
    with torch.no_grad():
        attention = retrace_arc(layer, x).attention[0]  # (B, C, T, H, W)
        part = layer(x)[:, :4]
    matrix = layer.attend.detach().flatten(1)
    for b in range(2):
        for t in range(2):
            for i in range(5):
                own = part[2 * b + t].amax((1, 2)) + part[2 * b : 2 * b + 2, :, i, i].amax(0)
                torch.testing.assert_close(attention[b, :, t, i, i], matrix @ own, atol=1e-5, rtol=1e-4)


def test_states_of_a_model() -> None:
    model = make(TSM(), (ARC(),))
    x = clips(2, 4, 64)
    names = arc_layers(model)
    assert names[:2] == ["backbone.layer2.0.conv1", "backbone.layer2.0.conv2"]
    assert default_arc_layer(model) == "backbone.layer2.0.conv2"
    seen = capture_activations(model, x, names)
    for trace in arc_states(model, x):
        layer: Any = model.get_submodule(trace.layer)
        with torch.no_grad():
            steps = retrace_arc(layer, seen.inputs[trace.layer][0])
        torch.testing.assert_close(steps.output, seen.outputs[trace.layer], atol=1e-5, rtol=1e-5)
        first = layer.pre(seen.inputs[trace.layer][0]).mean(1).reshape(2, 4, *steps.states[0].shape[3:])
        torch.testing.assert_close(trace.states[:, 0], first, atol=1e-5, rtol=1e-4)
        assert trace.states.shape[:3] == (2, 4, 4)
        assert trace.attention is not None
        assert trace.attention.shape == (2, 3, 4, layer.weight.shape[1])
        last = steps.attention[-1].mean((3, 4)).transpose(1, 2)
        torch.testing.assert_close(trace.attention[:, -1], last, atol=1e-5, rtol=1e-4)
    (one,) = arc_states(model, x, "layer3.0.conv1")
    assert one.layer == "backbone.layer3.0.conv1"


def test_a_fresh_arc_layer_keeps_its_input() -> None:
    model = videozoo.compose(backbone="tiny_resnet", temporal=TSN(), augmenters=[ARC()], num_frames=4, num_classes=5)
    (trace,) = arc_states(model, clips(1, 4, 48), "layer2.0.conv2")
    for step in range(1, 4):
        assert torch.equal(trace.states[:, step], trace.states[:, 0])
    assert trace.attention is not None
    assert not trace.attention.any()


def test_no_such_part_is_said() -> None:
    plain, arc = make(TSM()), make(TSM(), (ARC(),))
    x = clips(1, 4, 48)
    for look_inside, what in ((arc_states, "ARC"), (norm_pairs, "DNR"), (motion_vectors, "MSN")):
        with pytest.raises(ValueError, match=f"no layer of {what}; tiny_resnet [+] TSM is made of other parts"):
            look_inside(plain, x)
    with pytest.raises(ValueError, match="no layer of TANet"):
        temporal_kernels(plain, x)
    with pytest.raises(ValueError, match=r"no layer 'layer2.0.conv9'.*backbone.layer2.0.conv"):
        arc_states(arc, x, "layer2.0.conv9")


def test_a_fused_model_has_maps_and_a_fused_layer_no_states() -> None:
    model = make(TSM(), (ARC(),))
    x = clips(1, 4, 48)
    fused, plain = videozoo.fuse(model), grad_cam(model, x, stage=2)
    found = grad_cam(fused, x, stage=2)
    torch.testing.assert_close(found.logits, plain.logits, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(found.maps, plain.maps, atol=1e-3, rtol=1e-2)
    layer = ArcConv2d.from_layer(nn.Conv2d(4, 8, 3), 2, ARC())
    layer.weight = None
    with pytest.raises(ValueError, match="a fused model has no states"):
        retrace_arc(layer, torch.randn(2, 4, 5, 5))


def test_causal_forms_are_not_taken_for_what_they_came_from() -> None:
    model = causal_form(make(TSM(), (ARC(),)), nearest=True)
    x = clips(1, 4, 48)
    assert kinds_of(model) == ("cam",)
    with pytest.raises(ValueError, match="no layer of ARC"):
        arc_states(model, x)
    with torch.no_grad():
        torch.testing.assert_close(grad_cam(model, x).logits, model(x), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(DNR(), id="plain", marks=pytest.mark.slow),
        pytest.param(DNR(bidirectional=True, ct_group_frames=1, keep_affine=True), id="both_ways_affine"),
        pytest.param(DNR(relay="fc", ct_group_frames=3), id="fc"),
        pytest.param(DNR(linear_bias=True), id="biases", marks=pytest.mark.slow),
    ],
)
def test_gammas_and_betas_are_those_that_were_applied(options: DNR) -> None:
    model = make(TSM(), (options,), backbone="resnet18")
    x = clips(2, 4, 32)
    names = norm_layers(model)
    seen = capture_activations(model, x, names)
    pairs = norm_pairs(model, x)
    assert {pair.relay for pair in pairs} >= {"time", "depth"}
    for pair in pairs:
        norm: Any = model.get_submodule(pair.layer)
        output = seen.outputs[pair.layer]
        input = seen.inputs[pair.layer][0]
        standard = F.batch_norm(input, norm.running_mean, norm.running_var, eps=norm.eps)
        rows = []
        for b in range(2):
            for t in range(4):
                group = t // pair.group_frames if pair.group_frames else 0
                gamma, beta = pair.gamma[b, group], pair.beta[b, group]
                rows.append(gamma[:, None, None] * standard[4 * b + t] + beta[:, None, None])
        torch.testing.assert_close(norm.act(torch.stack(rows)), output, atol=1e-5, rtol=1e-4)


@pytest.mark.slow
def test_gammas_of_3d_models_are_per_group_of_the_layers_own_frames() -> None:
    model = make(TSN(), (DNR(),), 8, "slowfast_resnet18_8x8_mm")
    pairs = {pair.layer: pair for pair in norm_pairs(model, clips(1, 8, 32))}
    assert pairs["backbone.layer1.slow.0.bn2"].gamma.shape == (1, 1, 64)  # two frames: one group of four
    assert pairs["backbone.layer1.fast.0.bn2"].gamma.shape == (1, 2, 8)
    assert all(float(pair.gamma.min()) > 0 and float(pair.gamma.max()) < 1 for pair in pairs.values())


def test_the_relay_over_time_matters() -> None:
    model = make(TSM(), (DNR(ct_group_frames=2),))
    (name,) = [n for n in norm_layers(model) if n.endswith("layer1.0.bn2")]
    norm: Any = model.get_submodule(name)
    x = torch.randn(4, 16, 6, 6)
    h, _ = norm.relay(norm.pool(x))
    turned, _ = norm.relay(norm.pool(torch.cat([x[2:], x[:2]])))
    assert h.shape == (1, 2, 16)
    assert not torch.allclose(h[:, 0], turned[:, 1])


def moving_texture(dx: int, dy: int, frames: int = 4, size: int = 64) -> Tensor:
    """A random texture (1, 3, T, H, W) that moves by dx, dy pixels from frame to frame, around the edges."""
    texture = F.avg_pool2d(torch.randn(1, 3, size + 8, size + 8), 9, 1) * 9
    return torch.stack([texture.roll((t * dy, t * dx), (2, 3)) for t in range(frames)], 2)


@pytest.mark.parametrize(("dx", "dy"), [(8, 0), (0, -8), (-16, 8)])
def test_motion_vectors_point_where_the_texture_goes(dx: int, dy: int) -> None:
    model = make(MSN(shift_div=64))  # too few channels to shift: frames are seen alone
    (motion,) = motion_vectors(model, moving_texture(dx, dy))
    assert motion.layer == "backbone.layer2.motion"
    assert motion.vectors.shape == (1, 3, 2, 8, 8)
    assert motion.reach == 56
    middle = motion.vectors[..., 2:-2, 2:-2].flatten(3).median(3).values.mean((0, 1))
    assert (middle - torch.tensor([dx, dy])).abs().max() < 2
    assert 0 <= float(motion.confidence.min()) <= float(motion.confidence.max()) <= 1 + 1e-5


def test_motion_is_what_the_module_adds() -> None:
    model = make(MSN())
    x = clips(2, 4, 64)
    (motion,) = motion_vectors(model, x)
    seen = capture_activations(model, x, [motion.layer])
    layer: Any = model.get_submodule(motion.layer)
    flow = torch.cat([motion.vectors / motion.reach, motion.confidence.unsqueeze(2)], 2)
    flow = torch.cat([flow, flow[:, -1:]], 1).flatten(0, 1)
    with torch.no_grad():
        again = seen.inputs[motion.layer][0] + layer.refine(flow)
    torch.testing.assert_close(again, seen.outputs[motion.layer], atol=1e-4, rtol=1e-4)


def test_colors_tell_directions() -> None:
    vectors = torch.zeros(3, 2, 2, 2)
    vectors[0, 0], vectors[1, 0] = 4, -4
    colors = flow_colors(vectors)
    assert colors.shape == (3, 3, 2, 2)
    assert colors.dtype == torch.uint8
    assert colors[2].min() == 255  # nothing moves: white
    assert colors[0, 0, 0, 0] > colors[0, 2, 0, 0]  # to the right: red
    assert colors[1, 0, 0, 0] < colors[1, 2, 0, 0]  # to the left: blue


def test_kernels_are_those_that_were_convolved_with() -> None:
    model = make(TANet())
    x = clips(2, 4, 48)
    found = temporal_kernels(model, x)
    assert [layer.layer for layer in found] == [f"backbone.layer{k}.0.conv2.pre" for k in (1, 2, 3, 4)]
    seen = capture_activations(model, x, [layer.layer for layer in found])
    for layer in found:
        torch.testing.assert_close(layer.kernels.sum(2), torch.ones(layer.kernels.shape[:2]))
        scaled = seen.inputs[layer.layer][0].unflatten(0, (2, 4)) * layer.scales[..., None, None]
        padded = F.pad(scaled, (0, 0, 0, 0, 0, 0, 1, 1))
        slow = sum(padded[:, tap : tap + 4] * layer.kernels[:, None, :, tap, None, None] for tap in range(3))
        torch.testing.assert_close(slow.flatten(0, 1), seen.outputs[layer.layer], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", ["arc", "dnr", "msn", "tanet"])
def test_capture_leaves_nothing_behind(kind: str) -> None:
    parts: dict[str, Any] = {
        "arc": (TSM(), (ARC(),), arc_states),
        "dnr": (TSM(), (DNR(),), norm_pairs),
        "msn": (MSN(), (), motion_vectors),
        "tanet": (TANet(), (), temporal_kernels),
    }
    temporal, augmenters, look_inside = parts[kind]
    model = make(temporal, augmenters).train()
    x = clips(2, 4, 48)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    look_inside(model, x)
    assert all(module.training for module in model.modules())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())

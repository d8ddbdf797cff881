"""Conformance tests of every registered model and of compositions with other backbones.

Norms and whatever starts at zero are randomized first: a fresh ResNet ends its branches with zeros, and then half of
these tests would pass without a working module.
"""

import copy
import json
import pickle
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest
import timm
import torch
import torch.nn.functional as F
from helpers import calibrate, clips, count_calls, gradients, one_of_each_family, randomize
from safetensors.torch import load_file, save_file
from small_backbones import SMALL as SMALL_OF
from small_backbones import small_specs
from timm.optim import create_optimizer_v2, param_groups_layer_decay
from torch import Tensor, nn
from torch._inductor.cpp_builder import get_cpp_compiler

import videozoo
from videozoo import ARC, DNR, TSM, TSN, Ensemble, VideoNet
from videozoo.augment.dynamic_norm import DynamicNorm2d
from videozoo.hub.write import save_weights
from videozoo.layers.time_aware import mixes_time
from videozoo.models import EnsembleSpec, ModelSpec, build, spec_of
from videozoo.nets.inception_v3 import InceptionV3
from videozoo.nets.inception_v3_tsn import InceptionV3Tsn
from videozoo.shapes import fold_time
from videozoo.surgery.pre_conv import PreConv2d, PreConv3d
from videozoo.temporal import ABM, MSN, TDN, TEA, TRN, AttLSTM, SmallBig

T, SIZE, CLASSES = 5, 40, 6  # five frames: DNR sees a whole group and a shorter one
ORDERS = {
    "resnet18+tsm+arc+dnr": ModelSpec("small_basic", TSM(), (ARC(), DNR(ct_group_frames=2))),
    "resnet18+tsm+dnr+arc": ModelSpec("small_basic", TSM(), (DNR(cl_distance=2), ARC())),
}
OTHERS = {
    "test_resnet+arc": ModelSpec("test_resnet", augmenters=(ARC(stages=(1, 2, 3, 4), attention_layer="gru"),)),
    "seresnet18+dnr": ModelSpec("seresnet18", augmenters=(DNR(keep_affine=True),)),
    "regnety_002+dnr": ModelSpec("regnety_002", augmenters=(DNR(norm="gn"),)),
    "mobilenetv2_035+tsm+dnr": ModelSpec("mobilenetv2_035", TSM(), (DNR(),)),
    "efficientnet_b0+tsm+dnr": ModelSpec("efficientnet_b0", TSM(), (DNR(bidirectional=True),)),
}
CONVS = (nn.Conv2d, nn.Conv3d, PreConv2d, PreConv3d)
NAMES = videozoo.list_models()
# Every test runs on one small model for each combination of parts and family of backbones: on those of QUICK by
# default, on the others in the slow suite. A few run on other forms of these and on models at full depth too.
SMALL = {**small_specs({name: spec_of(name) for name in NAMES}), **ORDERS}
SPECS = SMALL | OTHERS
SMALL_NAMES = [case for case in SMALL if case not in ORDERS]
DEEP = ("arc_tsm_r50", "dnr_tsn_r50", "slowfast_r50", "timesformer_b")
BACKBONES = {getattr(spec_of(name), "backbone", ""): name for name in one_of_each_family(NAMES)}
FULL = [*DEEP, *(name for backbone, name in BACKBONES.items() if backbone not in SMALL_OF)]
QUICK = {
    *ORDERS,
    *("small arc_msn_r18", "small arc_tsm_r18", "small arc_tsm_r50", "small arc_tsn_r18", "small arc_gst_r50"),
    *("small dnr_tsn_r18", "small dnr_tsm_r18", "small dnr_tanet_r50", "small dnr_tdn_r50", "small dnr_gn_tsn_r50"),
    *("small dnr_slowfast_r18", "small dnr_i3d_r50", "small tsm_r18", "small trn_r18", "small tea_r50"),
    *("small slowfast_r18", "small tpn_slowonly_r50", "small x3d_l", "small movinet_a0", "small videomae_b"),
}
FAMILIES = [f"small {name}" for name in one_of_each_family(case.removeprefix("small ") for case in SMALL_NAMES)]
SLOW = [case for case in (*FAMILIES, *OTHERS) if case not in QUICK]
CASES: list[Any] = [*sorted(QUICK), *(pytest.param(case, marks=pytest.mark.slow) for case in SLOW)]
FORMS = [case for case in (*SMALL_NAMES, *FULL) if case not in (*QUICK, *SLOW)]
# Tracing every operation in Python takes seconds: where parts or dimensions differ.
_LONG_TRACES = "_r50$|mbv2|mvit|dnr_slowfast|arc_msn|arc_tsn|movinet|dnr.arc"
TRACED = [
    case if case in QUICK and not re.search(_LONG_TRACES, case) else pytest.param(case, marks=pytest.mark.slow)
    for case in SPECS
]


def frames_of(case: str) -> int:
    """Few frames that the model takes: segments of TDN have five, those of ABM three, SlowFast takes every fourth or
    eighth, an 8-frame member of an ensemble every second, ECO takes fours."""
    default = (SPECS[case] if case in SPECS else spec_of(case)).num_frames
    few = {4: T, 8: T, 13: T, 16: 6, 24: 15, 32: 16, 40: 15, 48: 15, 50: T, 64: T, 96: 6}
    return 8 if "eco_" in case else 16 if "slowfast" in case else few[default]


Net = VideoNet | Ensemble
Spec = TypeVar("Spec", bound=ModelSpec | EnsembleSpec)


def members_of(net: Net) -> list[VideoNet]:
    """The models of an ensemble, or the model itself."""
    return list(net.members) if isinstance(net, Ensemble) else [net]


def has_temporal(net: Net, kind: type) -> bool:
    """Whether a member has that temporal module."""
    return any(type(member.spec.temporal) is kind for member in members_of(net))


def heads_of(net: Net) -> nn.ModuleList:
    """The classifiers."""
    return nn.ModuleList(member.fc for member in members_of(net))


def with_augmenters(spec: Spec, change: Callable[[tuple[Any, ...]], tuple[Any, ...]]) -> Spec:
    """The spec, or each member's, with other augmenters."""
    if isinstance(spec, EnsembleSpec):
        return EnsembleSpec(tuple(with_augmenters(member, change) for member in spec.members))
    return spec.replace(augmenters=change(spec.augmenters))


def fewer_parts(spec: Spec) -> list[Spec]:
    """The spec without each of its parts, or of its members' parts."""
    if isinstance(spec, EnsembleSpec):
        own = spec.members
        return [EnsembleSpec((*own[:k], one, *own[k + 1 :])) for k in range(len(own)) for one in fewer_parts(own[k])]
    parts = spec.augmenters
    fewer = [spec.replace(augmenters=parts[:i] + parts[i + 1 :]) for i in range(len(parts))]
    if type(spec.temporal) is not TSN:  # DNR would shift in its place
        still = tuple(replace(part, interlace=False) if isinstance(part, DNR) else part for part in parts)
        fewer.append(spec.replace(temporal=TSN(), augmenters=still))
    return fewer


def size_of(case_or_net: str | Net) -> int:
    """A small picture; BN-Inception's strides want a multiple of 32, Inception-V3 75 pixels."""
    if not isinstance(case_or_net, str):
        return max(size_of(member.spec.backbone) for member in members_of(case_or_net))
    return 75 if "inception_v3" in case_or_net else 64 if "inception" in case_or_net else SIZE


every_net = pytest.mark.parametrize("net", CASES, indirect=True)
every_form = pytest.mark.parametrize(
    "net", [*CASES, *(pytest.param(case, marks=pytest.mark.slow) for case in FORMS)], indirect=True
)
traced_nets = pytest.mark.parametrize("net", TRACED, indirect=True)
# An export takes twice the time of a compilation: one model per temporal module, and one per add-on.
QUICK_EXPORTS = ("small arc_tsn_r18", "small dnr_tsm_r18", "small tdn_r18", "small tanet_r18", "small slowfast_r18")
exported_nets = pytest.mark.parametrize(
    "net",
    [case if case in QUICK_EXPORTS else pytest.param(case, marks=pytest.mark.slow) for case in SPECS],
    indirect=True,
)
every_case = pytest.mark.parametrize("case", CASES)


def make(case: str, **kwargs: Any) -> Net:
    """A registered name or a small composition, with this file's sizes."""
    kwargs = {"num_classes": CLASSES, "num_frames": frames_of(case), **kwargs}
    if case not in SPECS:
        return videozoo.create_model(case, **kwargs)
    spec = SPECS[case]
    return videozoo.compose(spec.backbone, spec.temporal, spec.augmenters, **kwargs)


def is_order_free(net: Net) -> bool:
    """No part mixes time: frames meet in averages and maxima only."""
    augmenters = [part for member in members_of(net) for part in member.spec.augmenters]
    is_plain = all(type(member.spec.temporal) is TSN for member in members_of(net))
    own = any(mixes_time(member.backbone) for member in members_of(net))
    return not own and is_plain and all(type(part) is ARC for part in augmenters)


@pytest.fixture(scope="module")
def net(request: pytest.FixtureRequest) -> Net:
    """One model per module and case, in evaluation, without gradients; tests that change it take a copy."""
    torch.manual_seed(0)
    model = randomize(make(request.param)).eval().requires_grad_(False)
    # Norms of SmallBigNet that see one map per clip, and ABM's products of two features, need more clips.
    few = not (has_temporal(model, SmallBig) or has_temporal(model, ABM))
    return calibrate(model, clips(4 if few else 16, model.num_frames, size_of(model), seed=9))  # type: ignore[return-value]


@pytest.fixture(scope="module")
def x(net: Net) -> Tensor:
    """Two clips."""
    return clips(2, net.num_frames, size_of(net))


@pytest.fixture(scope="module")
def y(net: Net, x: Tensor) -> Tensor:
    """The logits of the two clips."""
    return net(x)


def trainable(net: Net) -> Net:
    """A copy in training mode."""
    return copy.deepcopy(net).requires_grad_(True).train()


def close(a: Tensor, b: Tensor, tolerance: float = 1e-4) -> None:
    """Equal up to the rounding of a hundred layers, measured against the largest value."""
    assert a.shape == b.shape
    scale = b.abs().max().item()
    assert scale > 0
    torch.testing.assert_close(a, b, rtol=0, atol=tolerance * scale)


def rounding_of(net: Net) -> float:
    """Rounding relative to the largest logit: convolutions in (2+1)D have a norm inside, and twice the layers."""
    return 4e-4 if any("2plus1d" in member.spec.backbone for member in members_of(net)) else 1e-4


@every_net
def test_logits_of_a_clip_do_not_depend_on_its_batch_mates(net: Net) -> None:
    x = clips(3, net.num_frames, size_of(net))
    together = net(x)
    assert together.shape == (3, CLASSES)
    assert together.isfinite().all()
    assert (together[0] - together[1]).abs().max() > 1e-4 * together.abs().max()
    for b in (0, 2):
        # a 3-D convolution of one clip may add up in another order than that of three
        close(net(x[b : b + 1]), together[b : b + 1], 5e-4 if net.is_3d else 1e-4)


@every_net
def test_order_of_frames_matters_unless_no_part_mixes_time(net: Net, x: Tensor, y: Tensor) -> None:
    shuffled = net(x[:, :, torch.randperm(net.num_frames, generator=torch.Generator().manual_seed(1))])
    if is_order_free(net):
        close(shuffled, y)
    else:
        assert (shuffled - y).abs().max() > 1e-3 * y.abs().max()


@every_net
def test_every_part_acts(net: Net, x: Tensor, y: Tensor) -> None:
    """Without any one of its parts the model answers something else."""
    for other_spec in fewer_parts(net.spec):
        other = build(other_spec).eval()
        own = net.state_dict()
        shared = {k: own[k] for k, v in other.state_dict().items() if k in own and own[k].shape == v.shape}
        other.load_state_dict({**other.state_dict(), **shared})
        with torch.no_grad():
            assert (other(x[:1]) - y[:1]).abs().max() > 1e-4 * y.abs().max()


@every_net
def test_weights_of_the_base_load_by_the_key_rule(net: Net) -> None:
    """ARC adds keys and takes none; DNR adds its cells and drops the affine pairs of the norms that it changed."""
    base = build(with_augmenters(net.spec, lambda _: ()))
    prefix = "" if isinstance(net, Ensemble) else "backbone."
    names = {kind: [f"{prefix}{n}" for n in sites] for kind, sites in net.sites.items()}
    missing, unexpected = set(net.state_dict()) - set(base.state_dict()), set(base.state_dict()) - set(net.state_dict())
    dynamic = [n for n, m in net.named_modules() if isinstance(m, DynamicNorm2d)]
    arc_keys = {
        k
        for k in missing
        if k.rpartition(".")[0].removesuffix(".gru.input").removesuffix(".gru.hidden") in names.get("arc", ())
    }
    tpn_keys = {k for k in missing if re.match(r"(members\.\d\.)?(backbone\.neck|aux_head)\.", k)}
    assert bool(tpn_keys) == ("tpn" in names)
    dnr_keys = missing - arc_keys - tpn_keys
    assert bool(arc_keys) == ("arc" in names)
    assert all(k.rpartition(".")[2] in ("embed", "fuse", "attend") or ".gru." in k for k in arc_keys)
    assert all(".relay." in k or any(k.startswith(f"{n}.") for n in dynamic) for k in dnr_keys)
    gone = [n for n in dynamic if net.get_submodule(n).weight is None]
    statistics = [n for n in dynamic if net.get_submodule(n).num_groups]
    expected = {f"{n}.{leaf}" for n in gone for leaf in ("weight", "bias")}
    expected |= {f"{n}.{leaf}" for n in statistics for leaf in ("running_mean", "running_var", "num_batches_tracked")}
    expected &= set(base.state_dict())  # a group norm has no statistics to leave over
    assert unexpected == expected


@every_net
def test_arc_starts_exactly_as_its_base(net: Net) -> None:
    spec = net.spec
    if not any(type(part) is ARC for member in members_of(net) for part in member.spec.augmenters):
        pytest.skip("no ARC in it")
    without = with_augmenters(spec, lambda parts: tuple(part for part in parts if type(part) is not ARC))
    base, fresh = randomize(build(without)).eval(), build(spec).eval()
    own = {k for k in fresh.state_dict() if k not in base.state_dict()}
    result = fresh.load_state_dict(base.state_dict(), strict=False)
    assert set(result.missing_keys) == own
    assert own
    assert not result.unexpected_keys
    x = clips(2, net.num_frames, size_of(net))
    with torch.no_grad():
        assert torch.equal(fresh(x), base(x))


@every_form
def test_every_parameter_gets_a_gradient(net: Net, x: Tensor) -> None:
    model = trainable(net)
    outputs = model(x, with_aux=True) if getattr(model, "aux_weight", 0) else [model(x)]
    torch.stack([F.cross_entropy(logits, torch.tensor([1, 3])) for logits in outputs]).sum().backward()
    grads = gradients(model)
    assert set(grads) == set(dict(model.named_parameters()))
    assert all(g.isfinite().all() for g in grads.values())
    still = [name for name, g in grads.items() if not g.any()]
    # Where strides or segments leave one group of frames, its relay has no state to look at.
    one_group = net.is_3d or net.frames_per_segment > 1
    still = [name for name in still if not (one_group and ".cell.phi_h." in name)]
    # The head reads MViT's class token alone, whose query is not pooled and has no place.
    last = re.compile(r"^backbone\.blocks\.4\.attn\.(?:pool_q\.pool|rel_pos_)")
    assert not [name for name in still if not ("mvit" in str(net.spec) and last.match(name))]


@every_net
def test_two_threads_give_the_same_output(net: Net) -> None:
    inputs = [clips(1 + i % 2, net.num_frames, size_of(net), seed=i) for i in range(4)]
    alone = [net(x) for x in inputs]

    def call(x: Tensor) -> Tensor:
        with torch.inference_mode():
            return net(x)

    with ThreadPoolExecutor(2) as pool:
        for a, b in zip(pool.map(call, inputs), alone, strict=True):
            close(a, b, 1e-6)


@every_form
def test_copies_after_a_step_of_training(net: Net, x: Tensor, tmp_path: Path) -> None:
    """deepcopy, pickle, state dict and safetensors all give the model that was trained, also in training mode."""
    model = trainable(net)
    optimizer = torch.optim.SGD(model.parameters(), 0.001)
    model(x).square().mean().backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1)  # products of features have large gradients
    optimizer.step()
    copied = copy.deepcopy(model).eval()
    pickled = pickle.loads(pickle.dumps(model)).eval()
    save_file(model.state_dict(), tmp_path / "model.safetensors")  # refuses tensors that share memory
    loaded = build(model.spec).eval()
    loaded.load_state_dict(load_file(tmp_path / "model.safetensors"))
    expected = model.eval()(x)
    for other in (copied, pickled, loaded):
        assert torch.equal(other(x), expected)
    pickled.train()(x).sum().backward()
    assert set(gradients(pickled)) == set(gradients(model))


@every_net
def test_synchronized_batch_norm_keeps_dynamic_norms(net: Net, x: Tensor, y: Tensor) -> None:
    dynamic = [n for n, m in net.named_modules() if isinstance(m, DynamicNorm2d)]
    torchs = nn.SyncBatchNorm.convert_sync_batchnorm(copy.deepcopy(net))
    assert [n for n, m in torchs.named_modules() if isinstance(m, DynamicNorm2d)] == dynamic
    has_batch_norm = any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in net.modules())
    assert any(isinstance(m, nn.SyncBatchNorm) for m in torchs.modules()) == has_batch_norm
    timms = timm.layers.convert_sync_batchnorm(copy.deepcopy(net))
    assert [n for n, m in timms.named_modules() if isinstance(m, DynamicNorm2d)] == dynamic
    assert torch.equal(timms(x), y)


@every_net
def test_gradient_checkpointing_gives_the_same_gradients(net: Net, x: Tensor) -> None:
    plain, saving = trainable(net), trainable(net)
    saving.set_grad_checkpointing()
    blocks = [(n, m) for n, m in saving.named_modules() if "neck." not in n and n.count(".") > 2]
    # a transformer may have none; the very last layer of a block is not run again, nothing asks for its output
    last = [m for _, m in blocks if isinstance(m, CONVS)] or [
        m for n, m in blocks if n.endswith((".attn.qkv", ".mlp.0"))
    ]
    calls = count_calls(last[-1])
    for model in (plain, saving):
        torch.manual_seed(0)  # TRN draws in training
        model(x).square().mean().backward()
    assert calls() == 2  # once more in the backward pass
    expected = gradients(plain)
    for name, grad in gradients(saving).items():
        torch.testing.assert_close(grad, expected[name], rtol=1e-5, atol=1e-6 * expected[name].abs().max().item())
    saving.set_grad_checkpointing(False)
    saving(x).square().mean().backward()
    assert calls() == 3


# Traced models add in another order than eager ones (ARC, shifts): float64 keeps that apart from a wrong graph.


@traced_nets
def test_compiles_as_one_graph(net: Net, x: Tensor) -> None:
    torch._dynamo.reset()
    exact = copy.deepcopy(net).double()
    compiled = torch.compile(exact, fullgraph=True, backend="eager")
    with torch.no_grad():
        close(compiled(x.double()), exact(x.double()), 1e-10)


@exported_nets
def test_exports_with_a_free_batch(net: Net, x: Tensor) -> None:
    batch = torch.export.Dim("batch", min=1, max=64)
    exact = copy.deepcopy(net).double()
    program = torch.export.export(exact, (x.double(),), dynamic_shapes=({0: batch},))
    for b in (1, 3):
        other = clips(b, net.num_frames, size_of(net), seed=b).double()
        with torch.no_grad():
            close(program.module()(other), exact(other), 1e-10)


@every_net
def test_automatic_mixed_precision(net: Net, x: Tensor) -> None:
    expected = net.forward_head(net.forward_features(x), pre_logits=True)
    with torch.autocast("cpu", torch.bfloat16):
        assert net(x).dtype == torch.bfloat16
        low = net.forward_head(net.forward_features(x), pre_logits=True)
    assert F.cosine_similarity(low.float(), expected).min() > 0.9
    model = trainable(net)
    # PyTorch's bfloat16 gradient of a 3x1x1 convolution over two steps is not finite on the CPU.
    two_steps: list[bool] = []
    for module in model.modules():
        if isinstance(module, nn.Conv3d | PreConv3d) and module.kernel_size[0] > 1:
            module.register_forward_pre_hook(lambda _, args: two_steps.append(args[0].shape[2] == 2))
    with torch.autocast("cpu", torch.bfloat16):
        loss = model(x).float().square().mean()
    loss.backward()
    grads = gradients(model).values()
    assert all(g.dtype == torch.float32 for g in grads)
    assert any(two_steps) or all(g.isfinite().all() for g in grads)


@every_net
def test_channels_last(net: Net, x: Tensor, y: Tensor) -> None:
    close(net(x.to(memory_format=torch.channels_last_3d)), y, rounding_of(net))
    layout = torch.channels_last_3d if net.is_3d else torch.channels_last
    model = copy.deepcopy(net)
    for module in model.modules():
        if isinstance(module, CONVS) and (module.weight.ndim == 5) == net.is_3d:
            module.to(memory_format=layout)
    if not net.is_3d and net.frames_per_segment == 1 and isinstance(net, VideoNet):
        folded = fold_time(x.to(memory_format=torch.channels_last_3d))
        assert model.backbone.forward_features(folded).is_contiguous(memory_format=torch.channels_last)
    close(model(x.to(memory_format=torch.channels_last_3d)), y, rounding_of(net))


@every_net
def test_half_and_double(net: Net, x: Tensor, y: Tensor) -> None:
    double = copy.deepcopy(net).double()(x.double())
    assert double.dtype == torch.float64
    close(y, double.float(), rounding_of(net))
    if net.is_3d:
        return  # PyTorch has no pooling over time in half precision on the CPU
    half = copy.deepcopy(net).half()(x.half())
    assert half.dtype == torch.float16
    assert half.isfinite().all()
    if not has_temporal(net, MSN):  # the place of its largest correlation may jump
        # a hundred layers of grouped products, or of gates made of differences, round more than others
        backbone = members_of(net)[0].spec.backbone
        is_rough = "101" in backbone and ("resnext" in backbone or has_temporal(net, TDN))
        is_rough = is_rough or has_temporal(net, TEA) or "inception_v3" in backbone
        is_rough = is_rough or "tpn" in net.sites  # no mean over time evens the rounding out
        close(half.float(), y, 0.25 if is_rough else 0.05)


@every_net
def test_other_numbers_of_frames(net: Net, x: Tensor, y: Tensor, tmp_path: Path) -> None:
    model = copy.deepcopy(net)
    pixels = size_of(net)
    unit = 2 if isinstance(net, Ensemble) else getattr(net.backbone, "frames_multiple", net.frames_per_segment)
    unit = unit if isinstance(net, Ensemble) else max(unit, getattr(net.backbone, "least_frames", 1))
    with pytest.raises(ValueError, match="num_frames is 0; need "):
        model.set_num_frames(0)
    if any(hasattr(m, "fixed_segments") for m in net.modules()):
        with pytest.raises(ValueError, match=r"has weights for .* build the model with num_frames="):
            model.set_num_frames(net.num_frames + unit)
        assert torch.equal(model(x), y)
        return
    least = max(unit, getattr(getattr(net, "backbone", None), "least_frames", 1))
    other = 8 * unit if has_temporal(net, TDN) else 2 * least  # TDN fuses 8 segments in a way of their own
    model.set_num_frames(other)
    assert (model.num_frames, model.spec.num_frames, model.pretrained_cfg["num_frames"]) == (other,) * 3
    save_weights(model.state_dict(), tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(videozoo.model_config(model)))
    loaded = videozoo.create_model(tmp_path, pretrained=True).eval()
    clip = clips(1, other, pixels)
    with torch.no_grad():
        close(loaded(clip), model(clip), 1e-6)
    if has_temporal(net, MSN):
        with pytest.raises(ValueError, match=r"MotionSqueeze at .* needs 2 time steps or more, not 1"):
            model.set_num_frames(unit)
    else:
        model.set_num_frames(least)
        assert model(x[:, :, :least]).isfinite().all()
    model.set_num_frames(net.num_frames)
    assert torch.equal(model(x), y)


@every_net
def test_wrong_inputs_are_refused_with_the_needed_shape(net: Net) -> None:
    n = net.num_frames
    with pytest.raises(ValueError, match=rf"shape \(3, {n}, 8, 8\); need clips \(B, C, T, H, W\).*unsqueeze\(0\)"):
        net(torch.zeros(3, n, 8, 8))
    with pytest.raises(ValueError, match=rf"has {n} channels, the model takes 3.*transpose\(1, 2\).*in_chans"):
        net(torch.zeros(1, n, 3, 8, 8))
    with pytest.raises(ValueError, match=rf"has {n - 1} frames, the model takes {n}.*set_num_frames\({n - 1}\)"):
        net(torch.zeros(1, 3, n - 1, 8, 8))
    with pytest.raises(ValueError, match=f"has {2 * n} frames"):  # two clips in one
        net.forward_features(torch.zeros(1, 3, 2 * n, 8, 8))


@every_form
def test_parts_of_the_forward_agree(net: Net, x: Tensor, y: Tensor) -> None:
    if isinstance(net, Ensemble):
        pytest.skip("maps of two lengths and two classifiers: test_ensemble.py puts its forward together")
    features = net.forward_features(x)
    assert (features.shape[0], features.shape[2 if net.gives_tokens else 1]) == (2, net.num_features)
    assert net.is_3d or features.shape[2] == net.num_steps
    assert torch.equal(net.forward_head(features), y)
    pooled = net.forward_head(features, pre_logits=True)
    assert pooled.shape == (2, net.head_hidden_size)
    if not has_temporal(net, TRN) and not has_temporal(net, AttLSTM):  # their heads look at frames
        close(net.fc(pooled), y, 1e-6)
    final, maps = net.forward_intermediates(x)
    assert torch.equal(final, features)
    assert [m.shape[1] for m in maps] == [row["num_chs"] for row in net.feature_info]
    assert all(m.shape[0] == 2 and (net.is_3d or m.shape[2] == net.num_segments) for m in maps)
    border = 1.6 if isinstance(net.backbone, InceptionV3 | InceptionV3Tsn) else 0.4  # its convolutions have no padding
    assert [size_of(net) / m.shape[-1] for m in maps] == pytest.approx(
        [row["reduction"] for row in net.feature_info], rel=border
    )
    only = net.forward_intermediates(x, indices=1, intermediates_only=True)
    assert len(only) == 1
    assert torch.equal(only[0], maps[-1])


@every_net
def test_feature_info_names_modules_whose_outputs_are_the_maps(net: Net, x: Tensor) -> None:
    if net.is_3d or has_temporal(net, TDN):
        pytest.skip("its maps are made between modules")
    model = copy.deepcopy(net)
    seen: dict[str, Tensor] = {}
    for row in model.feature_info:
        model.get_submodule(row["module"]).register_forward_hook(
            lambda _, __, out, name=row["module"]: seen.__setitem__(name, out)
        )
    model(x)
    maps = net.forward_intermediates(x, intermediates_only=True)
    for row, found in zip(model.feature_info, maps, strict=True):
        torch.testing.assert_close(seen[row["module"]].unflatten(0, (2, -1)).transpose(1, 2), found)


@every_net
def test_classifier_can_be_changed(net: Net, x: Tensor) -> None:
    model = copy.deepcopy(net)
    classifier = model.get_classifier()
    assert list(classifier) == list(heads_of(model)) if isinstance(net, Ensemble) else classifier is model.fc
    pooled = model.forward_head(model.forward_features(x), pre_logits=True)
    model.reset_classifier(0)
    assert model.num_classes == 0
    assert all(isinstance(head, nn.Identity) for head in heads_of(model))
    assert torch.equal(model(x), pooled)
    model.reset_classifier(11)
    assert model(x).shape == (2, 11)
    assert (model.num_classes, model.spec.num_classes, model.pretrained_cfg["num_classes"]) == (11, 11, 11)
    assert {p.dtype for p in heads_of(model.double()).parameters()} == {torch.float64}
    model.reset_classifier(4)
    assert {p.dtype for p in heads_of(model).parameters()} == {torch.float64}
    for wrong in ({"num_classes": -1}, {"num_classes": 3, "global_pool": "max"}):
        with pytest.raises(ValueError, match="reset_classifier: "):
            model.reset_classifier(**wrong)  # type: ignore[arg-type]


@every_net
def test_layer_decay_reaches_every_parameter_once(net: Net, x: Tensor) -> None:
    """The stem learns slowest, the classifier at the full rate, what an augmenter adds to a block as its block."""
    model = trainable(net)
    groups = param_groups_layer_decay(model, weight_decay=0.05, layer_decay=0.75)
    ids = [id(p) for group in groups for p in group["params"]]
    assert len(ids) == len(set(ids))
    assert set(ids) == {id(p) for p in model.parameters()}
    scale = {id(p): group["lr_scale"] for group in groups for p in group["params"]}
    scales = {name: scale[id(p)] for name, p in model.named_parameters()}
    head = re.compile(r"(members\.\d\.)?fc\.")
    assert {value for name, value in scales.items() if head.match(name)} == {1} == {max(scales.values())}
    for member in ("", *(f"members.{k}." for k in range(len(getattr(model, "members", ()))))):
        own = [name for name in scales if name.startswith(f"{member}backbone.")]
        if own:
            assert scales[own[0]] == min(scales.values()) < 0.5
        blocks = [scales[n] for n in own if re.search(r"backbone\.layer\d\.\d+\.conv1\.weight$", n)]
        assert blocks == sorted(blocks)
    for name, value in scales.items():
        leaf = name.rpartition(".")[2]
        if leaf in ("embed", "fuse", "attend"):
            assert value == scales[f"{name.rpartition('.')[0]}.weight"]
    optimizer = create_optimizer_v2(model, opt="adamw", lr=1e-3, weight_decay=0.05, layer_decay=0.75)
    model(x).square().mean().backward()
    optimizer.step()


@every_net
def test_patterns_of_layers_and_exceptions_from_decay(net: Net) -> None:
    assert net.no_weight_decay() <= set(dict(net.named_parameters()))
    for coarse in (False, True):
        layers = timm.models.group_parameters(net, net.group_matcher(coarse))
        assert sorted(name for names in layers.values() for name in names) == sorted(dict(net.named_parameters()))
        assert len(layers) > (2 if coarse else 5)


@every_case
def test_other_channels_and_stochastic_depth(case: str) -> None:
    has_branches = not re.search("inception|s3d", case)
    model = make(case, in_chans=1, drop_path_rate=0.5 if has_branches else 0).eval()
    x = clips(2, model.num_frames, size_of(model), channels=1)
    assert model(x).shape == (2, CLASSES)
    assert torch.equal(model(x), model(x))
    with pytest.raises(ValueError, match="has 3 channels, the model takes 1"):
        model(clips(2, model.num_frames, size_of(model)))
    paths = [m for m in model.modules() if type(m).__name__ == "DropPath"]
    if not has_branches:  # nothing to drop
        assert not paths
        return
    assert max(m.drop_prob for m in paths) > 0
    randomize(model.train())
    model(x).sum().backward()
    assert not torch.equal(model(x), model(x))


@every_case
def test_builds_on_the_meta_device(case: str) -> None:
    with torch.device("meta"):
        model = make(case, in_chans=4)
        assert model(torch.zeros(2, 4, model.num_frames, size_of(model), size_of(model))).shape == (2, CLASSES)
    assert {p.device.type for p in (*model.parameters(), *model.buffers())} == {"meta"}
    with torch.device("meta"):
        other = max(64, size_of(model))
        assert make(case, num_classes=0)(torch.zeros(1, 3, model.num_frames, other, other)).shape == (
            1,
            model.head_hidden_size,
        )


def test_dropout_acts_in_training_only() -> None:
    model = randomize(make("small tsn_r18", drop_rate=0.5))
    frozen = [m.eval() for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    assert frozen
    x = clips(2, T, SIZE)
    assert not torch.equal(model(x), model(x))
    model.eval()
    assert torch.equal(model(x), model(x))


def test_consensus_is_the_mean_of_the_frames_logits() -> None:
    """TSN: one frame at a time through the plain backbone, its logits averaged."""
    model = randomize(make("small tsn_r18")).eval()
    x = clips(2, T, SIZE)
    with torch.no_grad():
        frames = [model.fc(model.backbone(x[:, :, t])) for t in range(T)]
        close(model(x), torch.stack(frames).mean(0))


@pytest.mark.slow
@pytest.mark.parametrize("case", ["small arc_tsm_r18", "small dnr_tsn_r18"])
def test_inductor(case: str) -> None:
    """Generated code gives the same logits; needs a C++ compiler."""
    try:
        get_cpp_compiler()
    except Exception as error:
        pytest.skip(f"no C++ compiler: {error}")
    torch._dynamo.reset()
    model = randomize(make(case)).eval()
    x = clips(2, T, SIZE)
    with torch.no_grad():
        close(torch.compile(model, fullgraph=True)(x), model(x), 1e-4)

"""Tests of ``videozoo.fuse``: equal outputs, and nothing folded that has another reader."""

import copy
import io
import pickle
from collections import Counter
from typing import Any

import pytest
import torch
from helpers import calibrate, clips, one_of_each_family, randomize
from timm.layers import BatchNormAct2d
from torch import Tensor, nn

import videozoo
from videozoo import ARC, DNR, TSM, Ensemble, VideoNet
from videozoo.models.fuse_convs import fuse_convs
from videozoo.surgery import PreConv2d
from videozoo.surgery.fused_conv import FusedConv2d, FusedConv3d

Net = VideoNet | Ensemble
HANDFUL = ("test_arc_tsm", "test_dnr_tsn", "tsn_mbv2")
KINDS = one_of_each_family(videozoo.list_models())


def random_net(name: str, dtype: torch.dtype = torch.float32) -> tuple[Net, Tensor]:
    """A model with random, calibrated norms and a clip for it; ``fuse`` tries it on small clips."""
    torch.manual_seed(0)
    net = videozoo.create_model(name, num_classes=6).eval()
    size = 75 if "inception_v3" in name else 64 if "inception" in name or "eco_" in name else 40
    frames = {24: 6, 32: 16, 40: 10, 48: 6, 64: 16}.get(net.num_frames, 4)
    net.set_num_frames(frames) if _takes_other_lengths(name) else None
    for member in net.members if isinstance(net, Ensemble) else [net]:
        member.pretrained_cfg["input_size"] = (3, size, size)
    x = clips(2, net.num_frames, size)
    return calibrate(randomize(net), x).to(dtype), x.to(dtype)  # type: ignore[return-value]


def _takes_other_lengths(name: str) -> bool:
    return not name.startswith(("trn", "tanet", "dnr_tanet", "tin", "timesformer", "vivit"))


def distance(a: Tensor, b: Tensor) -> float:
    """The largest difference over the largest value."""
    return ((a - b).abs().max() / b.abs().max()).item()


def kinds(net: nn.Module) -> Counter[str]:
    """How many modules of each class there are."""
    return Counter(type(module).__name__ for module in net.modules())


@torch.no_grad()
def check_equal(name: str) -> None:
    net, x = random_net(name)
    before = copy.deepcopy(net.state_dict())
    fused = videozoo.fuse(net)
    assert isinstance(fused, type(net))
    exact_net, exact_x = copy.deepcopy(net).double(), x.double()
    exact = exact_net(exact_x)
    # A random R(2+1)D magnifies rounding: there the model itself is 4e-4 from what float64 gives.
    rounding = max(1e-4, 4 * distance(net(x), exact))
    assert distance(fused(x), exact) < rounding
    with torch.backends.mkldnn.flags(enabled=False):  # the plain operations
        assert distance(fused(x), exact) < rounding
    state = net.state_dict()
    assert state.keys() == before.keys()
    assert all(torch.equal(state[key], before[key]) for key in before)
    assert distance(videozoo.fuse(exact_net)(exact_x), exact) < 1e-10


@pytest.mark.parametrize(
    "name",
    [*HANDFUL, *(pytest.param(name, marks=pytest.mark.slow) for name in KINDS if name not in HANDFUL)],
)
def test_a_fused_model_gives_the_same_output(name: str) -> None:
    check_equal(name)


COMPOSED: dict[str, dict[str, Any]] = {
    "regnet, one group a norm": {"backbone": "regnety_002", "augmenters": [DNR(norm="gn")]},
    "squeeze and excite": {"backbone": "efficientnet_b0", "temporal": TSM(), "augmenters": [DNR(bidirectional=True)]},
    "both augmenters": {"backbone": "resnet18", "temporal": TSM(), "augmenters": [ARC(), DNR(ct_group_frames=2)]},
    "gru": {"backbone": "test_resnet", "augmenters": [ARC(stages=(1, 2, 3, 4), attention_layer="gru")]},
}


@pytest.mark.slow
@pytest.mark.parametrize("case", COMPOSED)
def test_compositions_give_the_same(case: str) -> None:
    torch.manual_seed(0)
    net = videozoo.compose(**COMPOSED[case], num_classes=6, num_frames=4).eval()
    net.pretrained_cfg["input_size"] = (3, 64, 64)
    x = clips(2, 4, 64)
    calibrate(randomize(net), x)
    with torch.no_grad():
        assert distance(videozoo.fuse(net)(x), net(x)) < 1e-4


def test_every_norm_of_a_plain_model_is_folded() -> None:
    net, _ = random_net("tsn_mbv2")
    assert kinds(net)["BatchNormAct2d"] == kinds(net)["Conv2d"] == 52
    left = kinds(videozoo.fuse(net))
    assert left["FusedConv2d"] == 52
    assert not {"BatchNormAct2d", "Conv2d", "ReLU6"} & set(left)


# Small models: which pairs are folded.


class Net2d(nn.Module):
    """A convolution, a norm, an activation, and what a test adds."""

    def __init__(self, conv: nn.Module | None = None, norm: nn.Module | None = None) -> None:
        super().__init__()
        self.conv = conv or nn.Conv2d(6, 8, 3, padding=1, bias=False)
        self.norm = norm or nn.BatchNorm2d(8)
        self.act = nn.ReLU()

    def forward(self, x: Tensor) -> Any:
        return self.act(self.norm(self.conv(x)))


class ReadTwice(Net2d):
    """The convolution's output is added to the norm's."""

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        return self.norm(y) + y


class ReadThroughView(Net2d):
    """A part of the convolution's output is read before the norm."""

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        part = y[:, :2]
        return self.act(self.norm(y)) + part.sum()


class ChangedBetween(Net2d):
    """The convolution's output is changed in place before the norm."""

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.norm(self.conv(x).abs_()))


class GivenOut(Net2d):
    """The convolution's output is a result, too."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = self.conv(x)
        return self.act(self.norm(y)), y


class NormTwice(Net2d):
    """One norm at two places."""

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.act(self.norm(self.conv(x))))


class ConvTwice(Net2d):
    """One convolution at two places."""

    def __init__(self) -> None:
        super().__init__(nn.Conv2d(8, 8, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(self.norm(self.conv(torch.cat((x, x[:, :2]), 1))))


class SharedWeight(Net2d):
    """Two convolutions with one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.other = nn.Conv2d(6, 8, 3, padding=1, bias=False)
        self.other.weight = self.conv.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x)) + self.other(x)


class NoConv(Net2d):
    """Norms that follow no convolution."""

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.norm(self.conv(x) * 2))


class BatchStatistics(Net2d):
    """A norm without running statistics."""

    def __init__(self) -> None:
        super().__init__(norm=nn.BatchNorm2d(8, track_running_stats=False))


class OtherForward(Net2d):
    """A norm of a class of its own."""

    def __init__(self) -> None:
        class Doubled(nn.BatchNorm2d):
            def forward(self, x: Tensor) -> Tensor:
                return 2 * super().forward(x)

        super().__init__(norm=Doubled(8))


def fused_pair(net: nn.Module, x: Tensor) -> tuple[Any, Any]:
    """A network with random norms, and its fused copy; they give the same."""
    randomize(net.eval())
    new = copy.deepcopy(net)
    with torch.no_grad():
        fuse_convs(new, lambda: new(x))
        torch.testing.assert_close(new(x), net(x))
    return net, new


UNTOUCHED = (ReadTwice, ReadThroughView, ChangedBetween, GivenOut, NormTwice, ConvTwice, SharedWeight, NoConv)


@pytest.mark.parametrize("kind", [*UNTOUCHED, BatchStatistics, OtherForward])
def test_outputs_with_other_readers_are_not_folded(kind: type[Net2d]) -> None:
    net, new = fused_pair(kind(), torch.randn(2, 6, 9, 9))
    assert type(new.norm) is type(net.norm)
    assert torch.equal(new.conv.weight, net.conv.weight)


CONVS = {
    "plain": nn.Conv2d(6, 8, 3, padding=1, bias=False),
    "bias": nn.Conv2d(6, 8, 3, stride=2),
    "grouped": nn.Conv2d(6, 8, 3, groups=2, dilation=2),
    "depth-wise": nn.Conv2d(6, 6, 3, groups=6),
    "depth-wise, two each": nn.Conv2d(6, 12, 3, groups=6, bias=False),
    "same": nn.Conv2d(6, 8, 3, padding="same"),
    "reflected": nn.Conv2d(6, 8, 3, padding=1, padding_mode="reflect"),
    "pre": PreConv2d.from_conv(nn.Conv2d(6, 8, 1), nn.Hardswish()),
}


@pytest.mark.parametrize("case", CONVS)
@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
def test_kinds_of_convolutions(case: str, memory: torch.memory_format) -> None:
    conv = copy.deepcopy(CONVS[case])
    x = torch.randn(2, 6, 9, 9).to(memory_format=memory)
    _, new = fused_pair(Net2d(conv, nn.BatchNorm2d(conv.out_channels)).to(memory_format=memory), x)
    assert type(new.conv) is FusedConv2d
    assert new.conv.act == "relu"
    assert type(new.norm) is type(new.act) is nn.Identity


NORMS = {
    "no affine pair": nn.BatchNorm2d(8, affine=False),
    "with ReLU6": BatchNormAct2d(8, act_layer=nn.ReLU6),
    "with SiLU": BatchNormAct2d(8, act_layer=nn.SiLU),
    "without": BatchNormAct2d(8, apply_act=False),
    "synchronized": nn.SyncBatchNorm(8),
}


@pytest.mark.parametrize("case", NORMS)
def test_kinds_of_norms(case: str) -> None:
    norm = copy.deepcopy(NORMS[case])
    _, new = fused_pair(Net2d(norm=norm), 3 * torch.randn(2, 6, 9, 9))
    assert type(new.norm) is (nn.SiLU if case == "with SiLU" else nn.Identity)
    assert new.conv.act == {"with ReLU6": "hardtanh", "with SiLU": "none"}.get(case, "relu")


def test_clips_are_folded_too() -> None:
    net = Net2d(nn.Conv3d(6, 8, (3, 1, 1), padding=(1, 0, 0)), nn.BatchNorm3d(8))
    _, new = fused_pair(net, torch.randn(2, 6, 4, 5, 5))
    assert type(new.conv) is FusedConv3d
    assert type(new.norm) is nn.Identity


def test_modules_with_hooks_are_not_folded() -> None:
    net = Net2d()
    net.norm.register_forward_hook(lambda *_: None)
    _, new = fused_pair(net, torch.randn(2, 6, 9, 9))
    assert type(new.norm) is nn.BatchNorm2d


def test_an_activation_at_two_places_goes_where_all_of_them_are_convolutions() -> None:
    class Twice(Net2d):
        def forward(self, x: Tensor) -> Tensor:
            return self.act(self.act(self.norm(self.conv(x))) - 1)

    _, new = fused_pair(Twice(), torch.randn(2, 6, 9, 9))
    assert type(new.norm) is nn.Identity
    assert type(new.act) is nn.ReLU
    assert new.conv.act == "none"


def test_a_changed_weight_is_laid_out_again() -> None:
    _, new = fused_pair(Net2d(), torch.randn(2, 6, 9, 9))
    x = torch.randn(2, 6, 9, 9)
    with torch.no_grad():
        old = new(x)
        new.conv.weight.mul_(2)
        new.conv.bias.mul_(2)
        torch.testing.assert_close(new(x), 2 * old)
        new.load_state_dict({key: value / 2 for key, value in new.state_dict().items()})
        torch.testing.assert_close(new(x), old)
        new.conv.weight = nn.Parameter(torch.zeros_like(new.conv.weight))
        assert new(x).std((0, 2, 3)).max() < 1e-6


# The copy as a module.


@pytest.fixture(scope="module")
def tiny() -> tuple[VideoNet, VideoNet, Tensor]:
    """A tiny model, its fused copy, and a clip."""
    net, x = random_net("test_arc_tsm")
    assert isinstance(net, VideoNet)
    return net, videozoo.fuse(net), x


Tiny = tuple[VideoNet, VideoNet, Tensor]


def test_the_copy_cannot_train(tiny: Tiny) -> None:
    net, fused, _ = tiny
    with pytest.raises(RuntimeError, match="cannot train"):
        fused.train()
    assert not any(module.training for module in fused.modules())
    assert fused.eval() is fused
    assert not any(parameter.requires_grad for parameter in fused.parameters())
    assert videozoo.fuse(copy.deepcopy(net).train()).training is False


def test_the_given_model_keeps_its_mode() -> None:
    net, _ = random_net("test_dnr_tsn")
    net.train()
    counts = [module.num_batches_tracked.clone() for module in net.modules() if isinstance(module, nn.BatchNorm2d)]
    videozoo.fuse(net)
    assert all(module.training for module in net.modules())
    assert all(parameter.requires_grad for parameter in net.parameters())
    after = [module.num_batches_tracked for module in net.modules() if isinstance(module, nn.BatchNorm2d)]
    assert all(map(torch.equal, after, counts))


def test_copies_pickles_and_another_fusing(tiny: Tiny) -> None:
    _, fused, x = tiny
    with torch.no_grad():
        y = fused(x)  # lays the weights out, which can be neither copied nor pickled
        file = io.BytesIO()
        torch.save(fused, file)
        file.seek(0)
        loaded = torch.load(file, weights_only=False)
        for twin in (copy.deepcopy(fused), pickle.loads(pickle.dumps(fused)), loaded, videozoo.fuse(fused)):
            assert type(twin) is type(fused)
            torch.testing.assert_close(twin(x), y)


def test_weights_of_a_fused_model_fit_no_other(tiny: Tiny) -> None:
    net, fused, _ = tiny
    with pytest.raises(RuntimeError, match="Missing key"):
        copy.deepcopy(net).load_state_dict(fused.state_dict())


def test_other_clip_lengths(tiny: Tiny) -> None:
    net, fused, _ = copy.deepcopy(tiny)
    x = clips(1, 6, 40)
    net.set_num_frames(6)
    fused.set_num_frames(6)
    with torch.no_grad():
        assert distance(fused(x), net(x)) < 1e-4
        assert distance(fused.forward_features(x), net.forward_features(x)) < 1e-4


def test_gradients_of_the_input(tiny: Tiny) -> None:
    net, fused, x = tiny
    found = []
    for model in (net, fused):
        clip = x.clone().requires_grad_()
        model(clip).square().sum().backward()
        found.append(clip.grad)
    assert distance(found[1], found[0]) < 1e-4


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_low_precision(tiny: Tiny, dtype: torch.dtype) -> None:
    net, fused, x = tiny
    with torch.no_grad():
        exact = net(x)
        half = copy.deepcopy(net).to(dtype)
        assert distance(videozoo.fuse(half)(x.to(dtype)).float(), exact) < 0.1
        assert distance(copy.deepcopy(fused).to(dtype)(x.to(dtype)).float(), exact) < 0.1
        with torch.autocast("cpu", dtype):
            assert distance(fused(x).float(), exact) < 0.1


def test_inference_mode(tiny: Tiny) -> None:
    net, _, x = tiny
    with torch.inference_mode():
        fused = videozoo.fuse(net)
        y = fused(x)
    assert not any(parameter.is_inference() for parameter in fused.parameters())
    with torch.no_grad():
        torch.testing.assert_close(fused(x), y)


@pytest.mark.slow
def test_exports_without_operations_of_the_cpu(tiny: Tiny) -> None:
    _, fused, x = tiny
    with torch.no_grad():
        y = fused(x)
        program = torch.export.export(fused, (x,), dynamic_shapes={"x": {0: torch.export.Dim.DYNAMIC}})
        torch.testing.assert_close(program.module()(x[:1]), y[:1])
        assert "mkldnn" not in str(program.graph)
        traced = torch.jit.trace(fused.backbone.conv1, x[:, :, 0])
        assert "mkldnn::" not in str(traced.graph)


@pytest.mark.slow
def test_compiles_as_one_graph(tiny: Tiny) -> None:
    _, fused, x = tiny
    with torch.no_grad():
        torch.testing.assert_close(torch.compile(fused, fullgraph=True)(x), fused(x), rtol=1e-4, atol=1e-5)


def test_an_ensemble_is_fused_member_by_member() -> None:
    members = []
    for name in ("test_arc_tsm", "test_dnr_tsn"):
        net, _ = random_net(name)
        members.append(net)
    members[1].set_num_frames(2)
    both = Ensemble(members).eval()  # type: ignore[arg-type]
    fused = videozoo.fuse(both)
    x = clips(1, 4, 40)
    with torch.no_grad():
        assert distance(fused(x).exp(), both(x).exp()) < 1e-4
    with pytest.raises(RuntimeError, match="cannot train"):
        fused.train()
    assert not any(module.training for module in fused.modules())


def test_refusals() -> None:
    with pytest.raises(TypeError, match="Linear is no model of videozoo"):
        videozoo.fuse(nn.Linear(2, 2))  # type: ignore[type-var]
    net, _ = random_net("test_dnr_tsn")
    with torch.no_grad():
        net.fc.bias.fill_(float("nan"))
    with pytest.raises(RuntimeError, match="differs by nan"):
        videozoo.fuse(net)


def test_a_wrong_fold_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    net, _ = random_net("test_dnr_tsn")
    monkeypatch.setattr(FusedConv2d, "take_affine", lambda *_: None)
    with pytest.raises(RuntimeError, match="the fused model differs"):
        videozoo.fuse(net)

"""Tests of DNR in custom blocks: which norms it takes, and that the rest of a block is unchanged."""

import copy
import pickle
import warnings
from typing import Any

import pytest
import timm
import torch
import torch.nn.functional as F
from helpers import calibrate, randomize, small_resnet
from timm.models.resnet import BasicBlock
from timm.utils.model import freeze_batch_norm_2d, unfreeze_batch_norm_2d
from torch import Tensor, nn

from videozoo.augment import DNR, CrossLayerNorm2d, CrossTemporalNorm2d
from videozoo.augment.dynamic_norm import DynamicNorm2d
from videozoo.engine import freeze_norms
from videozoo.surgery import RelayStage
from videozoo.temporal import TSM

T = 4
pytestmark = pytest.mark.filterwarnings("ignore:DNR")


class Block(nn.Module):
    """A block with dropout by function and by module, a branch for training and a count of its own."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width)
        self.drop, self.aux = nn.Dropout(0.5), nn.Conv2d(width, width, 1)
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        y = F.dropout(F.relu(self.bn1(self.conv1(x))), 0.5, self.training)
        y = self.bn2(self.conv2(self.drop(y)))
        if self.training:
            y = y + self.aux(x)
        return F.relu(x + y)


def own_net(training: bool = True) -> nn.Sequential:
    net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.Sequential(Block(), Block(), Block()))
    return net.train(training)


@pytest.mark.parametrize("training", [True, False])
def test_a_block_keeps_its_own_forward_in_both_modes(training: bool) -> None:
    net = own_net(training)
    keys = set(net.state_dict())
    names = DNR().apply(net, T)
    gone = {f"{name}.{leaf}" for name in names if ".bn" in name for leaf in ("weight", "bias")}
    assert keys - set(net.state_dict()) == gone
    assert all(module.training == training for module in net.modules())
    x = torch.randn(2 * T, 3, 8, 8)
    net.eval()
    assert torch.equal(net(x), net(x))
    net.train()
    assert not torch.equal(net(x), net(x))
    net(x).sum().backward()
    assert all(parameter.grad is not None for parameter in net.parameters())
    assert [block.calls for block in net[1]] == [5] * 3


def test_a_forward_that_takes_a_stage_apart_is_refused() -> None:
    class Loop(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = nn.Sequential(nn.Conv2d(3, 8, 1))
            self.blocks = nn.Sequential(Block(), Block())

        def forward(self, x: Tensor) -> Tensor:
            x = self.encoder(x)
            for block in self.blocks:
                x = block(x)
            return x

    x = torch.randn(2 * T, 3, 8, 8)
    net = Loop()
    DNR().apply(net, T)
    with pytest.raises(RuntimeError, match=r"outside the forward of its stage.*order='bn_ct'"):
        net(x)
    net = Loop()
    DNR(order="bn_ct").apply(net, T)
    assert net(x).isfinite().all()


def test_a_block_may_pass_its_norm_over() -> None:
    class Dropped(Block):
        def forward(self, x: Tensor) -> Tensor:
            return x

    net = nn.Sequential(nn.Conv2d(3, 8, 1), nn.Sequential(Block(), Dropped(), Block())).eval()
    DNR().apply(net, T)
    other = nn.Sequential(nn.Conv2d(3, 8, 1), nn.Sequential(Block(), Block())).eval()
    DNR().apply(other, T)
    state = {key.replace("1.2.", "1.1."): v for key, v in net.state_dict().items() if not key.startswith("1.1.")}
    other.load_state_dict(state)
    x = torch.randn(2 * T, 3, 8, 8)
    assert torch.equal(net(x), other(x))


def test_stages_are_sequences_and_blocks_keep_class_and_attributes() -> None:
    net = small_resnet((2, 2, 1, 1))
    blocks = list(net.layer1)
    net.layer1.register_forward_hook(seen := Seen())
    net.layer1[0].register_forward_hook(seen)
    net.layer1[0].register_forward_pre_hook(lambda *_: seen.names.append("pre"))
    DNR().apply(net, T)
    assert isinstance(net.layer1, RelayStage)
    assert isinstance(net.layer1, nn.Sequential)
    assert [net.layer1[i] for i in range(len(net.layer1))] == list(net.layer1) == blocks
    assert all(type(block) is BasicBlock for block in net.layer1)
    assert net.layer2[0].downsample is not None
    assert net.layer2[0].stride == 2
    net(torch.randn(T, 3, 32, 32))
    assert seen.names == ["pre", "BasicBlock", "RelayStage"]


class Seen:
    """A hook that keeps what it was called for; a block's output stays a tensor."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def __call__(self, module: nn.Module, args: Any, output: Any) -> None:
        assert isinstance(output, Tensor)
        self.names.append(type(module).__name__)


def test_hooks_of_a_norm_are_refused() -> None:
    for register in ("register_forward_hook", "register_state_dict_pre_hook", "register_full_backward_hook"):
        net = small_resnet()
        getattr(net.layer2[0].bn2, register)(lambda *_: None)
        with pytest.raises(ValueError, match=r"DNR: layer2\.0\.bn2: this BatchNorm2d has hooks"):
            DNR().apply(net, T)
        assert not any(isinstance(module, DynamicNorm2d | RelayStage) for module in net.modules())


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("make", [lambda: small_resnet((3, 2, 1, 1)), lambda: timm.create_model("mobilenetv2_050")])
def test_gradient_checkpointing_of_timm(make: Any, before: bool) -> None:
    plain = make()
    saving = copy.deepcopy(plain)
    if before:
        saving.set_grad_checkpointing()
    for net in (plain, saving):
        DNR(ct_group_frames=2).apply(net, T)
    assert any(isinstance(module, CrossLayerNorm2d) for module in saving.modules())
    saving = pickle.loads(pickle.dumps(copy.deepcopy(saving)))
    if not before:
        saving.set_grad_checkpointing()
    saving.load_state_dict(plain.state_dict())
    calls: list[int] = []
    last = [module for module in saving.modules() if isinstance(module, CrossTemporalNorm2d)][-1]
    last.register_forward_hook(lambda *_: calls.append(1))
    x = torch.randn(2 * T, 3, 32, 32)
    for net in (plain, saving):
        net.train()(x).square().mean().backward()
    assert len(calls) == 2
    expected = {name: parameter.grad for name, parameter in plain.named_parameters()}
    for name, parameter in saving.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name])
    saving.set_grad_checkpointing(False)
    saving(x)
    assert len(calls) == 3


@pytest.mark.parametrize(("backbone", "sites"), [("regnety_002", 13), ("mobilenetv2_050", 10)])
def test_tsm_after_dnr_is_tsm_before_it(backbone: str, sites: int) -> None:
    first, last = (timm.create_model(backbone, num_classes=0) for _ in range(2))
    assert len(TSM().apply(first, T)) == sites
    DNR(interlace=False).apply(first, T)
    DNR(interlace=False, ct_group_frames=4).apply(last, T)
    assert len(TSM().apply(last, T)) == sites
    calibrate(randomize(first), x := torch.randn(T, 3, 64, 64))
    last.load_state_dict(first.state_dict())
    with torch.no_grad():
        assert torch.equal(first.eval()(x), last.eval()(x))


@pytest.mark.parametrize(
    ("backbone", "message"),
    [
        ("mobilenetv4_conv_small", "of the 46 norms of MobileNetV3 only 2"),
        ("mobilenetv4_conv_medium", "of the .* norms of MobileNetV3 only 2"),
        ("ghostnet_050", "nothing to change in GhostNet"),
        ("vgg11_bn", "of the 8 norms of VGG only 2"),
        ("xception41", "nothing to change"),
        ("legacy_xception", "of the 40 norms of Xception only 2"),
        ("coatnet_nano_rw_224", "of the 41 norms of MaxxVit only 14"),
        ("visformer_tiny", "nothing to change"),
        ("efficientformer_l1", "nothing to change"),
        ("resnest14d", r"layer1\.0\.bn2 is a Identity"),
        ("mixnet_s", "cannot interlace channels over time.*Pass interlace=False"),
        ("lcnet_035", "cannot interlace channels over time.*Pass interlace=False"),
    ],
)
def test_models_of_other_blocks_are_refused_unchanged(backbone: str, message: str) -> None:
    with torch.device("meta"):
        net = timm.create_model(backbone)
    before = [(name, type(module), id(module)) for name, module in net.named_modules()]
    with pytest.raises(ValueError, match=f"DNR: {message}"):
        DNR().apply(net, T)
    assert [(name, type(module), id(module)) for name, module in net.named_modules()] == before


def test_the_message_names_each_kind_once() -> None:
    with pytest.raises(ValueError, match=r"GroupNorm, BatchNormAct2d") as error:
        DNR().apply(nn.Linear(3, 3), T)
    assert str(error.value).count(" GroupNorm,") == 1


@pytest.mark.parametrize(
    ("backbone", "norms"),
    [
        ("densenet121", {f"features.denseblock1.denselayer1.norm{i}" for i in (1, 2)}),
        ("resnetv2_50", {f"stages.0.blocks.0.norm{i}" for i in (1, 2)}),
        ("res2net50_26w_4s", {"layer1.0.bn1", *(f"layer1.0.bns.{i}" for i in range(3))}),
    ],
)
def test_norms_of_blocks_of_unknown_classes(backbone: str, norms: set[str]) -> None:
    with torch.device("meta"):
        net = timm.create_model(backbone)
    with pytest.warns(UserWarning, match="no channels are interlaced over time .* pass interlace=False"):
        names = DNR().apply(net, 8)
    block = min(norms).rpartition(".norm")[0] or "layer1.0"
    assert {name for name in names if name.startswith(f"{block}.")} == norms
    assert not {"features.norm0", "features.norm5", "norm", "bn1"} & set(names)


class Wrapped(nn.Module):
    """Somebody's model around a backbone, one level deeper than need be."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.encoder = nn.Sequential(net)

    def forward(self, x: Tensor) -> Tensor:
        return self.encoder(x)


def test_a_whole_model_is_no_block() -> None:
    with torch.device("meta"):
        bare, inside = (timm.create_model("hrnet_w18_small", num_classes=0) for _ in range(2))
        xception = timm.create_model("legacy_xception", num_classes=0)
    net = Wrapped(inside)
    names = TSM().apply(bare, T)
    assert len(names) == 23
    assert TSM().apply(net, T) == [f"encoder.0.{name}" for name in names]
    with pytest.raises(ValueError, match="DNR: "):
        DNR().apply(Wrapped(xception), T)
    with pytest.raises(ValueError, match="no residual block"):
        TSM().apply(Wrapped(xception), T)


def test_blindness_to_order_is_said() -> None:
    for options in ({"interlace": False}, {"interlace": False, "ct_group_frames": 1, "relay": "none"}):
        with pytest.warns(UserWarning, match="ResNet is blind to the order of frames"):
            DNR(**options).apply(small_resnet(), 4)  # type: ignore[arg-type]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        DNR(interlace=False).apply(small_resnet(), 5)
        DNR().apply(small_resnet(), 4)
        net = small_resnet()
        TSM().apply(net, 4)
        DNR().apply(net, 4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"relay": "fc", "depth": 3}, "depth is 3, but has no effect with relay='fc'"),
        ({"relay": "fc", "reduction": 16}, "reduction is 16, but has no effect"),
        ({"order": "cl_bn", "bidirectional": True}, "bidirectional is True, but has no effect with order='cl_bn'"),
        ({"order": "bn_cl", "ct_group_frames": 1}, "ct_group_frames is 1, but has no effect"),
        ({"order": "cl_bn", "ct_statistics": "group"}, "ct_statistics is 'group', but has no effect"),
        ({"order": "bn_ct", "cl_distance": 2}, "cl_distance is 2, but has no effect"),
        ({"relay": "none", "cl_distance": 2}, "cl_distance is 2, but has no effect"),
        ({"ct_group_frames": 2.5}, "ct_group_frames is 2.5; need 1 or more"),
        ({"depth": True}, "depth is True"),
        ({"interlace": "no"}, "interlace is 'no'; need True or False"),
        ({"keep_affine": 1}, "keep_affine is 1"),
    ],
)
def test_options_without_effect_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"DNR: {message}"):
        DNR(**options)


def test_a_clip_of_3d_convolutions_and_synchronized_norms_is_a_clip() -> None:
    class Block3d(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv1, self.bn1 = nn.Conv3d(4, 4, 3, padding=1), nn.BatchNorm3d(4)
            self.conv2, self.bn2 = nn.Conv3d(4, 4, 3, padding=1), nn.GroupNorm(2, 4)

        def forward(self, x: Tensor) -> Tensor:
            return x + self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))

    plain = nn.Sequential(nn.Conv3d(3, 4, 1), nn.Sequential(Block3d(), Block3d()))
    net = nn.SyncBatchNorm.convert_sync_batchnorm(copy.deepcopy(plain))
    for each in (plain, net):
        DNR().apply(each, T)
    net.load_state_dict(plain.state_dict())
    x = torch.randn(2, 3, 6, 5, 5)
    assert torch.equal(net.eval()(x), plain.eval()(x))
    assert type(net[1][0].bn1).__name__ == "CrossLayerNorm3d"


def moved(net: nn.Module) -> list[str]:
    """Names of the buffers that one forward in training mode moves."""
    before = {name: buffer.clone() for name, buffer in net.named_buffers()}
    net.train()(torch.randn(2 * T, 3, 32, 32))
    return [name for name, buffer in net.named_buffers() if name in before and not torch.equal(buffer, before[name])]


def test_timm_freezes_dynamic_norms_too() -> None:
    net: Any = small_resnet()
    DNR(keep_affine=True).apply(net, T)
    keys = set(net.state_dict())
    dynamic = {name for name, module in net.named_modules() if isinstance(module, DynamicNorm2d)}
    freeze_norms(net.train())
    assert {module.training for module in net.modules() if isinstance(module, DynamicNorm2d)} == {False}
    net = freeze_batch_norm_2d(net)
    assert moved(net) == []
    frozen = [name for name, parameter in net.named_parameters() if not parameter.requires_grad]
    assert {name.rpartition(".")[0] for name in frozen} == dynamic
    assert {key for key in net.state_dict() if key.startswith(tuple(dynamic))} == {
        key for key in keys if key.startswith(tuple(dynamic))
    }
    net = unfreeze_batch_norm_2d(net)
    assert {name.rpartition(".")[0] for name in moved(net)} >= dynamic
    assert set(net.state_dict()) == keys


@pytest.mark.parametrize("convert", [nn.SyncBatchNorm.convert_sync_batchnorm, timm.layers.convert_sync_batchnorm])
def test_dynamic_norms_are_synchronized_before_and_after(convert: Any) -> None:
    after, before = small_resnet(), convert(timm.create_model("mobilenetv2_050"))
    DNR().apply(after, T)
    keys = list(after.state_dict())
    after = convert(after)
    DNR().apply(before, T)
    assert list(after.state_dict()) == keys
    for net in (after, before):
        norms = [module for module in net.modules() if isinstance(module, DynamicNorm2d)]
        assert norms
        assert all(type(norm.batch_norm_function).__name__ == "Synchronized" for norm in norms)
        assert all(isinstance(norm, CrossLayerNorm2d | CrossTemporalNorm2d) for norm in norms)
        assert net(torch.randn(T, 3, 64, 64)).isfinite().all()
        pickle.loads(pickle.dumps(copy.deepcopy(net)))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("group", [T, T // 2])
def test_torch_jit_traces_one_group_and_several(group: int) -> None:
    net = own_net(training=False)
    DNR(ct_group_frames=group).apply(net, T)
    x = torch.randn(2 * T, 3, 8, 8)
    torch.testing.assert_close(torch.jit.trace(net, (x,))(x[:T]), net(x[:T]))


def tuned_by_tools() -> nn.Sequential:
    """Stages of four blocks in evaluation, whose relays have linear layers wide enough for all of them to matter."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 32, 1), nn.Sequential(*(Block(32) for _ in range(2))))
    DNR(ct_group_frames=2).apply(net, T)
    return randomize(net).eval()  # type: ignore[return-value]


@pytest.mark.extras
def test_low_rank_adapters_of_the_relay_act_and_get_gradients() -> None:
    peft = pytest.importorskip("peft")
    x = torch.randn(2 * T, 3, 8, 8)
    net = peft.get_peft_model(tuned_by_tools(), peft.LoraConfig(target_modules=r".*phi_[xh]\.[02]", r=2))
    adapters = [parameter for name, parameter in net.named_parameters() if "lora_B" in name]
    assert len(adapters) == 2 * 2 * 3
    net(x).sum().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in adapters)
    with torch.no_grad():
        for parameter in adapters:
            before = net(x)
            parameter += torch.randn_like(parameter)
            assert not torch.equal(net(x), before)


@pytest.mark.filterwarnings("ignore")
def test_linear_layers_of_the_relay_are_called_and_can_be_quantized() -> None:
    x = torch.randn(2 * T, 3, 8, 8)
    net = tuned_by_tools()
    called: set[nn.Module] = set()
    linears = [module for module in net.modules() if isinstance(module, nn.Linear)]
    for module in linears:
        module.register_forward_hook(lambda module, *_: called.add(module))
    y = net(x)
    assert called == set(linears)
    quantized = torch.ao.quantization.quantize_dynamic(tuned_by_tools(), {nn.Linear})
    assert not any(isinstance(module, nn.Linear) for module in quantized.modules() if type(module) is nn.Linear)
    assert (quantized(x) - y).abs().max() < 0.05 * y.abs().max()

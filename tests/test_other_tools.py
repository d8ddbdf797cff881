"""Tests of other libraries' tools on videozoo's models: they work or refuse, and never fail silently."""

import copy
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from helpers import calibrate, clips, randomize
from timm.layers import convert_sync_batchnorm
from timm.utils import reparameterize_model
from timm.utils.model import freeze_batch_norm_2d
from torch import Tensor, nn

import videozoo
from videozoo import ARC, TSM, VideoNet
from videozoo.augment import ArcConv2d
from videozoo.models import register_lora
from videozoo.surgery import PreConv2d

T = 4


def network(*augmenters: Any, backbone: str = "resnet18", temporal: Any = TSM()) -> tuple[VideoNet, Tensor]:  # noqa: B008
    """A small clip model with random norms and updaters, in evaluation, and a clip."""
    torch.manual_seed(0)
    net = videozoo.compose(backbone, temporal, list(augmenters), num_classes=5, num_frames=T).eval()
    x = clips(1, T, 32)
    return calibrate(randomize(net), x), x  # type: ignore[return-value]


@pytest.fixture(scope="module")
def plain() -> tuple[VideoNet, Tensor]:
    """With TSM."""
    return network()


@pytest.fixture(scope="module")
def arc() -> tuple[VideoNet, Tensor]:
    """With TSM and ARC."""
    return network(ARC())


def adapted(net: VideoNet, target: str, register: bool = False, **options: Any) -> Any:
    """The model with LoRA on the layers that a pattern names."""
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(target_modules=target, r=2, **options)
    return peft.get_peft_model(copy.deepcopy(net), register_lora(config) if register else config)


def check_adapters(lora: Any, net: VideoNet, x: Tensor) -> Tensor:
    """Fresh adapters change nothing; each gets a gradient; they act, and merge to the same answer, which is given."""
    torch.testing.assert_close(lora.eval()(x), net(x))
    lora(x).square().sum().backward()
    second = {name: p for name, p in lora.named_parameters() if "lora_B" in name}
    assert second
    assert all(p.grad is not None and p.grad.any() for p in second.values())
    with torch.no_grad():
        for p in second.values():
            p.normal_(0, 0.1)
        out: Tensor = lora(x)
        assert not torch.allclose(out, net(x), rtol=1e-3)
        with lora.disable_adapter():
            torch.testing.assert_close(lora(x), net(x))
        merged = copy.deepcopy(lora).merge_and_unload()
        torch.testing.assert_close(merged(x), out, rtol=1e-3, atol=1e-4)
    assert list(merged.state_dict()) == list(net.state_dict())
    return out


@pytest.mark.parametrize(
    "target", [r"backbone\.layer\d\.\d\.conv2", "fc", r".*layer2\.0\.downsample\.0", r"backbone\.conv1"]
)
@pytest.mark.extras
def test_lora_on_convolutions_and_linear_layers(plain: tuple[VideoNet, Tensor], target: str) -> None:
    check_adapters(adapted(plain[0], target), *plain)


@pytest.mark.parametrize("augmenters", [(), (ARC(),)], ids=["tsm", "arc"])
@pytest.mark.extras
def test_lora_on_changed_convolutions(augmenters: tuple[Any, ...], tmp_path: Path) -> None:
    net, x = network(*augmenters)
    lora = adapted(net, r".*layer\d\.\d\.conv\d", register=True)
    assert sum(name.endswith("lora_B.default.weight") for name, _ in lora.named_parameters()) == 16
    out = check_adapters(lora, net, x)
    lora.save_pretrained(tmp_path)
    peft = pytest.importorskip("peft")
    config = register_lora(peft.LoraConfig.from_pretrained(tmp_path))
    again = peft.PeftModel.from_pretrained(copy.deepcopy(net), tmp_path, config=config).eval()
    with torch.no_grad():
        torch.testing.assert_close(again(x), out)
        lora.add_adapter("second", register_lora(peft.LoraConfig(target_modules=r".*layer2\.\d\.conv\d", r=3)))
        lora.set_adapter("second")
        torch.testing.assert_close(lora(x), net(x))


@pytest.mark.extras
def test_lora_on_linear_layers_of_arc() -> None:
    arc = ARC(layers=("linear",), stages=(4,))
    net, x = network(arc, backbone="test_convnext", temporal=videozoo.TSN())
    for name, p in net.named_parameters():  # ConvNeXt's branches start at a millionth
        p.data.fill_(1.0) if name.endswith("gamma") else None
    check_adapters(adapted(net, r".*stages\.3\..*fc\d", register=True), net, x)


@pytest.mark.parametrize("option", [{"lora_dropout": 0.1}, {"use_dora": True}, {"lora_bias": True}])
@pytest.mark.extras
def test_lora_that_acts_on_inputs_is_refused_there(plain: tuple[VideoNet, Tensor], option: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"register_lora: {next(iter(option))}=.* does not work on layers"):
        adapted(plain[0], r".*layer2\.0\.conv1", register=True, **option)


@pytest.mark.parametrize("target", [r".*layer\d\.\d\.conv1", r".*layer2\.1\.conv2"])
@pytest.mark.extras
def test_lora_on_changed_layers_is_refused_unless_registered(arc: tuple[VideoNet, Tensor], target: str) -> None:
    with pytest.raises(ValueError, match=r"(PreConv2d|ArcConv2d)\([\s\S]* is not supported"):
        adapted(arc[0], target)


def test_layers_that_are_no_convolution_are_no_torch_class(arc: tuple[VideoNet, Tensor]) -> None:
    net, _ = arc
    changed = [m for m in net.modules() if isinstance(m, PreConv2d)]
    assert len(changed) == 8 + 12 - 6  # 6 convolutions are behind a shift and ARC's at once
    assert not any(isinstance(m, nn.Conv2d | nn.modules.conv._ConvNd) for m in changed)
    with torch.device("meta"):
        base = timm.create_model("resnet18", num_classes=0)
    assert {f"backbone.{key}" for key in base.state_dict()} <= set(net.state_dict())
    like = dict(base.named_modules())
    for name, module in net.backbone.named_modules():
        if isinstance(module, PreConv2d):
            for attribute in ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups"):
                assert getattr(module, attribute) == getattr(like[name], attribute)


@pytest.mark.parametrize("augmenters", [(), (ARC(),), (ARC(layers=("conv2d", "linear"), stages=(4,)),)])
def test_dynamic_quantization_leaves_them_as_they_are(augmenters: tuple[Any, ...]) -> None:
    backbone = "resnet18" if not augmenters or augmenters[0].stages is None else "convnext_atto"
    net, x = network(*augmenters, backbone=backbone, temporal=TSM() if backbone == "resnet18" else videozoo.TSN())
    with torch.no_grad():
        out = net(x)
        small = torch.ao.quantization.quantize_dynamic(copy.deepcopy(net), {nn.Linear})
        assert type(small.fc) is not nn.Linear
        assert (small(x) - out).abs().max() < 0.05 * out.abs().max()


@pytest.mark.extras
def test_int8_weights_of_torchao(arc: tuple[VideoNet, Tensor]) -> None:
    quantization = pytest.importorskip("torchao.quantization")
    net, x = arc
    small = copy.deepcopy(net)
    quantization.quantize_(small, quantization.Int8WeightOnlyConfig())
    assert type(small.fc.weight) is not nn.Parameter
    with torch.no_grad():
        out = net(x)
        assert (small(x) - out).abs().max() < 0.05 * out.abs().max()


def test_norms_are_folded_right_or_refused(arc: tuple[VideoNet, Tensor], plain: tuple[VideoNet, Tensor]) -> None:
    block = arc[0].backbone.layer2[0]
    for bias in (None, nn.Parameter(torch.randn(128))):
        conv = copy.deepcopy(block.conv1)
        conv._parameters["bias"] = bias
        with pytest.raises(RuntimeError, match=r"fed back before the norm. Use videozoo.fuse"):
            torch.nn.utils.fuse_conv_bn_eval(conv, block.bn1)
    assert type(block.conv1) is ArcConv2d
    arc[0].load_state_dict(copy.deepcopy(arc[0].state_dict()), assign=True)
    block = plain[0].backbone.layer2[0]
    x = torch.randn(T, 64, 8, 8)
    with torch.no_grad():
        fused = torch.nn.utils.fuse_conv_bn_eval(block.conv1, block.bn1)
        torch.testing.assert_close(fused(x), block.bn1(block.conv1(x)), rtol=1e-4, atol=1e-4)


def test_reparameterizing_never_drops_added_modules(
    arc: tuple[VideoNet, Tensor], plain: tuple[VideoNet, Tensor]
) -> None:
    net, x = plain
    with torch.no_grad():
        assert torch.equal(reparameterize_model(net)(x), net(x))
    with pytest.raises(TypeError, match="not callable"):  # ARC's parameter fuse has the name of timm's method
        reparameterize_model(arc[0])
    with pytest.raises(ValueError, match=r"RepVggBlock, whose reparameterize\(\) merges"):
        network(ARC(), backbone="repvgg_a0", temporal=videozoo.TSN())

    class Block(nn.Module):
        """A user's block that has a ResNet's names and merges its weights."""

        def __init__(self) -> None:
            super().__init__()
            self.conv1, self.bn1 = nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8)
            self.conv2, self.bn2 = nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8)

        def fuse(self) -> None:
            raise AssertionError

    with pytest.raises(ValueError, match=r"0.conv1 is part of a Block, whose fuse\(\) merges"):
        TSM().apply(nn.Sequential(Block()), T)


@pytest.mark.parametrize(
    "tool", [nn.SyncBatchNorm.convert_sync_batchnorm, convert_sync_batchnorm, freeze_batch_norm_2d]
)
def test_norms_are_converted_before_and_after(tool: Any) -> None:
    torch.manual_seed(0)
    base = timm.create_model("resnet18", num_classes=0).eval()
    x = torch.randn(T, 3, 32, 32)
    calibrate(randomize(base), x)
    nets = [copy.deepcopy(base) for _ in range(3)]
    for i, net in enumerate(nets):
        nets[i] = tool(net) if i == 1 else net
        for part in (TSM(), ARC()):
            part.apply(nets[i], T)
        nets[i] = (tool(net) if i == 2 else nets[i]).eval()
    with torch.no_grad():
        before, after, plain = nets[1](x), nets[2](x), nets[0](x)
    torch.testing.assert_close(before, plain, rtol=1e-4, atol=1e-4)
    assert torch.equal(before, after)
    kinds = [[type(m).__name__ for m in net.modules()] for net in nets[1:]]
    assert kinds[0] == kinds[1]
    assert not any(type(m) is nn.BatchNorm2d for m in nets[1].modules())

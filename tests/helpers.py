"""Helpers of several tests: random norms, clips, slow references, small models."""

import ast
import importlib.util
import os
import signal
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from timm.models.res2net import Bottle2neck
from timm.models.resnet import BasicBlock, Bottleneck, ResNet
from torch import Tensor, nn

from videozoo import VideoNet
from videozoo.models import EnsembleSpec, ModelSpec, spec_of
from videozoo.nets.blresnet import BigLittleResNet, BigLittleResNetCfg

REPO = Path(__file__).resolve().parents[1]


def shared_folder(name: str) -> Path | None:
    """The folder of real videos, papers or goldens beside the checkout, or None."""
    root = Path(os.environ.get("VIDEOZOO_SHARED", REPO.parent / "shared"))
    folder = Path(os.environ["VIDEOZOO_DATA"]) if name == "data" and "VIDEOZOO_DATA" in os.environ else root / name
    return folder if folder.is_dir() else None


def one_of_each_family(names: Iterable[str]) -> list[str]:
    """The first architecture of each combination of temporal module, augmenters and family of backbones.

    Sizes of a family (ResNet-18 and 50, MoViNet A0 and A1) differ in repeats and widths, its forms in kernels.
    """
    found: dict[Any, str] = {}
    for name in names:
        spec = spec_of(name)
        members = spec.members if isinstance(spec, EnsembleSpec) else (spec,)
        kinds = [(_family(m.backbone), type(m.temporal), *map(type, m.augmenters)) for m in members]
        found.setdefault(tuple(kinds), name)
    return list(found.values())


def _family(backbone: str) -> str:
    """``slowfast`` of ``slowfast_resnet50_8x8_mm``; MoViNet's streams are a family of their own."""
    return backbone.partition("_")[0].rstrip("0123456789") + " causal" * ("causal" in backbone)


def write(path: Path, text: str) -> Path:
    """A file with that text, byte for byte, and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())
    return path


def hear_ctrl_c() -> None:
    """Give SIGINT Python's own handler: a shell's background jobs, and what they start, ignore it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def golden_fill(folder: Path) -> ModuleType:
    """``fill.py`` of the goldens: it makes their weights and their input."""
    return load_file_as_module(folder / "fill.py")


def load_file_as_module(path: Path) -> ModuleType:
    """A Python file that no package holds, such as one of ``scripts/``."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def randomize_norms(net: nn.Module) -> nn.Module:
    """Random statistics, scales and shifts in every norm: fresh ResNets end their branches with a scale of zero."""
    with torch.no_grad():
        for module in net.modules():
            if getattr(module, "running_mean", None) is not None:
                module.running_mean.normal_(0, 0.2)
                module.running_var.uniform_(0.6, 1.4)
                is_norm = True
            else:
                is_norm = isinstance(module, nn.GroupNorm | nn.LayerNorm)
            if is_norm and getattr(module, "weight", None) is not None:
                module.weight.uniform_(0.6, 1.4)
                module.bias.normal_(0, 0.2)
    return net


def randomize(net: nn.Module, scale: float = 0.05) -> nn.Module:
    """Random norms, and small random numbers wherever a parameter starts at zero (what an augmenter adds)."""
    randomize_norms(net)
    with torch.no_grad():
        for parameter in net.parameters():
            inputs = parameter[0].numel() if parameter.ndim > 1 else 1
            noise = torch.randn_like(parameter[parameter == 0])
            parameter[parameter == 0] += min(scale, inputs**-0.5) * noise  # wide sums stay small
    return net


def calibrate(net: nn.Module, x: Tensor) -> nn.Module:
    """Give every norm with statistics those of ``x``, so that no random model explodes or dies out."""
    norms: list[Any] = [m for m in net.modules() if getattr(m, "running_mean", None) is not None]
    momenta = [m.momentum for m in norms]
    for norm in norms:
        norm.train()
        norm.momentum = 1.0
    with torch.no_grad():
        net(x)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        # a channel that these clips leave nearly constant would blow up the rounding of others
        norm.running_var.clamp_(min=max(0.1 * norm.running_var.mean().item(), 1e-2))
        norm.train(net.training)
    return net


def clips(batch: int, frames: int, size: int = 48, channels: int = 3, seed: int = 1) -> Tensor:
    """Random clips (B, C, T, H, W) with a color per frame; they do not depend on what was drawn before."""
    generator = torch.Generator().manual_seed(seed)
    colors = torch.randn(batch, channels, frames, 1, 1, generator=generator)
    return colors + torch.randn(batch, channels, frames, size, size, generator=generator)


def small_resnet(
    layers: tuple[int, ...] = (2, 3, 1, 2), block: type[nn.Module] = BasicBlock, channels: int = 8, **kwargs: Any
) -> ResNet:
    """timm's ResNet with a few channels."""
    widths = tuple(channels * k for k in (1, 2, 2, 3))
    return ResNet(block, layers, num_classes=0, channels=widths, stem_width=channels, zero_init_last=False, **kwargs)


def small_bottleneck_resnet(layers: tuple[int, ...] = (2, 3, 1, 2), **kwargs: Any) -> ResNet:
    """The same with bottleneck blocks."""
    return small_resnet(layers, Bottleneck, **kwargs)


def small_base(part: Any, **kwargs: Any) -> Any:
    """A small ResNet that a part can change: TEA needs Res2Net's blocks, some others bottlenecks or two branches."""
    if type(part).__name__ == "TEA":
        return ResNet(Bottle2neck, (1, 1, 1, 1), num_classes=0, base_width=8, block_args={"scale": 4}, **kwargs)
    if type(part).__name__ == "BLVNetTAM":
        return BigLittleResNet(BigLittleResNetCfg((2, 3, 2, 2), width=16))
    needs_bottlenecks = type(part).__name__ in ("GST", "SmallBig", "STM")
    return small_resnet((2, 2, 1, 2), Bottleneck if needs_bottlenecks else BasicBlock, channels=16, **kwargs)


def small_video_net(temporal: Any, augmenters: tuple[Any, ...] = (), num_segments: int = 3) -> VideoNet:
    """A clip model of five classes on :func:`small_base`; its spec names no backbone of timm."""
    frames = num_segments * getattr(temporal, "frames_per_segment", 1)
    base = small_base(temporal)
    for part in (temporal, *augmenters):
        part.apply(base, num_segments)
    return VideoNet(base, ModelSpec("small", temporal, augmenters, num_frames=frames, num_classes=5), {})


def slow_shift(x: Tensor, num_segments: int, shift_div: int = 8) -> Tensor:
    """TSM frame by frame: the first part comes from the next frame, the second from the frame before, zeros outside."""
    rows = []
    part = x.shape[1] // shift_div
    for clip in x.split(num_segments):
        for t in range(num_segments):
            frame = clip[t].clone()
            frame[:part] = clip[t + 1, :part] if t + 1 < num_segments else 0
            frame[part : 2 * part] = clip[t - 1, part : 2 * part] if t > 0 else 0
            rows.append(frame)
    return torch.stack(rows)


def each_module(net: nn.Module, kind: type[nn.Module]) -> Iterator[tuple[str, Any]]:
    """Names and modules of exactly this class."""
    return ((name, module) for name, module in net.named_modules() if type(module) is kind)


def count_calls(module: nn.Module) -> Callable[[], int]:
    """Count the forward calls of a module from now on, those too that checkpointing ends early."""
    calls: list[int] = []
    module.register_forward_pre_hook(lambda *_: calls.append(1))
    return lambda: len(calls)


def gradients(net: nn.Module) -> dict[str, Tensor]:
    """A copy of every parameter's gradient, by name."""
    return {name: p.grad.clone() for name, p in net.named_parameters() if p.grad is not None}


def imports_of(path: Path) -> list[tuple[int, str]]:
    """Line and dotted name of everything that a file imports, inside functions too, relative names made absolute."""
    package = list(path.relative_to(REPO).parent.parts)
    found: list[tuple[int, str]] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            found += [(node.lineno, f"{module}.{alias.name}") for alias in node.names]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            argument = node.args[0] if node.args else None
            if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                found.append((node.lineno, argument.value))
    return found

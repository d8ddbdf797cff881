"""Functions that create the timed models by name, and their inputs.

Names: ``tsm_r18``, ``timm resnet18``, ``arc_tsm_r18 n=8 recompute``, ``plain arc_tsm_r18``, ``fuse tsm_r18``,
``torchvision r3d_18``, ``transformers timesformer``. A row of a table is a name and a mode: ``tsm_r18``,
``tsm_r18, compiled``, ``tsm_r18, graphs``.
"""

import functools
import importlib
from dataclasses import replace
from typing import Any

import timm
import torch
from reference import arc as plain_arc
from reference import dnr as plain_dnr
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import videozoo
from videozoo.models.registry import spec_of
from videozoo.report.cost import count_cost

NUM_CLASSES = 400
FRAMES, SIZE = 8, 224


class Unavailable(Exception):
    """The model cannot be created here."""


def split_row(row: str) -> tuple[str, str]:
    """Return name and mode: ``eager``, ``compiled`` or ``graphs``."""
    name, _, mode = row.partition(", ")
    return name, mode or "eager"


def same_as(row: str) -> str | None:
    """Return the row whose outputs must be equal, or None."""
    name, mode = split_row(row)
    if mode != "eager":
        return name
    kind, _, rest = name.partition(" ")
    if kind in ("plain", "fuse"):
        return rest
    return kind if rest == "n=4 recompute" else None


def make_model(name: str, num_frames: int = FRAMES) -> nn.Module:
    """Return the model in float32 on the CPU with the same random weights each time. It is not fused yet.

    Raises:
        Unavailable: a package or an option is missing.
    """
    torch.manual_seed(0)
    kind, *rest = name.removeprefix("fuse ").split()
    if kind == "timm":
        return timm.create_model(rest[0], num_classes=NUM_CLASSES)
    if kind == "torchvision":
        return _torchvision(rest[0])
    if kind == "transformers":
        return _transformers(rest[0], num_frames)
    if kind == "plain":
        return plain_dnr.make_plain(plain_arc.make_plain(_ours(rest, num_frames)))
    return _ours([kind, *rest], num_frames)


def _ours(words: list[str], num_frames: int) -> Any:
    name, *options = words
    spec = spec_of(name)
    frames = num_frames * spec.frames_per_segment
    if not options:
        model = videozoo.create_model(name, num_classes=NUM_CLASSES, num_frames=frames)
    else:
        model = videozoo.compose(
            spec.backbone,
            spec.temporal,
            [_with_options(part, options) for part in spec.augmenters],
            num_classes=NUM_CLASSES,
            num_frames=frames,
        )
    return _fill_zeros(model)


def _with_options(part: Any, options: list[str]) -> Any:
    changes: dict[str, Any] = {}
    for option in options:
        key, _, value = option.partition("=")
        changes |= {"num_steps": int(value)} if key == "n" else {"memory": key}
    try:
        return replace(part, **changes)
    except TypeError as error:
        raise Unavailable(f"{type(part).__name__} has no such option: {changes}") from error


def _fill_zeros(model: nn.Module) -> nn.Module:
    """Replace zero parameters by small numbers, so that augmenters change the outputs."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter[parameter == 0] += 0.02 * torch.randn_like(parameter[parameter == 0])
    return model


def fused(model: nn.Module) -> nn.Module:
    """Return ``videozoo.fuse(model)``. Call it on the device on which the model runs.

    Raises:
        Unavailable: this version has no fuse.
    """
    fuse = getattr(videozoo, "fuse", None)
    if fuse is None:
        raise Unavailable("videozoo has no fuse")
    return fuse(model)


def _torchvision(name: str) -> nn.Module:
    module = importlib.import_module("torchvision.models.video")
    return getattr(module, name)(weights=None, num_classes=NUM_CLASSES)


class _PixelValues(nn.Module):
    """Adapter that gives clips (B, C, T, H, W) to a video model of transformers, which takes (B, T, C, H, W)."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        return self.model(pixel_values=x.transpose(1, 2)).logits


def _transformers(name: str, num_frames: int) -> nn.Module:
    try:
        package = importlib.import_module("transformers")
    except ImportError as error:
        raise Unavailable("transformers is not installed") from error
    prefix = {"timesformer": "Timesformer", "videomae": "VideoMAE"}[name]
    config = getattr(package, f"{prefix}Config")(num_frames=num_frames, image_size=SIZE, num_labels=NUM_CLASSES)
    return _PixelValues(getattr(package, f"{prefix}ForVideoClassification")(config))


def make_input(name: str, batch: int, num_frames: int = FRAMES, size: int = SIZE, channels_last: bool = True) -> Tensor:
    """Return clips (B, 3, T, H, W); for timm's backbones the same images (B*T, 3, H, W).

    TDN gets five images for each of the ``num_frames`` time steps.
    """
    frames = num_frames * frames_per_segment(name)
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(batch, frames, size, size, 3, generator=generator)
    clips = images.permute(0, 4, 1, 2, 3)
    if name.startswith("timm "):
        clips = clips.transpose(1, 2).flatten(0, 1)
    return clips if channels_last else clips.contiguous()


def frames_per_segment(name: str) -> int:
    """Return the number of images that a model takes per time step."""
    words = [word for word in name.split() if word not in ("plain", "fuse")]
    if words[0] in ("timm", "torchvision", "transformers"):
        return 1
    return spec_of(words[0]).frames_per_segment


class _OnFrames(nn.Module):
    """Adapter that applies an image model to the frames of clips."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x.transpose(1, 2).flatten(0, 1))


@functools.cache
def count_macs(name: str, num_frames: int = FRAMES, size: int = SIZE) -> int:
    """Return the MACs of one clip, counted by ``videozoo.report``. Equivalent rows share the count of their base.

    Video models of other packages are counted by torch on the meta device, which counts products only.
    """
    name = same_as(name) or name
    model = make_model(name, num_frames).eval()
    if name.startswith(("torchvision ", "transformers ")):
        with FlopCounterMode(display=False) as counter:
            model.to("meta")(torch.zeros(1, 3, num_frames, size, size, device="meta"))
        return counter.get_total_flops() // 2
    if name.startswith("timm "):
        model = _OnFrames(model)
    return count_cost(model, (3, size, size), num_frames * frames_per_segment(name)).macs


def run_as(model: nn.Module, mode: str) -> Any:
    """Return the model in a mode."""
    if mode == "eager":
        return model
    options = {"mode": "reduce-overhead"} if mode == "graphs" else {}
    return torch.compile(model, **options)

"""Features of videos from any layer of a model."""

from typing import Any, Literal

import torch
from torch import Tensor, nn

from videozoo.data import test_size_of
from videozoo.models import Ensemble, VideoNet
from videozoo.shapes import fold_time, unfold_time
from videozoo.surgery import stage_modules
from videozoo.text import near_names

from .predictor import Predictor
from .segments import WindowScores

__all__ = ["Extractor", "FeatureNet", "Level"]

Level = Literal["clip", "frame"]


class FeatureNet(nn.Module):
    """A model that gives pooled features of a layer instead of logits.

    Maps are averaged over height and width.

    Args:
        net: a model.
        layer: ``stage1``, ``stage2``, ... or the name of any module that gives a map or a vector per frame. None: what
            the classifier takes.
        level: ``clip``, averaged over time, or ``frame``.
    Shape:
        input (B, C, T, H, W). Output (B, F), or (B, T', F), T' the time steps of that layer.
    Raises:
        ValueError: an unknown layer. Later, one that gives nothing of the kind.
    """

    def __init__(self, net: nn.Module, layer: str | None = None, level: Level = "clip") -> None:
        super().__init__()
        if not isinstance(net, VideoNet | Ensemble):
            raise ValueError(f"extract: {type(net).__name__} has no layers to look into; give a model of videozoo.")
        if level not in ("clip", "frame"):
            raise ValueError(f"extract: level is {level!r}; choose clip or frame.")
        self.net: VideoNet | Ensemble = net
        self.layer = None if layer is None else _find_layer(net, layer)
        self.level = level
        # What says how videos are sampled.
        self.pretrained_cfg, self.num_frames, self.num_classes = net.pretrained_cfg, net.num_frames, net.num_classes
        self.frames_in_a_row, self.spec = net.frames_in_a_row, net.spec

    def forward(self, x: Tensor) -> Tensor:
        rows = self._before_classifier(x) if self.layer is None else self._of_layer(x, self.layer)
        return rows.mean(1) if self.level == "clip" else rows

    def _before_classifier(self, x: Tensor) -> Tensor:
        maps: Any = self.net.forward_features(x)
        if isinstance(self.net, Ensemble) or self.net.is_3d:
            return self.net.forward_head(maps, pre_logits=True).unsqueeze(1)
        return unfold_time(self.net.backbone.forward_head(fold_time(maps), pre_logits=True), maps.shape[2])

    def _of_layer(self, x: Tensor, layer: str) -> Tensor:
        outputs: list[Any] = []
        handle = self.net.get_submodule(layer).register_forward_hook(lambda *call: outputs.append(call[2]))
        try:
            self.net(x)
        finally:
            handle.remove()
        if len(outputs) != 1:
            raise ValueError(f"extract: layer {layer} runs {len(outputs)} times for a clip; choose one that runs once.")
        output = outputs[0][0] if isinstance(outputs[0], tuple) else outputs[0]
        shape = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        backbone: Any = getattr(self.net, "backbone", None)
        if getattr(backbone, "gives_tokens", False) and layer.removeprefix("backbone.") in _blocks_of(backbone):
            output = backbone.tokens_to_maps(output, tuple(x.shape[2:]))
        if isinstance(output, Tensor) and output.ndim == 5 and len(output) == len(x):
            return output.mean((3, 4)).transpose(1, 2)
        if isinstance(output, Tensor) and output.ndim in (2, 4) and len(output) % len(x) == 0:
            return unfold_time(output.flatten(2).mean(2) if output.ndim == 4 else output, len(output) // len(x))
        raise ValueError(f"extract: layer {layer} gives {shape}; choose one that gives a map or a vector per frame.")


def _blocks_of(backbone: Any) -> set[str]:
    """Return the names of the blocks of a transformer on tokens."""
    return {name for names in backbone.stage_modules() for name in names}


def _find_layer(net: VideoNet | Ensemble, layer: str) -> str:
    """Return the full name of a module."""
    names = [name for name, _ in net.named_modules() if name]
    stages = {}
    if isinstance(net, VideoNet):
        stages = {f"stage{k}": f"backbone.{row[-1]}" for k, row in enumerate(stage_modules(net.backbone) or (), 1)}
    for name in (stages.get(layer, layer), f"backbone.{layer}"):
        if name in names:
            return name
    known = [*stages, *names, *(name.removeprefix("backbone.") for name in names)]
    hint = near_names(layer, known, cutoff=0.4) or "".join(f"; near: {stage}" for stage in [*stages][-1:])
    raise ValueError(f"extract: the model has no layer {layer!r}{hint}.")


class Extractor(Predictor):
    """:class:`Predictor` that returns features in place of scores.

    Args:
        model: as for a Predictor, but not an ONNX file.
        layer: ``stage1``, ``stage2``, ... or the name of any module that returns a map or a vector per frame. None: the
            input of the classifier.
        level: ``clip``, averaged over time, or ``frame``.
        views: clips and crops whose features are averaged. One clip only if ``level`` is ``frame``.
        options: the other arguments of a Predictor.
    Raises:
        ValueError: an unknown layer or level, or several clips with ``level="frame"``.
        WeightsError, UnknownModelError: the model or its weights cannot be loaded.
    Example:
        >>> from videozoo import Extractor
        >>> extractor = Extractor("test_arc_tsm.motions", layer="stage3", device="cpu")
        >>> extractor("clip.mp4").scores.shape == extractor.feature_shape
        True
    """

    def __init__(
        self,
        model: str | nn.Module,
        *,
        layer: str | None = None,
        level: Level = "clip",
        views: str | tuple[int, int] | None = (1, 1),
        **options: Any,
    ) -> None:
        self.layer, self.level = layer, level
        super().__init__(model, views=views, **options)
        if level == "frame" and self.config["test_num_clips"] > 1:
            raise ValueError("extract: features of frames are of one clip; take views 1x1, 1x3 and so on.")

    def _load(self) -> None:
        super()._load()
        self.model = FeatureNet(self.model, self.layer, self.level).eval()

    def _join(self, outputs: Tensor) -> Tensor:
        return outputs.mean(1)

    def windows(self, *video: Any, **options: Any) -> WindowScores:
        """Raise ValueError: features are no scores of classes."""
        raise ValueError("extract: features have no classes over time; take a Predictor for windows and segments.")

    @property
    def feature_shape(self) -> tuple[int, ...]:
        """Shape of a video's features: (F,) for a clip, or (T', F) for its frames, measured with a black clip."""
        net: Any = self.model
        clip = torch.zeros(1, 3, net.num_frames, *test_size_of(self.config), dtype=torch.uint8)
        return tuple(self._forward(clip).shape[1:])

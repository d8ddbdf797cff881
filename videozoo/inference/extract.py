"""Features of videos instead of classes: a network cut open at a layer, and lists of any length worked through."""

import difflib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from videozoo.data import test_size_of
from videozoo.models import Ensemble, VideoNet
from videozoo.shapes import fold_time, unfold_time
from videozoo.surgery import stage_modules

from .job import JobResult, JobWriting, answer_list, check_shard, describe_job, describe_network, rows_of
from .listing import Listing
from .outputs import ArrayFile, ParquetFile
from .parts import JobError, Rows
from .predictor import Prediction, Predictor

__all__ = ["FORMATS", "Extractor", "FeatureNet", "Level", "extract_list"]

Level = Literal["clip", "frame"]
FORMATS = (".parquet", ".npy", ".safetensors")


class FeatureNet(nn.Module):
    """A network that gives pooled features of a layer instead of logits.

    Maps are averaged over height and width.

    Args:
        net: a network.
        layer: ``stage1``, ``stage2``, ... or the name of any module that gives a map or a vector per frame; None: what
            the classifier takes.
        level: ``clip``, averaged over time, or ``frame``.
    Shape:
        input (B, C, T, H, W); output (B, F), or (B, T', F), T' the time steps of that layer.
    Raises:
        ValueError: an unknown layer; later, one that gives nothing of the kind.
    """

    def __init__(self, net: nn.Module, layer: str | None = None, level: Level = "clip") -> None:
        super().__init__()
        if not isinstance(net, VideoNet | Ensemble):
            raise ValueError(f"extract: {type(net).__name__} has no layers to look into; give a network of videozoo.")
        if level not in ("clip", "frame"):
            raise ValueError(f"extract: level is {level!r}; choose clip or frame.")
        self.net: VideoNet | Ensemble = net
        self.layer = None if layer is None else _find_layer(net, layer)
        self.level = level
        # What says how videos are sampled.
        self.pretrained_cfg, self.num_frames, self.num_classes = net.pretrained_cfg, net.num_frames, net.num_classes
        self.frames_per_segment = net.frames_per_segment

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
        if isinstance(output, Tensor) and output.ndim == 5 and len(output) == len(x):
            return output.mean((3, 4)).transpose(1, 2)
        if isinstance(output, Tensor) and output.ndim in (2, 4) and len(output) % len(x) == 0:
            return unfold_time(output.flatten(2).mean(2) if output.ndim == 4 else output, len(output) // len(x))
        raise ValueError(f"extract: layer {layer} gives {shape}; choose one that gives a map or a vector per frame.")


def _find_layer(net: VideoNet | Ensemble, layer: str) -> str:
    """The full name of a module."""
    names = [name for name, _ in net.named_modules() if name]
    stages = {}
    if isinstance(net, VideoNet):
        stages = {f"stage{k}": f"backbone.{row[-1]}" for k, row in enumerate(stage_modules(net.backbone) or (), 1)}
    for name in (stages.get(layer, layer), f"backbone.{layer}"):
        if name in names:
            return name
    known = [*stages, *names, *(name.removeprefix("backbone.") for name in names)]
    near = difflib.get_close_matches(layer, known, n=3, cutoff=0.4) or [*stages][-1:]
    hint = f"; near: {', '.join(near)}" if near else ""
    raise ValueError(f"extract: the network has no layer {layer!r}{hint}.")


class Extractor(Predictor):
    """A :class:`Predictor` whose answers hold features in place of scores.

    Args:
        model: as there, not an ONNX file.
        layer, level: as in :class:`FeatureNet`.
        views: clips and crops whose features are averaged; one clip only where ``level`` is ``frame``.
        options: the others of a Predictor.
    Raises:
        ValueError: an unknown layer or level, or several clips of frames.
        WeightsError, UnknownModelError: no such network or weights.
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

    @property
    def feature_shape(self) -> tuple[int, ...]:
        """(F,) of a clip, or (T', F) of its frames; found with a black clip."""
        net: Any = self.model
        clip = torch.zeros(1, 3, net.num_frames, *test_size_of(self.config), dtype=torch.uint8)
        return tuple(self._forward(clip).shape[1:])


def extract_list(
    extractor: Extractor,
    listing: Listing,
    output: Path,
    *,
    num_shards: int = 1,
    shard: int = 0,
    on_progress: Callable[[int, int], None] | None = None,
) -> JobResult:
    """Write the features of each video of a shard, as `predict_list` writes scores: resumable, each video once.

    A Parquet file has a row per video: index (place in the list), path, label (null where the list has none), error
    (null where fine) and features (float32, flat). A ``.npy`` or ``.safetensors`` file (tensor ``features``) holds the
    features alone, float32 (N, F) or (N, T', F), with NaN where a video could not be read. The other columns are in
    ``NAME.csv`` beside it, row by row, and what the rows are of in ``NAME.json``; NAME is the file's whole name.

    Args:
        extractor: the network.
        listing: what `open_listing` gives.
        output: the file; its ending says which of the three.
        on_progress: as in `predict_list`.
    Raises:
        JobError: another ending, or what `predict_list` says.
        MissingPackageError: a Parquet file, and pyarrow is not installed.
    """
    check_shard(num_shards, shard)
    if output.suffix not in FORMATS:
        raise JobError(f"{output}: its name must end in {', '.join(FORMATS)}.")
    shape = extractor.feature_shape
    size = int(np.prod(shape))
    details = {"layer": extractor.layer, "level": extractor.level, "feature_shape": list(shape)}
    job = {**describe_job(extractor, listing, num_shards, shard), **details}
    about = {**describe_network(extractor), "feature_shape": json.dumps(list(shape))}

    def make_rows(indices: Sequence[int], answers: list[Prediction]) -> Rows:
        rows = rows_of(indices, answers, size)
        error = rows.columns.pop("error")
        labels = [listing[index].label for index in indices]
        rows.columns.update(label=[None if label < 0 else label for label in labels], error=error)
        return rows

    def fill(rows: Rows) -> dict[str, Any]:
        return {**rows.columns, "features": rows.where_read(rows.values)}

    kind: ParquetFile | ArrayFile
    if output.suffix == ".parquet":
        columns = {**_COLUMNS, "features": lambda pa: pa.list_(pa.float32(), size)}
        kind = ParquetFile(columns, {**about, "job": json.dumps(job)}, fill)
    else:
        kind = ArrayFile(shape, about, job)
    writing = JobWriting(job, make_rows, kind)
    return answer_list(extractor, listing, output, writing, num_shards=num_shards, shard=shard, on_progress=on_progress)


_COLUMNS: dict[str, Callable[[Any], Any]] = {
    "index": lambda pa: pa.int64(),
    "path": lambda pa: pa.string(),
    "label": lambda pa: pa.int64(),
    "error": lambda pa: pa.string(),
}

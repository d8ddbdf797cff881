"""Predictions for videos: decoding in worker processes, scoring in batches, a result for every file."""

import os
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from typing import Any, overload

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from videozoo.batched_forward import BatchedForward
from videozoo.choices import is_onnx
from videozoo.data import ClipNormalizer, VideoError, VideoRecord, parse_views, resolve_data_config
from videozoo.devices import find_device
from videozoo.jobs.clips import ClipBatch, iterate_batches
from videozoo.jobs.prediction import Prediction
from videozoo.probabilities import is_multi_label, probabilities
from videozoo.ranges import check_count

from .inputs import Video, is_video, to_record, to_records
from .network import copy_network, load_network
from .segments import Segment, WindowScorer, WindowScores, score_windows

PRECISIONS = {"no": None, "bf16": torch.bfloat16, "fp16": torch.float16}


class Predictor:
    """Predictor of the classes of videos.

    A file that cannot be read gives a prediction with an error, never an exception.

    A predictor that was made from a name is pickled as that name, and each process that unpickles it loads the weights
    itself. So you can make it once per worker in Ray's actors, Spark's tasks and the like.

    Args:
        model: a name with weights (a folder such as ``RUN/best``, ``hf-hub:ORG/NAME``, ``arch.tag``), a ``FILE.onnx``
            that ``videozoo export`` wrote (it runs on the CPU in its own precision), or a model. A model is not
            changed: a copy is used, which shares its weights if the device is the same.
        device: ``auto`` (the GPU of this process, if there is one) or a name of torch: ``cpu``, ``cuda:1``, ``mps``,
            ...
        views: clips and crops of each video that are averaged, as ``"10x3"`` or (10, 3). None takes the model's own.
        amp: ``no``, ``bf16`` or ``fp16``.
        batch_size: videos that are decoded together.
        workers: decoding processes. 0 decodes in this one.
        max_clips: clips in one forward pass. It is halved when the device runs out of memory.
    Raises:
        TypeError: ``model`` is none of these.
        ValueError: an unknown precision, or a number or views out of range.
        WeightsError, UnknownModelError, ExportError: the model, weights or file cannot be loaded.
    Example:
        >>> from videozoo import Predictor
        >>> predictor = Predictor("test_arc_tsm.motions", device="cpu")
        >>> answer = predictor("clip.mp4")
        >>> answer.label, answer.score > 0.5
        ('moving_apart', True)
        >>> [answer.ok for answer in predictor(["clip.mp4", "missing.mp4"])]
        [True, False]
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | nn.Module,
        *,
        device: str = "auto",
        views: str | tuple[int, int] | None = None,
        amp: str = "no",
        batch_size: int = 8,
        workers: int = 0,
        max_clips: int = 32,
    ) -> None:
        for name, value, least in (("batch_size", batch_size, 1), ("workers", workers, 0), ("max_clips", max_clips, 1)):
            check_count(f"Predictor: {name}", value, least)
        if amp not in PRECISIONS:
            raise ValueError(f"Predictor: amp is {amp!r}; choose from {', '.join(PRECISIONS)}.")
        if (
            views is not None
            and not isinstance(views, str)
            and not (isinstance(views, tuple | list) and len(views) == 2)
        ):
            raise ValueError(f"Predictor: views is {views!r}; write clips x crops, as '10x3' or (10, 3).")
        if not isinstance(model, str | os.PathLike | nn.Module):
            kind = type(model).__name__
            raise TypeError(f"Predictor: model has type {kind}; pass a name, a folder, a FILE.onnx or a model.")
        self.source = os.fspath(model) if isinstance(model, os.PathLike) else model
        self.batch_size = batch_size
        self.workers = workers
        self.max_clips = max_clips
        self.amp = amp
        self._wish = device
        self.views = parse_views(views) if isinstance(views, str) else views
        self._load()

    def _load(self) -> None:
        if isinstance(self.source, str):
            if is_onnx(self.source):
                self._check_onnx()
            model = load_network(self.source)
        else:
            model = copy_network(self.source, find_device(self._wish))
        num_clips, num_crops = self.views or (None, None)
        self.config = resolve_data_config(model, test_num_clips=num_clips, test_num_crops=num_crops)
        self.normalizer = ClipNormalizer.of(self.config)
        self.device = find_device(self._wish)
        self.model = model.to(self.device).eval()
        self._batched_forward = BatchedForward(self._forward, self.max_clips)

    def _check_onnx(self) -> None:
        if self._wish not in ("auto", "cpu") or self.amp != "no":
            raise ValueError(
                f"Predictor: device is {self._wish!r}, amp is {self.amp!r}; an ONNX file runs on the processor, in the "
                "precision that it has."
            )
        self._wish = "cpu"

    def __getstate__(self) -> dict[str, Any]:
        state = dict(self.__dict__)
        del state["model"], state["_batched_forward"]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._load()

    @property
    def class_names(self) -> tuple[str, ...]:
        """Name of each class, or its index as text if the model has no class names."""
        model: Any = self.model
        names = getattr(model, "pretrained_cfg", {}).get("label_names")
        return tuple(names or (str(label) for label in range(model.num_classes)))

    @overload
    def __call__(self, videos: Video | Sequence[Image.Image]) -> Prediction: ...  # type: ignore[overload-overlap]

    @overload
    def __call__(self, videos: Iterable[Video]) -> list[Prediction]: ...

    def __call__(self, videos: Any) -> Prediction | list[Prediction]:
        """Predict one video, or several in their order.

        A video is the path of a file or of a folder of frames, a file that is open in binary mode, the bytes of a file
        (read from the beginning, with the same exact frames as from the disk), frames in memory, or a record of a part
        of a file. Frames are a uint8 RGB array or tensor, (T, H, W, 3) or (T, 3, H, W), or a list of images of one
        size: Pillow's, or uint8 RGB (H, W, 3) or (3, H, W). Frames in memory have no times, so clips are sampled by
        frame number.

        Args:
            videos: one video, or several. A list of nothing but images is one video.
        Returns:
            one prediction for one video, a list for several. What cannot be read as a video, such as frames of another
                type or shape, is a prediction with an error.
        Raises:
            TypeError: something else was given.
        """
        if is_video(videos):
            return self([videos])[0]
        records = to_records(videos)
        answers = self.stream([record for record in records if isinstance(record, VideoRecord)])
        return [
            Prediction(str(one.path), None, one.reason, self.class_names)
            if isinstance(one, VideoError)
            else next(answers)
            for one in records
        ]

    def stream(self, records: Sequence[VideoRecord], start: int = 0) -> Iterator[Prediction]:
        """Predict many videos one after the other, with only the batches in work in memory.

        Args:
            records: a list, or anything with a length that makes the i-th record when it is indexed.
            start: the first record to predict.
        """
        for answers in self.stream_batches(records, start):
            yield from answers

    def stream_batches(self, records: Sequence[VideoRecord], start: int = 0) -> Generator[list[Prediction]]:
        """Predict as `stream` does, but batch by batch.

        The batches do not depend on when the reader stops.
        """
        batches = iterate_batches(
            records,
            [self.config],
            start=start,
            batch_size=self.batch_size,
            workers=self.workers,
            pin_memory=self.device.type == "cuda",
        )
        with closing(batches):
            for batch in batches:
                yield self._answer(batch)

    def _answer(self, batch: ClipBatch) -> list[Prediction]:
        names = self.class_names
        scores = dict(zip(batch.read, self._score(batch.videos[0]), strict=True)) if batch.videos else {}
        answers = []
        for place, path in enumerate(batch.paths):
            row = scores.get(place)
            error = batch.errors[place].reason if place in batch.errors else None
            if row is not None and not np.isfinite(row).all():
                row, error = None, "the model's scores are not finite"
            answers.append(Prediction(path, row, error, names, batch.notes.get(place)))
        return answers

    def _score(self, video: Tensor) -> np.ndarray:
        """(B, V, 3, T, H, W) to (B, C): softmax (of a multi-label model, sigmoid) per view, averaged."""
        rows = self._batched_forward(video.flatten(0, 1))
        return self._join(rows.unflatten(0, video.shape[:2])).cpu().numpy()

    def _join(self, outputs: Tensor) -> Tensor:
        """Join the model's outputs for the views of each video: (B, V, ...) to (B, ...)."""
        return probabilities(outputs, is_multi_label(self.model)).mean(dim=1)

    def _forward(self, clips: Tensor) -> Tensor:
        return self._run(self.model, clips)

    def _run(self, model: Callable[[Tensor], Tensor], clips: Tensor) -> Tensor:
        clips = self.normalizer(clips.to(self.device, non_blocking=True))
        dtype = PRECISIONS[self.amp]
        with torch.inference_mode(), torch.autocast(self.device.type, dtype=dtype, enabled=dtype is not None):
            return model(clips).float()

    def segments(
        self, video: Video, *, window_sec: float | None = None, stride_sec: float | None = None
    ) -> list[Segment]:
        """Return the classes of a long video over time: its consecutive parts that have one class.

        Each part has start and end in seconds, label, score and class_index. For the scores of every window, see
        `windows`.

        Args:
            video, window_sec, stride_sec: as for `windows`.
        Raises:
            ValueError, TypeError, VideoError: as for `windows`.
        Example:
            >>> from videozoo import Predictor
            >>> predictor = Predictor("test_arc_tsm.motions", device="cpu")
            >>> predictor.segments("clip.mp4", window_sec=0.3)[0].label
            'moving_apart'
        """
        return self.windows(video, window_sec=window_sec, stride_sec=stride_sec).segments()

    def windows(
        self,
        video: Video,
        *,
        window_sec: float | None = None,
        stride_sec: float | None = None,
        on_progress: Callable[[float], None] | None = None,
    ) -> WindowScores:
        """Score windows that slide over a long video, which is read once and never in memory as a whole.

        A clip has one frame, or run of frames, from the middle of each of ``num_frames`` equal parts of the window. A
        model that was trained causal runs as a stream, in which each frame costs one step. A video shorter than a
        window is scored as a whole, as a call does. The crops are those of ``views``, by default the center one.

        Args:
            video: as for a call, but with times, which frames in memory do not have. A folder of frames has 25 per
                second.
            window_sec: length of a window. None: as long as the model's clips, that is ``num_frames * frame_stride``
                frames of the video with dense sampling, else ``num_frames / 4`` seconds.
            stride_sec: time from the start of one window to that of the next. None: half a window.
            on_progress: called with the seconds that are scored.
        Raises:
            ValueError: ``views`` has several clips, or a window or stride is below 0.01 seconds.
            TypeError: it is not a video.
            VideoError: the video cannot be read, or the scores are not finite.
        """
        num_clips, num_crops = self.views or (1, 1)
        if num_clips > 1:
            raise ValueError(f"Predictor.windows: views has {num_clips} clips; windows are the clips, give views 1x1.")
        record = to_record(video)
        if record.content is not None and not isinstance(record.content, bytes):
            raise VideoError(record.path, "frames in memory have no times; give a file, or write them into one")
        config = {**self.config, "test_num_clips": 1, "test_num_crops": num_crops}
        is_causal = getattr(getattr(self.model, "spec", None), "causal", False)
        scorer = WindowScorer(
            config,
            self._score,
            self._score_whole,
            self._open_stream if is_causal else None,
            self.max_clips,
        )
        options = {"window_sec": window_sec, "stride_sec": stride_sec}
        return score_windows(record, scorer, self.class_names, **options, on_progress=on_progress)

    def _score_whole(self, record: VideoRecord) -> np.ndarray:
        (answer,) = self.stream([record])
        if answer.scores is None:
            raise VideoError(record.path, answer.error)
        return answer.scores

    def _open_stream(self) -> Callable[[Tensor], np.ndarray]:
        from videozoo.models import stream

        step = stream(self.model)
        return lambda frame: self._join(self._run(lambda clips: step(clips[:, :, 0]), frame)[None])[0].cpu().numpy()

"""Clips as rows of frames: the first that a model is trained on, and the videos that it gets most wrong."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad
from torchvision.transforms.v2.functional import resize

from videozoo.data import VideoDataset, VideoRecord, create_transform, resolve_data_config, sampling_options
from videozoo.engine import EvalResult
from videozoo.engine.figures import save_figure, short
from videozoo.engine.fonts import number_names
from videozoo.explain.figures import draw_row, frame_grid, shown_frames
from videozoo.video.errors import VideoError

__all__ = ["ClipRow", "clip_reader", "describe_target", "find_errors", "plot_clips", "plot_errors"]

MOST_ROWS = 8
_CELL = 1.1  # inches
_LABEL = 30  # letters of a line
_PIXELS = 160  # larger frames are made smaller


@dataclass(frozen=True)
class ClipRow:
    """A clip and the lines of text shown with it.

    Args:
        lines: texts left of it. Long ones are broken and cut.
        frames: uint8 RGB (T, H, W, 3).
    """

    lines: Sequence[str]
    frames: Tensor


def plot_clips(path: Path, rows: Sequence[ClipRow], title: str) -> None:
    """Draw clips below each other, of each up to eight frames from left to right.

    Raises:
        ValueError: no clips.
        CheckpointError: the disk refused.
    """
    if not rows:
        raise ValueError("plot_clips: no clips to draw.")
    shown = [row.frames[shown_frames(len(row.frames))] for row in rows]
    columns = max(map(len, shown))
    height, width = rows[0].frames.shape[1:3]
    size = columns * _CELL + 2.8, len(rows) * (max(_CELL * height / width, 0.6) + 0.06) + 0.7
    figure, grid = frame_grid(len(rows), 1, *size)
    for axes, row, frames in zip(grid, rows, shown, strict=True):
        lines = [fill(short(line, 2 * _LABEL), _LABEL) for line in row.lines]
        draw_row(axes, "\n".join(lines), [_join(frames, columns)])
    figure.suptitle("\n".join(short(line, 110) for line in title.split("\n")), fontsize=10)
    save_figure(figure, path)


def _join(frames: Tensor, columns: int) -> Tensor:
    """Return the frames side by side as one picture, which is drawn ten times faster than one for each."""
    height = frames.shape[1]
    if height > _PIXELS:
        frames = resize(frames.movedim(-1, 1), [_PIXELS, max(1, frames.shape[2] * _PIXELS // height)]).movedim(1, -1)
    gap = max(1, frames.shape[2] // 40)
    padded = pad(frames, (0, 0, 0, gap), value=255)  # white at the right of each
    joined = padded.movedim(0, 1).flatten(1, 2)
    return pad(joined, (0, 0, 0, (columns - len(frames)) * padded.shape[2]), value=255)[:, : -gap or None]


def describe_target(target: Tensor, class_names: Sequence[str]) -> str:
    """Return what a clip is trained for: its class, its classes with their shares where clips were mixed, or several.

    Args:
        target: an index (), or a number for each class (K,): shares of mixed clips, or 1 for each class of the clip.
    """
    if target.ndim == 0:
        return class_names[int(target)]
    values = target.float().tolist()
    floor = min(values)  # what label smoothing gives to every class
    order = sorted((k for k, value in enumerate(values) if value > floor + 1e-4), key=lambda k: -values[k])
    if all(values[k] == 1 for k in order):
        return ", ".join(class_names[k] for k in order) or "no class"
    total = sum(values[k] - floor for k in order)
    return " + ".join(f"{(values[k] - floor) / total:.0%} {class_names[k]}" for k in order)


def find_errors(result: EvalResult, most: int = MOST_ROWS) -> tuple[list[int], int]:
    """Return the rows of the worst of the wrong videos, by the score of their true class, and how many are wrong.

    Of several true classes the one with the lowest score counts. A video is wrong if the best class is none of them.
    """
    is_true = _true_classes(result)
    is_hit = is_true.gather(1, result.scores.argmax(1, keepdim=True))[:, 0]
    wrong = (is_true.any(1) & ~is_hit).nonzero()[:, 0]
    own = result.log_scores.where(is_true, torch.inf).amin(1)
    return wrong[own[wrong].argsort(stable=True)][:most].tolist(), len(wrong)


def _true_classes(result: EvalResult) -> Tensor:
    """Return whether each class is one of the video's, bool (N, C)."""
    if result.multi_label:
        return result.labels > 0
    return result.labels[:, None] == torch.arange(len(result.class_names))


def plot_errors(
    path: Path, result: EvalResult, names: Callable[[int], str], read: Callable[[int], Tensor | None], what: str
) -> bool:
    """Draw the videos that a model got most wrong, or remove an earlier picture where all are right.

    Args:
        names: from a video's index to its name.
        read: from a video's index to its frames, uint8 (T, H, W, 3). None where it cannot be read any more.
        what: begins the title, such as ``"validation, epoch 3"``.
    Returns:
        whether there is a picture.
    Raises:
        CheckpointError: the disk refused.
    """
    worst, count = find_errors(result)
    is_true = _true_classes(result)
    class_names, numbered = number_names(result.class_names)
    rows = []
    for row in worst:
        index, best = int(result.indices[row]), int(result.scores[row].argmax())
        labels = is_true[row].nonzero()[:, 0].tolist()
        frames = read(index)
        if frames is None:
            continue
        lines = [
            _tail(names(index), _LABEL),
            f"true {float(result.scores[row, labels].min()):.1%}: {', '.join(class_names[k] for k in labels)}",
            f"predicted {float(result.scores[row, best]):.1%}: {class_names[best]}",
        ]
        rows.append(ClipRow(lines, frames))
    if not rows:
        path.unlink(missing_ok=True)
        return False
    title = f"{what}: {count} of {result.num_labelled} videos are wrong\nthose whose true class got the lowest scores"
    plot_clips(path, rows, "\n".join(filter(None, [title, numbered])))
    return True


def clip_reader(
    model: nn.Module, records: Sequence[VideoRecord], *, is_reversed: bool = False
) -> Callable[[int], Tensor | None]:
    """Return a function that reads the clip of a listed video that a test of one view takes.

    Args:
        model: a model with ``pretrained_cfg``. Sampling, size and crop are its own.
        records: of the videos.
        is_reversed: give the frames backwards.
    Returns:
        from an index to uint8 (T, H, W, 3), or None where the video cannot be read.
    """
    config = resolve_data_config(model, test_num_clips=1, test_num_crops=1)
    transform: Any = create_transform(**config, normalize=False)
    dataset = VideoDataset(records, transform, **sampling_options(config))

    def read(index: int) -> Tensor | None:
        try:
            video: Tensor = dataset[index]["video"][0]  # (3, T, H, W)
        except VideoError:
            return None
        return (video.flip(1) if is_reversed else video).permute(1, 2, 3, 0)

    return read


def _tail(name: str, longest: int) -> str:
    """Return the end of a path that fits: it differs more often than the beginning."""
    return name if len(name) <= longest else "…" + name[1 - longest :]

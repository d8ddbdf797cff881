"""A video with its classes drawn on its frames."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from videozoo.engine.fonts import find_font_file
from videozoo.explain.overlays import fit_text
from videozoo.jobs.prediction import best_classes
from videozoo.jobs.reencode import reencode
from videozoo.text import printable

from .inputs import Video, to_record
from .segments import WindowScores

GOP = 48
# Names on smaller frames cannot be read: these are enlarged.
SMALLEST_SIDE = 240
# In the metadata of a file, which may then be replaced.
MARK = "classes drawn by videozoo"
_PANEL, _BAR, _TEXT = (16, 18, 24, 165), (194, 87, 26, 215), (255, 255, 255, 255)


def annotate_video(
    video: Video,
    windows: WindowScores,
    output: Path,
    topk: int = 5,
    on_progress: Callable[[float], None] = lambda seconds: None,
) -> int:
    """Write a video with the best classes of each moment and their scores drawn on it, as mp4 (h264) without sound.

    Frames keep their times and are turned upright. Those with a short side below ``SMALLEST_SIDE`` are enlarged. The
    file is there whole or not at all. A moment has the mean scores of the windows that cover it.

    Args:
        video: as for `Predictor.windows`.
        windows: of this video.
        output: the mp4. A file that is there is replaced, see `is_annotated`.
        topk: classes drawn.
        on_progress: called with the seconds that are drawn.
    Returns:
        the number of frames.
    Raises:
        VideoError: the video cannot be read.
        JobError: the disk refused.
    """
    labels = _Labels(windows, topk)

    def draw(image: np.ndarray, seconds: float) -> np.ndarray:
        on_progress(seconds)
        return labels.draw(image, seconds)

    size: dict[str, Any] = {"short_side": None, "gop": GOP, "enlarge_to": SMALLEST_SIDE}
    count, _ = reencode(to_record(video), output, **size, draw=draw, comment=MARK)
    return count


def is_annotated(path: Path) -> bool:
    """Return whether a file is one that `annotate_video` wrote."""
    try:
        with av.open(str(path)) as container:
            return container.metadata.get("comment") == MARK
    except (OSError, ValueError, av.FFmpegError):
        return False


class _Labels:
    """Draws the classes of a moment into the upper left corner of a frame. A panel is kept while it stays the same."""

    def __init__(self, windows: WindowScores, topk: int) -> None:
        self.windows, self.topk = windows, topk
        self._number = -1
        self._panel = np.zeros((0, 0, 4), np.float32)

    def draw(self, image: np.ndarray, seconds: float) -> np.ndarray:
        number = self.windows.at(seconds)
        if number != self._number:
            self._number = number
            self._panel = np.asarray(self._make_panel(number, image.shape[1], image.shape[0]), np.float32)
        height, width = self._panel.shape[:2]
        out = image.copy()
        opacity = self._panel[..., 3:] / 255
        mixed = (1 - opacity) * out[:height, :width] + opacity * self._panel[..., :3]
        out[:height, :width] = (mixed + 0.5).astype(np.uint8)
        return out

    def _make_panel(self, number: int, frame_width: int, frame_height: int) -> Image.Image:
        """Return the best classes of a row of moments, RGBA, a line each, with a bar as long as the score."""
        size = int(np.clip(min(frame_width, frame_height) / 24, 12, 44))
        line, pad = round(1.45 * size), round(0.4 * size)
        scores = self.windows.moments[number]
        best = best_classes(scores, self.topk)[: max((frame_height - 2 * pad) // line, 1)].tolist()
        lines = [(float(scores[k]), *_name_and_font(printable(self.windows.class_names[k]), k, size)) for k in best]
        sheet = ImageDraw.Draw(Image.new("RGBA", (1, 1)))
        number_width = round(sheet.textlength("100.0% ", lines[0][2])) + pad
        longest = max(sheet.textlength(name, font) for _, name, font in lines)
        width = min(frame_width, max(number_width + round(longest) + 2 * pad, frame_width // 3))
        panel = Image.new("RGBA", (width, min(line * len(lines) + 2 * pad, frame_height)), _PANEL)
        draw = ImageDraw.Draw(panel)
        for place, (score, name, font) in enumerate(lines):
            top = pad + place * line
            draw.rectangle((-1, top, round(score * width) - 1, top + line - max(size // 6, 2)), fill=_BAR)
            middle = top + (line - size // 6) / 2
            draw.text((number_width - pad, middle), f"{score:.1%}", _TEXT, _font("0", size), anchor="rm")
            name = fit_text(draw, name, font, width - number_width - pad)
            draw.text((number_width, middle), name, _TEXT, font, anchor="lm")
        return panel


def _name_and_font(name: str, label: int, size: int) -> tuple[str, Any]:
    """Return a class name and a font that has its letters. Its number, where no font of this machine has them."""
    if _find_font_file(name) is None:
        name = f"class {label}"
    return name, _font(name, size)


def _font(text: str, size: int) -> Any:
    file = _find_font_file(text)
    return ImageFont.load_default(size) if file is None else ImageFont.truetype(file, size)


_find_font_file = cache(find_font_file)

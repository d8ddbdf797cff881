"""Maps laid over frames, and moving pictures of frames."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib import colormaps
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from videozoo.engine.checkpoint import replace_file
from videozoo.engine.fonts import find_font_file
from videozoo.video.write import write_mp4

__all__ = ["ANIMATIONS", "HEAT", "fit_text", "join_panels", "overlay_maps", "write_animation"]

ANIMATIONS = (".mp4", ".gif")
HEAT = "plasma"  # told apart by color-blind readers, and still in gray
_SMALLEST_PANEL = 240  # pixels; smaller frames are enlarged in moving pictures
_LABEL_HEIGHT = 40


def overlay_maps(frames: Tensor, maps: Tensor) -> Tensor:
    """Lay class maps over frames as heat: the higher a value, the brighter and the less transparent.

    Args:
        frames: uint8 RGB.
        maps: float in [0, 1]. They are enlarged (bilinear).
    Shape:
        frames (N, H, W, 3), maps (N, h, w). Output uint8 (N, H, W, 3).
    """
    size = list(frames.shape[1:3])
    large = F.interpolate(maps[:, None].float(), size, mode="bilinear", align_corners=False)[:, 0].clamp(0, 1)
    heat = colormaps[HEAT](large.numpy())[..., :3] * 255
    share = (0.65 * large.numpy())[..., None]
    mixed = (1 - share) * frames.numpy() + share * heat
    return torch.from_numpy((mixed + 0.5).clip(0, 255).astype(np.uint8))


def join_panels(panels: Sequence[tuple[str, Tensor]]) -> Tensor:
    """Put clips of equally many frames side by side, each under its title.

    Args:
        panels: title, of one or two lines, and uint8 (N, H, W, 3). Sizes may differ.
    Shape:
        uint8 (N, H', W', 3), H' and W' even.
    """
    height = max(_SMALLEST_PANEL, *(frames.shape[1] for _, frames in panels))
    titles = "".join(title for title, _ in panels)
    font_file = None if titles.isascii() else find_font_file(titles)
    if font_file is None:
        panels = [(title.encode("ascii", "replace").decode(), frames) for title, frames in panels]
    font: Any = ImageFont.truetype(font_file, 14) if font_file else ImageFont.load_default(14)
    joined = []
    for step in range(panels[0][1].shape[0]):
        pictures = []
        for _, frames in panels:
            picture = Image.fromarray(frames[step].numpy())
            pictures.append(picture.resize((round(picture.width * height / picture.height), height)))
        width = sum(picture.width for picture in pictures) + 4 * (len(pictures) - 1)
        sheet = Image.new("RGB", (width + width % 2, height + height % 2 + _LABEL_HEIGHT), "white")
        draw, left = ImageDraw.Draw(sheet), 0
        for (title, _), picture in zip(panels, pictures, strict=True):
            lines = [fit_text(draw, line, font, picture.width - 6) for line in title.split("\n")[:2]]
            draw.text((left + 3, 2), "\n".join(lines), fill="black", font=font)
            sheet.paste(picture, (left, _LABEL_HEIGHT))
            left += picture.width + 4
        joined.append(torch.from_numpy(np.asarray(sheet).copy()))
    return torch.stack(joined)


def fit_text(draw: ImageDraw.ImageDraw, text: str, font: Any, width: float) -> str:
    """Return as much of a text as is no wider than so many pixels, with an ellipsis where it is cut."""
    if draw.textlength(text, font) <= width:
        return text
    while text and draw.textlength(text + "…", font) > width:
        text = text[:-1]
    return text + "…"


def write_animation(path: Path, frames: Tensor, frame_rate: int = 4) -> None:
    """Write a moving picture, in one piece: mp4 (h264) or gif, by the ending of the name.

    Args:
        frames: uint8 RGB. For mp4 an odd side loses its last pixel.
        frame_rate: frames per second.
    Shape:
        frames (N, H, W, 3).
    Raises:
        ValueError: another ending.
        CheckpointError: the disk refused.
    """
    if path.suffix not in ANIMATIONS:
        raise ValueError(f"write_animation: {path.name} must end in one of {', '.join(ANIMATIONS)}.")
    replace_file(path, (_mp4 if path.suffix == ".mp4" else _gif)(frames.numpy(), frame_rate))


def _mp4(frames: np.ndarray, frame_rate: int) -> bytes:
    out = io.BytesIO()
    write_mp4(out, frames, frame_rate, {"crf": "18"})
    return out.getvalue()


def _gif(frames: np.ndarray, frame_rate: int) -> bytes:
    out = io.BytesIO()
    pictures = [Image.fromarray(frame) for frame in frames]
    pictures[0].save(out, "gif", save_all=True, append_images=pictures[1:], duration=round(1000 / frame_rate), loop=0)
    return out.getvalue()

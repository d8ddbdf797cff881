"""A folder of numbered images read as a video."""

import os
import re
import stat
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from videozoo.text import cause

from .errors import NoSuchFrameError, VideoError
from .limits import check_frame_size

IMAGE_EXTENSIONS = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".pgm", ".ppm"})
# Formats without 32-bit integers: what Pillow opens as such (mode I) are its 16-bit grays.
SIXTEEN_BIT_FORMATS = frozenset({"PNG", "PPM"})


def natural_key(name: str) -> list[tuple[int, int | str]]:
    """Sort key that puts ``img_2`` before ``img_10``."""
    parts = re.split(r"([0-9]+)", name)
    return [(0, int(part)) if part.isdigit() and part.isascii() else (1, part) for part in parts if part]


def list_images(folder: str | os.PathLike[str]) -> list[str]:
    """Return the names of a folder's images in natural order.

    Hidden files and other files are left out.
    """
    names = [entry.name for entry in os.scandir(folder) if is_image_name(entry.name) and not is_folder(entry)]
    return sorted(names, key=lambda name: (natural_key(name), name))


def is_folder(entry: "os.DirEntry[str]") -> bool:
    """Return True for a folder or a link to one.

    False where the link cannot be followed (it leads to itself).
    """
    try:
        return entry.is_dir()
    except OSError:
        return False


def is_image_name(name: str) -> bool:
    """Return whether a file of this name counts as a frame."""
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in IMAGE_EXTENSIONS


def is_frame_folder(path: Path, span_sec: tuple[float, float] | None) -> bool:
    """Return True for a folder, whose images are the frames of a video, and False for a file that is not empty.

    Args:
        path: of a video.
        span_sec: the part that is asked, in seconds.
    Raises:
        VideoError: it is neither, or a part in seconds is asked of a folder.
    """
    try:
        status = path.stat()
    except FileNotFoundError:
        raise VideoError(path, "no such file or folder") from None
    except (OSError, ValueError) as err:
        raise VideoError(path, f"it may not be read ({getattr(err, 'strerror', None) or err})") from err
    if stat.S_ISDIR(status.st_mode):
        if span_sec is not None:
            raise VideoError(path, "a part of it is asked in seconds, but a folder of images has no times")
        return True
    if not stat.S_ISREG(status.st_mode):
        raise VideoError(path, "neither a file nor a folder")
    if not status.st_size:
        raise VideoError(path, "the file is empty (0 bytes)")
    return False


class ImageFolder:
    """The frames of a folder in natural order.

    Images are opened when read.

    Args:
        path: an existing folder.
    Raises:
        VideoError: the folder holds no image, or its first image cannot be read.
    """

    fps = 0.0
    damaged: frozenset[int] = frozenset()

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._names = list_images(path)
        except OSError as err:
            raise VideoError(path, f"the folder cannot be listed ({err.strerror})") from err
        if not self._names:
            raise VideoError(path, f"a folder without images; frames are files {' '.join(sorted(IMAGE_EXTENSIONS))}")
        self.height, self.width = self._load(0).shape[:2]

    def close(self) -> None:
        """Nothing is kept open."""

    def count(self) -> int:
        """Return the number of images."""
        return len(self._names)

    def read_into(self, slots: dict[int, list[int]], out: np.ndarray) -> None:
        """Write image ``i`` to ``out[slots[i]]`` as RGB.

        Args:
            slots: frame index to places in ``out``.
            out: uint8 (N, height, width, 3).
        Raises:
            NoSuchFrameError: an index is not below the number of images.
            VideoError: an image cannot be read, or is not of the first one's size.
        """
        place_images(self.path, self._load, self.count(), slots, out, lambda index: f"image {self._names[index]}")

    def _load(self, index: int) -> np.ndarray:
        name = self._names[index]
        try:
            with Image.open(self.path / name) as image:
                check_frame_size(self.path, *image.size)
                return to_rgb(ImageOps.exif_transpose(image), image.format)
        except VideoError:
            raise
        except Exception as err:  # broken EXIF alone raises a dozen kinds
            why = f"{type(err).__name__}, {cause(err)}"
            if isinstance(err, UnidentifiedImageError):  # whose message repeats the path
                why = "no image of a known format"
            raise VideoError(self.path, f"image {name} cannot be read ({why})") from err


def to_rgb(image: Image.Image, format_name: str | None) -> np.ndarray:
    """Return uint8 (H, W, 3).

    Alpha is dropped, 16-bit gray is scaled. Pillow's own conversion would clip it to 255.

    Raises:
        ValueError: pixels are numbers without a known range.
    """
    if image.mode.startswith("I;16") or (image.mode == "I" and format_name in SIXTEEN_BIT_FORMATS):
        gray = (np.asarray(image).astype(np.uint32) + 128) // 257
        return np.repeat(gray.astype(np.uint8)[..., None], 3, axis=2)
    if image.mode in ("I", "F"):
        kind = "32-bit integers" if image.mode == "I" else "floating-point numbers"
        raise ValueError(f"its pixels are {kind}, whose black and white are not known; save 8 or 16 bits")
    return np.asarray(image.convert("RGB"))


def place_images(
    path: Path,
    load: Callable[[int], np.ndarray],
    count: int,
    slots: Mapping[int, list[int]],
    out: np.ndarray,
    name_of: Callable[[int], str],
) -> None:
    """Write image ``i`` to ``out[slots[i]]``.

    Args:
        path: of the video, for errors.
        load: from an index to RGB (height, width, 3).
        count: number of images.
        slots: index to places in ``out``.
        out: uint8 (N, height, width, 3), of the first image's size.
        name_of: what errors call the image with an index.
    Raises:
        NoSuchFrameError: an index is not below the number of images.
        VideoError: an image is not of the first one's size, or ``load`` raises it.
    """
    if max(slots, default=-1) >= count:
        raise NoSuchFrameError(count)
    for index, places in slots.items():
        image = load(index)
        if image.shape != out.shape[1:]:
            raise VideoError(
                path,
                f"{name_of(index)} is {image.shape[1]}x{image.shape[0]}, "
                f"the first one is {out.shape[2]}x{out.shape[1]}; a video's frames must have one size",
            )
        out[places] = image

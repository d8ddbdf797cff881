"""Windows in space: where a crop is cut, and how many views a test takes."""

import re

from videozoo.bounds import CHOICES

# Crop sides relative to the short side, as TSN's authors train (multi-scale corner cropping).
TSN_SCALES = (1.0, 0.875, 0.75, 0.66)
CROPS: tuple[int, ...] = CHOICES["test_num_crops"]


def parse_views(text: str) -> tuple[int, int]:
    """Read ``"10x3"`` as 10 clips x 3 crops.

    Args:
        text: clips x crops. Clips at least 1, crops 1, 3, 5 or 10.
    Raises:
        ValueError: the text is of another form, or there is no such number of crops.
    """
    match = re.fullmatch(r"\s*([1-9][0-9]*)\s*[xX]\s*([1-9][0-9]*)\s*", text)
    if match is None:
        raise ValueError(f"parse_views: got {text!r}; write clips x crops, such as 1x1 or 10x3.")
    if int(match[2]) not in CROPS:
        raise ValueError(
            f"parse_views: got {text!r}; crops are 1 (the center), 3 (along the longer side), 5 (corners and center) "
            "or 10 (those and their flips)."
        )
    return int(match[1]), int(match[2])


def crop_offsets(height: int, width: int, size: tuple[int, int], num_crops: int) -> list[tuple[int, int]]:
    """Corners (top, left) of the test crops.

    One crop is in the center. Three are along the longer side, at its start, center and end, centered across it. Five
    are in the corners and the center. Ten are these five and their flips, so their corners are those of five.

    Args:
        height, width: frame size in pixels, at least the crop's.
        size: crop (height, width) in pixels.
        num_crops: 1, 3, 5 or 10.
    Raises:
        ValueError: another number of crops, or a crop larger than the frame.
    """
    free_y, free_x = height - size[0], width - size[1]
    if free_y < 0 or free_x < 0:
        raise ValueError(f"crop_offsets: crop {size} does not fit a frame of {(height, width)}; resize first.")
    # Halves are rounded as torchvision does, to even.
    center = (round(free_y / 2), round(free_x / 2))
    if num_crops == 1:
        return [center]
    if num_crops in (5, 10):
        return [(0, 0), (0, free_x), (free_y, 0), (free_y, free_x), center]
    if num_crops != 3:
        raise ValueError(f"crop_offsets: num_crops is {num_crops}, must be 1, 3, 5 or 10.")
    if height > width:
        return [(0, center[1]), center, (free_y, center[1])]
    return [(center[0], 0), center, (center[0], free_x)]


def multiscale_sizes(height: int, width: int, size: tuple[int, int]) -> list[tuple[int, int]]:
    """Crop sizes (height, width) of TSN's multi-scale cropping: sides of neighboring scales are combined.

    Args:
        height, width: frame size in pixels.
        size: (height, width) the crop is resized to. A side within 2 pixels of it is taken exactly, as the authors do.
    """
    sides = [int(min(height, width) * scale) for scale in TSN_SCALES]

    def snap(side: int, target: int, limit: int) -> int:
        return target if abs(side - target) < 3 and target <= limit else max(side, 1)

    return [
        (snap(h, size[0], height), snap(w, size[1], width))
        for i, h in enumerate(sides)
        for j, w in enumerate(sides)
        if abs(i - j) <= 1
    ]


def fixed_offsets(height: int, width: int, size: tuple[int, int]) -> list[tuple[int, int]]:
    """Return the 13 fixed corners (top, left) of TSN's cropping: four corners, center, edge middles and quarter points.

    Args:
        height, width: frame size in pixels.
        size: crop (height, width), not larger.
    """
    y, x = (height - size[0]) // 4, (width - size[1]) // 4
    corners_and_center = [(0, 0), (0, 4), (4, 0), (4, 4), (2, 2)]
    edges = [(2, 0), (2, 4), (4, 2), (0, 2)]
    quarters = [(1, 1), (1, 3), (3, 1), (3, 3)]
    return [(i * y, j * x) for i, j in corners_and_center + edges + quarters]

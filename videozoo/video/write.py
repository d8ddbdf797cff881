"""Frames written as a video."""

from collections.abc import Mapping
from fractions import Fraction
from typing import IO

import numpy as np
from numpy.typing import NDArray

__all__ = ["write_mp4"]


def write_mp4(out: str | IO[bytes], frames: NDArray[np.uint8], frame_rate: int, options: Mapping[str, str]) -> None:
    """Write frames as h264, the same bytes on every machine with the same coder.

    Args:
        out: a path, or an open file that can be wound back.
        frames: RGB (T, H, W, 3). An odd side loses its last pixel.
        frame_rate: frames per second.
        options: of x264.
    """
    import av

    height, width = (side - side % 2 for side in frames.shape[1:3])
    with av.open(out, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=Fraction(frame_rate), options=dict(options))
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        stream.thread_count = 1  # several cut the work otherwise, depending on the machine
        for frame in frames:
            picture = np.ascontiguousarray(frame[:height, :width])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))

"""A video whose frames say their number, for tests of streams."""

from pathlib import Path

import av
import numpy as np


def write_gray_video(path: Path, codec: str) -> Path:
    """Write twenty frames at 20 a second, frame k of gray 10 k; return the path."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=20)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.thread_count = 1
        for k in range(20):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.full((48, 64, 3), 10 * k, np.uint8))))
        container.mux(stream.encode(None))
    return path

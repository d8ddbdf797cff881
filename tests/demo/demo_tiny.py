"""Clips and models for the demo's tests."""

import json
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from helpers import randomize
from safetensors.torch import save_file

import videozoo
from videozoo.models import model_config

NASTY = (
    "<img src=x onerror=\"window.pwned='image'\">",
    "</span><script>window.pwned='script'</script>",
    "${window.pwned='template'} {{constructor}} `tick`",
    "' onmouseover='window.pwned=1",
)


def write_clip(path: Path, times_ms: Sequence[int], size: int = 64, codec: str = "libx264", seed: int = 0) -> Path:
    """A clip of noise and a gray that rises, with a frame at each of the times."""
    rng = np.random.default_rng(seed)
    with av.open(str(path), "w") as out:
        stream: Any = out.add_stream(codec, rate=25)
        stream.width = stream.height = size
        stream.pix_fmt = "yuv420p"
        if path.suffix != ".avi":
            stream.codec_context.time_base = Fraction(1, 1000)
        for k, moment in enumerate(times_ms):
            gray = np.full((size, size, 3), 20 + 200 * k // len(times_ms), np.uint8)
            frame = av.VideoFrame.from_ndarray(gray + rng.integers(0, 30, gray.shape, np.uint8), format="rgb24")
            frame.pts, frame.time_base = moment, Fraction(1, 1000)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def write_network(folder: Path, label_names: Sequence[str], name: str = "test_dnr_tsn") -> Path:
    """A model folder with a tiny random model and these classes; frames of 48x48."""
    torch.manual_seed(0)
    model: Any = videozoo.create_model(
        name, num_classes=len(label_names), pretrained_cfg_overlay={"input_size": (3, 48, 48)}
    )
    randomize(model)
    config = model_config(model, class_names=list(label_names))
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    save_file(model.state_dict(), folder / "model.safetensors")
    return folder

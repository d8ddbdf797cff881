"""Time per frame of streams beside evaluation clip by clip, on two cores; writes ``streaming.json`` and the page.

``python benchmarks/streaming.py`` needs no data: weights and frames are random, which changes no time. Both ways take
turns, a clip's worth of frames each, so that other work on the machine hits both.
"""

import os
import platform
import statistics
import time
from pathlib import Path
from typing import Any

import torch
from pages import table, write_both

import videozoo

HERE = Path(__file__).resolve().parent
NETWORKS = ("tsm_mbv2", "tsn_r18", "tsm_r18", "dnr_tsn_r18", "arc_tsm_r18", "tsm_r50", "dnr_tsn_r50")
FRAMES, SIZE, ROUNDS, STREAMS = 8, 224, 7, 4
LONG = ("tsm_mbv2", 600, 100)  # a long stream: network, frames, how many of the first and of the last are compared


def seconds(call: Any, *args: Any) -> float:
    start = time.perf_counter()
    call(*args)
    return time.perf_counter() - start


def measure(name: str) -> dict[str, Any]:
    """Times of one network."""
    torch.manual_seed(0)
    model: Any = videozoo.create_model(name, num_classes=174, num_frames=FRAMES).eval()
    stream, several = model.streaming(nearest=True), model.streaming(nearest=True)
    clip = torch.randn(1, 3, FRAMES, SIZE, SIZE)
    batch = torch.randn(STREAMS, 3, SIZE, SIZE)
    frames: list[float] = []
    clips: list[float] = []
    batches: list[float] = []
    ratios: list[float] = []
    with torch.inference_mode():
        for k in range(ROUNDS + 1):
            new = [seconds(stream, frame) for frame in clip.unbind(2)]
            whole = seconds(model, clip)
            together = [seconds(several, batch) for _ in range(2)]
            if k:  # the first round warms up
                frames += new
                clips.append(whole)
                batches += together
                ratios.append(whole / statistics.mean(new))
    return {
        "frame_ms": 1000 * statistics.median(frames),
        "frame_p95_ms": 1000 * statistics.quantiles(frames, n=20)[-1],
        "frames_per_sec": 1 / statistics.median(frames),
        "clip_ms": 1000 * statistics.median(clips),
        "clip_over_frame": statistics.median(ratios),
        "frames_per_sec_of_several": STREAMS / statistics.median(batches),
        "memory_mb": stream.num_bytes / 1e6,
    }


def measure_long() -> dict[str, float]:
    """Medians of the first and the last frames of a long stream, and what it kept after them."""
    name, count, part = LONG
    stream = videozoo.create_model(name, num_classes=174, num_frames=FRAMES).eval().streaming()
    frame, times, sizes = torch.randn(1, 3, SIZE, SIZE), [], []
    for _ in range(count):
        times.append(seconds(stream, frame))
        sizes.append(stream.num_bytes)
    first, last = times[10 : 10 + part], times[-part:]
    return {
        "first_ms": 1000 * statistics.median(first),
        "last_ms": 1000 * statistics.median(last),
        "first_bytes": sizes[0],
        "last_bytes": sizes[-1],
    }


def page(results: dict[str, Any]) -> str:
    """The table in words."""
    machine, long = results["machine"], results["long"]
    keys = ("frame_ms", "frame_p95_ms", "frames_per_sec", "clip_ms", "clip_over_frame", "frames_per_sec_of_several")
    rows = [
        [f"`{name}`", *(f"{row[key]:.1f}" for key in keys), f"{row['memory_mb']:.2f}"]
        for name, row in results["networks"].items()
    ]
    head = ["network", "stream, ms a frame", "95 % below", "frames/s", "clip, ms an answer", "ratio"]
    head += [f"{STREAMS} streams, frames/s", "memory, MB"]
    return "\n".join(
        [
            "# Streams: time per frame",
            "",
            f"{machine['threads']} CPU threads, torch {machine['torch']}, Python {machine['python']}, float32. "
            "`python benchmarks/streaming.py` makes this page again.",
            "",
            f"Frames of {SIZE}x{SIZE}, networks of {FRAMES} frames, the network alone (no decoding). *Stream*: one",
            f"frame in, logits out. *Clip*: the answer after each frame by the network on the last {FRAMES} frames, as",
            f"evaluation does; both look at the same frames in turns, {ROUNDS} rounds, medians. *Ratio*: a clip's time",
            f"over a frame's, median of the rounds. *{STREAMS} streams*: frames a second of that many streams in one",
            "batch, all together. *Memory*: what a stream keeps of the past.",
            "ARC is in its nearest causal form.",
            "",
            *table(head, rows),
            "",
            f"A stream of {LONG[1]} frames through `{LONG[0]}`: {long['first_ms']:.1f} ms a frame among the first "
            f"{LONG[2]}, {long['last_ms']:.1f} among the last; {long['first_bytes']:,} bytes kept after the",
            f"first frame and {long['last_bytes']:,} after the last.",
            "",
        ]
    )


def main() -> None:
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))
    results = {
        "machine": {
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
        "networks": {name: measure(name) for name in NETWORKS},
        "long": measure_long(),
    }
    write_both(HERE / "streaming.json", results, page(results))


if __name__ == "__main__":
    main()

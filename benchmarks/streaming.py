"""Measure the time per frame of streams next to prediction clip by clip.

``python benchmarks/streaming.py`` writes ``streaming.json`` and the page. It needs no data: weights and frames are
random. Both alternatives take turns, one clip of frames each, so that other work on the machine slows both.
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
MODELS = ("tsm_mbv2", "tsn_r18", "tsm_r18", "dnr_tsn_r18", "arc_tsm_r18", "tsm_r50", "dnr_tsn_r50")
FRAMES, SIZE, ROUNDS, STREAMS = 8, 224, 7, 4
LONG = ("tsm_mbv2", 600, 100)  # a long stream: model, frames, number of first and last frames that are compared


def seconds(call: Any, *args: Any) -> float:
    start = time.perf_counter()
    call(*args)
    return time.perf_counter() - start


def measure(name: str) -> dict[str, Any]:
    """Return the times of one model."""
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
    """Return the median times of the first and the last frames of a long stream, and its memory."""
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
    """Return the result as Markdown."""
    machine, long = results["machine"], results["long"]
    keys = ("frame_ms", "frame_p95_ms", "frames_per_sec", "clip_ms", "clip_over_frame", "frames_per_sec_of_several")
    rows = [
        [f"`{name}`", *(f"{row[key]:.1f}" for key in keys), f"{row['memory_mb']:.2f}"]
        for name, row in results["models"].items()
    ]
    ratios = [row["clip_over_frame"] for row in results["models"].values()]
    head = ["model", "stream, ms per frame", "95 % below", "frames/s", "clip, ms per prediction", "ratio"]
    head += [f"{STREAMS} streams, frames/s", "memory, MB"]
    return "\n".join(
        [
            "# Streams: time per frame",
            "",
            f"For a prediction after every frame, `model.streaming()` is {min(ratios):.0f} to "
            f"{max(ratios):.0f} times as "
            "fast as running the model on",
            f"the last {FRAMES} frames. CPU only: there are no GPU figures yet.",
            "",
            *table(head, rows),
            "",
            f"Time and memory do not grow with the length of a stream. In {LONG[1]} frames of `{LONG[0]}` the first "
            f"{LONG[2]} take {long['first_ms']:.1f} ms per",
            f"frame and the last {LONG[2]} take {long['last_ms']:.1f} ms. The stream keeps "
            f"{long['first_bytes']:,} bytes "
            f"after the first frame and {long['last_bytes']:,} after the last.",
            "",
            "| column | meaning |",
            "|---|---|",
            "| stream | one frame in, logits out |",
            f"| clip | the model on the last {FRAMES} frames, as in evaluation |",
            "| ratio | time of a clip over time of a frame, median of the rounds |",
            f"| {STREAMS} streams | frames per second of {STREAMS} streams in one batch, all together |",
            "| memory | what a stream keeps of the past |",
            "",
            f"Frames of {SIZE}x{SIZE}, models of {FRAMES} frames, without decoding. Both alternatives take turns, "
            f"{ROUNDS} rounds, medians. ARC is in its",
            f"nearest causal form. {machine['threads']} CPU threads, torch {machine['torch']}, Python "
            f"{machine['python']}, float32.",
            "`python benchmarks/streaming.py` measures again and writes this page.",
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
        "models": {name: measure(name) for name in MODELS},
        "long": measure_long(),
    }
    write_both(HERE / "streaming.json", results, page(results))


if __name__ == "__main__":
    main()

"""Measure clips per second of the dataset on one core, next to a plain PyAV loop that reads the same frames.

``python benchmarks/loader.py`` creates its videos: ten seconds of a moving pattern, 340x256, with the codecs and
keyframe distances of common data sets. ``--data FOLDER`` adds the real videos in FOLDER with at least 8 frames. Both
read 8 segment frames of each video, resize the short side to 256, crop 224x224 and return bytes. They take turns. A
short fine-tune measures the fraction of its time that is spent waiting for videos.
"""

import argparse
import csv
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import torch
from damaged_videos import list_videos
from pages import in_turns, table, write_both
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from videozoo.data import VideoDataset, VideoError, VideoReader, VideoRecord, create_transform
from videozoo.video.open_file import open_container

HERE = Path(__file__).resolve().parent
KINDS: dict[str, dict[str, str | int]] = {
    "h264, gop 250": {"codec": "libx264", "gop": 250, "rate": 25},
    "h264, gop 12": {"codec": "libx264", "gop": 12, "rate": 30},
    "h264 without B-frames, gop 250": {"codec": "libx264", "gop": 250, "rate": 25, "bf": "0"},
    "mpeg4, gop 12": {"codec": "mpeg4", "gop": 12, "rate": 25},
}
CLIPS_PER_KIND = 4
WIDTH, HEIGHT, SECONDS = 340, 256, 10


def write_video(path: Path, seed: int, codec: str, gop: int, rate: int, **options: str) -> None:
    """Write ten seconds of a pattern that moves over fixed noise."""
    rng = np.random.default_rng(seed)
    noise = rng.integers(0, 60, (HEIGHT, WIDTH, 3)).astype(np.float32)
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, options=options)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.gop_size = gop
        stream.codec_context.thread_count = 1
        if codec == "mpeg4":
            stream.bit_rate = 1_000_000
        for number in range(SECONDS * rate):
            phase = number / rate
            waves = 90 + 45 * np.sin(x / 17 + 3 * phase + seed) + 45 * np.cos(y / 23 - 2 * phase)
            image = (noise + waves[..., None]).clip(0, 255).astype(np.uint8)
            at = int(40 * phase) % (WIDTH - 60)
            image[60:160, at : at + 60] = (255, 40 * (seed % 6), 30)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def plain_clip(path: Path) -> Tensor:
    """Return a clip read by a plain loop: decode up to the last needed frame, resize and crop."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        count = stream.frames
        wanted = {(2 * i + 1) * count // 16 for i in range(8)}
        images = []
        for index, frame in enumerate(container.decode(stream)):
            if index in wanted:
                images.append(torch.from_numpy(frame.to_ndarray(format="rgb24")))
                if len(images) == len(wanted):
                    break
    clip = torch.stack(images).permute(0, 3, 1, 2)
    return F.center_crop(F.resize(clip, [256], antialias=True), [224, 224]).transpose(0, 1)


def make_dataset(paths: list[Path]) -> VideoDataset:
    """Return the package's dataset with the same frames and crop."""
    transform = create_transform((3, 224, 224), crop_pct=0.875, normalize=False)
    return VideoDataset([VideoRecord(path, 0, path.name) for path in paths], transform, num_frames=8)


def compare(paths: list[Path], rounds: int) -> dict[str, float]:
    """Return clips per second of processor time of both, and their ratio round by round. They take turns."""
    dataset = make_dataset(paths)

    same = [torch.equal(dataset[i]["video"][0], plain_clip(path)) for i, path in enumerate(paths)]
    ways = {
        "ours": lambda: [dataset[index] for index in range(len(paths))],
        "plain": lambda: [plain_clip(path) for path in paths],
    }
    times = in_turns(ways, rounds, time.process_time)
    ratios = [a / b for a, b in zip(times["ours"], times["plain"], strict=True)]
    return {
        "ours_per_sec": len(paths) / statistics.median(times["ours"]),
        "plain_per_sec": len(paths) / statistics.median(times["plain"]),
        "time_ratio": statistics.median(ratios),
        "time_ratio_low": min(ratios),
        "time_ratio_high": max(ratios),
        "same_clips": sum(same) / len(same),
    }


def is_readable(path: Path) -> bool:
    """Return True if both can read the file: it has 8 frames or more, and its header has the right number."""
    try:
        with VideoReader(path) as reader, open_container(str(path)) as container:
            return 8 <= reader.num_frames == container.streams.video[0].frames
    except (VideoError, av.FFmpegError):
        return False


def waiting_time(folder: Path, paths: list[Path]) -> dict[str, float]:
    """Return the seconds of a short fine-tune and those spent waiting for the loader."""
    listed = folder / "list.txt"
    listed.write_text("".join(f"{path} {i % 2}\n" for i, path in enumerate(paths)))
    command = [sys.executable, "-m", "videozoo", "finetune", "--model", "tsm_mbv2", "--backbone-weights", "none"]
    command += ["--data", str(listed), "--val", str(listed), "--output", str(folder / "run"), "--epochs", "2"]
    subprocess.run([*command, "-b", "4", "-j", "1"], check=True, stdout=subprocess.DEVNULL)
    with open(folder / "run" / "summary.csv", newline="") as file:
        row = list(csv.DictReader(file))[-1]  # the first epoch includes the start of the workers
    return {"seconds": float(row["seconds"]), "data_seconds": float(row["data_seconds"])}


def page(result: dict) -> str:
    """Return the result as Markdown."""
    wait = result["finetune"]
    lines = [
        "# Loading: clips per second on one core",
        "",
        "videozoo decodes only the frames that a clip needs. The fewer frames between keyframes, the more "
        "that saves. A",
        f"fine-tune of `tsm_mbv2` at 224 waits for videos for {wait['data_seconds'] / wait['seconds']:.1%} of its time "
        f"({wait['data_seconds']:.1f} of {wait['seconds']:.1f} s,",
        "4 clips a batch, 1 worker).",
        "",
    ]
    rows = []
    for name, row in result["rows"].items():
        spread = f"{row['time_ratio']:.2f} ({row['time_ratio_low']:.2f} to {row['time_ratio_high']:.2f})"
        numbers = [f"{row['ours_per_sec']:.1f}", f"{row['plain_per_sec']:.1f}", spread, f"{row['same_clips']:.0%}"]
        rows.append([name, *numbers])
    lines += [
        *table(["videos", "`videozoo` clips/s", "plain clips/s", "time, videozoo / plain", "same"], rows),
        "",
        "8 segment frames of each video, short side resized to 256, crop 224x224, as bytes. *Plain* is a PyAV "
        "loop that",
        "decodes up to the last needed frame, with torchvision's resize and crop. Both take turns. Times are processor",
        "time, which other work on the machine changes little. They are medians of "
        f"{result['rounds']} rounds, and the ratio is taken",
        "round by round (lowest to highest). Below 1, videozoo is faster. *Same* is the fraction of videos for which",
        "both return the same bytes: the plain loop ignores rotation.",
        "",
        f"{result['machine']}. `python benchmarks/loader.py --data FOLDER` measures again and writes this page.",
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of real videos, at any depth")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--output", type=Path, default=HERE, help="folder for loader.json and loader.md")
    args = parser.parse_args()
    torch.set_num_threads(1)
    versions = f"PyAV {av.__version__}, torch {torch.__version__}, Python {platform.python_version()}"
    result: dict = {"machine": f"{os.cpu_count()} CPU cores, 1 used; {versions}", "rounds": args.rounds, "rows": {}}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        made: list[Path] = []
        for kind, options in KINDS.items():
            paths = [folder / f"{len(made) + i}.mp4" for i in range(CLIPS_PER_KIND)]
            for i, path in enumerate(paths):
                write_video(path, seed=i, **options)  # type: ignore[arg-type]
            made += paths
            result["rows"][f"10 s of 340x256, {kind}"] = compare(paths, args.rounds)
            print(kind, result["rows"][f"10 s of 340x256, {kind}"], flush=True)
        if args.data is not None:
            real = [path for path in list_videos(args.data) if is_readable(path)]
            result["rows"][f"{len(real)} real videos"] = compare(real, max(args.rounds // 3, 3))
            print(result["rows"][f"{len(real)} real videos"], flush=True)
        result["finetune"] = waiting_time(folder, made)
    write_both(args.output / "loader.json", result, page(result))


if __name__ == "__main__":
    main()

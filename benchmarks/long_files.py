"""Compare clips of ten-minute files with the same clips cut out beforehand: seeking, loading, training, evaluation.

``python benchmarks/long_files.py --folder DIR`` creates 200 files of ten minutes in DIR (H.264, a keyframe every 250
frames, 5 GB, some minutes) and the clips cut out of them. A part is five seconds of a file, as in the lists of Kinetics
or ActivityNet. Cut out, it is a separate file with the same encoding. A whole file is sampled by segments. Cut down, it
is one second of video around each of the eight frames that a test takes. ``--steps`` runs some of the measurements and
keeps the others in ``long_files.json``.
"""

import argparse
import csv
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from pages import in_turns, table, write_both

import videozoo
from videozoo.data import VideoDataset, create_transform, load_source
from videozoo.video import VideoReader

HERE = Path(__file__).resolve().parent
STEPS = ("seek", "load", "train", "evaluate")
WIDTH, HEIGHT, RATE, GOP = 320, 240, 25, 250
SCENE_SEC, SCENES, BANK = 30, 20, 40  # a file has twenty of forty different scenes
PART_SEC, NUM_FRAMES, NUM_CLASSES = 5, 8, 4
MODEL, SIZE, BATCH = "tsm_r18", 112, 8
TEST_SIZES = (112, 224)


def encode(path: Path, images: Iterable[np.ndarray]) -> None:
    """Encode images as H.264 with B-frames and a keyframe every ``GOP`` frames."""
    options = {"preset": "veryfast", "crf": "19", "sc_threshold": "0"}
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE, options=options)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.gop_size = GOP
        stream.codec_context.thread_count = 1
        for number, image in enumerate(images):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def scene(seed: int) -> Iterable[np.ndarray]:
    """Yield images of a box that moves over textured ground, with camera noise."""
    rng = np.random.default_rng(seed)
    ground = np.kron(rng.integers(30, 200, (HEIGHT // 8, 2 * WIDTH // 8, 3)), np.ones((8, 8, 1))).astype(np.uint8)
    grain = rng.integers(0, 12, (16, HEIGHT, WIDTH, 1), np.uint8)
    speed = rng.uniform(1, 5, 3)
    for number in range(SCENE_SEC * RATE):
        left = int(speed[0] * number / 4) % WIDTH
        image = ground[:, left : left + WIDTH].copy()
        y, x = int(speed[1] * number) % (HEIGHT - 60), int(speed[2] * number) % (WIDTH - 60)
        image[y : y + 60, x : x + 60] = (240, 40 * (seed % NUM_CLASSES), 30)
        yield image + grain[number % len(grain)]


def join(scenes: Sequence[Path], target: Path) -> None:
    """Write the packets of some files one after the other."""
    with av.open(str(target), "w") as new:
        stream, offset = None, 0
        for path in scenes:
            with av.open(str(path)) as old:
                video = old.streams.video[0]
                stream = stream or new.add_stream_from_template(video)
                for packet in old.demux(video):
                    if packet.size:
                        packet.pts, packet.dts = packet.pts + offset, packet.dts + offset
                        packet.time_base, packet.stream = video.time_base, stream
                        new.mux(packet)
                offset += video.duration


def test_places(count: int) -> list[int]:
    """Return the frame indices of a test with one clip."""
    return [int((place + 0.5) * count / NUM_FRAMES) for place in range(NUM_FRAMES)]


def make(folder: Path, number: int) -> None:
    """Write a long file, its part, and the seconds around each frame of a test, unless they exist."""
    names = [folder / kind / f"{number:03d}.mp4" for kind in ("long", "part", "around")]
    if all(name.exists() for name in names):
        return
    scenes = np.random.default_rng([number, 2]).integers(0, BANK, SCENES)
    side = folder / f"{number:03d}.mp4"
    join([folder / "scene" / f"{scene:02d}.mp4" for scene in scenes], side)
    with VideoReader(side, span_sec=part_of(number)) as reader:
        encode(names[1], (image.permute(1, 2, 0).numpy() for image in reader.read(range(reader.num_frames))))
    with VideoReader(side) as reader:
        centers = test_places(reader.num_frames)
        around = [i for center in centers for i in range(center - RATE // 2, center + RATE // 2 + 1)]
        encode(names[2], (image.permute(1, 2, 0).numpy() for image in reader.read(around)))
    side.rename(names[0])


def part_of(number: int) -> tuple[float, float]:
    """Return start and end of a file's part in seconds."""
    start = round(float(np.random.default_rng([number, 1]).uniform(0, SCENE_SEC * SCENES - PART_SEC)), 2)
    return start, round(start + PART_SEC, 2)


def write_lists(folder: Path, count: int) -> dict[str, Path]:
    """Write the four lists of the videos."""
    rows: dict[str, list[list[object]]] = {
        "parts of long files": [["path", "label", "start", "end"]],
        "parts cut out": [["path", "label"]],
        "whole long files": [["path", "label"]],
        "whole files cut down": [["path", "label"]],
    }
    lists = {name: folder / f"{name.replace(' ', '_')}.csv" for name in rows}
    for number in range(count):
        file, label = f"{number:03d}.mp4", number % NUM_CLASSES
        rows["parts of long files"].append([f"long/{file}", label, *part_of(number)])
        rows["parts cut out"].append([f"part/{file}", label])
        rows["whole long files"].append([f"long/{file}", label])
        rows["whole files cut down"].append([f"around/{file}", label])
    for name, path in lists.items():
        with open(path, "w", newline="") as file:
            csv.writer(file).writerows(rows[name])
    return lists


def bytes_read() -> int:
    return int(Path("/proc/self/io").read_text().split()[1])


def plain_seek(path: Path, places: list[int]) -> list[np.ndarray]:
    """Return frames read by a plain PyAV loop: seek to the keyframe before each frame, decode up to it."""
    images = []
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "NONE"
        for place in places:
            pts = int(place / stream.average_rate / stream.time_base) + stream.start_time
            container.seek(pts, stream=stream)
            images.append(next(f for f in container.decode(stream) if f.pts >= pts).to_ndarray(format="rgb24"))
    return images


def read_eight(path: Path) -> torch.Tensor:
    """Return the frames of a test."""
    with VideoReader(path) as reader:
        return reader.read(test_places(reader.num_frames))


def measure_seek(files: list[Path], folder: Path) -> dict[str, Any]:
    """Return seconds and bytes per file: PyAV, VideoReader twice, and VideoReader with the cache in a new process."""
    places = test_places(SCENE_SEC * SCENES * RATE)
    found: dict[str, list[tuple[float, float]]] = {"plain": [], "first": [], "second": [], "disk": []}
    same = []

    def measured(name: str, call: Callable[[], Any]) -> Any:
        start, before = time.perf_counter(), bytes_read()
        result = call()
        found[name].append((time.perf_counter() - start, (bytes_read() - before) / 1e6))
        return result

    for path in files:
        plain_seek(path, places)  # now the file is in the page cache
        images = measured("plain", lambda path=path: plain_seek(path, places))
        ours = measured("first", lambda path=path: read_eight(path))
        measured("second", lambda path=path: read_eight(path))
        same.append(np.array_equal(ours.permute(0, 2, 3, 1).numpy(), np.stack(images)))
    # The first of two processes writes the indexes.
    code = f"import sys; sys.path.insert(0, {str(HERE)!r}); import long_files; long_files.print_disk(sys.argv[1:])"
    cache = folder / "index_cache"
    for _ in range(2):
        process = [sys.executable, "-c", code, *map(str, files)]
        environment = {**os.environ, "VIDEOZOO_INDEX_CACHE": str(cache), "PYTHONPATH": os.pathsep.join(sys.path)}
        shown = subprocess.run(process, check=True, capture_output=True, text=True, env=environment).stdout
    found["disk"] = json.loads(shown)
    index_bytes = statistics.mean(path.stat().st_size for path in cache.rglob("*.npy"))
    shutil.rmtree(cache)
    rows = {
        name: {"ms": 1000 * statistics.median(t for t, _ in some), "mb": statistics.median(b for _, b in some)}
        for name, some in found.items()
    }
    return {**rows, "same": sum(same) / len(same), "files": len(files), "index_kb": index_bytes / 1000}


def print_disk(files: list[str]) -> None:
    """Print seconds and megabytes of each file as JSON."""
    read_eight(Path(files[0]))  # warm-up: the first read imports modules
    rows = []
    for path in map(Path, files):
        start, before = time.perf_counter(), bytes_read()
        read_eight(path)
        rows.append((time.perf_counter() - start, (bytes_read() - before) / 1e6))
    print(json.dumps(rows))


def measure_load(lists: dict[str, Path]) -> dict[str, Any]:
    """Return clips per second of one core without a model, in the first and the second epoch."""
    result = {}
    for is_training in (True, False):
        options: dict[str, Any] = {"hflip": 0.5} if is_training else {}
        transform = create_transform((3, 224, 224), is_training=is_training, normalize=False, **options)
        sets = {}
        for name, path in lists.items():
            records = load_source(path).records
            sets[name] = VideoDataset(records, transform, num_frames=NUM_FRAMES, is_training=is_training)
            sets[name][0]

        def epoch(dataset: VideoDataset, number: int) -> None:
            dataset.set_epoch(number)
            for index in range(len(dataset)):
                dataset[index]

        for number in range(2):
            ways = {
                name: (lambda dataset=dataset, number=number: epoch(dataset, number)) for name, dataset in sets.items()
            }
            for name, (seconds,) in in_turns(ways, 1, time.process_time).items():
                kind = "training" if is_training else "test"
                result.setdefault(name, {})[f"{kind}, epoch {number + 1}"] = len(sets[name]) / seconds
                print(name, kind, number + 1, f"{len(sets[name]) / seconds:.1f} clips/s", flush=True)
    return result


def write_few(folder: Path) -> Path:
    """Write a list with one clip per class, for validation and warm-up."""
    lines = (folder / "parts_cut_out.csv").read_text().splitlines()
    (folder / "few.csv").write_text("\n".join(lines[: 1 + NUM_CLASSES]) + "\n")
    return folder / "few.csv"


def train(folder: Path, data: Path, size: int, epochs: int) -> Any:
    """Run ``videozoo.finetune``."""
    run = folder / f"run_{size}"
    shutil.rmtree(run, ignore_errors=True)
    options = {"from_scratch": True, "device": "cpu", "lr": 0.001, "workers": 2, "batch_size": BATCH, "img_size": size}
    return videozoo.finetune(model=MODEL, data=data, val=write_few(folder), output=run, epochs=epochs, **options)


def measure_train(lists: dict[str, Path], folder: Path, count: int, threads: int) -> dict[str, Any]:
    """Return clips per second of ``videozoo finetune`` in two epochs, each with a validation on four clips."""
    torch.set_num_threads(threads)
    train(folder, write_few(folder), SIZE, 1)
    result = {}
    for name, path in lists.items():
        result[name] = {
            f"epoch {row.epoch}": {"clips_per_sec": count / row.seconds, "waiting": row.data_seconds / row.seconds}
            for row in train(folder, path, SIZE, 2).history
        }
        print(name, result[name], flush=True)
    return result


def measure_evaluate(lists: dict[str, Path], folder: Path, count: int, threads: int) -> dict[str, Any]:
    """Return clips per second of ``videozoo evaluate``, including its start."""
    torch.set_num_threads(threads)
    result: dict[str, Any] = {name: {} for name in lists}
    for size in TEST_SIZES:
        train(folder, write_few(folder), size, 1)
        options: dict[str, Any] = {"model": folder / f"run_{size}" / "best", "batch_size": BATCH, "workers": 2}
        videozoo.evaluate(data=write_few(folder), device="cpu", **options)
        for name, path in lists.items():
            started = time.perf_counter()
            videozoo.evaluate(data=path, device="cpu", **options)
            result[name][f"{size}"] = count / (time.perf_counter() - started)
            print(name, size, f"{result[name][f'{size}']:.2f} clips/s", flush=True)
    return result


PAIRS = (("parts of long files", "parts cut out"), ("whole long files", "whole files cut down"))


def page(result: dict[str, Any]) -> str:
    """Return the result as Markdown, without lists that were not measured."""
    pairs = {step: [p for p in PAIRS if all(name in result.get(step, {}) for name in p)] for step in STEPS}
    lines = [
        "# Long files: clips out of ten minutes of video",
        "",
        "You need not cut long videos if you use parts of a few seconds: training is about a tenth slower "
        "than with files",
        "cut out beforehand. If you sample frames over the whole ten minutes, cut the files down first. CPU only.",
        "",
        f"* {result['files']} files of ten minutes, {WIDTH}x{HEIGHT}, 25 frames per second, H.264 with "
        "B-frames and a keyframe",
        "  every ten seconds, 30 MB each. All files are in the page cache.",
        "* A *part* is five seconds of a file. *Cut out* is the same video in a separate file with the same encoding.",
        "* Of a *whole* file eight frames are read, 75 seconds apart. *Cut down* is one second of video around each.",
        "",
        f"{result['machine']}. `python benchmarks/long_files.py --folder DIR` measures again and writes this page.",
        "",
    ]
    if "seek" in result:
        seek = result["seek"]
        words = {
            "plain": "a plain PyAV script that seeks",
            "first": "`VideoReader`, first time",
            "second": "`VideoReader`, second time in a process",
            "disk": "`VideoReader` in a new process, with `VIDEOZOO_INDEX_CACHE`",
        }
        rows = [
            [words[k], f"{seek[k]['ms']:.0f}", f"{seek[k]['ms'] / seek['plain']['ms']:.2f}", f"{seek[k]['mb']:.1f}"]
            for k in words
        ]
        lines += [
            "## Eight frames of a file",
            "",
            *table(["reader", "ms per file", "times PyAV", "MB read"], rows),
            "",
            f"Medians of {seek['files']} files. Both read the same frames in {seek['same']:.0%} of them. An index has "
            f"{seek['index_kb']:.0f} KB.",
            "",
        ]
    if pairs["load"]:
        keys = list(next(iter(result["load"].values())))
        lines += [
            "## Loading alone",
            "",
            "Clips per second of one core, as 224x224 bytes. The ratio is long files over cut out.",
            "",
        ]
        rows = []
        for pair in pairs["load"]:
            rows += [[name, *(f"{result['load'][name][key]:.1f}" for key in keys)] for name in pair]
            ratios = [result["load"][pair[0]][key] / result["load"][pair[1]][key] for key in keys]
            rows.append(["ratio", *(f"{ratio:.2f}" for ratio in ratios)])
        lines += [*table(["videos", *keys], rows), ""]
    both = [pair for pair in pairs["train"] if pair in pairs["evaluate"]]
    if both:
        lines += [
            "## Training and evaluation",
            "",
            f"Clips per second of `videozoo finetune` and `videozoo evaluate` of `{MODEL}` with {NUM_FRAMES} "
            "frames, batches of",
            f"{BATCH} and 2 workers on the same cores as the model. In brackets: the fraction of time spent "
            "waiting for videos.",
            "",
        ]
        rows = []
        for pair in both:
            numbers: dict[str, list[float]] = {}
            for name in pair:
                epochs = result["train"][name].values()
                tests = [result["evaluate"][name][f"{size}"] for size in TEST_SIZES]
                numbers[name] = [epoch["clips_per_sec"] for epoch in epochs] + tests
                shown = [f"{epoch['clips_per_sec']:.2f} ({epoch['waiting']:.0%})" for epoch in epochs]
                rows.append([name, *shown, *(f"{rate:.2f}" for rate in tests)])
            ratios = [a / b for a, b in zip(numbers[pair[0]], numbers[pair[1]], strict=True)]
            rows.append(["ratio", *(f"{ratio:.2f}" for ratio in ratios)])
        head = [f"training at {SIZE}, epoch {number}" for number in (1, 2)]
        lines += [*table(["videos", *head, *(f"evaluation at {size}" for size in TEST_SIZES)], rows), ""]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="folder for the videos, which are kept")
    parser.add_argument("--files", type=int, default=200)
    parser.add_argument("--steps", nargs="*", choices=STEPS, default=STEPS)
    parser.add_argument("--lists", nargs="*", default=None, help="names of the lists to measure [all]")
    parser.add_argument("--output", type=Path, default=HERE, help="folder for long_files.json and long_files.md")
    args = parser.parse_args()
    threads = torch.get_num_threads()
    for kind in ("scene", "long", "part", "around"):
        (args.folder / kind).mkdir(parents=True, exist_ok=True)
    for number in range(BANK):
        if not (args.folder / "scene" / f"{number:02d}.mp4").exists():
            encode(args.folder / "scene" / f"{number:02d}.mp4", scene(number))
    for number in range(args.files):
        make(args.folder, number)
    lists = write_lists(args.folder, args.files)
    chosen = {name: path for name, path in lists.items() if args.lists is None or name in args.lists}
    files = [args.folder / "long" / f"{number:03d}.mp4" for number in range(args.files)]
    figures = args.output / "long_files.json"
    result: dict[str, Any] = json.loads(figures.read_text()) if figures.exists() else {}
    versions = f"PyAV {av.__version__}, torch {torch.__version__}, Python {platform.python_version()}"
    result |= {"machine": f"{os.cpu_count()} CPU cores; {versions}", "files": args.files}
    if "seek" in args.steps:
        torch.set_num_threads(1)
        result["seek"] = measure_seek(files[:20], args.folder)
    if "load" in args.steps:
        torch.set_num_threads(1)
        result["load"] = result.get("load", {}) | measure_load(chosen)
    if "train" in args.steps:
        result["train"] = result.get("train", {}) | measure_train(chosen, args.folder, args.files, threads)
    if "evaluate" in args.steps:
        result["evaluate"] = result.get("evaluate", {}) | measure_evaluate(chosen, args.folder, args.files, threads)
    write_both(figures, result, page(result))


if __name__ == "__main__":
    main()

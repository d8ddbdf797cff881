"""Read thousands of damaged videos and lists and count the outcomes.

``python benchmarks/robustness.py --data FOLDER`` damages copies of the videos in FOLDER (searched recursively) and
reads them in separate processes, so that crashes of the decoder are counted. ``--only NUMBER --keep FILE`` writes the
file of one case. It also reads 10,000 whole small videos in one process and records its memory, and runs
``robustness_lists.py``. Except for times and memory, the results depend on the seed only.
"""

import argparse
import contextlib
import ctypes
import json
import os
import platform
import resource
import selectors
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from damaged_videos import MUTATIONS, list_videos, make_case
from pages import table, write_both
from robustness_files import REAL_FILES

HERE = Path(__file__).resolve().parent
# Frames that one read may decode, and seconds after which a silent process counts as hung.
MAX_FRAMES, HANG_SEC = 10_000, 120.0
SMALL_BYTES = 200_000


def read_case(path: Path, number: int) -> str:
    """Read 8 frames of a video or of a part of it (which depends on the number) and return the outcome."""
    from videozoo.data import VideoError, VideoReader

    part: dict[str, Any] = [{}, {"span_sec": (0.3, 1.2)}, {"frame_range": (2, 10)}, {"member": None}][number // 6 % 4]
    if "member" in part:
        data = path.read_bytes()
        path.write_bytes(bytes(512) + data + bytes(1024))
        part = {"member": (512, len(data))}
    try:
        with VideoReader(path, max_frames=MAX_FRAMES, **part) as reader:
            for _ in range(3):
                count = reader.num_frames
                try:
                    frames = reader.read([(2 * i + 1) * count // 16 for i in range(8)])
                except IndexError:
                    if reader.num_frames == count:
                        raise
                    continue  # the file turned out shorter: sample again
                if frames.shape != (8, 3, reader.height, reader.width):
                    return f"wrong shape {tuple(frames.shape)}"
                return "frames"
            return "count kept changing"
    except VideoError as err:
        return "limit" if "--max-frames" in err.reason else "VideoError"


def rss_mb() -> float:
    """Return the resident memory of this process."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 2**20


def work(args: argparse.Namespace) -> None:
    """Run as a worker: read cases from ``--first`` on and print a line of JSON before and after each."""
    import torch

    torch.set_num_threads(1)
    paths = list_videos(args.data)
    with tempfile.TemporaryDirectory() as folder:
        for number in range(args.first, args.count):
            kind, source, data = make_case(paths, args.seed, number)
            path = Path(folder) / f"case{source.suffix}"
            path.write_bytes(data)
            row: dict[str, Any] = {"number": number, "kind": kind, "source": source.name}
            print(json.dumps(row), flush=True)
            start = time.monotonic()
            try:
                row["outcome"] = read_case(path, number)
            except Exception as err:
                row |= {"outcome": type(err).__name__, "trace": traceback.format_exc()[-1500:]}
            print(json.dumps(row | {"sec": time.monotonic() - start, "rss_mb": rss_mb()}), flush=True)


def watch(command: list[str], limit_sec: float = HANG_SEC) -> Iterator[dict[str, Any] | str]:
    """Yield the lines of a worker, then "hang" or "crash" if it did not exit normally."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    with selectors.DefaultSelector() as selector, process:
        selector.register(process.stdout, selectors.EVENT_READ)
        buffer = b""
        while True:
            if not selector.select(limit_sec):
                process.kill()
                yield "hang"
                return
            data = os.read(process.stdout.fileno(), 65536)
            if not data:
                break
            *lines, buffer = (buffer + data).split(b"\n")
            yield from map(json.loads, lines)
    if process.returncode:
        yield f"crash ({process.returncode})"


def fuzz(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Return the row of every case. After a crash or a hang a new worker continues with the next case."""
    rows: list[dict[str, Any]] = []
    first, begun = 0, None
    while first < args.count:
        command = [sys.executable, __file__, "--worker", "--data", str(args.data), "--seed", str(args.seed)]
        for line in watch([*command, "--count", str(args.count), "--first", str(first)]):
            if isinstance(line, str):
                if begun is None:
                    raise SystemExit(f"the worker ended before its first case: {line}")
                rows.append(begun | {"outcome": line})
                print(rows[-1], flush=True)
            elif "outcome" in line:
                rows.append(line)
                if "trace" in line:
                    print(line["number"], line["trace"], flush=True)
            else:
                begun = line
        first = rows[-1]["number"] + 1
    return rows


def read_many(args: argparse.Namespace) -> None:
    """Run as a worker: read small whole videos repeatedly and print the memory."""
    import torch

    from videozoo.data import VideoError, VideoReader

    torch.set_num_threads(1)
    paths = [path for path in list_videos(args.data) if path.stat().st_size <= SMALL_BYTES]
    for number in range(args.count + 1):
        if number % max(args.count // 20, 1) == 0:
            print(json.dumps({"number": number, "rss_mb": rss_mb(), "files": len(paths)}), flush=True)
        try:
            with VideoReader(paths[number % len(paths)]) as reader:
                count = reader.num_frames
                reader.read([(2 * i + 1) * count // 16 for i in range(8)])
        except VideoError:
            pass
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    print(json.dumps({"trimmed_mb": rss_mb()}), flush=True)


def page(result: dict[str, Any]) -> str:
    """Return the result as Markdown."""
    kinds, outcomes = result["videos"], sorted({name for row in result["videos"].values() for name in row})
    first, last = result["rss_mb"]
    memory = [[f"{row['number']:,}", f"{row['rss_mb']:.0f}"] for row in result["many"]]
    lines = [
        "# Damaged videos and lists",
        "",
        f"Of {result['count']} damaged videos, {result['crashes']} crashed the reader, {result['hangs']} hung it, and "
        f"{result['others']} raised anything other than `VideoError`.",
        "",
        *table(["damage", *outcomes], counts_by(kinds, outcomes)),
        "",
        f"The videos are damaged copies of {result['sources']} files. The slowest took "
        f"{result['slowest_sec']:.1f} s. The reading process",
        f"had {first:.0f} MB after a tenth of the videos and {last:.0f} MB after all.",
        "",
        "Each one is read whole, by seconds, by frames or from a shard, in turn, 8 frames each, in a separate "
        "process. A",
        f"read may decode {MAX_FRAMES} frames. A process that is silent for {HANG_SEC:g} s counts as hung. "
        "*frames* means that the",
        "frames that still decode were read.",
        "",
        f"{result['machine']}. Seed {result['seed']}. `python benchmarks/robustness.py --data FOLDER` measures again",
        "and writes this page.",
        "",
        "## Memory over many videos",
        "",
        f"{result['many'][-1]['number']:,} reads of 8 frames of {result['many'][0]['files']} small whole videos,",
        "one after the other in one process. Most of the memory belongs to the libraries.",
        "",
        *table(["videos read", "memory (MB)"], memory),
        "",
        f"After the last read and `malloc_trim`, which returns free memory to the system: "
        f"{result['trimmed_mb']:.0f} MB.",
        "",
    ]
    return "\n".join(lines + lists_page(result["lists"])) + REAL_FILES


def counts_by(found: dict[str, dict[str, int]], outcomes: list[str]) -> list[list[str]]:
    """Return a row per kind with the count of each outcome."""
    return [[kind, *(str(row.get(name, 0)) for name in outcomes)] for kind, row in found.items()]


def lists_page(lists: dict[str, Any]) -> list[str]:
    """Return the section on lists."""
    outcomes = sorted(lists["outcomes"])
    return [
        "## Lists",
        "",
        f"{lists['count']} damaged lists in the supported formats, seed {lists['seed']}. *source* means that "
        "the rest of the list",
        "could be loaded.",
        "",
        *table(["format", *outcomes], counts_by(lists["by_format"], outcomes)),
        "",
        f"Other errors: {len(lists['others'])}. The slowest took {lists['slowest_sec']:.2f} s, and memory grew by",
        f"{lists['memory_growth_mb']:.0f} MB.",
        "",
    ]


def summarize(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return counts by kind of damage and outcome, and the rows with other errors."""
    kinds = {kind: dict(Counter(row["outcome"] for row in rows if row["kind"] == kind)) for kind in MUTATIONS}
    fine = {"frames", "VideoError", "limit"}
    bad = [row for row in rows if row["outcome"] not in fine]
    memory = [row["rss_mb"] for row in rows if "rss_mb" in row]
    return {
        "videos": kinds,
        "crashes": sum(row["outcome"].startswith("crash") for row in bad),
        "hangs": sum(row["outcome"] == "hang" for row in bad),
        "others": sum(row["outcome"] != "hang" and not row["outcome"].startswith("crash") for row in bad),
        "bad": bad,
        "slowest_sec": max((row.get("sec", 0.0) for row in rows), default=0.0),
        "rss_mb": [memory[len(memory) // 10], memory[-1]] if memory else [0.0, 0.0],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of videos, at any depth")
    parser.add_argument("--count", type=int, default=2000, help="damaged videos, and damaged lists")
    parser.add_argument("--reads", type=int, default=10_000, help="reads of whole videos in one process")
    parser.add_argument("--small", type=Path, help="folder of the whole videos [--data]")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=HERE, help="folder for robustness.json and robustness.md")
    parser.add_argument("--only", type=int, help="write one damaged video to --keep")
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--first", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--many", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.only is not None:
        args.keep.write_bytes(make_case(list_videos(args.data), args.seed, args.only)[2])
    elif args.worker:
        work(args)
    elif args.many:
        read_many(args)
    else:
        raise SystemExit(run(args))


def run(args: argparse.Namespace) -> int:
    """Run everything, write both files, and return 1 after a crash, a hang or another error."""
    import av

    result = {
        "machine": f"{os.cpu_count()} CPU cores, Python {platform.python_version()}, PyAV {av.__version__} with "
        f"libavcodec {'.'.join(map(str, av.library_versions['libavcodec']))}",
        "seed": args.seed,
        "count": args.count,
        "sources": len(list_videos(args.data)),
    }
    result |= summarize(fuzz(args))
    command = [sys.executable, __file__, "--many", "--data", str(args.small or args.data), "--count", str(args.reads)]
    *result["many"], trimmed = watch([*command])
    result |= trimmed
    lists = subprocess.run(
        [sys.executable, str(HERE / "robustness_lists.py"), "--count", str(args.count)],
        stdout=subprocess.PIPE,
        text=True,
    )
    result["lists"] = json.loads(lists.stdout)
    write_both(args.output / "robustness.json", result, page(result))
    return int(bool(result["crashes"] or result["hangs"] or result["others"] or lists.returncode))


if __name__ == "__main__":
    main()

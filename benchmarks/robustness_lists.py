"""Load damaged lists of every format; each must give a source or a SourceError.

``python benchmarks/robustness_lists.py --count 2000`` prints the counts as JSON and exits with 1 after any other error.
"""

import argparse
import json
import random
import resource
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from videozoo.data import SourceError, VideoSource, load_source

TOKENS = (b"-1", b"1e999", b"NaN", b"null", b"true", b"\\ud800", b'"', b"9" * 5000, b",", b"\t", b";", b"{}", b"[")
WRONG: tuple[Any, ...] = (None, True, -1, 2**70, 1.5, float("inf"), "", "x" * 5000, "\ud800", "a\nb", [], {}, [[1]])


@dataclass(frozen=True)
class ListSet:
    """Small dataset in one format with the files that are damaged."""

    data: str
    options: dict[str, Any]
    texts: dict[str, str]
    videos: tuple[str, ...]


KINETICS = "label,youtube_id,time_start,time_end,split,is_cc"
SETS = {
    "path_list": ListSet(
        "train.txt",
        {},
        {"train.txt": "a/v1.mp4 0\nb/with space.mp4 1\nb/v3.mp4 1\n", "classes.txt": "jump\nrun\n"},
        ("a/v1.mp4", "b/with space.mp4", "b/v3.mp4"),
    ),
    "csv": ListSet(
        "train.csv",
        {},
        {"train.csv": 'path,label,start,end\na.mp4,jump,0,2.5\n"b.mp4","run, fast",,\na.mp4,jump,3,4\n'},
        ("a.mp4", "b.mp4"),
    ),
    "jsonl": ListSet(
        ".",
        {},
        {"metadata.jsonl": '{"file_name": "a.mp4", "label": "jump"}\n{"file_name": "in/b.mp4", "label": "run, far"}\n'},
        ("a.mp4", "in/b.mp4"),
    ),
    "frame_list": ListSet(
        "train.txt", {}, {"train.txt": "f/1 2 0\nf/2 2 1\n"}, ("f/1/1.jpg", "f/1/2.jpg", "f/2/1.jpg", "f/2/2.jpg")
    ),
    "offset_list": ListSet(
        "train.txt", {}, {"train.txt": "f 0 1 0\nf 1 2 1\n"}, ("f/img_00001.jpg", "f/img_00002.jpg", "f/img_00003.jpg")
    ),
    "range_list": ListSet(
        "train.txt",
        {"data_format": "range_list"},
        {"train.txt": "f 1 1 0\nf 2 3 1\n"},
        ("f/img_00001.jpg", "f/img_00002.jpg", "f/img_00003.jpg"),
    ),
    "something_v1": ListSet(
        "x-train.csv",
        {},
        {
            "x-train.csv": "1;Tearing something\n2;Lifting something, then dropping it\n",
            "x-labels.csv": "Tearing something\nLifting something, then dropping it\n",
        },
        ("1/00001.jpg", "2/00001.jpg"),
    ),
    "something_v2": ListSet(
        "train.json",
        {},
        {
            "train.json": '[{"id":"1","label":"tearing paper","template":"Tearing [something]","placeholders":[]},'
            '\n{"id":"2","label":"lifting a cup","template":"Lifting [something]","placeholders":["a cup"]}]',
            "labels.json": '{"Lifting something":"0","Tearing something":"1"}',
        },
        ("20bn-something-something-v2/1.webm", "20bn-something-something-v2/2.webm"),
    ),
    "kinetics": ListSet(
        "train.csv",
        {"split": "train"},
        {"train.csv": f'{KINETICS}\n"abseiling",-3B32lodo2M,59,69,train,0\nair drumming,ab_cdefghij,0,10,train,0\n'},
        ("abseiling/-3B32lodo2M_000059_000069.mp4", "ab_cdefghij.mp4"),
    ),
    "diving48": ListSet(
        "Diving48_V2_train.json",
        {},
        {
            "Diving48_V2_train.json": '[{"vid_name": "a_00000", "label": 1, "start_frame": 0, "end_frame": 48},\n'
            '{"vid_name": "b_00001", "label": 0, "start_frame": 5, "end_frame": 70}]',
            "Diving48_vocab.json": '[["Back", "15som", "05Twis", "FREE"], ["Back", "15som", "15Twis", "FREE"]]',
        },
        ("rgb/a_00000.mp4", "rgb/b_00001.mp4"),
    ),
    "ucf101": ListSet(
        ".",
        {"split": "train1"},
        {"trainlist01.txt": "Jump/v_1.avi 1\r\nRun/v_2.avi 2\r\n", "classInd.txt": "1 Jump\r\n2 Run\r\n"},
        ("Jump/v_1.avi", "Run/v_2.avi"),
    ),
    "hmdb51": ListSet(
        ".",
        {"split": "test1"},
        {"jump_test_split1.txt": "a#1.avi 2 \nb.avi 1 \n", "run_test_split1.txt": "c.avi 2 \nd.avi 0 \n"},
        ("jump/a#1.avi", "jump/b.avi", "run/c.avi", "run/d.avi"),
    ),
}


def write_set(folder: Path, name: str) -> None:
    """Write a set of ``SETS``. Its videos have one byte, because nothing opens them."""
    for video in SETS[name].videos:
        (folder / video).parent.mkdir(parents=True, exist_ok=True)
        (folder / video).write_bytes(b"x")
    for text_name, text in SETS[name].texts.items():
        (folder / text_name).write_bytes(text.encode())


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Return the bytes of a list with one to three kinds of damage."""
    kinds: tuple[Callable[[bytes, random.Random], bytes], ...] = (
        *(_flip_bits, _cut, _insert_zero, _huge_field, _repeat, _delete),
        *(_random_bytes, _token, _nest, _wrong_json, _swap_lines),
    )
    for _ in range(rng.randint(1, 3)):
        data = rng.choice(kinds)(data, rng)
    return data


def run(count: int, seed: int = 0) -> dict[str, Any]:
    """Load ``count`` damaged lists.

    Returns:
        counts by format and outcome, other errors (with seed and number), seconds of the slowest list and the growth of
        the peak memory in MB.
    """
    outcomes: dict[str, Counter[str]] = {name: Counter() for name in SETS}
    others: list[str] = []
    slowest = 0.0
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(count):
        rng = random.Random(f"{seed} {number}")
        name = sorted(SETS)[number % len(SETS)]
        chosen = rng.choice(sorted(SETS[name].texts))
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            write_set(folder, name)
            (folder / chosen).write_bytes(mutate(SETS[name].texts[chosen].encode(), rng))
            options = dict(SETS[name].options)
            if rng.random() < 0.5:
                options["data_format"] = name
            start = time.perf_counter()
            outcome = _outcome(folder / SETS[name].data, options)
            slowest = max(slowest, time.perf_counter() - start)
        if outcome not in ("source", "SourceError"):
            others.append(f"{name} {chosen} seed {seed} number {number}: {outcome}")
            outcome = "other"
        outcomes[name][outcome] += 1
    return {
        "count": count,
        "seed": seed,
        "outcomes": dict(sum(outcomes.values(), Counter())),
        "by_format": {name: dict(counter) for name, counter in outcomes.items()},
        "others": others,
        "slowest_sec": round(slowest, 3),
        "memory_growth_mb": round((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory) / 1024, 1),
    }


def _outcome(data: Path, options: dict[str, Any]) -> str:
    try:
        source = load_source(data, **options)
    except SourceError:
        return "SourceError"
    except Exception as err:
        return f"{type(err).__name__}: {str(err)[:200]}"
    return "source" if _is_sound(source) else "a source with invalid labels or files"


def _is_sound(source: VideoSource) -> bool:
    return bool(source.records) and all(
        0 <= record.label < len(source.class_names)
        and record.path.exists()
        and (record.span_sec is None or 0 <= record.span_sec[0] < record.span_sec[1])
        and (record.frame_range is None or 0 <= record.frame_range[0] < record.frame_range[1])
        for record in source.records
    )


def _place(data: bytes, rng: random.Random) -> int:
    return rng.randint(0, len(data))


def _flip_bits(data: bytes, rng: random.Random) -> bytes:
    out = bytearray(data)
    for _ in range(rng.randint(1, 8)):
        if out:
            out[rng.randrange(len(out))] ^= 1 << rng.randrange(8)
    return bytes(out)


def _cut(data: bytes, rng: random.Random) -> bytes:
    return data[: _place(data, rng)]


def _insert_zero(data: bytes, rng: random.Random) -> bytes:
    at = _place(data, rng)
    return data[:at] + b"\0" * rng.randint(1, 600) + data[at:]


def _huge_field(data: bytes, rng: random.Random) -> bytes:
    at = _place(data, rng)
    piece = rng.choice((b"x", b"9", b" ", b"/", b"a/", b'"', b"\n", b"x "))
    return data[:at] + piece * rng.choice((300, 5000, 200_000)) + data[at:]


def _repeat(data: bytes, rng: random.Random) -> bytes:
    a, b = sorted((_place(data, rng), _place(data, rng)))
    return data[:b] + data[a:b] * rng.randint(1, 5) + data[b:]


def _delete(data: bytes, rng: random.Random) -> bytes:
    a, b = sorted((_place(data, rng), _place(data, rng)))
    return data[:a] + data[b:]


def _random_bytes(data: bytes, rng: random.Random) -> bytes:
    at = _place(data, rng)
    return data[:at] + rng.randbytes(rng.randint(1, 40)) + data[at:]


def _token(data: bytes, rng: random.Random) -> bytes:
    """Insert a word, number or quote, or replace some bytes by it."""
    at = _place(data, rng)
    return data[:at] + rng.choice(TOKENS) + data[at + rng.choice((0, 0, 1, 3)) :]


def _nest(data: bytes, rng: random.Random) -> bytes:
    at = _place(data, rng)
    depth = rng.choice((50, 900, 100_000))
    left, right = rng.choice(((b"[", b"]"), (b'{"a":', b"}")))
    return data[:at] + left * depth + b"1" + right * depth + data[at:]


def _swap_lines(data: bytes, rng: random.Random) -> bytes:
    lines = data.split(b"\n")
    rng.shuffle(lines)
    return rng.choice((b"\n", b"\r", b"\r\n", b"", b"\x0b", b"\xe2\x80\xa8")).join(lines)


def _wrong_json(data: bytes, rng: random.Random) -> bytes:
    """Return valid JSON with values of wrong types, or other text unchanged."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return data
    for _ in range(rng.randint(1, 3)):
        value = _replace_some(value, rng)
    return json.dumps(value, indent=rng.choice((None, 1))).encode()


def _replace_some(value: Any, rng: random.Random) -> Any:
    if isinstance(value, dict) and value and rng.random() < 0.8:
        key = rng.choice(sorted(value))
        new = {**value, key: _replace_some(value[key], rng)}
        if rng.random() < 0.2:
            new[rng.choice(("", "id", "\ud800", "vid_name"))] = new.pop(key)
        return new
    if isinstance(value, list) and value and rng.random() < 0.8:
        at = rng.randrange(len(value))
        return [*value[:at], _replace_some(value[at], rng), *value[at + 1 :]]
    return rng.choice(WRONG)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    result = run(args.count, args.seed)
    print(json.dumps(result, indent=1))
    raise SystemExit(1 if result["others"] else 0)


if __name__ == "__main__":
    main()

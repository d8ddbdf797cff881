"""Measure cost, time and memory of every architecture on the CPU.

``python benchmarks/zoo.py [NAME...]`` writes ``zoo.json`` and ``zoo.md``. Each architecture predicts and trains two
clips of 8 frames of 112 x 112 pixels (or of the next number or size that it takes) in a process of its own.
NAMEs are measured again and the other rows are kept. Run nothing else on the machine meanwhile.
"""

import argparse
import json
import multiprocessing
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from pages import table, write
from speed_measure import machine, measure, peak_of_tensors, to_channels_last

import videozoo
from videozoo.catalog import read_costs
from videozoo.models import spec_of
from videozoo.text import gmacs_text

HERE = Path(__file__).resolve().parent
RESULT = HERE / "zoo.json"
BATCH, FRAMES, SIZES, ROUNDS, THREADS = 2, 8, (112, 128, 229), 3, 2


def fitting_frames(name: str) -> int:
    """Return 8 frames, or the nearest number above that the architecture takes, at most its own."""
    own = spec_of(name).num_frames
    for frames in range(min(FRAMES, own), own):
        try:
            with torch.device("meta"):
                videozoo.create_model(name, num_frames=frames)
            return frames
        except ValueError:
            continue
    return own


def fitting_size(name: str, frames: int) -> int:
    """Return the first of the sizes that the architecture takes: the strides of some want others than 112 pixels."""
    for size in SIZES:
        try:
            with torch.device("meta"):
                videozoo.create_model(name, num_frames=frames)(torch.zeros(1, 3, frames, size, size))
            return size
        except ValueError:
            continue
    raise ValueError(f"{name} takes none of the sizes {SIZES}.")


def measure_one(name: str) -> dict[str, Any]:
    """Return the figures of one architecture: milliseconds to predict and to train, and MB of its tensors."""
    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    frames = fitting_frames(name)
    size = fitting_size(name, frames)
    net = videozoo.create_model(name, num_frames=frames, num_classes=400)
    to_channels_last(net)
    x = torch.randn(BATCH, 3, frames, size, size)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.0, momentum=0.9)

    def predict() -> None:
        with torch.inference_mode():
            net(x)

    def train() -> None:
        net(x).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()

    net.eval()
    predict()
    predict_ms = min(measure(predict, "cpu") for _ in range(ROUNDS))
    net.train()
    train()
    train_ms = min(measure(train, "cpu") for _ in range(ROUNDS))
    return {
        "frames": frames,
        "size": size,
        "predict_ms": round(predict_ms, 1),
        "train_ms": round(train_ms, 1),
        "train_mb": round(peak_of_tensors(train)),
    }


def page(result: dict[str, Any]) -> str:
    """Return the page of the measured figures."""
    costs = read_costs()
    rows = []
    for name, row in result["rows"].items():
        _, frames, _, side = costs[name]["clip_shape"]
        rows.append(
            (
                f"`{name}`",
                f"{costs[name]['params'] / 1e6:.2f}",
                f"{frames} x {side}",
                gmacs_text(costs[name]["macs"]),
                f"{row['frames']} x {row['size']}",
                f"{row['predict_ms']:.0f}",
                f"{row['train_ms']:.0f}",
                f"{row['train_mb']:,}",
            )
        )
    head = ("model", "M parameters", "own clip", "GMACs", "measured", "ms to predict", "ms to train", "MB to train")
    text = [
        "# Cost and time of every architecture",
        "",
        "GMACs are those of the model's own clip (frames x pixels). Times and memory are those of two clips of",
        "8 frames of 112 x 112 pixels. Where these do not fit, they are the next number of frames or the next size",
        "that the model takes, as in the column *measured*.",
        "A training step is forward, backward and SGD with momentum, in float32 and channels-last memory. MB are the",
        f"tensors at its peak, weights included. Times are the shortest of {ROUNDS} runs.",
        "",
        f"Measured on {result['machine']['machine']}. {result['machine']['versions']}, commit "
        f"{result['machine']['commit']}. `python benchmarks/zoo.py` measures again and writes this page.",
        "[speed.md](speed.md) compares some of them at 224 pixels, in turns.",
        "",
        *table(head, rows),
        "",
    ]
    return "\n".join(text)


def _send_row(name: str, pipe: Connection) -> None:
    pipe.send(measure_one(name))


def in_own_process(name: str) -> dict[str, Any]:
    """Return the figures of one architecture from a process that has run nothing before."""
    context = multiprocessing.get_context("fork")  # the parent has imported everything and computed nothing
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send_row, args=(name, sender))
    process.start()
    sender.close()
    try:
        return receiver.recv()
    except EOFError:
        raise SystemExit(f"{name}: could not be measured.") from None
    finally:
        process.join()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME")
    args = parser.parse_args()
    known = json.loads(RESULT.read_text())["rows"] if RESULT.is_file() and args.names else {}
    about = machine("cpu", THREADS)
    for name in args.names or videozoo.list_models():
        known[name] = in_own_process(name)
        print(name, known[name], flush=True)
        result = {"machine": about, "rows": {name: known[name] for name in videozoo.list_models() if name in known}}
        write(RESULT, json.dumps(result, indent=1) + "\n")
        write(HERE / "zoo.md", page(result))


if __name__ == "__main__":
    main()

"""Functions that measure the time of steps in turns and their memory in separate processes."""

import gc
import math
import multiprocessing
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from speed_models import FRAMES, SIZE, Unavailable, fused, make_input, make_model, run_as, same_as, split_row
from torch import Tensor

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
KEEP_FREED = "glibc.malloc.mmap_threshold=4294967296:glibc.malloc.trim_threshold=17179869184"
SAMPLE_SEC = 0.05  # faster steps are repeated within one measurement
ALLOWED_DIFFERENCE = 1e-3  # float32, largest difference over largest output


@dataclass(frozen=True)
class Setting:
    """Settings that all rows of a section share."""

    task: str  # "inference" or "training"
    batch: int = 1
    dtype: str = "float32"
    channels_last: bool = True
    num_frames: int = FRAMES
    size: int = SIZE
    device: str = "cpu"
    optimizer: str = "sgd"  # or "adamw"


def make_step(row: str, setting: Setting) -> Callable[[], Tensor]:
    """Return a function that predicts, or trains one step at learning rate 0, and returns the outputs."""
    name, mode = split_row(row)
    net = make_model(name, setting.num_frames).to(setting.device)
    x = make_input(name, setting.batch, setting.num_frames, setting.size, setting.channels_last).to(setting.device)
    if setting.channels_last:
        to_channels_last(net)
    train = setting.task == "training"
    net.train(train)
    if name.startswith("fuse "):
        net = fused(net)
    model = run_as(net, mode)

    def autocast() -> AbstractContextManager[Any]:
        mixed = setting.dtype != "float32"
        return torch.autocast(setting.device, DTYPES[setting.dtype]) if mixed else nullcontext()

    def predict() -> Tensor:
        with torch.no_grad(), autocast():
            return model(x)

    if not train:
        return predict
    # Learning rate 0 keeps the weights: rows are compared, and every round must do the same work.
    if setting.optimizer == "adamw":
        optimizer: torch.optim.Optimizer = torch.optim.AdamW(net.parameters(), lr=0.0)
    else:
        optimizer = torch.optim.SGD(net.parameters(), lr=0.0, momentum=0.9)
    for parameter in net.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()  # creates the momenta, as every later step has them
    optimizer.zero_grad()

    def step() -> Tensor:
        with autocast():
            y = model(x)
        y.float().square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        return y.detach()

    return step


def to_channels_last(net: torch.nn.Module) -> None:
    """Convert the weights of 2-D and 3-D convolutions to channels-last memory, in place."""
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    for parameter in net.parameters():
        if parameter.ndim in formats:
            parameter.data = parameter.data.contiguous(memory_format=formats[parameter.ndim])


def synchronize(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def measure(step: Callable[[], Any], device: str, repeats: int = 1) -> float:
    """Return the milliseconds of one step."""
    synchronize(device)
    start = time.perf_counter()
    for _ in range(repeats):
        step()
    synchronize(device)
    return (time.perf_counter() - start) * 1e3 / repeats


def compare(rows: list[str], setting: Setting, rounds: int, log: Callable[[str], None] = print) -> dict[str, Any]:
    """Return the times of all rows, taken in turns (A B A B). Rows that cannot run are listed with the reason.

    Raises:
        RuntimeError: float32 outputs of a row differ from those of the row that it must equal.
    """
    torch.compiler.reset()
    steps: dict[str, Callable[[], Tensor]] = {}
    outputs: dict[str, Tensor] = {}
    result: dict[str, Any] = {"rows": {}, "skipped": {}}
    for row in rows:
        try:
            step = make_step(row, setting)
            outputs[row] = step().float().clone()
            for _ in range(2 if split_row(row)[1] == "graphs" else 0):
                step()  # warm up, then record
        except (Unavailable, NotImplementedError, torch.cuda.OutOfMemoryError) as error:
            result["skipped"][row] = str(error).splitlines()[0]
            log(f"  {row}: skipped, {error}")
            continue
        steps[row] = step
        result["rows"][row] = entry = {"ms": []}
        entry |= _difference(row, outputs, setting)
    repeats = {row: max(1, math.ceil(SAMPLE_SEC * 1e3 / measure(step, setting.device))) for row, step in steps.items()}
    gc.collect()
    for _ in range(rounds):
        for row, step in steps.items():
            result["rows"][row]["ms"].append(round(measure(step, setting.device, repeats[row]), 3))
    return result


def _difference(row: str, outputs: dict[str, Tensor], setting: Setting) -> dict[str, float]:
    other = outputs.get(same_as(row) or "")
    if other is None:
        return {}
    difference = float((outputs[row] - other).abs().max() / other.abs().max())
    if setting.dtype == "float32" and difference > ALLOWED_DIFFERENCE:
        raise RuntimeError(f"{row} differs from {same_as(row)} by {difference:.1e} of its largest output: {setting}")
    return {"difference": difference}


def matrix_rate(device: str, dtype: str) -> float:
    """Return the best measured MACs per second of a large matrix product, also run as a convolution."""
    size = 8192 if device == "cuda" else 2048
    a = torch.randn(size, size, device=device, dtype=DTYPES[dtype])
    images = a.view(size // 64, 8, 8, size).permute(0, 3, 1, 2)  # channels_last
    weight = a.view(size, size, 1, 1)
    best = math.inf
    for step in (lambda: a @ a, lambda: torch.conv2d(images, weight)):
        step()
        best = min(best, *(measure(step, device) for _ in range(10)))
    return size**3 / (best / 1e3)


def peak_memory(row: str, setting: Setting, threads: int) -> dict[str, float]:
    """Return the peak memory (MB) of a step, including the weights, measured in a separate process.

    ``tensors`` is the allocator's own count, which does not depend on the run; ``resident`` is what the process grew
    by on a CPU. There the process is a copy of this one: call this before anything has computed with several threads.

    Raises:
        Unavailable: the model cannot be created here.
    """
    context = multiprocessing.get_context("fork" if setting.device == "cpu" else "spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(_peak_memory, row, setting, threads).result()


def _peak_memory(row: str, setting: Setting, threads: int) -> dict[str, float]:
    torch.set_num_threads(threads)
    if setting.device == "cuda":
        step = make_step(row, setting)
        step()
        torch.cuda.reset_peak_memory_stats()
        step()
        return {"tensors": torch.cuda.max_memory_allocated() / 2**20}
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    before = _status_mb("VmRSS")
    step = make_step(row, setting)
    gc.collect()
    held = sum(t.untyped_storage().nbytes() for t in _tensors()) / 2**20
    step()
    resident = _status_mb("VmHWM") - before
    return {"tensors": held + _growth_mb(step), "resident": resident}


def peak_of_tensors(step: Callable[[], Any]) -> float:
    """Return the peak memory (MB) of all tensors during a step on the CPU, with those that existed before."""
    gc.collect()
    held = sum(t.untyped_storage().nbytes() for t in _tensors()) / 2**20
    return held + _growth_mb(step)


def _growth_mb(step: Callable[[], Any]) -> float:
    with torch.profiler.profile(profile_memory=True) as profile:
        step()
    events = [e for e in profile.profiler.kineto_results.events() if e.name() == "[memory]"]
    now = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        now += event.nbytes()
        peak = max(peak, now)
    return peak / 2**20


def _tensors() -> list[Tensor]:
    """Return all tensors that Python tracks, one per storage."""
    found = [o for o in gc.get_objects() if issubclass(type(o), Tensor)]
    return list({t.untyped_storage().data_ptr(): t for t in found}.values())


def _status_mb(key: str) -> float:
    found = re.search(rf"{key}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) / 1024 if found else 0.0


def keep_freed_memory() -> None:
    """Restart this program on Linux with an allocator that keeps freed memory.

    By default glibc returns large feature maps to the system and gets them back as new pages. ResNet-50 on 32 images
    then takes 1.3 times as long ("Memory on Linux" in docs/systems.md).
    """
    if sys.platform == "linux" and "GLIBC_TUNABLES" not in os.environ:
        os.environ["GLIBC_TUNABLES"] = KEEP_FREED
        os.execv(sys.executable, [sys.executable, *sys.argv])


def machine(device: str, threads: int) -> dict[str, str]:
    """Return processor, versions and commit."""
    import timm
    import torchvision

    import videozoo

    processor = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    where = f"{os.cpu_count()} CPU cores ({processor[1] if processor else platform.machine()}), {threads} threads"
    if device == "cuda":
        where = f"{torch.cuda.get_device_name()}, cuDNN {torch.backends.cudnn.version()}, CUDA {torch.version.cuda}"
    versions = f"Python {platform.python_version()}, torch {torch.__version__}, torchvision {torchvision.__version__}"
    tunables = os.environ.get("GLIBC_TUNABLES", "")
    allocator = f", GLIBC_TUNABLES={tunables}" if tunables and device == "cpu" else ""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True
    ).stdout.strip()
    return {
        "machine": where,
        "versions": f"{versions}, timm {timm.__version__}, videozoo {videozoo.__version__}{allocator}",
        "commit": commit or "unknown",
        "device": device,
    }

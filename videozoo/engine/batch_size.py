"""Search for the largest batch size that fits in memory."""

import copy
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import torch
from accelerate import Accelerator
from accelerate.utils import send_to_device
from accelerate.utils.memory import clear_device_cache
from torch import Tensor, nn
from torch.nn import functional

from videozoo.batched_forward import is_out_of_memory
from videozoo.engine.aux_loss import training_logits
from videozoo.engine.device import make_accelerator
from videozoo.engine.errors import EngineError
from videozoo.engine.freeze import freeze
from videozoo.engine.loaders import Batch, take
from videozoo.engine.optim import make_ema, make_optimizer
from videozoo.engine.speed import use_channels_last
from videozoo.engine.state_dicts import is_sharded
from videozoo.fit_config import FitConfig

# A batch may leave so many optimizer steps to an epoch at least: fewer train worse, however well they fit.
LEAST_STEPS = 8
# Of the free memory: kernels and fragments take some later that a trial does not. A machine without memory left kills
# the process in place of raising an error, so on the CPU more is left.
GPU_SHARE, CPU_SHARE = 0.9, 0.5
# A step that takes longer gains nothing by more clips.
LONGEST_SECONDS = 20.0


def find_batch_size(
    net: nn.Module,
    config: FitConfig,
    make_batch: Callable[[int], Batch],
    num_clips: int,
    train_batch: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] | None = None,
) -> tuple[int, str]:
    """Train a copy of a model for a moment with 1, 2, 4, 8, ...

    clips until they do not fit any more.

    Args:
        net: stays as it is.
        config: for device, precision, optimizer and what is frozen.
        make_batch: gives a batch of as many clips as it is asked for, as the training loader would.
        num_clips: of the training set.
        train_batch: as for `fit`.
    Returns:
        the batch size of each process, the smallest that one of them found, and why it is not larger.
    Raises:
        EngineError: there is no memory for a single clip. Or the model is sharded, which a trial cannot know.
    """
    accelerator = make_accelerator(config.amp, config.device)
    if is_sharded(accelerator):
        raise EngineError("batch_size is auto, which cannot be found for a model that FSDP shards; give a number.")
    most = max(1, num_clips // (LEAST_STEPS * config.grad_accum_steps * accelerator.num_processes))
    size, why = _find(net, config, make_batch, train_batch, accelerator, most)
    own = torch.tensor([size], device=accelerator.device)
    least = int(accelerator.gather(own).min())
    if least == 0:
        raise EngineError(
            f"no memory for a training step with one clip on {accelerator.device}; take smaller frames (img_size), "
            "fewer frames (num_frames), a smaller model or grad_checkpointing."
        )
    return least, why if least == size else f"another process has memory for {least}"


def _find(
    net: nn.Module,
    config: FitConfig,
    make_batch: Callable[[int], Batch],
    train_batch: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] | None,
    accelerator: Accelerator,
    most: int,
) -> tuple[int, str]:
    device = accelerator.device
    size, share, before = 0, CPU_SHARE * free_memory(), used_memory()
    with _limited(device):
        while 2 * size <= most:
            wanted = 2 * size or 1
            try:
                seconds, held = _train_once(net, config, make_batch(wanted), train_batch, accelerator)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                held = -1
            # Out of the handler: the error's traceback holds what filled the memory.
            if held < 0 or device.type != "cpu":
                clear_device_cache(garbage_collection=True)
            if held < 0:
                return size, f"{wanted} do not fit in the memory of {device}"
            size = wanted
            if device.type == "cpu" and 2 * (held - before) > share:
                return size, f"{2 * size} would take more than half of the free memory"
            if seconds > LONGEST_SECONDS:
                return size, f"a step takes {seconds:.0f} s"
    return size, f"an epoch keeps {LEAST_STEPS} steps or more"


def _train_once(
    net: nn.Module,
    config: FitConfig,
    batch: Batch,
    train_batch: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] | None,
    accelerator: Accelerator,
) -> tuple[float, int]:
    """Train a copy for two steps: in the second one the optimizer's state takes its memory too.

    Returns:
        seconds of the second step, and the bytes that the process held when all was there for a backward pass.
    """
    copied = copy.deepcopy(net).to(accelerator.device).train()
    if config.channels_last:
        use_channels_last(copied)
    freeze(copied, config)
    optimizer = make_optimizer(copied, config)
    averaged = make_ema(copied, config)
    batch = send_to_device(batch, accelerator.device)
    seconds, held = 0.0, 0
    for _ in range(2):
        started = time.perf_counter()
        video, label = take(batch, "video", "fit"), take(batch, "label", "fit")
        video, _ = (video, label) if train_batch is None else train_batch(video, label)
        with accelerator.autocast():
            outputs = training_logits(copied, copied, video)
        losses = [
            part * functional.cross_entropy(logits.float(), torch.zeros_like(logits.float()).softmax(dim=1))
            for logits, part in outputs
        ]
        loss = torch.stack(losses).sum()
        held = max(held, used_memory())
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if averaged is not None:
            averaged.update(copied)
        loss.item()  # waits for the device
        seconds = time.perf_counter() - started
    return seconds, held


@contextmanager
def _limited(device: torch.device) -> Iterator[None]:
    """Reserve a part of a GPU's memory while batches are tried."""
    if device.type != "cuda":
        yield
        return
    torch.cuda.set_per_process_memory_fraction(GPU_SHARE, device)
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, device)


def used_memory() -> int:
    """Return the bytes of the machine's memory that this process holds."""
    return int(psutil.Process().memory_info().rss)


def free_memory() -> int:
    """Return the bytes that each process of this machine may still take, within the limit of a container too."""
    free = int(psutil.virtual_memory().available)
    group = Path("/sys/fs/cgroup")
    for folder, limit, usage in (
        (group, "memory.max", "memory.current"),
        (group / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
    ):
        try:
            most, taken = (int((folder / name).read_text()) for name in (limit, usage))
            rows = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        except (OSError, ValueError):  # no container, or one without a limit
            continue
        cached = int(rows.get("total_inactive_file", rows.get("inactive_file", 0)))  # given back when it is needed
        free = min(free, max(0, most - taken + cached))
    return free // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))

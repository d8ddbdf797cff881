"""Devices by name, and computing on one thread."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from videozoo.launch import local_rank

__all__ = ["describe_device", "find_device", "one_thread"]

_PRECISIONS = {"no": "float32", "bf16": "bfloat16", "fp16": "float16"}


def find_device(wish: str) -> torch.device:
    """Return the device of a name, which is on this machine.

    Args:
        wish: ``auto`` (this process' accelerator, by torchrun's LOCAL_RANK, else the processor) or a name of torch such
            as ``cpu``, ``cuda``, ``cuda:1``, ``mps``, ``xpu``.
    Raises:
        ValueError: torch knows no such name, the machine has no such device, or nothing can be computed on it.
    """
    if wish == "auto":
        if not torch.cuda.is_available():
            return torch.device("cpu")
        return torch.device("cuda", local_rank() % torch.cuda.device_count())
    try:
        device = torch.device(wish)
    except RuntimeError as error:
        raise ValueError(f"device is {wish!r}, no name of a device; {_here()}.") from error
    if device.type == "cpu":
        if device.index:
            raise ValueError(f"device is {wish!r}, but there is one cpu device only; {_here()}.")
        return torch.device("cpu")
    if device.type == "meta":
        raise ValueError(f"device is {wish!r}, which holds no numbers and computes nothing; {_here()}.")
    try:
        torch.zeros(1, device=device).cpu()
    except Exception as error:  # each backend has its own type for what is not there
        raise ValueError(
            f"device is {wish!r}, which this machine or this build of torch does not have; {_here()}."
        ) from error
    return device


def describe_device(device: torch.device, amp: str = "no") -> str:
    """Return where and how something is computed, in words: ``on cpu (2 threads), in float32``.

    Args:
        amp: ``no``, ``bf16`` or ``fp16``.
    """
    name = str(device)
    if device.type == "cpu":
        count = torch.get_num_threads()
        name = f"cpu ({count} thread{'s' if count > 1 else ''})"
    elif device.type == "cuda":
        name = f"{device} ({torch.cuda.get_device_name(device)})"
    return f"on {name}, in {_PRECISIONS[amp]}"


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one thread of the processor inside, and on as many as before behind it."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _here() -> str:
    """Return the devices of this machine, in words."""
    names = [f"cuda:{index}" for index in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    other = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    names += [other.type] if other is not None and other.type != "cuda" else []
    return f"here there is {', '.join(['cpu', *names])} (or auto)"

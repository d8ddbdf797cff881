"""Environment of a process started by a launcher (torchrun or accelerate)."""

import os

__all__ = ["is_main_process", "local_rank", "num_processes", "rank"]


def num_processes() -> int:
    """Return how many processes work together.

    1 without a launcher.
    """
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    """Return the number of this process among all, from 0."""
    return int(os.environ.get("RANK", "0"))


def local_rank() -> int:
    """Return the number of this process among those of this machine, from 0."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def is_main_process() -> bool:
    """Return whether this is the process that speaks and writes: the only one, or the first of several."""
    return rank() == 0

"""Weights that a training starts from where nobody names a model, by the machine that it runs on."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import psutil
import torch

from videozoo.catalog import select_rows
from videozoo.models.default_start import Start, published_start
from videozoo.models.published import bundled_names
from videozoo.models.registry import BY_TAG_ONLY
from videozoo.text import gmacs_text

__all__ = ["BUNDLED_START", "CHOICES", "Choice", "Machine", "choice_for", "describe_weights", "good_starts"]

GB = 2**30


@dataclass(frozen=True)
class Machine:
    """What a training runs on.

    Args:
        is_gpu: whether the device is an accelerator.
        gb: memory of the accelerator, else of the machine, in GiB.
        cores: processors that this process may use.
    """

    is_gpu: bool
    gb: float
    cores: int

    def __str__(self) -> str:
        return f"a GPU of {self.gb:.0f} GB" if self.is_gpu else f"a CPU of {self.cores} cores and {self.gb:.0f} GB"

    @classmethod
    def of(cls, device: torch.device) -> "Machine":
        """Return the machine of a device that is on it."""
        is_here = hasattr(os, "sched_getaffinity")
        cores = len(os.sched_getaffinity(0)) if is_here else os.cpu_count() or 1
        memory = psutil.virtual_memory().total  # of the processor, and of accelerators that share it
        if device.type in ("cuda", "xpu"):
            memory = getattr(torch, device.type).get_device_properties(device).total_memory
        return cls(device.type != "cpu", memory / GB, cores)


@dataclass(frozen=True)
class Choice:
    """Weights for the machines that have as much as this.

    Args:
        weights: ``arch.tag``.
        is_gpu, gb, cores: least that the machine has, as in `Machine`.
        max_gmacs: of a view, for weights that are taken in place of these because they are on the disk.
    """

    weights: str
    is_gpu: bool
    gb: float
    cores: int
    max_gmacs: float

    def fits(self, machine: Machine) -> bool:
        """Return whether a machine has enough."""
        return machine.is_gpu == self.is_gpu and machine.gb >= self.gb and machine.cores >= self.cores


# The first that fits is taken. Each has the highest published top-1 on Kinetics-400 at its cost or less, of weights
# with a hash and a license for any use, and leaves memory beside 8 clips in training (figures in docs/training.md).
# Devices have a little less than the round number that they are sold by.
CHOICES = (
    Choice("videomae_b.mm_k400_v2_16f", True, 15, 0, 250),
    Choice("videomae_s.mm_k400_v2_16f", True, 7, 0, 100),
    Choice("x3d_s.mm_k400_13f", True, 0, 0, 50),
    Choice("x3d_m.mm_k400_16f", False, 30, 16, 50),
    Choice("x3d_s.mm_k400_13f", False, 0, 0, 50),
)
BUNDLED_START = "arc_tsm_narrow_r18.strokes_64px"


def choice_for(machine: Machine) -> Choice:
    """Return the entry of ``CHOICES`` for a machine."""
    return next(choice for choice in CHOICES if choice.fits(machine))


def good_starts(machine: Machine, facts: Mapping[str, Mapping[str, Any]]) -> Iterator[Start]:
    """Return weights to start from on a machine, the best first.

    These are the choice for the machine, then what is on the disk (of Kinetics-400 within the cost that suits the
    machine by top-1, then the rest by cost), and last the bundled weights.

    Args:
        machine: where the training runs.
        facts: of all weights, as `weights_facts` returns.
    """
    choice = choice_for(machine)
    yield published_start(choice.weights)
    passed = {choice.weights, *bundled_names(), *BY_TAG_ONLY}
    suited = select_rows(facts, data_set="k400", max_gmacs=choice.max_gmacs, sort="top1")
    for name in dict.fromkeys([*suited, *select_rows(facts, sort="gmacs")]):
        if name not in passed:
            start = published_start(name)
            if start.is_here:
                yield start
    yield published_start(BUNDLED_START)


def describe_weights(name: str, facts: Mapping[str, Any]) -> str:
    """Return weights with their published accuracy and cost, in words."""
    known = [f"{facts['top1']:.1%} on {facts['dataset']}"] if facts["top1"] is not None else []
    known += [f"{gmacs_text(facts['macs'])} GMACs a view"] if facts.get("macs") else []
    return f"{name} ({', '.join(known)})" if known else name

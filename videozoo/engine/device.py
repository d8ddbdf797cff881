"""The accelerator of a run, for several runs in one process."""

import logging

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import DistributedType, parse_flag_from_env

from videozoo.choices import AMP_KINDS
from videozoo.devices import find_device
from videozoo.launch import num_processes

_log = logging.getLogger(__name__)


def make_accelerator(amp: str = "no", device: str = "auto") -> Accelerator:
    """Create the accelerator, which places models and batches, sets the precision and connects the processes.

    Args:
        amp: ``no``, ``bf16`` or ``fp16``.
        device: ``auto`` (accelerate's choice: GPU if there is one) or a name of torch. Of several processes each gets
            its device from the launcher, so there it must be ``auto`` or ``cpu``.
    Raises:
        ValueError: an unknown word, a device that is not here or that accelerate does not take, or ``fp16`` where there
            is no GPU.
    Note: accelerate keeps device and precision of the first accelerator for the whole process. They are reset where
        others are asked for, so that one can evaluate in ``bf16`` after training in full precision. It has no public
        call for that.
    """
    if amp not in AMP_KINDS:
        raise ValueError(f"make_accelerator: amp is {amp!r}; choose one of {', '.join(AMP_KINDS)}.")
    device = _choose(device)
    shared = AcceleratorState._shared_state
    is_moved = _has_other_device(device)
    if is_moved or (shared and shared.get("_mixed_precision") != amp):
        # Where accelerate shards (FSDP) it has noted that in the part that is else kept, and would not look again.
        is_sharded = shared.get("distributed_type") == DistributedType.FSDP
        AcceleratorState._reset_state(reset_partial_state=is_moved or is_sharded)
    # Without the word cpu accelerate would let several processes on a machine without a GPU each train by itself.
    is_cpu = device == "cpu" or not torch.accelerator.is_available()
    state = PartialState(cpu=is_cpu)
    if device not in ("auto", "cpu") and state.device.type != torch.device(device).type:
        raise ValueError(
            f"device is {device!r}, but accelerate computes on {state.device.type} here; choose auto or cpu."
        )
    if amp == "fp16" and state.device.type == "cpu":
        raise ValueError("make_accelerator: amp='fp16' needs a GPU and this process has none; use 'bf16' or 'no'.")
    accelerator = Accelerator(mixed_precision=amp, cpu=is_cpu)
    is_asked = parse_flag_from_env("ACCELERATE_USE_FSDP")
    if is_asked and accelerator.distributed_type != DistributedType.FSDP and accelerator.is_main_process:
        _log.warning("FSDP: accelerate shards a model among GPUs only; here each process holds the whole of it")
    return accelerator


def _has_other_device(device: str) -> bool:
    """Return whether an earlier run of this process uses the CPU and this one does not, or the other way round."""
    before = PartialState._shared_state.get("device")
    return before is not None and device != "auto" and (device == "cpu") != (before.type == "cpu")


def _choose(name: str) -> str:
    """Select the device that accelerate will use, and return ``auto``, ``cpu`` or its name."""
    if name == "auto":
        return name
    device = find_device(name)
    if device.type == "cpu":
        return "cpu"
    if num_processes() > 1:
        raise ValueError(
            f"device is {name!r}; several processes cannot share one device; leave it out, the launcher gives each its "
            "own (CUDA_VISIBLE_DEVICES says which there are)."
        )
    if device.index is not None:
        torch.accelerator.set_device_index(device.index)  # what "cuda" alone means from now on
    return name

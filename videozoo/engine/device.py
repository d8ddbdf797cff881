"""One door to accelerate: the accelerator of a run, made so that a process can hold several runs one after another."""

import logging

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import DataLoaderConfiguration, DistributedType, parse_flag_from_env

from videozoo.engine.config import AMP_KINDS

_log = logging.getLogger(__name__)


def make_accelerator(amp: str = "no", device: str = "auto") -> Accelerator:
    """Make the accelerator that places models and batches, sets the precision and joins the processes.

    Args:
        amp: ``no``, ``bf16`` or ``fp16``.
        device: ``auto`` (accelerate's choice: GPU if there is one) or ``cpu``.
    Raises:
        ValueError: an unknown word, or ``fp16`` where there is no GPU.
    Note: accelerate keeps the precision of the first accelerator for the whole process; it is reset where another is
        asked for, so that one can evaluate in ``bf16`` after training in full precision.
    """
    if amp not in AMP_KINDS or device not in ("auto", "cpu"):
        raise ValueError(
            f"make_accelerator: amp={amp!r}, device={device!r}; amp is one of {AMP_KINDS}, device auto or cpu."
        )
    shared = AcceleratorState._shared_state
    if shared and shared.get("_mixed_precision") != amp:
        # Where accelerate shards (FSDP) it has noted that in the part that is else kept, and would not look again.
        is_sharded = shared.get("distributed_type") == DistributedType.FSDP
        AcceleratorState._reset_state(reset_partial_state=is_sharded)
    # Without the word cpu accelerate would let several processes on a machine without a GPU each train by itself.
    is_cpu = device == "cpu" or not torch.accelerator.is_available()
    if PartialState._shared_state and device == "cpu" and PartialState().device.type != "cpu":
        AcceleratorState._reset_state(reset_partial_state=True)
    state = PartialState(cpu=is_cpu)
    if amp == "fp16" and state.device.type == "cpu":
        raise ValueError("make_accelerator: amp='fp16' needs a GPU and this process has none; use 'bf16' or 'no'.")
    # Shuffling is seeded per epoch by `loaders.start_epoch`, so that it does not depend on accelerate's own way.
    loading = DataLoaderConfiguration(use_seedable_sampler=False, even_batches=True, non_blocking=True)
    accelerator = Accelerator(mixed_precision=amp, cpu=is_cpu, dataloader_config=loading)
    is_asked = parse_flag_from_env("ACCELERATE_USE_FSDP")
    if is_asked and accelerator.distributed_type != DistributedType.FSDP and accelerator.is_main_process:
        _log.warning("FSDP: accelerate shards a network among GPUs only; here each process holds the whole of it")
    return accelerator

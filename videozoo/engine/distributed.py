"""Communication between the processes of one run."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from accelerate import Accelerator, PartialState
from timm.layers import convert_sync_batchnorm
from torch import distributed, nn
from torch.nn.modules.batchnorm import _BatchNorm

from videozoo.engine.errors import EngineError
from videozoo.engine.sync_batch_norm import CpuSyncBatchNorm, sync_batch_norm
from videozoo.launch import num_processes
from videozoo.text import first_line

_LOST_PEER = ("gloo", "nccl", "closed by peer", "reset by peer")  # what the backends say, in a plain RuntimeError


def sync_norms(net: nn.Module) -> list[str]:
    """Synchronize the training statistics of a model's batch norms over all processes, in place.

    Parameters and keys stay: a checkpoint of it loads into a model that is not synchronized. Call it once the model
    is on its device, before accelerate prepares it. Batch norms become torch's ``SyncBatchNorm`` (timm's where an
    activation is fused). On the CPU, which that refuses, one that does the same. A module of another class takes part
    if it computes by an attribute ``batch_norm_function``, which has the signature of
    ``torch.nn.functional.batch_norm``: it is replaced by `sync_batch_norm`.

    Returns:
        the names of the modules. None in a single process, where nothing is changed.
    Raises:
        ValueError: several processes and no norm with batch statistics.
    """
    if not distributed.is_initialized() or distributed.get_world_size() == 1:
        return []
    if any(parameter.device.type != "cpu" for parameter in net.parameters()):
        convert_sync_batchnorm(net)
    names = []
    for name, module in net.named_modules():
        if isinstance(module, _BatchNorm):
            if not isinstance(module, nn.SyncBatchNorm):
                module.__class__ = CpuSyncBatchNorm  # the same attributes, another forward
        elif hasattr(module, "batch_norm_function") and getattr(module, "running_mean", None) is not None:
            module.batch_norm_function = sync_batch_norm
        else:
            continue
        names.append(name)
    if not names:
        raise ValueError(f"sync_norms: {type(net).__name__} has no norm with batch statistics; leave sync_bn off.")
    return names


def broadcast_buffers(net: nn.Module, accelerator: Accelerator) -> None:
    """Copy the first process's buffers (running statistics) to all, before an evaluation and a checkpoint."""
    if accelerator.num_processes == 1:
        return
    with torch.no_grad():
        for buffer in net.buffers():
            distributed.broadcast(buffer, src=0)


@contextmanager
def explain_lost_process() -> Iterator[None]:
    """Raise a clear error if another process has ended, since this one must end too.

    Raises:
        EngineError: in the place of what the backend says.
    """
    try:
        yield
    except RuntimeError as error:
        text = first_line(error)  # [source file] what. Advice
        is_lost = isinstance(error, distributed.DistError) or any(word in text.lower() for word in _LOST_PEER)
        if isinstance(error, EngineError) or not is_lost or not distributed.is_initialized():
            raise
        raise EngineError(
            f"process {distributed.get_rank()} of {distributed.get_world_size()}: another process of this run has "
            f"ended; see its own last line for the reason. The last checkpoint is intact; resume to continue. "
            f"({text.rpartition('] ')[2].partition('. ')[0]})"
        ) from error


@contextmanager
def first_process_first(device: str) -> Iterator[None]:
    """Run the block in the first of several processes before the others."""
    if num_processes() == 1:
        yield
        return
    with _join_processes(device).main_process_first():
        yield


def value_of_first_process(value: str, device: str) -> str:
    """Return what the first of several processes passes, in all of them."""
    if num_processes() == 1:
        return value
    _join_processes(device)
    values = [value]
    distributed.broadcast_object_list(values, src=0)
    return values[0]


def _join_processes(device: str) -> PartialState:
    # As the engine chooses, so that the processes are joined once.
    return PartialState(cpu=device.startswith("cpu") or not torch.accelerator.is_available())

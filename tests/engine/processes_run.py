"""Runs for one process, called by a test, or for several: ``torchrun ... processes_run.py CASES.json``."""

import contextlib
import json
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from accelerate.state import PartialState
from accelerate.utils import DistributedType
from engine_tiny import NAMES, SeveralClips, TinyClips, TinyNet, config
from safetensors.torch import save_file
from timm.models.resnet import BasicBlock
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.optim.optimizer import register_optimizer_step_pre_hook
from torch.utils.data import DataLoader

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from helpers import randomize, small_resnet

from videozoo import TPN, compose
from videozoo.augment import ARC, DNR
from videozoo.engine import FitResult, Stopped, fit
from videozoo.shapes import fold_time
from videozoo.temporal import TSM

FRAMES = 4
_WRITES = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.rmtree", "os.truncate", "os.link"}


class Folded(nn.Module):
    """A small residual model on frames, and the mean over time."""

    def __init__(self, *parts: Any, layers: tuple[int, ...] = (2, 1), norm_layer: Any = nn.BatchNorm2d) -> None:
        super().__init__()
        self.backbone = small_resnet((*layers, 1, 1), BasicBlock, norm_layer=norm_layer)
        self.fc = nn.Linear(self.backbone.num_features, len(NAMES))
        for part in parts:
            part.apply(self.backbone, FRAMES)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.backbone(fold_time(x)).unflatten(0, (-1, FRAMES)).mean(1))


class Block3d(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = (nn.Conv3d(channels, channels, 3, padding=1) for _ in range(2))
        self.bn1, self.bn2 = nn.BatchNorm3d(channels), nn.BatchNorm3d(channels)

    def forward(self, x: Tensor) -> Tensor:
        return (self.bn2(self.conv2(self.bn1(self.conv1(x)).relu())) + x).relu()


class Clips3d(nn.Module):
    """A small residual model on clips, with DNR."""

    def __init__(self, dnr: DNR) -> None:
        super().__init__()
        self.stem = nn.Conv3d(3, 6, 3, padding=1)
        self.stage = nn.Sequential(Block3d(6), Block3d(6))
        self.fc = nn.Linear(6, len(NAMES))
        dnr.apply(self, FRAMES)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.stage(self.stem(x)).mean((2, 3, 4)))


def _group_norm(channels: int, **_: Any) -> nn.GroupNorm:
    return nn.GroupNorm(2, channels)


NETS = {
    "tiny": lambda: TinyNet(norm=False),
    "tiny_bn": TinyNet,
    "gn": lambda: Folded(norm_layer=_group_norm),
    "bn": lambda: Folded(TSM()),
    "arc": lambda: Folded(TSM(), ARC()),
    "dnr": lambda: Folded(DNR()),
    "dnr_groups": lambda: Folded(DNR(ct_group_frames=2, ct_statistics="group", keep_affine=True)),
    "tpn": lambda: compose("tiny_resnet", TSM(), [TPN()], num_classes=len(NAMES), num_frames=FRAMES),
    "dnr_3d": lambda: Clips3d(DNR(ct_group_frames=2)),
}


class Enlarging(nn.Module):
    """A model on clips of a size that it can halve; it keeps the statistics of its last forwards."""

    def __init__(self, net: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.net = net.to(dtype)
        self.aux_weight = getattr(net, "aux_weight", 0.0)
        self.dtype = dtype
        self.seen: dict[str, Tensor] = {}

    def forward(self, x: Tensor, **kwargs: bool) -> Any:
        y = self.net(x.repeat_interleave(3, -1).repeat_interleave(3, -2).to(self.dtype), **kwargs)
        mode = "train" if self.training else "eval"
        self.seen |= {f"{mode}.{name}": buffer.clone() for name, buffer in self.net.named_buffers()}
        return y


def make_net(kind: str, dtype: torch.dtype) -> Enlarging:
    """One of ``NETS``, the same in every process."""
    torch.manual_seed(0)
    return Enlarging(randomize(NETS[kind](), 0.3), dtype)


def record_gradients(net: nn.Module, kept: dict[str, Tensor], stop_after: int | None) -> Any:
    """Keep every parameter's gradient at every step of any optimizer; returns the hook's handle.

    At step ``stop_after`` one process sends itself SIGTERM.
    """
    steps: list[int] = []

    def record(*_: object) -> None:
        if not any(p.grad is not None and p.grad.any() for p in net.parameters()):
            return  # torch makes a sharded optimizer's state by a step with zeros
        steps.append(1)
        kept.update({f"{len(steps)}.{n}": p.grad.clone() for n, p in net.named_parameters() if p.grad is not None})
        if len(steps) == stop_after and PartialState().is_last_process:
            os.kill(os.getpid(), signal.SIGTERM)

    return register_optimizer_step_pre_hook(record)


def train(
    output: Path,
    kind: str,
    num_videos: int,
    batch_size: int,
    num_val: int = 5,
    stop_after: int | None = None,
    **settings: Any,
) -> tuple[FitResult, Enlarging, dict[str, Tensor]]:
    """Train one of ``NETS``; gives the result, the model and the gradients of every step.

    In float64, so that the order of sums does not matter, unless in mixed precision. With ``stop_after`` the run is
    stopped after that step and continued with a new model.
    """
    if stop_after is not None:
        with contextlib.suppress(Stopped):
            _fit(output, kind, num_videos, batch_size, num_val, stop_after, **settings)
            raise AssertionError("the run was not stopped")
    return _fit(output, kind, num_videos, batch_size, num_val, None, **settings)


def _fit(
    output: Path, kind: str, num_videos: int, batch_size: int, num_val: int, stop_after: int | None, **settings: Any
) -> tuple[FitResult, Enlarging, dict[str, Tensor]]:
    net, kept = make_net(kind, torch.float32 if "amp" in settings else torch.float64), dict[str, Tensor]()
    handle = record_gradients(net, kept, stop_after)
    clips = SeveralClips if settings.get("multi_label") else TinyClips
    try:
        result = fit(
            net,
            DataLoader(clips(num_videos, jitter=0.0), batch_size, shuffle=True),
            DataLoader(clips(num_val, num_views=2), batch_size),
            config(**{"opt": "sgd", "lr": 0.003, "epochs": 2, **settings}),
            output,
            class_names=NAMES,
            model_config={"architecture": "tiny", "pretrained_cfg": {"num_frames": FRAMES}},
            resume=True,
        )
    finally:
        handle.remove()
    return result, net, kept


def _changes(event: str, args: tuple[Any, ...], runs: list[Path]) -> list[str]:
    """What a Python call of this process is about to change in a run folder."""
    if event not in _WRITES or (event == "open" and not set(str(args[1])) & set("wax+")):
        return []
    paths = [str(arg) for arg in args[:2]]
    return [f"{event} {path}" for path in paths if any(path.startswith(str(run)) for run in runs)]


def _whole(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors, gathered where they are sharded."""
    return {key: tensor.full_tensor() if isinstance(tensor, DTensor) else tensor for key, tensor in tensors.items()}


def main() -> None:
    """Train each case in this process, one of several, and write what it has seen beside the runs."""
    torch.set_num_threads(1)
    state = PartialState(cpu=True)
    if os.environ.get("ACCELERATE_USE_FSDP") == "true":  # accelerate shards among GPUs only: these pass for some
        state._shared_state["distributed_type"] = DistributedType.MULTI_GPU
    changes: list[str] = []
    runs: list[Path] = []
    sys.addaudithook(lambda event, args: changes.extend(_changes(event, args, runs)))
    for name, settings in json.loads(Path(sys.argv[1]).read_text()).items():
        output = Path(sys.argv[1]).with_name(name)
        runs.append(output / "run")
        result, net, kept = train(output / "run", **settings)
        rank = torch.distributed.get_rank()
        save_file(net.seen, output / f"seen{rank}.safetensors")
        (output / f"changes{rank}.txt").write_text("\n".join(changes))
        changes.clear()
        save_file(_whole(kept), output / f"gradients{rank}.safetensors")
        save_file(_whole(net.state_dict()), output / f"net{rank}.safetensors")
        (output / f"result{rank}.json").write_text(json.dumps(result.best))
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()

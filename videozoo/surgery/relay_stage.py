"""A stage that hands a state from block to block beside the feature map."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

__all__ = ["RelayStage", "hand_over", "new_state", "take_over_checkpointing"]

_RELAY = "relay"
# What the block that runs in this thread was given, the cells of its stage, and what it hands on, the states by run.
_in_thread = threading.local()


def hand_over(run: int, step: Callable[[Any, Any], tuple[Tensor, Any]]) -> Tensor:
    """Let a module of a block take the state of an earlier block, and keep its own for a later one.

    Args:
        run: number of the module's relay in its stage, a :class:`RelayStage`, whose forward is under way.
        step: gives the module's output and the new state, from the state (None for zero) and the shared cell.
    Raises:
        RuntimeError: no stage runs the block, or the block calls the module twice.
    """
    exchange = getattr(_in_thread, "exchange", None)
    if exchange is None:
        raise RuntimeError(
            "relay: a block with a cross-layer norm was called outside the forward of its stage, which hands it the "
            "state of the block before. Call the stage as a whole, use the model's set_grad_checkpointing() for "
            "gradient checkpointing, or place DNR without a cross-layer part (order='bn_ct')."
        )
    given, cells, new = exchange
    if run in new:
        raise RuntimeError(
            "relay: a block calls its cross-layer norm twice in one forward, and can relay one state only. Place DNR "
            "without a cross-layer part (order='bn_ct')."
        )
    y, new[run] = step(given[run], cells[run])
    return y


def new_state(run: int) -> Any:
    """Return the state that the block that runs in this thread hands on.

    For hooks of the module that gave it.
    """
    return _in_thread.exchange[2][run]


class RelayStage(nn.Sequential):
    """Blocks in a row, of which some hand a state along.

    All of them are called as they are.

    A module inside a block calls :func:`hand_over`. The state is handed to a block when it is called and collected when
    it returns. Nothing of it is kept: threads may share the stage, and recomputing a block (gradient checkpointing)
    sees the state that it saw the first time. A block that passes its module over (a dropped branch) hands on what it
    was given. The shared cells are ``relay.0``, ``relay.1``, ... beside the blocks. Indices, length and iteration are
    those of the blocks.

    Attributes:
        distance: a block gets the state of the block that lies so many relaying blocks before it.
        grad_checkpointing: recompute every block in the backward pass.
    Shape:
        those of the stage.
    """

    relay: nn.ModuleList
    distance: int
    grad_checkpointing: bool

    @classmethod
    def take_over(cls, stage: nn.Module, cells: list[nn.Module], distance: int = 1) -> "RelayStage":
        """Turn ``stage``, which calls its children one after the other, into this class: same object, same hooks.

        Raises:
            ValueError: one of its children is called ``relay``.
        """
        if _RELAY in stage._modules:
            raise ValueError(f"RelayStage: this {type(stage).__name__} has a child named relay already; rename it.")
        stage.__class__ = cls
        new: Any = stage
        new.relay = nn.ModuleList(cells)
        new.relay.training = stage.training
        new.distance = distance
        new.grad_checkpointing = bool(getattr(stage, "grad_checkpointing", False))
        return new  # type: ignore[no-any-return]

    def forward(self, input: Tensor) -> Tensor:
        x = input
        states: list[list[Any]] = [[] for _ in self.relay]
        remember = self.grad_checkpointing and torch.is_grad_enabled()
        for block in self:
            given = [seen[-self.distance] if len(seen) >= self.distance else None for seen in states]
            if remember:
                x, new = checkpoint(self._run, block, x, given, use_reentrant=False)
            else:
                x, new = self._run(block, x, given)
            for run, state in new.items():
                states[run].append(state)
        return x

    def _run(self, block: nn.Module, x: Tensor, given: list[Any]) -> tuple[Tensor, dict[int, Any]]:
        new: dict[int, Any] = {}
        outer = getattr(_in_thread, "exchange", None)
        _in_thread.exchange = (given, self.relay, new)
        try:
            y = block(x)
        finally:
            _in_thread.exchange = outer
        return y, new

    @property
    def child_names(self) -> list[str]:
        """Names of the blocks, in order."""
        return [name for name in self._modules if name != _RELAY]

    def __iter__(self) -> Iterator[nn.Module]:
        return iter([self._modules[name] for name in self.child_names])  # type: ignore[misc]

    def __len__(self) -> int:
        return len(self.child_names)

    def __getitem__(self, idx: Any) -> Any:
        if not isinstance(idx, slice):
            return super().__getitem__(idx)
        part = nn.Sequential(OrderedDict((name, self._modules[name]) for name in self.child_names[idx]))  # type: ignore[misc]
        part.training = self.training
        return self.take_over(part, list(self.relay), self.distance)

    def __delitem__(self, idx: Any) -> None:
        relay = self._modules.pop(_RELAY)  # the numbers of the blocks follow their places
        try:
            super().__delitem__(idx)
        finally:
            self._modules[_RELAY] = relay

    def insert(self, index: int, module: nn.Module) -> "RelayStage":
        """Put a module before the block of that index."""
        relay = self._modules.pop(_RELAY)
        try:
            super().insert(index, module)
        finally:
            self._modules[_RELAY] = relay
        return self

    def _get_item_by_idx(self, iterator: Any, idx: Any) -> Any:
        relay = self._modules.get(_RELAY)
        items = (item for item in iterator if item is not relay and item != _RELAY)  # modules, or their names
        return super()._get_item_by_idx(items, idx)

    def extra_repr(self) -> str:
        return f"distance={self.distance}"


class _StageCheckpointing:
    """``set_grad_checkpointing`` of a model with relay stages: they recompute their blocks, one by one."""

    def __init__(self, net: nn.Module) -> None:
        self.net = net

    def __call__(self, enable: bool = True) -> None:
        for module in self.net.modules():
            if isinstance(module, RelayStage):
                module.grad_checkpointing = enable


def take_over_checkpointing(net: nn.Module) -> None:
    """Let ``set_grad_checkpointing`` of ``net``, and of models inside it, go by its relay stages.

    timm's own takes stages apart and would call each block outside its stage.
    """
    for module in net.modules():
        has_stages = any(isinstance(part, RelayStage) for part in module.modules() if part is not module)
        if not has_stages or not hasattr(module, "set_grad_checkpointing"):
            continue
        setter = _StageCheckpointing(module)
        module.set_grad_checkpointing = setter  # type: ignore[assignment]
        if getattr(module, "grad_checkpointing", False):  # switched on before
            module.grad_checkpointing = False  # type: ignore[assignment]
            setter()

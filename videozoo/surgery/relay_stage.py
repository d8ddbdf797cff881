"""Stage that passes a state from block to block in addition to the feature map."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

__all__ = ["RelayStage", "hand_over", "new_state", "take_over_checkpointing"]

_RELAY = "relay"
# For the block that runs in this thread: its input states, the cells of its stage, and its output states by run.
_in_thread = threading.local()


def hand_over(run: int, step: Callable[[Any, Any], tuple[Tensor, Any]]) -> Tensor:
    """Call ``step`` with the state of an earlier block, store the new state for a later block, and return the output.

    It is called by a module inside a block, during the forward of its :class:`RelayStage`.

    Args:
        run: number of the module's relay in its stage.
        step: function of the state (None: zero) and the shared cell that returns the module's output and new state.
    Raises:
        RuntimeError: the block does not run inside a stage, or calls the module twice.
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
    """Return the new state of the block that runs in this thread, for forward hooks of its norm."""
    return _in_thread.exchange[2][run]


class RelayStage(nn.Sequential):
    """A sequence of unchanged blocks in which some blocks pass a state to later ones.

    A module inside a block calls :func:`hand_over`. The stage sets the states before it calls a block and collects them
    when the block returns. It stores nothing after its forward, so threads may share it, and a recomputed block
    (gradient checkpointing) gets the same states again. A block that skips its module (a dropped branch) adds no
    state. The shared cells are ``relay.0``, ``relay.1``, ... next to the blocks. Indices, length and iteration cover
    the blocks only.

    Attributes:
        distance: a block gets the state of the relaying block this many before it.
        grad_checkpointing: recompute every block in the backward pass.
    Shape:
        those of the stage.
    """

    relay: nn.ModuleList
    distance: int
    grad_checkpointing: bool

    @classmethod
    def take_over(cls, stage: nn.Module, cells: list[nn.Module], distance: int = 1) -> "RelayStage":
        """Change the class of a sequential ``stage`` to this one in place. The object and its hooks stay the same.

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
        recompute = self.grad_checkpointing and torch.is_grad_enabled()
        for block in self:
            given = [seen[-self.distance] if len(seen) >= self.distance else None for seen in states]
            if recompute:
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
        relay = self._modules.pop(_RELAY)  # deleting renumbers the blocks, but not ``relay``
        try:
            super().__delitem__(idx)
        finally:
            self._modules[_RELAY] = relay

    def insert(self, index: int, module: nn.Module) -> "RelayStage":
        """Insert a module before the block at ``index``."""
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
    """``set_grad_checkpointing`` of a model with relay stages, which recompute each block separately."""

    def __init__(self, net: nn.Module) -> None:
        self.net = net

    def __call__(self, enable: bool = True) -> None:
        for module in self.net.modules():
            if isinstance(module, RelayStage):
                module.grad_checkpointing = enable


def take_over_checkpointing(net: nn.Module) -> None:
    """Replace ``set_grad_checkpointing`` of ``net`` and of models inside it by one that uses the relay stages.

    timm's version would call each block outside its stage.
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

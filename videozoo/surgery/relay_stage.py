"""A stage that hands a state from block to block beside the feature map."""

import operator
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils.checkpoint import checkpoint

__all__ = ["RelayStage", "thread_state"]


class _InPlaceProxy(fx.Proxy):
    """Follows ``x += shortcut`` as what it is; torch.fx would make it a sum in a new map."""

    def __iadd__(self, other: Any) -> fx.Proxy:
        return self.tracer.create_proxy("call_function", operator.iadd, (self, other), {})


class _BlockTracer(fx.Tracer):
    """Opens only the modules on the way to the wanted one; everything else stays a call.

    Unpickling a traced block makes a tracer without arguments, which then opens nothing: all is a call by then.
    """

    def __init__(self, opened: frozenset[str] = frozenset()) -> None:
        super().__init__()
        self.opened = opened

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return module_qualified_name not in self.opened

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return _InPlaceProxy(node, self)


def thread_state(block: nn.Module, *norms: str) -> fx.GraphModule:
    """Rewrite ``block(x) -> y`` into ``block(x, state, cell) -> (y, state)``.

    The module at ``norm`` is called as ``norm(x, state, cell) -> (y, state)`` instead of ``norm(x) -> y``; all else is
    the block's own forward, traced by torch.fx, so no forward of any backbone is written again here. Children keep
    their names and objects. With several norms there are as many pairs: ``block(x, s1, c1, s2, c2) -> (y, s1, s2)``.

    Raises:
        ValueError: the block cannot be traced, or does not call a norm exactly once.
    """
    parts = [norm.split(".") for norm in norms]
    opened = frozenset(".".join(row[:i]) for row in parts for i in range(1, len(row)))
    try:
        graph = _BlockTracer(opened).trace(block)
    except Exception as error:
        raise ValueError(
            f"thread_state: cannot follow the forward of {type(block).__name__} ({error}); its blocks cannot relay a "
            "state over depth. Place DNR without a cross-layer part (order='bn_ct')."
        ) from error
    inputs = [node for node in graph.nodes if node.op == "placeholder"]
    last, new_states = inputs[0], []
    for k, norm in enumerate(norms):
        calls = [node for node in graph.nodes if node.op == "call_module" and node.target == norm]
        if len(calls) != 1 or len(inputs) != 1:
            raise ValueError(
                f"thread_state: {type(block).__name__} calls {norm} {len(calls)} times and has {len(inputs)} inputs; "
                "need one of each."
            )
        with graph.inserting_after(last):
            state = graph.placeholder(f"state_{k}")
        with graph.inserting_after(state):
            last = cell = graph.placeholder(f"cell_{k}")
        new_states.append(_thread(graph, calls[0], state, cell))
    output = next(node for node in graph.nodes if node.op == "output")
    output.args = ((output.args[0], *new_states),)
    graph.lint()
    return fx.GraphModule(block, graph, class_name=f"Relay{type(block).__name__}")


def _thread(graph: fx.Graph, call: fx.Node, state: fx.Node, cell: fx.Node) -> fx.Node:
    """Let ``call`` take and give a state; returns the node of the new one."""
    call.args = (*call.args, state, cell)
    with graph.inserting_after(call):
        new_state = graph.call_function(operator.getitem, (call, 1))
        y = graph.call_function(operator.getitem, (call, 0))
    call.replace_all_uses_with(y, delete_user_cb=lambda user: user not in (y, new_state))
    return new_state


class RelayStage(nn.Module):
    """Blocks in a row that hand a state along; children keep the names that they had in the stage.

    The state is an argument of every block and is never kept: threads may share the module, and recomputing a block
    (gradient checkpointing) sees the state that it saw the first time.

    Args:
        stage: the sequence whose children are taken over.
        runs: consecutive blocks that share one cell, as lists of child names; each run starts from the zero state.
            Each block of a run was prepared with :func:`thread_state`; other children are called as they are. A block
            may belong to several runs (one of each branch), in the order of its norms.
        cells: the shared cell of each run, registered as ``relay.0``, ``relay.1``, ...
        distance: a block gets the state of the block that lies so many blocks before it in its run.
    Shape:
        those of the stage.
    """

    def __init__(self, stage: nn.Module, runs: list[list[str]], cells: list[nn.Module], distance: int = 1) -> None:
        super().__init__()
        self.child_names = [name for name, _ in stage.named_children()]
        for name, child in stage.named_children():
            self.add_module(name, child)
        self.relay = nn.ModuleList(cells)
        self.runs_of = {name: [i for i, run in enumerate(runs) if name in run] for name in self.child_names}
        self.distance = distance
        self.grad_checkpointing = False

    def forward(self, x: Tensor) -> Tensor:
        states: dict[int, list[Any]] = {run: [] for run in range(len(self.relay))}
        remember = self.grad_checkpointing and torch.is_grad_enabled()
        for name in self.child_names:
            block = getattr(self, name)
            runs = self.runs_of[name]
            args: list[Any] = [x]
            for run in runs:
                seen = states[run]
                args += [seen[-self.distance] if len(seen) >= self.distance else None, self.relay[run]]
            out = checkpoint(block, *args, use_reentrant=False) if remember else block(*args)
            x, *new = out if runs else (out,)
            for run, state in zip(runs, new, strict=True):
                states[run].append(state)
        return x

    def extra_repr(self) -> str:
        return f"distance={self.distance}"

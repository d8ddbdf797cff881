"""Counting many networks, each once."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from videozoo.report.cost import Accounting, total_macs, trace_operators
from videozoo.report.paper_arc import use_paper_order
from videozoo.report.table_models import Setup, build_network

__all__ = ["Meter"]


@dataclass(frozen=True)
class _Trace:
    """Counts of one network by operator: all but the classifiers, and each classifier for one class with its frames."""

    body: Mapping[str, int]
    heads: tuple[tuple[int, Mapping[str, int]], ...]


class Meter:
    """Builds and traces the networks of setups, keeping what it has counted.

    Setups that come to the same network share a trace, and so do those that differ only in the number of classes where
    the classifier is one linear layer, whose cost grows with the classes.
    """

    def __init__(self) -> None:
        self._networks: dict[Setup, Any] = {}
        self._traces: dict[tuple[Any, int, bool], _Trace] = {}

    def params_m(self, setup: Setup) -> float:
        """Million parameters."""
        return sum(p.numel() for p in self._network(setup).parameters()) / 1e6

    def clip_shape(self, setup: Setup) -> tuple[int, ...]:
        """(C, T, H, W) of one view."""
        net = self._network(setup)
        return (int(net.in_chans), int(net.num_frames), setup.size, setup.size)

    def gflops(self, setup: Setup, accounting: Accounting) -> float:
        """Thousand millions of multiply-adds per view.

        With ``"executed"`` and ``"products"`` the network is counted as it is. With ``"arc"``, the accounting of the
        ARC paper, ARC computes in the paper's order and the classifier sees every frame (TSN's consensus averages
        logits; ours averages features before it, which comes to the same).
        """
        in_paper_order = accounting == "arc"
        trace = self._trace(setup, in_paper_order)
        per_class = sum(total_macs(head, accounting) * (t if in_paper_order else 1) for t, head in trace.heads)
        return (total_macs(trace.body, accounting) + setup.num_classes * per_class) / 1e9

    def figure(self, field: str, setup: Setup, accounting: Accounting) -> float:
        """What a table prints under ``field``: ``"params_m"`` or ``"gflops_per_view"``."""
        return self.params_m(setup) if field == "params_m" else self.gflops(setup, accounting)

    def _network(self, setup: Setup) -> Any:
        if setup not in self._networks:
            self._networks[setup] = build_network(setup)
        return self._networks[setup]

    def _trace(self, setup: Setup, in_paper_order: bool) -> _Trace:
        net = self._network(setup)
        classifiers = _linear_classifiers(net)
        key = (net.spec.replace(num_classes=0) if classifiers else net.spec, setup.size, in_paper_order)
        if key not in self._traces:
            if in_paper_order:
                twin = build_network(setup)
                if not use_paper_order(twin):  # nothing that the paper computes in another order
                    self._traces[key] = self._trace(setup, False)
                    return self._traces[key]
                net = twin
            counts = trace_operators(net, self.clip_shape(setup))
            body = Counter(counts[""])
            for name in classifiers:
                body.subtract(counts[name])
            heads = [
                (t, {op: n // setup.num_classes for op, n in counts[name].items()}) for name, t in classifiers.items()
            ]
            self._traces[key] = _Trace(body, tuple(heads))
        return self._traces[key]


def _linear_classifiers(net: Any) -> dict[str, int]:
    """Names of the classifiers, for each that is one linear layer on one row per clip, and the frames in that row."""
    nets = {f"members.{k}.fc": member for k, member in enumerate(getattr(net, "members", ()))} or {"fc": net}
    linear = {name: one for name, one in nets.items() if type(getattr(one, "fc", None)) is nn.Linear}
    return {name: 1 if one.is_3d else int(one.num_segments) for name, one in linear.items()}

"""Cache of costs, so that rows about the same model are counted once."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from videozoo.report.cost import Accounting, total_macs, trace_operators
from videozoo.report.paper_arc import use_paper_order
from videozoo.report.table_models import Setup, build_model

__all__ = ["Meter"]


@dataclass(frozen=True)
class _Trace:
    """Counts of one model by operator: everything but the classifiers, and each classifier for one class."""

    body: Mapping[str, int]
    heads: tuple[tuple[int, Mapping[str, int]], ...]  # (frames that the classifier sees, its counts)


class Meter:
    """Counter of the costs of setups that keeps its results.

    Setups that give the same model share a trace. So do setups that differ only in the number of classes, if the
    classifier is one linear layer, because its cost is proportional to the classes.
    """

    def __init__(self) -> None:
        self._models: dict[Setup, Any] = {}
        self._traces: dict[tuple[Any, int, bool], _Trace] = {}

    def params_m(self, setup: Setup) -> float:
        """Return the parameters in millions."""
        return sum(p.numel() for p in self._model(setup).parameters()) / 1e6

    def clip_shape(self, setup: Setup) -> tuple[int, ...]:
        """Return (C, T, H, W) of one view."""
        net = self._model(setup)
        return (int(net.in_chans), int(net.num_frames), setup.size, setup.size)

    def gmacs(self, setup: Setup, accounting: Accounting) -> float:
        """Return the MACs of one view in billions.

        ``"executed"`` and ``"products"`` count the model as it is. ``"arc"`` counts as the ARC paper does: ARC computes
        in the paper's order, and the classifier sees every frame. (TSN's consensus averages logits. videozoo averages
        the features before the classifier, which gives the same logits.)
        """
        in_paper_order = accounting == "arc"
        trace = self._trace(setup, in_paper_order)
        per_class = sum(total_macs(head, accounting) * (t if in_paper_order else 1) for t, head in trace.heads)
        return (total_macs(trace.body, accounting) + setup.num_classes * per_class) / 1e9

    def figure(self, field: str, setup: Setup, accounting: Accounting) -> float:
        """Return the value of a printed field: ``"params_m"`` or ``"gflops_per_view"``."""
        return self.params_m(setup) if field == "params_m" else self.gmacs(setup, accounting)

    def _model(self, setup: Setup) -> Any:
        if setup not in self._models:
            self._models[setup] = build_model(setup)
        return self._models[setup]

    def _trace(self, setup: Setup, in_paper_order: bool) -> _Trace:
        net = self._model(setup)
        classifiers = _linear_classifiers(net)
        key = (net.spec.replace(num_classes=0) if classifiers else net.spec, setup.size, in_paper_order)
        if key not in self._traces:
            if in_paper_order:
                twin = build_model(setup)
                if not use_paper_order(twin):  # the paper computes nothing here in another order
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
    """Return the name of each classifier that is one linear layer on one row per clip, with the frames in that row."""
    nets = {f"members.{k}.fc": member for k, member in enumerate(getattr(net, "members", ()))} or {"fc": net}
    linear = {name: one for name, one in nets.items() if type(getattr(one, "fc", None)) is nn.Linear}
    return {name: 1 if one.is_3d else int(one.num_steps) for name, one in linear.items()}

"""Temporal pyramid network (TPN): a neck that fuses the last two stages at several temporal rates."""

from dataclasses import dataclass
from typing import Literal, get_args

from torch import nn

from videozoo.layers.options import check_choice, check_count
from videozoo.layers.temporal_pyramid import AuxiliaryHead, TemporalPyramid
from videozoo.surgery import feature_rows, write_plan

__all__ = ["TPN"]

Flow = Literal["cascade", "parallel"]


@dataclass(frozen=True)
class TPN:
    """TPN: a temporal pyramid on the outputs of the last two stages.

    Yang et al., 2020 (arXiv:2004.03548). It works on 2-D backbones with a temporal module and on 3-D ones. The neck
    gives one time step, which the classifier pools over space. The auxiliary classifier on the third stage acts in
    training only: ``model(x)`` gives logits, ``model(x, with_aux=True)`` gives the pair (logits, auxiliary logits),
    and ``fit`` and ``finetune`` add the loss of the second with its weight.

    Args:
        flow: ``"cascade"``: the bottom-up pyramid starts from the features that the top-down one has changed, as in
            the authors' code. ``"parallel"``: it starts from the unchanged ones.
        shallow_steps: time steps that the third stage keeps until both pyramids are fused: 1, or 2 as in the authors'
            models on ResNet-101.
        aux_weight: weight of the auxiliary loss (the authors: 0.5). 0: no auxiliary classifier.
    Raises:
        ValueError: an option has a value that is not listed.
    Example:
        >>> from videozoo import TPN, TSM, compose
        >>> model = compose("resnet18", TSM(), [TPN()], num_classes=10)
        >>> model.spec.title, model.sites["tpn"]
        ('TSM+TPN on resnet18', ['neck'])
    """

    flow: Flow = "cascade"
    shallow_steps: int = 1
    aux_weight: float = 0.5

    def __post_init__(self) -> None:
        check_choice("TPN", "flow", self.flow, get_args(Flow))
        check_count("TPN", "shallow_steps", self.shallow_steps)
        weight = self.aux_weight
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 <= weight < float("inf"):
            raise ValueError(f"TPN: aux_weight is {weight!r}; need a number, 0 or more (the authors: 0.5).")

    def apply(self, net: nn.Module, num_segments: int) -> list[str]:
        """Add the neck to ``net`` as its child ``neck``, which ``VideoNet`` runs, and return its name.

        Args:
            net: a backbone with ``forward_intermediates`` whose last map is that of its last stage.
            num_segments: time steps S.
        Raises:
            ValueError: the backbone does not list its stages, has a ``neck`` or layers behind the last stage, or its
                last two maps do not fit.
        """
        name = type(net).__name__
        rows = feature_rows(net) or []
        if len(rows) < 2 or not hasattr(net, "forward_intermediates") or hasattr(net, "neck"):
            raise ValueError(
                f"TPN: {name} does not give the maps of its stages, or has a neck already; use a ResNet, a RegNet or "
                "a 3-D ResNet."
            )
        (shallow, deep), (before, after) = (
            (row["num_chs"] for row in rows[-2:]),
            (row["reduction"] for row in rows[-2:]),
        )
        if getattr(net, "num_features", deep) != deep:
            raise ValueError(
                f"TPN: {name} has layers behind its last stage ({deep} to {net.num_features} channels), which the "
                "pyramid would leave out; use a ResNet, a RegNet or a 3-D ResNet."
            )
        if after != 2 * before or deep % 2:
            raise ValueError(
                f"TPN: the last two maps of {name} have strides {before} and {after} and {deep} channels at the end; "
                "need a stride of 2 between them, and an even number of channels."
            )
        return write_plan(net, {"neck": TemporalPyramid((shallow, deep), num_segments, self.flow, self.shallow_steps)})

    def make_aux_head(self, net: nn.Module, num_classes: int, drop_rate: float) -> AuxiliaryHead | None:
        """Return the auxiliary head for the maps of the stage before the last, or None if its weight is 0."""
        if not self.aux_weight:
            return None
        return AuxiliaryHead((feature_rows(net) or [])[-2]["num_chs"], num_classes, drop_rate)

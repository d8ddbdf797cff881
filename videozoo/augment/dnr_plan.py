"""The norms and cells that DNR inserts, all created before the model is changed."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import TypeVar

from torch import nn

from videozoo.augment.cross_norms import (
    CrossLayerNorm2d,
    CrossLayerNorm3d,
    CrossTemporalNorm2d,
    CrossTemporalNorm3d,
)
from videozoo.augment.dnr_blocks import norms_at, runs_of, takes_clips
from videozoo.augment.dnr_options import DnrOptions
from videozoo.augment.norm_types import channels_of
from videozoo.layers import RelayCell
from videozoo.surgery import Block
from videozoo.surgery.sites import SEQUENCES

__all__ = ["NormPlan"]

N = TypeVar("N", bound=nn.Module)


@dataclass
class NormPlan:
    """Planned changes: the new norms by name, and the shared cells of each stage by the name of its sequence.

    Args:
        net: the model. It is not changed.
        num_segments: time steps S.
        options: the options of DNR.
    """

    net: nn.Module
    num_segments: int
    options: DnrOptions
    norms: dict[str, nn.Module] = field(default_factory=dict)
    stages: dict[str, list[nn.Module]] = field(default_factory=dict)

    def fill(self, blocks: list[Block]) -> None:
        """Create the norms of the given blocks.

        Raises:
            ValueError: a norm cannot be replaced, a cross-layer site has several norms, or a stage already has an
                attribute ``relay``.
        """
        order = self.options.order
        for kind, site in zip(order.split("_"), ("first_norm", "second_norm"), strict=True):
            places = {block: norms_at(block, site) for block in blocks}
            if kind == "ct":
                for name in chain(*places.values()):
                    self.norms[name] = self._cross_temporal(name)
            elif kind == "cl":
                if any(len(names) > 1 for names in places.values()):
                    raise ValueError(
                        f"DNR: order={order!r} puts the cross-layer norm where {type(self.net).__name__} has several "
                        "norms side by side; pass order='cl_ct'."
                    )
                self._add_cross_layer({block: names[0] for block, names in places.items()})
        for name in self.stages:
            if hasattr(self.net.get_submodule(name), "relay"):
                raise ValueError(f"DNR: {name} has an attribute 'relay', the name of its shared cells; rename it.")

    def _cross_temporal(self, name: str, *, whole_clip: bool = False) -> CrossTemporalNorm2d:
        norm, options = self.net.get_submodule(name), self.options
        backward = self._cell(norm) if options.bidirectional and not whole_clip else None
        make = CrossTemporalNorm3d if takes_clips(self.net, name) else CrossTemporalNorm2d
        return _make(
            name,
            lambda: make(
                norm,
                self.num_segments,
                self._cell(norm, recurrent=not whole_clip),
                None if whole_clip else options.ct_group_frames,
                backward,
                options.norm,
                options.keep_affine,
                "batch" if whole_clip else options.ct_statistics,
            ),
        )

    def _add_cross_layer(self, site: dict[Block, str]) -> None:
        made: dict[str, nn.Module] = {}
        for parent, runs in runs_of(self.net, site).items():
            cells: list[nn.Module] = []
            for run in runs:
                if len(run) == 1:
                    name = site[run[0]]
                    made[name] = self._cross_temporal(name, whole_clip=True)
                    continue
                for block in run:
                    name, norm = site[block], self.net.get_submodule(site[block])
                    make = CrossLayerNorm3d if takes_clips(self.net, name) else CrossLayerNorm2d
                    args = (norm, self.num_segments, self.options.norm, self.options.keep_affine, len(cells))
                    made[name] = _make(name, partial(make, *args))
                first = self.net.get_submodule(site[run[0]])
                cells.append(self._cell(first, recurrent=len(run) > self.options.cl_distance))
            # A sequence without a relay becomes a stage too, so that all stages can use activation checkpointing.
            if cells or (parent and type(self.net.get_submodule(parent)) in SEQUENCES):
                self.stages[parent] = cells
        self.norms |= {name: made[name] for name in site.values()}

    def _cell(self, norm: nn.Module, recurrent: bool = True) -> RelayCell:
        options = self.options
        sizes = (channels_of(norm), options.reduction, options.depth)
        cell = RelayCell(*sizes, options.relay, options.linear_bias, recurrent)
        tensors = chain(norm.parameters(), norm.buffers())
        like = next((tensor for tensor in tensors if tensor.is_floating_point()), None)
        cell = cell if like is None else cell.to(like.device, like.dtype)
        return cell.train(norm.training)


def _make(name: str, make: Callable[[], N]) -> N:
    """Return ``make()``. Errors get the name of the layer."""
    try:
        return make()
    except ValueError as error:
        raise ValueError(f"DNR: {name}: {str(error).removeprefix('DNR: ')}") from error

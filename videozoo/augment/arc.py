"""Adaptive recursive circle (ARC): recursive refinement inside a convolution.

Lin et al., "Adaptive Recursive Circle Framework for Fine-grained Action Recognition", section 3.
"""

from dataclasses import dataclass

from torch import nn

from videozoo.augment.arc_layers import ArcConv2d, ArcConv3d, ArcLinear, ArcPostConv2d
from videozoo.augment.arc_options import ArcOptions
from videozoo.augment.arc_sites import find_sites, why_none
from videozoo.nets import is_3d
from videozoo.surgery import PostConv2d, replace_modules
from videozoo.surgery.pre_conv import PreConv3d

__all__ = ["ARC"]


@dataclass(frozen=True)
class ARC(ArcOptions):
    """ARC: every spatial convolution refines its input with the output features computed so far.

    Applies to every convolution of the chosen stages that is neither 1x1 nor grouped (section 3.4). The defaults are
    the paper's. The options cover its ablations, and ``layers`` goes beyond it. A new ARC model equals its base
    exactly, also where the input of a convolution may be negative, which the paper does not consider (see
    :class:`~videozoo.augment.arc_layer.ArcLayer`).

    Args:
        num_steps: number of output groups n (Table 5b). 1 leaves the convolution as it is.
        stages: stages to change, 1 to 4, where stage k is the paper's res(k+1) (Table 5c). None: stages 2, 3 and 4
            (res3, res4, res5) of every backbone that lists its stages (timm's ``feature_info``, torchvision's
            ``layer1`` to ``layer4``), be it the model itself or a module in it. Otherwise every convolution except
            those that take the input of the model.
        embedding, attention, fusion: the three parts of the updater, on or off (Table 5a).
        interaction: ``"additive"`` adds the backward attention. ``"multiplicative"`` multiplies the state by twice its
            sigmoid, so that an attention of zero leaves the state as it is (the paper gives no formula).
        aggregation: pooling of the attention: over space (``"S"``), over time (``"T"``), their broadcast sum
            (``"S+T"``), or both at once (``"ST"``).
        attention_layer: ``"fc"`` is eq. 7. ``"gru"`` feeds each pooled part to a GRU cell whose hidden state is the
            attention (Table 5d).
        layers: kinds of layers to change. ``"conv2d"`` is the paper's. ``"conv3d"``: convolutions over space, or over
            space and time, of a 3-D model (not those over time alone). ``"pointwise"``: 1x1 convolutions. ``"linear"``:
            linear layers on the tokens of folded frames. The paper names attention as future work.
        memory: in training, ``"keep"`` keeps every state Z_i for the gradient. ``"recompute"`` keeps the input of the
            layer alone, as the plain convolution does, and computes the layer again in the backward pass.
    Raises:
        ValueError: an option has a value that is not listed.
    Example:
        >>> from videozoo import ARC, TSM, compose
        >>> model = compose("resnet18", TSM(), [ARC(num_steps=4)], num_classes=10)
        >>> model.spec.title, len(model.sites["arc"])
        ('TSM+ARC on resnet18', 12)
    """

    def apply(self, net: nn.Module, num_segments: int) -> list[str]:
        """Change the layers of ``net`` in place.

        Args:
            net: any model on folded frames (B*S, C, H, W), or a 3-D one on clips.
            num_segments: time steps S.
        Returns:
            the names of the layers that were changed.
        Raises:
            ValueError: no layer could be changed (the message counts the layers and why each was left), or a layer is
                of an unknown class, has hooks, or is in a block that is re-parameterized for inference. The model is
                left as it was.
        """
        sites = find_sites(net, self.stages, self.layers)
        if not sites.layers:
            why = why_none(sites, self.stages, self.layers)
            raise ValueError(f"ARC: nothing to change in {type(net).__name__}: {why}")
        if any(map(is_3d, net.modules())) and any(isinstance(layer, nn.Linear) for layer in sites.layers.values()):
            raise ValueError(
                f"ARC: layers={self.layers} in {type(net).__name__}, a 3-D model: the input of a linear layer does "
                "not show its frames there; leave 'linear' out."
            )
        return replace_modules(
            net, lambda _, name: name in sites.layers, lambda layer, name: self._arc_layer(layer, name, num_segments)
        )

    def _arc_layer(self, layer: nn.Module, name: str, num_segments: int) -> nn.Module:
        make: type[ArcConv2d] | type[ArcConv3d] | type[ArcLinear] = ArcConv2d
        if isinstance(layer, nn.Linear | ArcLinear):
            make = ArcLinear
        elif isinstance(layer, PostConv2d):
            make = ArcPostConv2d
        elif isinstance(layer, nn.Conv3d | PreConv3d):
            make = ArcConv3d
        try:
            return make.from_layer(layer, num_segments, self)
        except ValueError as error:
            raise ValueError(f"ARC: {name}: {error}") from error

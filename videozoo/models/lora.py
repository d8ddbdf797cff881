"""LoRA adapters of peft for layers that a temporal module or ARC has changed."""

from typing import Any, TypeVar

from torch import Tensor, nn
from torch.func import functional_call

from videozoo.augment.arc_layers import ArcLinear
from videozoo.surgery import PreConv2d, adopt
from videozoo.surgery.pre_conv import PreConv3d

__all__ = ["register_lora"]

Config = TypeVar("Config")
_OF_INPUTS = ("lora_dropout", "use_dora", "lora_bias")


def register_lora(config: Config) -> Config:
    """Let a ``LoraConfig`` of peft adapt the layers that a temporal module or ARC has changed.

    peft knows torch's own layers and refuses all others. Here an adapter is added to the weight, W + scale * B A,
    wherever the layer uses it: behind TSM's shift, and in every step of ARC. So merging it gives the same model.
    Merge before several threads share a model.

    Args:
        config: changed in place. peft does not save this, so call it again on a config that was loaded.
    Returns:
        the config.
    Raises:
        ImportError: peft is not installed.
    """
    from peft.tuners.lora import layer

    mapping: dict[type[nn.Module], type[nn.Module]] = {
        PreConv2d: _on_weight(layer.Conv2d, nn.Conv2d),
        PreConv3d: _on_weight(layer.Conv3d, nn.Conv3d),
        ArcLinear: _on_weight(layer.Linear, nn.Linear),
    }
    config._register_custom_module(mapping)  # type: ignore[attr-defined]
    return config


def _on_weight(adapter: Any, plain: type[nn.Module]) -> type[nn.Module]:
    """Return peft's class of adapters for ``plain``, changed to adapt the weight of a layer of another class."""

    class LoraOnWeight(adapter):  # type: ignore[misc]
        def __init__(self, base_layer: Any, adapter_name: str, **kwargs: Any) -> None:
            super().__init__(adopt(plain, base_layer), adapter_name, **kwargs)
            self.base_layer = base_layer

        def update_layer(self, adapter_name: str, *args: Any, config: Any, **kwargs: Any) -> None:
            wrong = [option for option in _OF_INPUTS if getattr(config, option)]
            if wrong:
                raise ValueError(
                    f"register_lora: {wrong[0]}={getattr(config, wrong[0])} does not work on layers that a temporal "
                    "module or ARC has changed; leave it off, or do not target them."
                )
            # peft makes the adapter's layers of the class of base_layer.
            changed, self.base_layer = self.base_layer, adopt(plain, self.base_layer)
            super().update_layer(adapter_name, *args, config=config, **kwargs)
            self.base_layer = changed

        def forward(self, x: Tensor) -> Any:
            if self.disable_adapters and self.merged:
                self.unmerge()
            weight = self.base_layer.weight
            for name in [] if self.disable_adapters or self.merged else self.active_adapters:
                if name in self.lora_A:
                    weight = weight + self.get_delta_weight(name).to(weight.dtype)
            return functional_call(self.base_layer, {"weight": weight}, (x,))

    return LoraOnWeight

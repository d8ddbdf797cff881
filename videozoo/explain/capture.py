"""Functions that capture the activations of a model on a temporary copy, so the model itself is not changed."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from videozoo.layers.causal import Causal
from videozoo.models import VideoNet
from videozoo.surgery.shared_copy import shared_copy
from videozoo.text import near_names

__all__ = [
    "Activations",
    "capture_activations",
    "capture_each",
    "check_model",
    "find_layers",
    "layer_names",
    "pick_layers",
    "private_copy",
    "to_float",
]

M = TypeVar("M", bound=nn.Module)


def private_copy(model: M) -> M:
    """Return a copy of a model's modules on the same weights, in evaluation mode and without gradients."""

    def frozen(tensor: Tensor) -> Tensor:
        is_trained = isinstance(tensor, nn.Parameter)
        return nn.Parameter(tensor.detach(), requires_grad=False) if is_trained else tensor

    other = shared_copy(model, frozen).eval()
    for module in other.modules():  # with checkpointing, hooks of stages would not run
        if getattr(module, "grad_checkpointing", False):
            module.grad_checkpointing = False  # type: ignore[assignment]
    return other


@dataclass
class Activations:
    """Inputs and outputs of modules during one forward, by module name.

    Args:
        copy: the copy of the model that ran, with the same weights.
        inputs, outputs: positional arguments and result of each captured module.
    """

    copy: nn.Module
    inputs: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    outputs: dict[str, Any] = field(default_factory=dict)


def capture_activations(
    model: nn.Module,
    clips: Tensor,
    names: Iterable[str],
    read: Callable[[nn.Module, Any], Any] = lambda _, output: output,
) -> Activations:
    """Run a copy of the model and return the inputs and outputs of the named modules.

    Args:
        model: any model. It is not changed.
        clips: input of the model.
        names: names of modules in it.
        read: function of a module and its output that returns the value to store as output, right after its forward.
    """
    captured = Activations(private_copy(model))
    for name in names:
        module = captured.copy.get_submodule(name)
        module.register_forward_pre_hook(lambda _, args, name=name: captured.inputs.update({name: _kept(args)}))
        module.register_forward_hook(
            lambda module, _, output, name=name: captured.outputs.update({name: _kept(read(module, output))})
        )
    with torch.no_grad():
        captured.copy(clips)
    return captured


def capture_each(
    model: nn.Module,
    clips: Tensor,
    names: Sequence[str],
    read: Callable[[nn.Module, Any], Any] = lambda _, output: output,
) -> Iterator[tuple[str, Any, Any, Any]]:
    """Yield name, module, first input and output of each named module, in order, after one forward.

    Each tensor is released once it is yielded, to save memory.

    Args:
        model, clips, names, read: as in :func:`capture_activations`.
    """
    captured = capture_activations(model, clips, names, read)
    for name in names:
        yield name, captured.copy.get_submodule(name), captured.inputs.pop(name)[0], captured.outputs.pop(name)


def _kept(value: Any) -> Any:
    """Return a copy of the tensors, because a later module may change them in place."""
    if isinstance(value, Tensor):
        return value.clone()
    return tuple(_kept(part) for part in value) if isinstance(value, tuple) else value


def find_layers(model: nn.Module, kinds: type[nn.Module] | tuple[type[nn.Module], ...], what: str) -> list[str]:
    """Return the names of all modules of the given classes, in order.

    Args:
        model: a model of videozoo.
        kinds: the classes.
        what: the method they belong to, such as ``"ARC"``, for the error.
    Raises:
        ValueError: there is no such module, or the model is an ensemble.
    """
    check_model(model)
    names = layer_names(model, kinds)
    if not names:
        spec: Any = model.spec
        parts = (spec.temporal, *spec.augmenters)
        title = " + ".join([spec.backbone, *(type(part).__name__ for part in parts)])
        raise ValueError(f"explain: this model has no layer of {what}; {title} is made of other parts.")
    return names


def layer_names(model: nn.Module, kinds: type[nn.Module] | tuple[type[nn.Module], ...]) -> list[str]:
    """Return the names of all modules of the given classes, without causal versions (they compute something else)."""
    modules = model.named_modules()
    return [name for name, module in modules if isinstance(module, kinds) and not isinstance(module, Causal)]


def pick_layers(names: Sequence[str], wanted: str | Sequence[str] | None) -> list[str]:
    """Return the wanted layer names, or all if ``wanted`` is None. The prefix ``backbone.`` may be omitted.

    Raises:
        ValueError: no such layer. The message lists the nearest names.
    """
    if wanted is None:
        return list(names)
    picked = []
    for name in [wanted] if isinstance(wanted, str) else wanted:
        full = name if name in names else f"backbone.{name}"
        if full not in names:
            hint = near_names(full, names, "; the nearest are {}", cutoff=0.0)
            raise ValueError(f"explain: no layer {name!r} of this kind{hint}.")
        picked.append(full)
    return picked


def check_model(model: nn.Module) -> None:
    """Raise ValueError unless the model is a single model of videozoo (not an ensemble)."""
    members = getattr(model, "members", None)
    if members is not None:
        raise ValueError(
            f"explain: this is an ensemble of {len(members)} models, each with its own frames; explain one of them "
            "(model.members[0])."
        )
    if not isinstance(model, VideoNet):
        raise ValueError(f"explain: got a {type(model).__name__}; need a model of videozoo (create_model, compose).")


def to_float(x: Tensor) -> Tensor:
    """Return x detached, as float32 on the CPU."""
    return x.detach().float().cpu()

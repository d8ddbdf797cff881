"""Look inside a model while it answers, without touching it: everything is seen on a copy that is thrown away."""

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
    "Seen",
    "check_network",
    "find_layers",
    "layer_names",
    "look",
    "look_at_each",
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
    for module in other.modules():  # recomputed stages would not be called as modules
        if getattr(module, "grad_checkpointing", False):
            module.grad_checkpointing = False  # type: ignore[assignment]
    return other


@dataclass
class Seen:
    """Inputs and outputs of some modules during one forward, by the module's name.

    Args:
        copy: the copy that ran. Its modules have the weights of the model.
        inputs, outputs: positional arguments and result of each module that was looked at.
    """

    copy: nn.Module
    inputs: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    outputs: dict[str, Any] = field(default_factory=dict)


def look(
    model: nn.Module,
    clips: Tensor,
    names: Iterable[str],
    read: Callable[[nn.Module, Any], Any] = lambda _, output: output,
) -> Seen:
    """Run a copy of the model and keep what the named modules take and give.

    Args:
        model: any model. It is not changed.
        clips: what it takes.
        names: of modules in it.
        read: what is kept as a module's output, from the module and its output, when it has just been called.
    """
    seen = Seen(private_copy(model))
    for name in names:
        module = seen.copy.get_submodule(name)
        module.register_forward_pre_hook(lambda _, args, name=name: seen.inputs.update({name: _kept(args)}))
        module.register_forward_hook(
            lambda module, _, output, name=name: seen.outputs.update({name: _kept(read(module, output))})
        )
    with torch.no_grad():
        seen.copy(clips)
    return seen


def look_at_each(
    model: nn.Module,
    clips: Tensor,
    names: Sequence[str],
    read: Callable[[nn.Module, Any], Any] = lambda _, output: output,
) -> Iterator[tuple[str, Any, Any, Any]]:
    """Name, module, first input and output of each of some modules, in order, after one forward.

    Let go one by one.

    Args:
        model, clips, names, read: as in :func:`look`.
    """
    seen = look(model, clips, names, read)
    for name in names:
        yield name, seen.copy.get_submodule(name), seen.inputs.pop(name)[0], seen.outputs.pop(name)


def _kept(value: Any) -> Any:
    """Return the same tensors as they are now: a later module may write into them."""
    if isinstance(value, Tensor):
        return value.clone()
    return tuple(_kept(part) for part in value) if isinstance(value, tuple) else value


def find_layers(model: nn.Module, kinds: type[nn.Module] | tuple[type[nn.Module], ...], what: str) -> list[str]:
    """Return the names of a model's modules of some classes, in order.

    Args:
        kinds: the classes.
        what: the method they belong to, such as ``"ARC"``, for the error.
    Raises:
        ValueError: there is none, or the model is an ensemble.
    """
    check_network(model)
    names = layer_names(model, kinds)
    if not names:
        spec: Any = model.spec
        parts = (spec.temporal, *spec.augmenters)
        title = " + ".join([spec.backbone, *(type(part).__name__ for part in parts)])
        raise ValueError(f"explain: this model has no layer of {what}; {title} is made of other parts.")
    return names


def layer_names(model: nn.Module, kinds: type[nn.Module] | tuple[type[nn.Module], ...]) -> list[str]:
    """Return the names of a model's modules of some classes.

    Causal forms, which compute something else, do not count.
    """
    modules = model.named_modules()
    return [name for name, module in modules if isinstance(module, kinds) and not isinstance(module, Causal)]


def pick_layers(names: Sequence[str], wanted: str | Sequence[str] | None) -> list[str]:
    """Return the wanted ones of some layers.

    ``backbone.`` may be left out. None: all.

    Raises:
        ValueError: no such layer. The nearest names are given.
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


def check_network(model: nn.Module) -> None:
    """Raise ValueError where a model is none of the package's single ones."""
    members = getattr(model, "members", None)
    if members is not None:
        raise ValueError(
            f"explain: this is an ensemble of {len(members)} models, each with its own frames; explain one of them "
            "(model.members[0])."
        )
    if not isinstance(model, VideoNet):
        raise ValueError(f"explain: got a {type(model).__name__}; need a model of videozoo (create_model, compose).")


def to_float(x: Tensor) -> Tensor:
    """float32 on the CPU, without a graph."""
    return x.detach().float().cpu()

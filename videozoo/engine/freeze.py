"""Freezing of parts of a model: its norms, or its backbone."""

from typing import Any

from torch import nn

from videozoo.fit_config import FitConfig


def freeze(model: nn.Module, config: FitConfig) -> list[str]:
    """Freeze the parts that the settings name.

    To be called again after each ``model.train()``, which wakes the statistics.

    Returns:
        lines about it for the log.
    Raises:
        ValueError: there is nothing to freeze, or nothing left to train.
    """
    if config.freeze_backbone:
        names = freeze_backbone(model)
        counts = [sum(p.numel() for p in model.parameters() if p.requires_grad or everything) for everything in (0, 1)]
        trained = list(dict.fromkeys(_shorten(name) for name in names))
        return [f"freeze_backbone: {counts[0]:,} of {counts[1]:,} parameters are trained: {', '.join(trained)}"]
    if config.freeze_bn:
        return [f"freeze_bn: {len(freeze_norms(model))} norms keep their statistics and affine pairs"]
    return []


def freeze_backbone(model: nn.Module) -> list[str]:
    """Train only the classifier and what temporal modules and augmenters added to the backbone.

    The other norms with running statistics are put in evaluation mode. Modules say in ``added_names`` which of their
    parameters and buffers the backbone alone does not have, as `VideoNet` does.

    Returns:
        the names of the parameters that are trained.
    Raises:
        ValueError: the classifier has no parameters, or the model names none.
    """
    head = {id(parameter) for parameter in get_head(model).parameters()}
    added, trained = _names_below(model, "added_names"), []
    for name, parameter in model.named_parameters():
        is_trained = id(parameter) in head or name in added
        parameter.requires_grad_(is_trained)
        trained += [name] if is_trained else []
    inside = {id(module) for module in get_head(model).modules()}
    for name, module in model.named_modules():
        is_norm = getattr(module, "running_mean", None) is not None
        if is_norm and id(module) not in inside and f"{name}.running_mean" not in added:
            module.eval()
    return trained


def freeze_norms(model: nn.Module) -> list[str]:
    """Put every module with running statistics in evaluation mode and stop training its weight and bias.

    Returns:
        the names of the modules.
    Raises:
        ValueError: there is none.
    """
    names = []
    for name, module in model.named_modules():
        if getattr(module, "running_mean", None) is None:
            continue
        module.eval()
        for affine in (getattr(module, "weight", None), getattr(module, "bias", None)):
            if isinstance(affine, nn.Parameter):
                affine.requires_grad_(False)
        names.append(name)
    if not names:
        raise ValueError(
            f"freeze_norms: {type(model).__name__} has no module with running statistics; leave freeze_bn off."
        )
    return names


def get_head(model: nn.Module) -> nn.Module:
    """Return the classifier of a model.

    Raises:
        ValueError: it has none with parameters, or no ``get_classifier()``.
    """
    give: Any = getattr(model, "get_classifier", None)
    head = None if give is None else give()
    if not isinstance(head, nn.Module) or not any(True for _ in head.parameters()):
        raise ValueError(
            f"{type(model).__name__} has no classifier with parameters in get_classifier(); freeze_backbone and "
            "head_lr_scale need one."
        )
    return head


def addon_parameters(model: nn.Module) -> list[nn.Parameter]:
    """Return the parameters that ARC, DNR or TPN added to a model. Modules name them in ``addon_names``.

    Raises:
        ValueError: there are none.
    """
    names = _names_below(model, "addon_names")
    found = [parameter for name, parameter in model.named_parameters() if name in names]
    if not found:
        raise ValueError(f"{type(model).__name__} has no parameters of an add-on; leave addon_lr_scale out.")
    return found


def _names_below(model: nn.Module, attribute: str) -> set[str]:
    """Return the names in an attribute of the model and of its modules, with the modules' own names before them."""
    return {
        f"{prefix}.{name}".lstrip(".")
        for prefix, module in model.named_modules()
        for name in getattr(module, attribute, ())
    }


def _shorten(name: str) -> str:
    """Shorten ``backbone.layer2.0.conv2.embed.weight`` to ``backbone.layer2.*``."""
    parts = name.split(".")
    return name if len(parts) <= 2 else ".".join([*parts[:2], "*"])

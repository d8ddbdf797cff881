"""Functions that replace and insert modules. Each creates all new modules before it changes the model."""

from collections import defaultdict
from collections.abc import Callable
from typing import Any, Literal

from torch import nn

from videozoo.surgery.pre_conv import PreConv2d
from videozoo.surgery.sites import Block, find_blocks
from videozoo.surgery.stages import feature_rows, find_backbones, stage_modules, stage_prefixes

__all__ = [
    "Plan",
    "find_spatial",
    "insert_before",
    "plan_append",
    "plan_before",
    "reparameterizer",
    "replace_modules",
    "set_submodule",
    "stage_names",
    "write_plan",
]

Plan = dict[str, nn.Module]  # new modules by dotted name


def set_submodule(net: nn.Module, name: str, module: nn.Module) -> None:
    """Replace the module at the dotted ``name`` of ``net`` by ``module``.

    ``module`` and its new submodules get the mode (training or evaluation) of the replaced module. torch's method of
    the same name does not set it.

    Raises:
        AttributeError: ``net`` has no module of that name.
    """
    old = net.get_submodule(name)
    shared = set(old.modules())  # these keep their own mode, as they may be frozen on purpose
    for new in module.modules():
        if new not in shared:
            new.training = old.training
    parent, _, child = name.rpartition(".")
    setattr(net.get_submodule(parent), child, module)


def write_plan(net: nn.Module, plan: Plan) -> list[str]:
    """Put every module of a plan into the model and return the names.

    A module registered under several names is replaced under each. A new name becomes a new child with the mode, dtype
    and device of its parent.
    """
    names: dict[nn.Module, list[str]] = defaultdict(list)
    for name, module in net.named_modules(remove_duplicate=False):
        names[module].append(name)
    old = {name: module for module, own in names.items() for name in own}
    for name, module in plan.items():
        if name in old:
            for alias in names[old[name]]:
                set_submodule(net, alias, module)
        else:
            parent, _, child = name.rpartition(".")
            place = net.get_submodule(parent)
            like = next(place.parameters())
            place.add_module(child, module.train(place.training).to(like.device, like.dtype))
    return list(plan)


def replace_modules(
    net: nn.Module, match: Callable[[nn.Module, str], bool], make: Callable[[nn.Module, str], nn.Module]
) -> list[str]:
    """Replace every submodule for which ``match(module, name)`` is true by ``make(module, name)``.

    All replacements are created before the first is written. So ``make`` never sees a replaced module, and the model
    is unchanged if it raises. A module with several names is created once and replaced under all of them.

    Returns:
        the names of the replaced modules, in order of registration. Empty if nothing matched.
    """
    found = [(name, module) for name, module in net.named_modules() if name and match(module, name)]
    return write_plan(net, {name: make(module, name) for name, module in found})


Site = Literal["first_conv", "second_conv", "shortcut"]


def insert_before(
    net: nn.Module,
    make: Callable[[Any], nn.Module],
    *,
    site: Site = "first_conv",
    stages: tuple[int, ...] | None = None,
    every_other: bool = False,
) -> list[str]:
    """Insert ``make(conv)`` before the first or the second convolution of every residual branch, or on the shortcut.

    Only the branch sees it, not the shortcut. ``site="shortcut"`` is the other way round, in blocks whose shortcut has
    a convolution. Blocks without an expanding first convolution, and inverted residuals
    without a shortcut, are left as they are (:class:`~videozoo.surgery.sites.BlockSites`).

    Args:
        net: the model, changed in place. Original parameters and keys stay.
        make: returns the module for one convolution. Its keys are under ``<conv>.pre``.
        site: which convolution.
        stages: numbers of the stages to change. None for all.
        every_other: take blocks 0, 2, 4, ... of each stage only.
    Returns:
        the names of the convolutions that were changed.
    Raises:
        ValueError: no block is known, a convolution already runs something first, or its class is unknown. The model
            is left as it was.
    """
    return write_plan(net, plan_before(net, make, site=site, stages=stages, every_other=every_other))


def plan_before(
    net: nn.Module,
    make: Callable[[Any], nn.Module],
    *,
    site: Site = "first_conv",
    stages: tuple[int, ...] | None = None,
    every_other: bool = False,
) -> Plan:
    """Return the modules that :func:`insert_before` would insert, without changing the model."""
    plan: Plan = {}
    made: dict[nn.Module, nn.Module] = {}  # a block may have several names
    prefixes = ("",) if stages is None else tuple(f"{m}." for stage in stages for m in stage_names(net, stage))
    for block in find_blocks(net):
        child = _site_in(block, site)
        if child is None or (every_other and block.index % 2) or not block.name.startswith(prefixes):
            continue
        if block.sites.only_with_skip and not getattr(block.module, "has_skip", True):
            continue
        name = f"{block.name}.{child}"
        conv = net.get_submodule(name)
        if conv not in made:
            made[conv] = _with_pre(net, name, conv, make)
        plan[name] = made[conv]
    if not plan:
        raise ValueError(
            f"insert_before: no residual block with a known {site.replace('_conv', ' convolution')} in "
            f"{type(net).__name__}; use a timm ResNet, RegNet, MobileNet or EfficientNet, or add the block's class to "
            "BLOCK_SITES."
        )
    return plan


def find_spatial(
    net: nn.Module, *, owner: str, stages: tuple[int, ...] | None = None, skip_first: bool = False
) -> list[tuple[Block, str, Any]]:
    """Return block, name and module of the first spatial convolution of every block, all dense 3x3 ``nn.Conv2d``.

    Args:
        net: the model.
        owner: name of the method, for messages.
        stages: numbers of the stages. None for all.
        skip_first: leave out block 0 of each stage.
    Raises:
        ValueError: there is no such block, or one of these convolutions is no dense 3x3 ``nn.Conv2d``, or is in a block
            that is re-parameterized for inference.
    """
    prefixes = ("",) if stages is None else stage_prefixes(net, stages)
    found: list[tuple[Block, str, Any]] = []
    for block in find_blocks(net):
        is_left_out = (skip_first and block.index == 0) or not block.name.startswith(prefixes)
        if block.sites.spatial_conv is None or is_left_out:
            continue
        name = f"{block.name}.{block.sites.spatial_conv}"
        conv: Any = net.get_submodule(name)
        why = _why_not_spatial(conv) or reparameterizer(net, name)
        if why is not None:
            raise ValueError(f"{owner}: {name} {why}")
        found.append((block, name, conv))
    if not found:
        where = f" in stages {stages}" if stages else ""
        where += ", the first of each stage left out" if skip_first else ""
        raise ValueError(
            f"{owner}: no residual block with a known 3x3 convolution in {type(net).__name__}{where}; use a ResNet of "
            "timm, such as 'resnet50'."
        )
    return found


def _why_not_spatial(conv: Any) -> str | None:
    """Return the reason why a module is no plain dense 3x3 convolution, or None."""
    if type(conv) is not nn.Conv2d:
        return f"is a {type(conv).__name__}; need an nn.Conv2d of 3x3. Apply this method first, on a ResNet of timm."
    if conv.groups > 1:
        kind = "depth-wise" if conv.groups == conv.in_channels else "grouped"
        return f"is a {kind} convolution; need a dense 3x3. Use a ResNet of timm, such as 'resnet50'."
    if conv.kernel_size != (3, 3) or isinstance(conv.padding, str) or conv.padding != conv.dilation:
        return f"has kernel {conv.kernel_size} and padding {conv.padding}; need a 3x3 that keeps the size of the map."
    return None


def _site_in(block: Block, site: Site) -> str | None:
    """Return the name in the block of the convolution at a site, or None if the block has none."""
    child: str | None = getattr(block.sites, site)
    if site != "shortcut" or child is None:
        return child
    # Before the convolution, behind the pooling of a ResNet-D: a shift over time and a pooling over space commute.
    convs = [name for name, module in block.module.named_modules() if type(module) in PreConv2d.known]
    return next((name for name in convs if name.startswith(f"{child}.")), None)


def _with_pre(net: nn.Module, name: str, conv: Any, make: Callable[[Any], nn.Module]) -> nn.Module:
    if isinstance(conv, PreConv2d) and type(conv.pre) is not nn.Identity:
        raise ValueError(
            f"insert_before: {name} is already a {type(conv).__name__} that runs a {type(conv.pre).__name__}; apply at "
            "most one method that works before that convolution."
        )
    if type(conv) not in PreConv2d.known and not isinstance(conv, PreConv2d):
        raise ValueError(f"insert_before: {name} is a {type(conv).__name__}; need an nn.Conv2d.")
    merging = reparameterizer(net, name)
    if merging is not None:
        raise ValueError(f"insert_before: {name} {merging}")
    try:
        like = next(conv.parameters(), None)  # from_conv refuses a conv without parameters
        pre = make(conv)
        return PreConv2d.from_conv(conv, pre if like is None else pre.to(like.device, like.dtype))
    except ValueError as error:
        raise ValueError(f"insert_before: {name}: {error}") from error


def reparameterizer(net: nn.Module, name: str) -> str | None:
    """Return the reason why the convolution at ``name`` must not change, or None.

    A module around it may merge weights for inference (timm's ``reparameterize_model`` calls the merging method). The
    merged convolution is built from the weights only, so a changed layer would be dropped silently.
    """
    parts = name.split(".")
    for end in range(1, len(parts)):
        module = net.get_submodule(".".join(parts[:end]))
        method = next((m for m in ("fuse", "reparameterize", "switch_to_deploy") if hasattr(module, m)), None)
        if method is not None:
            return (
                f"is part of a {type(module).__name__}, whose {method}() merges its weights for inference and would "
                "drop what is added there; use a backbone without re-parameterization."
            )
    return None


def stage_names(net: nn.Module, stage: int) -> list[str]:
    """Return the names of the top-level modules of one stage, 1 to 4.

    Raises:
        ValueError: the model does not give its stages, or has no such stage.
    """
    stages = stage_modules(net)
    if stages is None or not 1 <= stage <= len(stages):
        have = "does not give its stages" if stages is None else f"has stages 1 to {len(stages)}"
        raise ValueError(f"stage {stage} does not exist: {type(net).__name__} {have}.")
    return stages[stage - 1]


def plan_append(net: nn.Module, stage: int, name: str, make: Callable[[int], nn.Module]) -> Plan:
    """Return new last children for a stage, without changing the model.

    Args:
        net: the model. Each backbone in it gets its own module.
        stage: 1 to 4.
        name: name of the new child.
        make: returns the module for the number of output channels of the stage.
    Raises:
        ValueError: no such stage, or its last part is no ``nn.Sequential``.
    """
    stage_names(net, stage)  # raises if there is no such stage
    plan: Plan = {}
    for prefix, backbone in find_backbones(net):
        own = stage_names(backbone, stage)[-1]
        last = f"{prefix}.{own}" if prefix else own
        parent = net.get_submodule(last)
        if type(parent) is not nn.Sequential:
            raise ValueError(f"append_to_stage: {last} is a {type(parent).__name__}; need an nn.Sequential.")
        rows = feature_rows(backbone) or []
        channels = next((row["num_chs"] for row in rows if row["module"] == own), None)
        if channels is None:
            raise ValueError(f"append_to_stage: {type(backbone).__name__} does not give the channels of {last}.")
        plan[f"{last}.{name}"] = make(channels)
    return plan

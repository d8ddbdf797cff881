"""Functions that find the norms that DNR changes: in known block classes, otherwise in modules that look like one."""

from collections.abc import Iterator

from torch import nn

from videozoo.augment.dynamic_norm import DynamicNorm2d
from videozoo.augment.norm_types import NORM_NAMES, NORM_TYPES, channels_of
from videozoo.layers import time_aware
from videozoo.nets import is_3d
from videozoo.surgery import Block, BlockSites, find_blocks
from videozoo.surgery.sites import SEQUENCES

__all__ = ["check_fraction", "find_pairs", "mixes_time", "norms_at", "runs_of", "takes_clips"]

_LISTS = (nn.ModuleList, nn.ModuleDict)  # containers without a forward
_SHORTCUTS = ("shortcut", "downsample", "skip")
_ENDS = ("stem", "head", "classifier")
_NORMS = (nn.modules.batchnorm._BatchNorm, nn.GroupNorm, nn.LayerNorm, DynamicNorm2d)
_MIN_FRACTION = 0.4


def find_pairs(net: nn.Module) -> tuple[list[Block], bool]:
    """Return the blocks that have a first and a second norm, and whether their class is known.

    In a model without known blocks, a block is a module that directly holds two or more norms and a spatial
    convolution. Norms in a ``ModuleList`` count too. Excluded are stems, heads, shortcuts, modules inside a block with
    a shortcut, and modules that contain another such module.

    Raises:
        ValueError: there is no block.
    """
    known = find_blocks(net)
    blocks = known or list(_pairs_by_norms(net))
    if blocks:
        return blocks, bool(known)
    dynamic = next((name for name, module in net.named_modules() if isinstance(module, DynamicNorm2d)), None)
    why = (
        f"no module in it holds two norms of the kinds {NORM_NAMES} and a spatial convolution, as a residual block does"
        if dynamic is None
        else f"{dynamic} is a dynamic norm already"
    )
    raise ValueError(f"DNR: nothing to change in {type(net).__name__}: {why}.")


def _pairs_by_norms(net: nn.Module) -> Iterator[Block]:
    found = {name: norms for name, module in _backbone_modules(net) if len(norms := _own_norms(module)) >= 2}
    for name, norms in found.items():
        around = any(other != name and other.startswith(f"{name}." if name else "") for other in found)
        if around or _is_apart(net, name):
            continue
        parent, _, child = name.rpartition(".")
        index = [key for key, _ in net.get_submodule(parent).named_children()].index(child) if child else 0
        second = norms[1].rpartition(".")[0] or norms[1]  # the whole list: Res2Net's norms of the scales
        if norms[0].startswith(f"{second}."):
            second = norms[1]
        yield Block(name, net.get_submodule(name), parent, index, BlockSites(None, "", norms[0], second))


def _backbone_modules(net: nn.Module) -> list[tuple[str, nn.Module]]:
    """Return all modules except those inside temporal modules, which have norms too."""
    added = [name for name, module in net.named_modules() if type(module).__module__.startswith("videozoo.layers.")]
    inside = tuple(f"{name}." for name in added)
    return [(name, module) for name, module in net.named_modules() if not f"{name}.".startswith(inside)]


def _conv_size(module: nn.Module) -> tuple[int, ...]:
    """Return the kernel size of a convolution (also of a ``PreConv``), or () for any other module."""
    is_conv = hasattr(module, "in_channels") and isinstance(getattr(module, "kernel_size", None), tuple)
    return tuple(module.kernel_size) if is_conv else ()  # type: ignore[arg-type]


def _own_norms(module: nn.Module) -> list[str]:
    """Return the names of the norms that a module directly holds, if it also holds a spatial convolution."""
    if isinstance(module, _LISTS):
        return []
    own = dict(module.named_children())
    for name, child in list(own.items()):
        if isinstance(child, nn.ModuleList):
            own |= {f"{name}.{key}": part for key, part in child.named_children()}
    if max(max(_conv_size(part), default=0) for part in [*own.values(), module]) <= 1:
        return []
    order = [name for name, _ in module.named_modules() if name in own]
    return [name for name in order if type(own[name]) in NORM_TYPES]


def _is_apart(net: nn.Module, name: str) -> bool:
    """Return whether a module is a shortcut, a stem or a head, or is inside a block that has a shortcut."""
    parts = name.split(".")
    if any(part in _SHORTCUTS or part.startswith(_ENDS) for part in parts):
        return True
    outer = (net.get_submodule(".".join(parts[:i])) for i in range(1, len(parts)))
    return any(hasattr(module, shortcut) for module in outer for shortcut in _SHORTCUTS)


def norms_at(block: Block, site: str) -> list[str]:
    """Return the full names of the norms at a site of a block: one, or all of a ``ModuleList``.

    Raises:
        ValueError: the site holds something else.
    """
    path: str = getattr(block.sites, site)
    name = f"{block.name}.{path}" if block.name else path
    module = block.module.get_submodule(path)
    rows = [(name, module)]
    if isinstance(module, nn.ModuleList):
        rows = [(f"{name}.{key}", norm) for key, norm in module.named_children()]
    for name, norm in rows:
        if isinstance(norm, DynamicNorm2d):
            raise ValueError(f"DNR: {name} is a dynamic norm already; apply DNR once.")
        if type(norm) not in NORM_TYPES:
            raise ValueError(f"DNR: {name} is a {type(norm).__name__}; need one of {NORM_NAMES}.")
    return [name for name, _ in rows]


def check_fraction(net: nn.Module, num_reached: int) -> None:
    """Raise if DNR reaches too few of the norms, a sign that the blocks were not recognized.

    Raises:
        ValueError: fewer than two in five norms are in ``num_reached``.
    """
    total = sum(isinstance(module, _NORMS) for _, module in _backbone_modules(net))
    if num_reached < _MIN_FRACTION * total:
        raise ValueError(
            f"DNR: of the {total} norms of {type(net).__name__} only {num_reached} are in blocks that it knows or "
            "recognizes, so most of the model would stay plain; use another backbone, or add the class of its blocks "
            "to BLOCK_SITES."
        )


def takes_clips(net: nn.Module, name: str) -> bool:
    """Return whether the input of a norm is clips (B, C, T, H, W), judged by its class or by nearby convolutions."""
    norm = net.get_submodule(name)
    if isinstance(norm, nn.BatchNorm2d | nn.BatchNorm3d):
        return isinstance(norm, nn.BatchNorm3d)
    parts = name.split(".")
    for i in range(len(parts) - 1, -1, -1):  # the nearest convolutions decide
        sizes = {len(_conv_size(module)) for module in net.get_submodule(".".join(parts[:i])).modules()} & {2, 3}
        if len(sizes) == 1:
            return sizes == {3}
    return is_3d(net)


def mixes_time(net: nn.Module) -> bool:
    """Return whether some layer uses the order of frames: a convolution over time, or one that sets ``mixes_time``."""
    sizes = map(_conv_size, net.modules())
    return time_aware.mixes_time(net) or any(len(size) == 3 and size[0] > 1 for size in sizes)


def runs_of(net: nn.Module, site: dict[Block, str]) -> dict[str, list[list[Block]]]:
    """Return the blocks of each parent as runs that can share a relay.

    A run is consecutive blocks of an ``nn.Sequential``, of the same branch, with the same number of channels.
    """

    def channels(block: Block) -> int:
        return channels_of(net.get_submodule(site[block]))

    runs: dict[str, list[list[Block]]] = {}
    before: dict[int, Block] = {}  # by branch
    for block in site:
        last = before.get(block.branch)
        row = runs.setdefault(block.parent, [])
        is_stage = block.parent and type(net.get_submodule(block.parent)) in SEQUENCES
        if last is not None and is_stage and last.parent == block.parent and channels(last) == channels(block):
            next(run for run in row if run[-1] is last).append(block)
        else:
            row.append([block])
        before[block.branch] = block
    return runs

"""Search for the norms that DNR changes: in known blocks by class, else in modules that look like a block."""

from collections.abc import Iterator

from torch import nn

from videozoo.augment.dynamic_norm import DynamicNorm2d
from videozoo.augment.norm_types import NORM_NAMES, NORM_TYPES, channels_of
from videozoo.layers import time_aware
from videozoo.nets import is_3d
from videozoo.surgery import Block, BlockSites, find_blocks
from videozoo.surgery.sites import SEQUENCES

__all__ = ["check_share", "find_pairs", "mixes_time", "norms_at", "runs_of", "takes_clips"]

_LISTS = (nn.ModuleList, nn.ModuleDict)  # compute nothing
_SHORTCUTS = ("shortcut", "downsample", "skip")
_ENDS = ("stem", "head", "classifier")
_NORMS = (nn.modules.batchnorm._BatchNorm, nn.GroupNorm, nn.LayerNorm, DynamicNorm2d)
_LEAST_SHARE = 0.4


def find_pairs(net: nn.Module) -> tuple[list[Block], bool]:
    """Return the blocks with a first and a second norm, and whether their class is known.

    In a model without known blocks these are the modules that hold two norms or more and a spatial convolution
    themselves, a list of norms counting as theirs. Stems, heads, shortcuts, what lies inside a block with a shortcut,
    and modules around other such modules are none.

    Raises:
        ValueError: there is none.
    """
    known = find_blocks(net)
    blocks = known or list(_pairs_by_norms(net))
    if blocks:
        return blocks, bool(known)
    has = next((name for name, module in net.named_modules() if isinstance(module, DynamicNorm2d)), None)
    why = (
        f"no module in it holds two norms of the kinds {NORM_NAMES} and a spatial convolution, as a residual block does"
        if has is None
        else f"{has} is a dynamic norm already"
    )
    raise ValueError(f"DNR: nothing to change in {type(net).__name__}: {why}.")


def _pairs_by_norms(net: nn.Module) -> Iterator[Block]:
    found = {name: norms for name, module in _backbone_modules(net) if len(norms := _own_norms(module)) >= 2}
    for name, norms in found.items():
        around = any(other != name and other.startswith(f"{name}." if name else "") for other in found)
        if around or _is_apart(net, name):
            continue
        parent, _, leaf = name.rpartition(".")
        index = [key for key, _ in net.get_submodule(parent).named_children()].index(leaf) if leaf else 0
        second = norms[1].rpartition(".")[0] or norms[1]  # all of a list: Res2Net's norms of the scales
        if norms[0].startswith(f"{second}."):
            second = norms[1]
        yield Block(name, net.get_submodule(name), parent, index, BlockSites(None, "", norms[0], second))


def _backbone_modules(net: nn.Module) -> list[tuple[str, nn.Module]]:
    """Return all modules but those of the temporal modules, which have norms of their own."""
    added = [name for name, module in net.named_modules() if type(module).__module__.startswith("videozoo.layers.")]
    inside = tuple(f"{name}." for name in added)
    return [(name, module) for name, module in net.named_modules() if not f"{name}.".startswith(inside)]


def _conv_size(module: nn.Module) -> tuple[int, ...]:
    """Kernel of a convolution, also of one that runs something first. Empty for another module."""
    is_conv = hasattr(module, "in_channels") and isinstance(getattr(module, "kernel_size", None), tuple)
    return tuple(module.kernel_size) if is_conv else ()  # type: ignore[arg-type]


def _own_norms(module: nn.Module) -> list[str]:
    """Return the names of a module's own norms, if it has a spatial convolution beside them."""
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
    """Return whether a module is a shortcut, a stem or a head, or a part of a block that has a shortcut."""
    parts = name.split(".")
    if any(part in _SHORTCUTS or part.startswith(_ENDS) for part in parts):
        return True
    outer = (net.get_submodule(".".join(parts[:i])) for i in range(1, len(parts)))
    return any(hasattr(module, shortcut) for module in outer for shortcut in _SHORTCUTS)


def norms_at(block: Block, site: str) -> list[str]:
    """Full names of the norms at a site of a block: one, or those of a list.

    Raises:
        ValueError: the site holds something else.
    """
    leaf: str = getattr(block.sites, site)
    name = f"{block.name}.{leaf}" if block.name else leaf
    module = block.module.get_submodule(leaf)
    rows = [(name, module)]
    if isinstance(module, nn.ModuleList):
        rows = [(f"{name}.{key}", norm) for key, norm in module.named_children()]
    for name, norm in rows:
        if isinstance(norm, DynamicNorm2d):
            raise ValueError(f"DNR: {name} is a dynamic norm already; apply DNR once.")
        if type(norm) not in NORM_TYPES:
            raise ValueError(f"DNR: {name} is a {type(norm).__name__}; need one of {NORM_NAMES}.")
    return [name for name, _ in rows]


def check_share(net: nn.Module, num_reached: int) -> None:
    """Raise where so few of the model's norms are reached that its blocks cannot have been recognized.

    Raises:
        ValueError: less than two in five.
    """
    total = sum(isinstance(module, _NORMS) for _, module in _backbone_modules(net))
    if num_reached < _LEAST_SHARE * total:
        raise ValueError(
            f"DNR: of the {total} norms of {type(net).__name__} only {num_reached} lie in blocks that it knows or "
            "recognizes, so most of the model would stay plain; use another backbone, or add the class of its blocks "
            "to BLOCK_SITES."
        )


def takes_clips(net: nn.Module, name: str) -> bool:
    """Return whether a norm sees clips (B, C, T, H, W), by its class or the convolutions around it."""
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
    """Return whether some layer sees several frames in order: it is a convolution over time or declares it."""
    sizes = map(_conv_size, net.modules())
    return time_aware.mixes_time(net) or any(len(size) == 3 and size[0] > 1 for size in sizes)


def runs_of(net: nn.Module, site: dict[Block, str]) -> dict[str, list[list[Block]]]:
    """Return the blocks by parent, cut into runs that can share a relay: neighbors in a sequence, one branch, equal
    channels.
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

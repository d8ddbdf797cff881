"""Fusion of batch norms and activations into convolutions, for pairs that a recorded forward proves."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from timm.layers import BatchNormAct2d, Conv2dSame
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakTensorKeyDictionary

from videozoo.augment.arc_layers import ArcConv2d, ArcConv3d
from videozoo.surgery import PreConv2d, set_submodule
from videozoo.surgery.fused_conv import ACTIVATIONS, FusedConv2d, FusedConv3d
from videozoo.surgery.pre_conv import PreConv3d, has_hooks

__all__ = ["fuse_convs"]

# Exact classes: an unknown subclass may compute something else.
_FUSED: dict[type[nn.Module], Any] = {
    nn.Conv2d: FusedConv2d,
    Conv2dSame: FusedConv2d,
    PreConv2d: FusedConv2d,
    nn.Conv3d: FusedConv3d,
    PreConv3d: FusedConv3d,
}
_ARC = (ArcConv2d, ArcConv3d)
_NORMS: tuple[type[nn.Module], ...] = (nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm, BatchNormAct2d)


class _Value:
    """Tensor of a recorded forward: how many operations read it, and which watched modules took it as input."""

    def __init__(self) -> None:
        self.reads = 0
        self.takers: list[nn.Module] = []


class _CountReads(TorchDispatchMode):
    def __init__(self, values: WeakTensorKeyDictionary) -> None:
        super().__init__()
        self.values = values

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        for leaf in tree_leaves((args, kwargs or {})):
            if isinstance(leaf, Tensor) and leaf in self.values:
                self.values[leaf].reads += 1
        return func(*args, **(kwargs or {}))


class _Links:
    """Links of a recorded forward: modules whose output is read by one other module and by nothing else.

    The forward is seen operation by operation, whichever function called it. A link from one module to another
    means: each ran once, each of their parameters and buffers was read by at most one operation, the second got the
    very tensor that the first returned, and a single operation read it.
    """

    def __init__(self) -> None:
        self.calls: Counter[nn.Module] = Counter()
        self._values = WeakTensorKeyDictionary()  # not by id: tensors die, and others get their numbers
        self._outputs: dict[nn.Module, _Value] = {}

    @contextmanager
    def watching(self, net: nn.Module, watched: Callable[[nn.Module], bool]) -> Iterator[None]:
        """Record the forward that runs inside.

        The hooks are removed at the end.
        """
        for tensor in (*net.parameters(), *net.buffers()):
            self._values[tensor] = _Value()
        handles = []
        for module in filter(watched, net.modules()):
            handles += [module.register_forward_pre_hook(self._take), module.register_forward_hook(self._give)]
        try:
            with _CountReads(self._values):
                yield
        finally:
            for handle in handles:
                handle.remove()

    def _take(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        self.calls[module] += 1
        if args and isinstance(args[0], Tensor) and args[0] in self._values:
            self._values[args[0]].takers.append(module)

    def _give(self, module: nn.Module, args: tuple[Any, ...], out: Any) -> None:
        if isinstance(out, Tensor):  # an activation in place gives its input: a new value in the same tensor
            self._outputs[module] = self._values[out] = _Value()

    def keep(self, out: Any) -> None:
        """Mark the outputs of the model as read by its caller."""
        for leaf in tree_leaves(out):
            if isinstance(leaf, Tensor) and leaf in self._values:
                self._values[leaf].reads += 1

    def owns_its_weights(self, module: nn.Module) -> bool:
        """Return whether the module ran once and none of its tensors was read twice, in it or elsewhere."""
        own = (*module.parameters(recurse=False), *module.buffers(recurse=False))
        return self.calls[module] == 1 and all(self._values[tensor].reads <= 1 for tensor in own)

    def reader(self, module: nn.Module) -> nn.Module | None:
        """Return the watched module that alone reads the output of ``module``, which ran once."""
        value = self._outputs.get(module)
        if value is None or self.calls[module] != 1 or value.reads != 1 or len(value.takers) != 1:
            return None
        return value.takers[0]


def _record(net: nn.Module, run: Callable[[], Any]) -> tuple[_Links, Any]:
    """Watch the convolutions, norms and activations of ``net`` while ``run()`` runs it once. Returns its result too."""
    links = _Links()
    kinds = (*_FUSED, *_ARC, *_NORMS, *ACTIVATIONS)
    with links.watching(net, lambda module: type(module) in kinds):
        out = run()
    links.keep(out)
    return links, out


def fuse_convs(net: nn.Module, run: Callable[[], Any]) -> Any:
    """Replace every 2-D and 3-D convolution by a fused one that contains its norm and activation, in place.

    Fused norms and activations become ``nn.Identity``. The other keys stay. Modules with hooks, or with parameters that
    others use too, are left as they are. An ARC layer feeds its output groups back before the norm, so it has its own
    method ``fold(scale, shift)``.

    Args:
        net: a model in evaluation mode.
        run: a function that runs the model once.
    Returns:
        the result of ``run()`` before any change.
    """
    links, out = _record(net, run)
    names = {module: name for name, module in net.named_modules()}
    shared = Counter(id(module) for _, module in net.named_modules(remove_duplicate=False))
    taken: Counter[nn.Module] = Counter()  # calls of each activation that a convolution can do
    pairs: list[tuple[Any, nn.Module]] = []
    for name, conv in list(net.named_modules()):
        is_plain = type(conv) in _FUSED
        if not (is_plain or type(conv) in _ARC) or has_hooks(conv) or shared[id(conv)] > 1:
            continue
        if is_plain and not links.owns_its_weights(conv):
            continue
        new = _FUSED[type(conv)].from_conv(conv) if is_plain else conv
        last: nn.Module = conv
        norm = links.reader(conv)
        if norm is not None and _is_foldable(norm) and links.owns_its_weights(norm) and shared[id(norm)] == 1:
            scale, shift = _affine_of(norm)
            new.take_affine(scale, shift) if is_plain else new.fold(scale, shift)
            set_submodule(net, names[norm], norm.act if isinstance(norm, BatchNormAct2d) else nn.Identity())
            last = norm
        if is_plain:
            set_submodule(net, name, new)
            own = last.act if isinstance(last, BatchNormAct2d) else None
            act = links.reader(last) if own is None or type(own) is nn.Identity else own
            if act is not None and type(act) in ACTIVATIONS and not has_hooks(act):
                pairs.append((new, act))
                taken[act] += 1
    for new, act in pairs:
        if taken[act] == links.calls[act]:  # one module may act at several places
            new.take_activation(act)
    for name, module in list(net.named_modules(remove_duplicate=False)):
        if taken[module] and taken[module] == links.calls[module]:
            set_submodule(net, name, nn.Identity())
    return out


def _is_foldable(norm: Any) -> bool:
    if type(norm) not in _NORMS or has_hooks(norm) or norm.training or norm.running_mean is None:
        return False
    return not isinstance(norm, BatchNormAct2d) or type(norm.drop) is nn.Identity


def _affine_of(norm: Any) -> tuple[Tensor, Tensor]:
    """Return scale and shift of a norm in evaluation, in float64."""
    mean, var = norm.running_mean.cpu().double(), norm.running_var.cpu().double()
    scale = (var + norm.eps).rsqrt()
    shift = -mean * scale
    if norm.weight is not None:
        weight, bias = (v.detach().cpu().double() for v in (norm.weight, norm.bias))
        scale, shift = scale * weight, shift * weight + bias
    return scale, shift

"""Read a pickle without running anything in it: classes and functions that it names become inert stand-ins."""

# A pickle is a program that may call any function of any module. Here no name is ever looked up: only tensors, arrays
# and plain containers are made, by the code of this file. `torch.load(weights_only=True)` is as safe, but refuses a
# whole file for one foreign class, and reads neither pickles above protocol 2 nor those of `pickle.dump`.

import io
import math
import pickle
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

__all__ = ["Array", "Inert", "InertUnpickler", "Storage"]

_STORAGES = {
    **{"DoubleStorage": torch.float64, "FloatStorage": torch.float32, "HalfStorage": torch.float16},
    **{"BFloat16Storage": torch.bfloat16, "LongStorage": torch.int64, "IntStorage": torch.int32},
    **{"ShortStorage": torch.int16, "CharStorage": torch.int8, "ByteStorage": torch.uint8, "BoolStorage": torch.bool},
    **{"UntypedStorage": torch.uint8, "ComplexFloatStorage": torch.complex64},
}
# An expanded tensor has more numbers than its storage. Above this it would be an attack on the memory.
_MOST_EXPANDED = 2**28


class Inert(dict[Any, Any]):
    """Placeholder for an object of a foreign class.

    Each class has its own subclass.

    ``name`` is that of the class or function, ``args`` are of the call that was not made, ``state`` is what
    ``__setstate__`` would have got. The entries of a subclass of ``dict`` are the entries here.
    """

    name: ClassVar[str] = "a foreign object"
    args: tuple[Any, ...]
    state: Any

    def __new__(cls, *args: Any, **options: Any) -> "Inert":
        made = super().__new__(cls)
        made.args, made.state = args, None
        return made

    def __init__(self, *args: Any, **options: Any) -> None:
        """Take no entries from the arguments, as a dictionary would."""

    def __call__(self, *args: Any) -> "Inert":
        return Inert(*args)

    def __repr__(self) -> str:
        return f"<{self.name}>"

    def __hash__(self) -> int:  # type: ignore[override]
        return id(self)

    def __eq__(self, other: object) -> bool:
        return self is other

    def extend(self, values: list[Any]) -> None:
        """Drop the elements of a foreign list."""

    def add(self, value: Any) -> None:
        """Drop an element of a foreign set."""


class Array(Inert):
    """An array of numpy: its ``state`` is a version, the shape, the type, whether the order is Fortran's, the bytes."""

    name = "numpy.ndarray"

    def tensor(self) -> Tensor:
        """Return its numbers, (shape of the array).

        Raises:
            ValueError: it holds no numbers.
        """
        _, shape, dtype, is_fortran, data = self.state
        if isinstance(data, str):  # bytes of Python 2
            data = data.encode("latin1")
        if not isinstance(dtype, Inert) or not isinstance(data, bytes | bytearray):
            raise ValueError("an array that holds no numbers")
        order = dtype.state[1] if dtype.state and dtype.state[1] in ("<", ">") else "="
        kind = np.dtype(f"{order}{dtype.args[0]}")
        if kind.kind not in "fiub":
            raise ValueError(f"an array of {kind}, not of numbers")
        values = np.frombuffer(data, kind).reshape(shape, order="F" if is_fortran else "C")
        return torch.from_numpy(values.astype(kind.newbyteorder("="), order="C"))


@dataclass(frozen=True)
class Storage:
    """Bytes of tensors, the type of the numbers in them, and the number at which it begins."""

    data: torch.UntypedStorage
    dtype: torch.dtype
    start: int = 0


class InertUnpickler(pickle._Unpickler):
    """An unpickler that makes tensors, arrays and plain containers, and stand-ins for all else.

    Args:
        file: the pickle.
        load_storage: returns the storage of a persistent id, whose class is the type of its numbers.
        load_bytes: reads a checkpoint that is nested as bytes (tensors that were pickled without ``torch.save``).
    """

    if TYPE_CHECKING:  # typeshed knows only what Python's unpickler in C has
        stack: list[Any]

        def pop_mark(self) -> list[Any]: ...

    dispatch: ClassVar[dict[int, Callable[..., None]]] = dict(pickle._Unpickler.dispatch)

    def __init__(
        self, file: IO[bytes], load_storage: Callable[[Any], Any] | None, load_bytes: Callable[[IO[bytes]], Any]
    ) -> None:
        super().__init__(file, encoding="latin1")
        self._load_storage, self._load_bytes = load_storage, load_bytes

    def find_class(self, module: str, name: str) -> Any:
        """Return what is called in place of a class or function: the unpickler calls nothing else."""
        full = f"{module}.{name}"
        if full in _CALLED:
            return _CALLED[full]
        if full == "torch.storage._load_from_bytes":
            return lambda data: self._load_bytes(io.BytesIO(data))
        if module == "torch" and isinstance(vars(torch).get(name), torch.dtype):
            return vars(torch)[name]
        if module.partition(".")[0] == "torch" and name.endswith("Storage"):
            if name not in _STORAGES:
                raise pickle.UnpicklingError(f"it has a storage of the unknown kind {full}")
            return _STORAGES[name]
        return _foreign(full)

    def persistent_load(self, pid: Any) -> Any:
        if self._load_storage is None:
            raise pickle.UnpicklingError("it names a storage that it does not hold")
        return self._load_storage(pid)

    def get_extension(self, code: int) -> None:
        raise pickle.UnpicklingError(f"it names the extension {code}")

    def load_build(self) -> None:
        state, what = self.stack.pop(), self.stack[-1]
        if isinstance(what, Inert):
            what.state = state
        # Else attributes of a container or tensor, such as the versions in a state dict's `_metadata`.

    dispatch[pickle.BUILD[0]] = load_build

    # Tensors have an `add` and items, too, which would let a small file ask for all memory.
    def load_additems(self) -> None:
        items, what = self.pop_mark(), self.stack[-1]
        if not isinstance(what, set | Inert):
            raise pickle.UnpicklingError(f"it adds to a {type(what).__name__}")
        for item in items:
            what.add(item)

    dispatch[pickle.ADDITEMS[0]] = load_additems

    def _set(self, items: list[Any]) -> None:
        if not isinstance(self.stack[-1], dict):
            raise pickle.UnpicklingError(f"it sets items of a {type(self.stack[-1]).__name__}")
        self.stack[-1].update(zip(items[::2], items[1::2], strict=True))

    def load_setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._set([key, value])

    dispatch[pickle.SETITEM[0]] = load_setitem

    def load_setitems(self) -> None:
        self._set(self.pop_mark())

    dispatch[pickle.SETITEMS[0]] = load_setitems


def _foreign(name: str) -> type[Inert]:
    return type("Inert", (Inert,), {"name": name})


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> Tensor:
    """Return a view of a storage, of any shape that fits it."""
    size, stride = tuple(size), tuple(stride)
    is_storage = isinstance(storage, Storage) and isinstance(storage.dtype, torch.dtype)
    if not is_storage or not all(type(n) is int and n >= 0 for n in (offset, storage.start, *size, *stride)):
        raise pickle.UnpicklingError("a tensor without a storage or with an impossible shape")
    offset += storage.start
    held, count = storage.data.nbytes() // storage.dtype.itemsize, math.prod(size)
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if count and (last >= held or count > max(held, _MOST_EXPANDED)):
        raise pickle.UnpicklingError(f"a tensor of shape {size} lies outside its storage")
    return torch.empty(0, dtype=storage.dtype).set_(storage.data, offset, size, stride)


def _tensor_of_type(
    storage: Any, offset: Any, size: Any, stride: Any, grad: Any, hooks: Any, dtype: Any, *_: Any
) -> Tensor:
    return _tensor(Storage(storage.data, dtype), offset, size, stride)


def _array_of_bytes(data: Any, dtype: Any, shape: Any, order: Any) -> Array:
    array = Array()
    array.state = (1, shape, dtype, order == "F", data)
    return array


def _bytes(text: Any, encoding: Any = "latin1") -> Any:
    """Return bytes as pickles below protocol 3 hold them."""
    return str(text).encode("latin1") if encoding in ("latin1", "latin-1") else Inert(text, encoding)


_CALLED: dict[str, Callable[..., Any]] = {
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _tensor_of_type,
    "torch._utils._rebuild_parameter": lambda data, *_: data,
    "torch._utils._rebuild_parameter_with_state": lambda data, *_: data,
    "torch._tensor._rebuild_from_type_v2": lambda make, kind, args, *_: make(*args),
    "collections.OrderedDict": OrderedDict,
    "_codecs.encode": _bytes,
    **dict.fromkeys(("builtins.set", "__builtin__.set"), set),
    **dict.fromkeys(("copyreg._reconstructor", "copy_reg._reconstructor"), lambda kind, *_: kind()),
    # A class in a class, below protocol 4.
    **dict.fromkeys(("builtins.getattr", "__builtin__.getattr"), lambda owner, name: _foreign(f"{owner.name}.{name}")),
    **dict.fromkeys(("numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct"), Array),
    **dict.fromkeys(("numpy.core.numeric._frombuffer", "numpy._core.numeric._frombuffer"), _array_of_bytes),
}

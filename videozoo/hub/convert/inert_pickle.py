"""Read a pickle without running anything in it: classes and functions that it names become inert stand-ins.

A pickle is a program that may call any function of any module. Here no name is ever looked up: only tensors, arrays and
plain containers are made, by the code of this file.
"""

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

__all__ = ["Array", "Inert", "InertUnpickler", "Storage", "Token", "storage_dtype"]

_STORAGES = {
    **{"DoubleStorage": torch.float64, "FloatStorage": torch.float32, "HalfStorage": torch.float16},
    **{"BFloat16Storage": torch.bfloat16, "LongStorage": torch.int64, "IntStorage": torch.int32},
    **{"ShortStorage": torch.int16, "CharStorage": torch.int8, "ByteStorage": torch.uint8, "BoolStorage": torch.bool},
    **{"UntypedStorage": torch.uint8, "ComplexFloatStorage": torch.complex64},
}
# An expanded tensor has more numbers than its storage. Above this it would be an attack on the memory.
_MOST_EXPANDED = 2**28


@dataclass(frozen=True)
class Token:
    """A class or function that a pickle names; it is never imported."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


class Inert(dict[Any, Any]):
    """What stands in for an object of a foreign class: its name and what the pickle would have given it.

    Args:
        name: of the class or function.
        args: of the call that was not made.

    ``state`` is what ``__setstate__`` would have got; the entries of a subclass of ``dict`` are the entries here.
    """

    def __init__(self, name: str, args: Any = ()) -> None:
        super().__init__()
        self.name, self.args = name, args
        self.state: Any = None

    def __repr__(self) -> str:
        return f"<{self.name}>"

    def __hash__(self) -> int:  # type: ignore[override]
        return id(self)

    def __eq__(self, other: object) -> bool:
        return self is other


@dataclass(frozen=True)
class Storage:
    """Bytes of tensors, the type of the numbers in them, and the number at which it begins."""

    data: torch.UntypedStorage
    dtype: torch.dtype
    start: int = 0


class Array:
    """An array of numpy, empty until the pickle brings its state."""

    def __init__(self) -> None:
        self._state: Any = None

    def fill(self, state: Any) -> None:
        """Take the shape, the type, whether the order is Fortran's, and the bytes."""
        self._state = state

    def tensor(self) -> Tensor:
        """Return its numbers, (shape of the array).

        Raises:
            ValueError: it holds no numbers.
        """
        shape, dtype, is_fortran, data = self._state
        if not isinstance(dtype, Inert) or not isinstance(data, bytes | bytearray):
            raise ValueError("an array that holds no numbers")
        order = dtype.state[1] if dtype.state and dtype.state[1] in ("<", ">") else "="
        kind = np.dtype(f"{order}{dtype.args[0]}")
        if kind.kind not in "fiub":
            raise ValueError(f"an array of {kind}, not of numbers")
        values = np.frombuffer(data, kind).reshape(shape, order="F" if is_fortran else "C")
        return torch.from_numpy(values.astype(kind.newbyteorder("="), order="C"))


class InertUnpickler(pickle._Unpickler):
    """An unpickler that makes tensors, arrays and plain containers, and stand-ins for all else.

    Args:
        file: the pickle.
        load_storage: gives what a persistent id stands for.
        load_bytes: reads a checkpoint that is nested as bytes (tensors that were pickled without ``torch.save``).
    """

    if TYPE_CHECKING:  # typeshed knows only what Python's unpickler in C has
        stack: list[Any]

        def append(self, value: Any) -> None: ...
        def pop_mark(self) -> list[Any]: ...

    dispatch: ClassVar[dict[int, Callable[..., None]]] = dict(pickle._Unpickler.dispatch)

    def __init__(
        self,
        file: IO[bytes],
        load_storage: Callable[[Any], Any] | None = None,
        load_bytes: Callable[[IO[bytes]], Any] | None = None,
    ) -> None:
        super().__init__(file, encoding="latin1")
        self._load_storage, self._load_bytes = load_storage, load_bytes

    def find_class(self, module: str, name: str) -> Any:
        return Token(module, name)

    def persistent_load(self, pid: Any) -> Any:
        if self._load_storage is None:
            raise pickle.UnpicklingError("it names a storage that it does not hold")
        return self._load_storage(pid)

    def get_extension(self, code: int) -> None:
        raise pickle.UnpicklingError(f"it names the extension {code}")

    def _instantiate(self, klass: Any, args: Any) -> None:
        self.append(self._make(klass, tuple(args)))

    def _make(self, what: Any, args: Any) -> Any:
        """Return what the call would give, if it makes a tensor, an array or a plain container; else a stand-in."""
        name = str(what) if isinstance(what, Token) else f"a {type(what).__name__}"
        if name in ("torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2"):
            return _tensor(args[0], *args[1:4])
        if name == "torch._utils._rebuild_tensor_v3":
            dtype = vars(torch).get(args[6].name) if isinstance(args[6], Token) else None
            return _tensor(Storage(args[0].data, dtype), *args[1:4]) if isinstance(dtype, torch.dtype) else Inert(name)
        if name in ("torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state"):
            return args[0]
        if name == "torch._tensor._rebuild_from_type_v2":
            return self._make(args[0], args[2])
        if name == "torch.storage._load_from_bytes" and self._load_bytes is not None:
            return self._load_bytes(io.BytesIO(args[0]))
        if name == "collections.OrderedDict":
            return OrderedDict(*args)
        if name in ("builtins.set", "__builtin__.set"):
            return set(*args)
        if name == "_codecs.encode" and args[1:] in ((), ("latin1",), ("latin-1",)):
            return str(args[0]).encode("latin1")
        if name in ("numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct"):
            return Array()
        if name in ("numpy.core.numeric._frombuffer", "numpy._core.numeric._frombuffer"):  # protocol 5
            data, dtype, shape, order = args
            array = Array()
            array.fill((shape, dtype, order == "F", data))
            return array
        if name in ("copyreg._reconstructor", "copy_reg._reconstructor"):
            name = str(args[0])
        return Inert(name, args)

    def load_reduce(self) -> None:
        args, what = self.stack.pop(), self.stack.pop()
        self.append(self._make(what, args))

    dispatch[pickle.REDUCE[0]] = load_reduce
    dispatch[pickle.NEWOBJ[0]] = load_reduce  # the same: a class and its arguments

    def load_newobj_ex(self) -> None:
        self.stack.pop()
        self.load_reduce()

    dispatch[pickle.NEWOBJ_EX[0]] = load_newobj_ex

    def load_build(self) -> None:
        state, what = self.stack.pop(), self.stack[-1]
        if isinstance(what, Inert):
            what.state = state
        elif isinstance(what, Array):
            what.fill(state[1:])  # after a version
        # Else attributes of a container or tensor, such as the versions in a state dict's `_metadata`.

    dispatch[pickle.BUILD[0]] = load_build

    def _take(self, values: list[Any]) -> None:
        """Add to the list, set or stand-in on top of the stack."""
        what = self.stack[-1]
        if isinstance(what, list):
            what.extend(values)
        elif isinstance(what, set):
            what.update(values)
        elif not isinstance(what, Inert):  # the elements of a foreign list are of no use
            raise pickle.UnpicklingError(f"it adds to a {type(what).__name__}")

    def load_append(self) -> None:
        value = self.stack.pop()
        self._take([value])

    dispatch[pickle.APPEND[0]] = load_append

    def load_appends(self) -> None:
        self._take(self.pop_mark())

    dispatch[pickle.APPENDS[0]] = load_appends
    dispatch[pickle.ADDITEMS[0]] = load_appends

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


def storage_dtype(kind: Any) -> torch.dtype:
    """Return the type of the numbers in a class of storages, by its name.

    Raises:
        UnpicklingError: there is no such class.
    """
    if not isinstance(kind, Token) or kind.name not in _STORAGES:
        raise pickle.UnpicklingError(f"it has a storage of the unknown kind {kind}")
    return _STORAGES[kind.name]


def _tensor(storage: Any, offset: Any, size: Any, stride: Any) -> Tensor:
    """Return a view of a storage, of any shape that fits it."""
    size, stride = tuple(size), tuple(stride)
    is_storage = isinstance(storage, Storage)
    if not is_storage or not all(type(n) is int and n >= 0 for n in (offset, storage.start, *size, *stride)):
        raise pickle.UnpicklingError("a tensor without a storage or with an impossible shape")
    offset += storage.start
    held, count = storage.data.nbytes() // storage.dtype.itemsize, math.prod(size)
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if count and (last >= held or count > max(held, _MOST_EXPANDED)):
        raise pickle.UnpicklingError(f"a tensor of shape {size} lies outside its storage")
    return torch.empty(0, dtype=storage.dtype).set_(storage.data, offset, size, stride)

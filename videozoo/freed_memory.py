"""What the C library does with memory that was freed: keep it for the next tensors, or return it to the system."""

import ctypes
import os

__all__ = ["keep_freed_memory", "return_freed_memory"]

_TRIM, _MMAP = -1, -3  # of glibc's mallopt
_MIB = 2**20


def keep_freed_memory() -> bool:
    """Keep freed memory for the next tensors, unless the user has set it otherwise. Return whether that was possible.

    By default glibc returns large feature maps to the system and gets them back as new, zeroed pages. On a CPU a
    training step then takes up to 1.3 times as long, and inference up to 1.7 times ("Memory on Linux" in
    docs/systems.md).
    """
    # Older versions refuse more than 32 MiB.
    return _set(_TRIM, 2**31 - 1) and (_set(_MMAP, 1024 * _MIB) or _set(_MMAP, 32 * _MIB))


def return_freed_memory() -> bool:
    """Return freed memory to the system again beyond a small rest. Return whether that was possible.

    So in processes that decode, where one large video must not cost memory for ever. The limits are those up to which
    glibc adapts its own.
    """
    return _set(_TRIM, 64 * _MIB) and _set(_MMAP, 32 * _MIB)


def _set(option: int, value: int) -> bool:
    """Set an option of malloc. False where the user has set one, or the C library is not glibc or refuses."""
    if "GLIBC_TUNABLES" in os.environ or any(name.startswith("MALLOC_") for name in os.environ):
        return False
    try:
        return bool(ctypes.CDLL(None).mallopt(option, value))
    except (AttributeError, OSError, TypeError):  # TypeError: Windows has no library without a name
        return False

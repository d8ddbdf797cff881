"""How far an accuracy on few videos may be off."""

import math

__all__ = ["wilson_interval"]

_Z = 1.959963984540054  # of 95 %


def wilson_interval(hits: int, total: int) -> tuple[float, float]:
    """Return the 95 % confidence interval of a share (Wilson, 1927): bounds in [0, 1].

    Args:
        hits: videos that were right.
        total: all of them, at least 1.
    Raises:
        ValueError: no videos, or more hits than videos.
    """
    if not 0 <= hits <= total or not total:
        raise ValueError(f"wilson_interval: {hits} of {total}; needed are 0 <= hits <= total and a total above 0.")
    share, square = hits / total, _Z**2 / total
    middle = (share + square / 2) / (1 + square)
    half = _Z * math.sqrt(share * (1 - share) / total + square / (4 * total)) / (1 + square)
    return max(0.0, middle - half), min(1.0, middle + half)

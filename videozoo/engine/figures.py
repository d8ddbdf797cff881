"""Shared code of all figures: names that fit, and writing the file."""

import io
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from videozoo.engine.checkpoint import replace_file
from videozoo.engine.fonts import fit_fonts

__all__ = ["save_figure", "short"]


def save_figure(figure: Figure, path: Path, dpi: int = 110, margin: float | None = 0.08) -> None:
    """Write a figure as PNG, in one piece, without a display.

    Args:
        margin: inches around what is drawn. None: the figure as large as it was made.
    Raises:
        CheckpointError: the disk refused.
    """
    fit_fonts(figure)
    picture = io.BytesIO()
    FigureCanvasAgg(figure)
    cut: dict[str, Any] = {} if margin is None else {"bbox_inches": "tight", "pad_inches": margin}
    figure.savefig(picture, format="png", dpi=dpi, **cut)
    replace_file(path, picture.getvalue())


def short(name: str, longest: int) -> str:
    """Return a name that fits, with nothing in it that matplotlib would take for a formula."""
    name = " ".join(name.split()).replace("$", r"\$")
    return name if len(name) <= longest else name[: longest - 1] + "…"

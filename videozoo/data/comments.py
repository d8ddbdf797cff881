"""Comments in lists: lines that begin with ``#``, unless that is how the name of a file begins."""

import os
import re
from collections.abc import Iterable, Sequence

from videozoo.text import some

from .records import VIDEO_EXTENSIONS

_VIDEO_NAME = re.compile(r"\.([A-Za-z0-9]+)(?=[\s,;\"]|$)")


def is_comment(line: str, base: str | os.PathLike[str], paths: Sequence[str] | None = None) -> bool:
    """Return whether a line of a list is a comment: it begins with ``#`` and does not name a file that is there.

    Args:
        line: stripped.
        base: the folder that paths start from.
        paths: what the line names, where that is known. Else everything from its start to a separator is tried.
    """
    if not line.startswith("#"):
        return False
    if paths is None:
        paths = [*(line.rsplit(None, count)[0] for count in range(4)), *(line.split(sign)[0] for sign in "\t;,")]
    return not any(_is_there(os.path.join(base, path)) for path in paths if path)


def warn_comments(where: str | os.PathLike[str], lines: Iterable[tuple[str, str]]) -> list[str]:
    """Return a warning that names the comments that may have been meant as rows: a video's name follows their ``#``.

    Args:
        where: the list.
        lines: places and texts of the comments.
    """
    places = [place for place, line in lines if line[1:2].strip() and _names_video(line)]
    if not places:
        return []
    count = "1 line that begins" if len(places) == 1 else f"{len(places)} lines that begin"
    return [f"{where}: {count} with # and names no file there, taken for a comment: {some(places, 4)}"]


def _names_video(line: str) -> bool:
    return any(f".{ending.lower()}" in VIDEO_EXTENSIONS for ending in _VIDEO_NAME.findall(line))


def _is_there(path: str) -> bool:
    try:
        return os.path.lexists(path)
    except ValueError:
        return False

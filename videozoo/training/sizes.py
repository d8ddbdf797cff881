"""Sizes and views as users write them: ``256``, ``240x320``, ``10x3``."""

from videozoo.arguments import UsageError


def parse_size(text: str | None, flag: str = "--train-resize") -> int | tuple[int, int] | None:
    """Parse ``"256"`` as 256 and ``"240x320"`` as (240, 320).

    Raises:
        UsageError: another form.
    """
    if text is None:
        return None
    sides = text.lower().split("x")
    if len(sides) > 2 or not all(side.strip().isdecimal() and int(side) > 0 for side in sides):
        raise UsageError(f"{flag} is {text!r}; write the short side, as 256, or height x width, as 240x320.")
    return int(sides[0]) if len(sides) == 1 else (int(sides[0]), int(sides[1]))


def parse_frame_size(text: str | None) -> tuple[int, int] | None:
    """Parse ``"240x320"`` as (240, 320).

    Raises:
        UsageError: another form.
    """
    size = parse_size(text, "--test-resize")
    if isinstance(size, int):
        raise UsageError(f"--test-resize is {text!r}; write height x width, as 240x320 (a short side: --crop-pct).")
    return size


def parse_views(text: str | None, flag: str = "--views") -> tuple[int, int] | None:
    """Parse ``"10x3"`` as (10, 3).

    Raises:
        UsageError: another form, or crops that do not exist.
    """
    from videozoo.data import parse_views as parse

    if text is None:
        return None
    try:
        return parse(text)
    except ValueError as error:
        raise UsageError(
            f"{flag} is {text!r}; write clips x crops, such as 1x1 or 10x3; crops are 1 (the center), 3 (along the "
            "longer side), 5 (corners and center) or 10 (those and their flips)."
        ) from error

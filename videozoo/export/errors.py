"""Errors of exported files."""

__all__ = ["ExportError"]


class ExportError(Exception):
    """A model cannot be exported, or an exported file cannot be used.

    The message says why and what to do.
    """

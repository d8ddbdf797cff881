"""Griffe extension that prepares the docstrings of videozoo for its Google parser."""

import re
from typing import Any

import griffe

_SECTION = re.compile(r"\n(?=[ ]*(?:Returns|Raises|Yields|Example|Examples):\n)")
_EXAMPLE = re.compile(r"^Example:$", re.MULTILINE)
_ROLE = re.compile(r":(?:func|class|meth|mod|attr):(?=`)")


class Docstrings(griffe.Extension):
    """Adapts docstrings: an empty line before each section, ``Examples`` for ``Example``, no roles of Sphinx."""

    def on_instance(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Rewrite the docstring of an object that was just loaded."""
        if obj.docstring:
            text = _ROLE.sub("", _SECTION.sub("\n\n", obj.docstring.value))
            obj.docstring.value = _EXAMPLE.sub("Examples:", text)

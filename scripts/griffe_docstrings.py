"""A Griffe extension: the docstrings of videozoo as its Google parser expects them."""

import re
from typing import Any

import griffe

_SECTION = re.compile(r"\n(?=[ ]*(?:Returns|Raises|Yields|Example|Examples):\n)")
_ROLE = re.compile(r":(?:func|class|meth|mod|attr):(?=`)")


class Docstrings(griffe.Extension):
    """Put an empty line before each section, which the parser needs, and leave out the roles of Sphinx."""

    def on_instance(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Change the docstring of an object that was just found."""
        if obj.docstring:
            obj.docstring.value = _ROLE.sub("", _SECTION.sub("\n\n", obj.docstring.value))

"""Shows the examples of docstrings as code on the pages that mkdocstrings makes."""

import sys
from pathlib import Path
from typing import Any

import griffe

sys.path.insert(0, str(Path(__file__).parent))

from fences import fenced

__all__ = ["Doctests"]


class Doctests(griffe.Extension):
    """Rewrites the docstring of every object that griffe collects."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Put the examples of one docstring into fences."""
        if obj.docstring and ">>> " in obj.docstring.value:
            obj.docstring.value = fenced(obj.docstring.value)

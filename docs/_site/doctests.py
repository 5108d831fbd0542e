"""Shows the examples of docstrings as code: Markdown would take the prompt ``>>>`` for nested quotations."""

import re
from typing import Any

import griffe

__all__ = ["Doctests"]

_EXAMPLE = re.compile(r"(?:^[ ]*>>> .*\n?(?:^[ ]*\S.*\n?)*)", re.MULTILINE)


def fenced(text: str) -> str:
    """Return a docstring with each example in a fence of its own."""
    return _EXAMPLE.sub(lambda found: f"\n```pycon\n{found[0].rstrip()}\n```\n", text)


class Doctests(griffe.Extension):
    """Rewrites the docstring of every object that griffe collects."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Put the examples of one docstring into fences."""
        if obj.docstring and ">>> " in obj.docstring.value:
            obj.docstring.value = fenced(obj.docstring.value)

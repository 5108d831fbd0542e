"""Puts the examples of docstrings into fences: Markdown would take the prompt ``>>>`` for nested quotations."""

import re

__all__ = ["fenced"]

_EXAMPLE = re.compile(r"(?:^[ ]*>>> .*\n?(?:^[ ]*\S.*\n?)*)", re.MULTILINE)


def fenced(text: str) -> str:
    """Return a docstring with each example in a fence of its own."""
    return _EXAMPLE.sub(lambda found: f"\n```pycon\n{found[0].rstrip()}\n```\n", text)

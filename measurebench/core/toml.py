"""Writes values as TOML, which the standard library can only read."""

import json
import re
from collections.abc import Mapping
from typing import Any

__all__ = ["to_key", "to_toml"]


def to_toml(value: Any) -> str:
    """Return a text, number, truth value, list or table as one line of TOML.

    >>> to_toml({"radius": "8/255", "steps": [1, 10], "extra data": False})
    '{ radius = "8/255", steps = [1, 10], "extra data" = false }'
    """
    if isinstance(value, Mapping):
        inside = ", ".join(f"{to_key(str(name))} = {to_toml(item)}" for name, item in value.items())
        return f"{{ {inside} }}" if inside else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(to_toml(item) for item in value)}]"
    if isinstance(value, bool):
        return "true" if value else "false"
    return _text(value) if isinstance(value, str) else repr(value)


def to_key(name: str) -> str:
    """Return a name as a key of TOML: bare where that is allowed, else in quotes.

    >>> to_key("width"), to_key("extra data")
    ('width', '"extra data"')
    """
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _text(name)


def _text(value: str) -> str:
    """Return a text in quotes, as JSON writes it; only TOML wants the character DEL escaped."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")

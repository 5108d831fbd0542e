"""Values written as TOML."""

import json
import re
from collections.abc import Mapping
from typing import Any

__all__ = ["to_key", "to_toml"]


def to_toml(value: Any) -> str:
    """Write a text, number, truth value, list or table on one line as TOML."""
    if isinstance(value, Mapping):
        inside = ", ".join(f"{to_key(str(name))} = {to_toml(item)}" for name, item in value.items())
        return f"{{ {inside} }}" if inside else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(to_toml(item) for item in value)}]"
    if isinstance(value, bool):
        return "true" if value else "false"
    return _text(value) if isinstance(value, str) else repr(value)


def to_key(name: str) -> str:
    """Write a name as a key of TOML: bare where that is allowed, else in quotes."""
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _text(name)


def _text(value: str) -> str:
    """Write a text in quotes; JSON leaves one character bare that TOML does not."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")

"""Values written as TOML."""

import json
from collections.abc import Mapping
from typing import Any


def to_toml(value: Any) -> str:
    """Write a text, number, truth value, list or table on one line as TOML."""
    if isinstance(value, Mapping):
        inside = ", ".join(f"{name} = {to_toml(item)}" for name, item in value.items())
        return f"{{ {inside} }}" if inside else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(to_toml(item) for item in value)}]"
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)

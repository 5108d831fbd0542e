"""Checks entries of the catalogue ``models.jsonl``: what was measured, and with which configuration."""

import math
from collections.abc import Mapping
from typing import Any

from measurebench.core.errors import BadInputError

__all__ = ["checked_entry"]

_KEY = ("model_id", "model_digest", "config_digest")  # says which records belong to an entry
_TEXT, _MAYBE = (str,), (str, type(None))
_WHOLE, _NUMBER = (int, type(None)), (int, float, type(None))
_KINDS: dict[str, tuple[type, ...]] = (
    dict.fromkeys(_KEY, _TEXT)
    | dict.fromkeys(("reference", "source", "file_sha256", "architecture", "defense", "dataset", "norm"), _MAYBE)
    | dict.fromkeys(("radius_text", "run", "cluster", "failure", "measurebench_version"), _MAYBE)
    | dict.fromkeys(("n_parameters", "n_train", "n_test"), _WHOLE)
    | {"radius": _NUMBER, "flops": _NUMBER, "settings": (dict,), "notes": (list,)}
)
_WORDS = {_TEXT: "text", _MAYBE: "text or null", _WHOLE: "a whole number or null", _NUMBER: "a number or null"}


def checked_entry(value: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    """Return a line of the catalogue; fields that are not known here pass.

    Raises BadInputError, which names ``where`` and the field, for a missing field, one of another type, and numbers
    that a table cannot hold.
    """
    for name in _KEY:
        if name not in value:
            raise BadInputError(where, f"the field {name!r}", "an entry without it")
    for name, item in value.items():
        kinds = _KINDS.get(name)
        if kinds is not None and (not isinstance(item, kinds) or isinstance(item, bool)):
            words = _WORDS.get(kinds, "an object" if name == "settings" else "a list")
            raise BadInputError(f"{where}: {name}", words, repr(item)[:80])
    for name, item in {**value, **value.get("settings", {})}.items():
        if isinstance(item, str) and not _is_utf8(item):
            raise BadInputError(f"{where}: {name}", "text in UTF-8", ascii(item)[:80])
        if isinstance(item, int | float) and not _is_plain(item):
            raise BadInputError(f"{where}: {name}", "a finite number of at most 64 bits", "another")
    for name, item in value.get("settings", {}).items():
        if isinstance(item, list | dict):
            raise BadInputError(f"{where}: settings: {name}", "text, a number, a truth value or null", repr(item)[:80])
    for item in value.get("notes", []):
        if not isinstance(item, str):
            raise BadInputError(f"{where}: notes", "a list of text", repr(item)[:80])
    return value


def _is_utf8(text: str) -> bool:
    """Tell text that can be written to a file; JSON may hold halves of characters."""
    return text.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in text)


def _is_plain(number: int | float) -> bool:
    """Tell finite floats and integers of 64 bits, which every format of tables holds."""
    return -(2**63) <= number < 2**63 if isinstance(number, int) else math.isfinite(number)

"""JSON lines that end with a checksum of themselves, so that a line which was changed later is noticed.

A line is an object whose last field is ``"checksum"``: the first 16 hexadecimal digits of the SHA-256 of the line
without that field. Lines of earlier versions have none; they are read as they are.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["CHECKSUM", "Damage", "LineReader", "checked_line"]

CHECKSUM = "checksum"
_DIGITS = 16
_TEMPLATE = b', "checksum": "' + b"?" * _DIGITS + b'"}'
_END = re.compile(rb'(?:, )?"checksum": "([0-9a-f]{16})"\}$')
# Of the fixed characters at the end of a line with a checksum. A line that has so many of them in their places had a
# checksum before it was damaged: it must not pass for a line of an earlier version, which has almost none of them.
_MANY = sum(byte != ord("?") for byte in _TEMPLATE) * 2 // 3


@dataclass(frozen=True)
class Damage:
    """A line that cannot be used: its number, counted from 1, why, and its bytes."""

    number: int
    reason: str
    line: bytes


def checked_line(value: Mapping[str, Any]) -> bytes:
    """Return an object as one line of JSON with its checksum, without the newline.

    Raises ValueError for NaN and infinity, which JSON does not have.

    >>> checked_line({"n": 1})
    b'{"n": 1, "checksum": "e5d5f7c1d225fd6b"}'
    """
    content = {name: item for name, item in value.items() if name != CHECKSUM}
    body = json.dumps(content, allow_nan=False, sort_keys=True).encode()
    return body[:-1] + (b", " if content else b"") + b'"checksum": "' + _digest(body) + b'"}'


class LineReader:
    """Reads the lines of one file in order; what is wrong with a line is a Damage, never an exception.

    ``checked`` says whether an earlier line had a checksum: from then on every line must have one.
    """

    def __init__(self, *, checked: bool = False) -> None:
        self.checked = checked

    def read(self, line: bytes, number: int) -> dict[str, Any] | Damage:
        """Return the object of a line without its checksum, or the damage."""
        end = _END.search(line, max(0, len(line) - len(_TEMPLATE)))
        if end:
            self.checked = True
            if _digest(line[: end.start()] + b"}") != end.group(1):
                return Damage(number, "its checksum does not match", line)
        elif self.checked or _had_checksum(line):
            return Damage(number, "its checksum is missing", line)
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            return Damage(number, f"no JSON: {error}", line)
        if not isinstance(value, dict):
            return Damage(number, f"no JSON object but {type(value).__name__}", line)
        value.pop(CHECKSUM, None)
        return value


def _digest(body: bytes) -> bytes:
    return hashlib.sha256(body).hexdigest()[:_DIGITS].encode()


def _had_checksum(line: bytes) -> bool:
    """Tell the damaged end of a line with a checksum from the end of a line without one."""
    # From both sides, since a byte may have been lost or added.
    tail, at = line[-len(_TEMPLATE) :], line.rfind(b'checksum": "')
    same = sum(a == b for a, b in zip(reversed(tail), reversed(_TEMPLATE), strict=False) if b != ord("?"))
    return same >= _MANY or at > len(line) - 2 * len(_TEMPLATE) > 0

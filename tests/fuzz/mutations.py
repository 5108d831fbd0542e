"""Mutations of valid files: bytes that are flipped, cut, doubled or inserted, and values that are replaced.

The same seed gives the same mutations, so that a failure can be repeated by its number.
"""

import json
import random
from collections.abc import Iterator
from typing import Any

__all__ = ["NASTY", "N_MUTATIONS", "mutated_bytes", "mutated_json", "mutated_text"]

N_MUTATIONS = 200

# Values that a reader may not expect, as JSON has them.
NASTY: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2**31, 2**63, 2**64, -(2**70), 10**400, 1.5, -0.0, 1e308, 1e-320),
    *(float("nan"), float("inf"), float("-inf")),
    *(
        "",
        " ",
        "x" * 300,
        "é" * 200,
        "\x00",
        "\x1b[31m",
        "\u2028",
        "\u202e",
        "\ud800",
        "../../etc/passwd",
        "=1+1",
        "nan",
    ),
    *([], {}, [[]], [None], {"a": {}}, [1, "a", None], {"": ""}, [[[[[[[[[[1]]]]]]]]]]),
)
_INSERTED = (b"\x00", b"\xff\xfe", b"\n", b'"', b"[", b"{" * 50, b"9" * 5000, b"-", b"e999", b"\xf0\x9f\x98\x80", b"''")


def mutated_bytes(content: bytes, seed: int, n: int = N_MUTATIONS) -> Iterator[bytes]:
    """Yield ``n`` mutations of a file: one to four changes of its bytes each."""
    for number in range(n):
        draw = random.Random(f"{seed} {number}")
        changed = bytearray(content)
        for _ in range(draw.choice((1, 1, 2, 4))):
            _change(changed, draw)
        yield bytes(changed)


def _change(content: bytearray, draw: random.Random) -> None:
    at = draw.randrange(len(content) + 1)
    end = min(len(content), at + draw.choice((1, 2, 8, 64)))
    kind = draw.choice(("flip", "flip", "set", "cut", "end", "insert", "double", "digits"))
    if kind == "flip" and at < len(content):
        content[at] ^= 1 << draw.randrange(8)
    elif kind == "set":
        content[at:end] = bytes(draw.randrange(256) for _ in range(end - at))
    elif kind == "cut":
        del content[at:end]
    elif kind == "end":
        del content[at:]
    elif kind == "insert":
        content[at:at] = draw.choice(_INSERTED)
    elif kind == "double":
        content[at:at] = content[at:end]
    else:
        content[at:end] = b"9" * (end - at)


def mutated_json(value: Any, seed: int, n: int = N_MUTATIONS) -> Iterator[Any]:
    """Yield ``n`` copies of a JSON value, in each of which one value somewhere is replaced, removed or renamed."""
    for number in range(n):
        draw = random.Random(f"{seed} {number} json")
        copy = json.loads(json.dumps(value))
        places = list(_places(copy))
        holder, key = draw.choice(places)
        if isinstance(holder, dict) and draw.random() < 0.15:
            del holder[key]
        elif isinstance(holder, dict) and draw.random() < 0.1:
            holder[draw.choice(("", "unknown", key.upper(), "\x00"))] = holder.pop(key)
        else:
            holder[key] = draw.choice(NASTY)
        yield copy


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        yield value, key
        yield from _places(value[key])


def mutated_text(lines: list[str], seed: int, n: int = N_MUTATIONS) -> Iterator[str]:
    """Yield ``n`` mutations of a text of lines ``key = value``: a value is replaced, a line doubled or removed."""
    values = ("nan", "inf", "-inf", "1979-05-27", "07:32:00", "9" * 5000, "[" * 200 + "]" * 200, "[" * 9999, "{}", "[]")
    values += (
        '""',
        "true",
        "-1",
        "1e400",
        "9223372036854775808",
        "'''\n'''",
        '"\\u2028"',
        '"\\ud800"',
        "[[]]",
        '"a\\u0000"',
    )
    for number in range(n):
        draw = random.Random(f"{seed} {number} text")
        changed = list(lines)
        at = draw.randrange(len(changed))
        if " = " in changed[at] and draw.random() < 0.8:
            changed[at] = changed[at].partition(" = ")[0] + " = " + draw.choice(values)
        elif draw.random() < 0.5:
            changed.insert(at, changed[at])
        else:
            del changed[at]
        yield "\n".join(changed)

"""Settings of attacks as text: ``steps=50,restarts=5`` to typed values, and back to a name."""

import types
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields, replace
from fractions import Fraction
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from measurebench.attacks.protocol import AttackInfo
from measurebench.core.errors import BadInputError, near_names

__all__ = ["check_names", "named_settings", "read_settings", "setting_text", "typed", "with_own_id", "with_settings"]

A = TypeVar("A")
_PIXELS = 255  # images of 8 bits: lengths are usually written over it
_WORDS = {int: "a whole number", float: "a number such as 0.1 or 2/255", bool: "true or false", str: "text"}


def read_settings(text: str, subject: str) -> dict[str, str]:
    """Return the settings of a text by name.

    Raises BadInputError for a part that is not ``name=value``, or a name that comes twice.

    >>> read_settings("steps=50,step=2/255", "pgd")
    {'steps': '50', 'step': '2/255'}
    """
    found: dict[str, str] = {}
    for part in (part.strip() for part in text.split(",")):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not (name and equals and value):
            raise BadInputError(f"settings of {subject}", "name=value, separated by commas", repr(part))
        if name in found:
            raise BadInputError(f"settings of {subject}", "each name once", f"{name!r} twice")
        found[name] = value
    return found


def with_settings(attack: A, given: Mapping[str, str], subject: str) -> A:
    """Return an attack with some of its fields changed, in the types that they declare.

    Raises BadInputError for a name that it does not have or a value of another type. An attack's ``elsewhere`` says of
    names that it does not have where they belong.
    """
    known = get_type_hints(type(attack))
    names = [field.name for field in fields(attack)]  # type: ignore[arg-type]
    check_names(given, names, subject, getattr(attack, "elsewhere", {}))
    values = {name: typed(value, known[name], f"{subject}: {name}") for name, value in given.items()}
    return replace(attack, **values)  # type: ignore[type-var]


def check_names(
    given: Iterable[str], names: Iterable[str], subject: str, elsewhere: Mapping[str, str] | None = None
) -> None:
    """Raise BadInputError for a setting that is not among the names; ``elsewhere`` are hints for some of them."""
    known = list(names)
    for name in given:
        if name not in known:
            expected = f"one of: {', '.join(known)}" if known else "no settings"
            hint = (elsewhere or {}).get(name) or near_names(name, known)
            raise BadInputError(f"setting of {subject}", expected, repr(name), hint)


def typed(text: str, kind: Any, subject: str) -> Any:
    """Return the value of a text as a declared type: a number, true or false, text, one of several words.

    Raises BadInputError where the text is not of that type.

    >>> typed("2/255", float, "step") == 2 / 255
    True
    """
    if get_origin(kind) in (Union, types.UnionType):
        rest = [part for part in get_args(kind) if part is not type(None)]
        return None if text == "none" and len(rest) < len(get_args(kind)) else typed(text, rest[0], subject)
    if get_origin(kind) is Literal:
        if text not in get_args(kind):
            raise BadInputError(subject, " or ".join(map(str, get_args(kind))), repr(text))
        return text
    try:
        return _READERS[kind](text)
    except (ValueError, KeyError, ZeroDivisionError, OverflowError):
        raise BadInputError(subject, _WORDS.get(kind, str(kind)), repr(text)) from None


def _real(text: str) -> float:
    return float(Fraction(text.replace(" ", "")))


_READERS: Mapping[Any, Any] = {
    int: int,
    float: _real,
    str: str,
    bool: lambda text: {"true": True, "false": False}[text.lower()],
}


def named_settings(attack: Any) -> str:
    """Return the settings that are not the defaults as ``name=value,...``, in order of definition; else ``""``."""
    parts = []
    for field in fields(attack):
        value = getattr(attack, field.name)
        default = field.default if field.default is not MISSING else None
        if value != default:
            parts.append(f"{field.name}={setting_text(value)}")
    return ",".join(parts)


def with_own_id(info: AttackInfo, attack: Any) -> AttackInfo:
    """Return the info of an attack with these settings: other settings, another id and title.

    Records and columns of the two can then never mix. Only the defaults make the examples that measures share.
    """
    if not (settings := named_settings(attack)):
        return info
    told = settings.replace("=", " ").replace(",", ", ")
    return replace(
        info,
        id=f"{info.id}:{settings}",
        title=f"{info.title} ({told})",
        source=f"{info.source.partition(';')[0]}; {told}",
        examples=None,
    )


def setting_text(value: Any) -> str:
    """Write a value as a user would: a length that is a multiple of 1/255 as such, unless a decimal is short."""
    if value is None or isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and len(repr(value)) > 6:
        over = Fraction(round(value * _PIXELS), _PIXELS)
        if float(over) == value:
            return f"{round(value * _PIXELS)}/{_PIXELS}"
    return str(value)

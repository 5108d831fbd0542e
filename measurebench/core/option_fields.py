"""Options that are declared once: each field of a dataclass carries its help, its default and what it accepts.

The command line, a TOML file and a Python call are three ways to set the same options. All three are read by the
functions of this module, so that they know the same names, have the same defaults and refuse the same values.
"""

from collections.abc import Iterable
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any

from measurebench.core.errors import BadInputError, near_names
from measurebench.core.limits import TEXT_BYTES
from measurebench.core.option_kinds import Kind
from measurebench.core.reading import parse_toml

__all__ = ["Option", "check_names", "checked", "option", "options_of", "read_toml", "validate"]


@dataclass(frozen=True)
class Option:
    """One option: name, kind, help and default; ``note`` says in words what the default None means.

    ``in_file`` is a second name in TOML files.
    """

    name: str
    kind: Kind
    help: str
    default: Any = MISSING
    note: str = ""
    in_file: str = ""

    @property
    def is_required(self) -> bool:
        """Tell whether the option has no default."""
        return self.default is MISSING


def option(default: Any, kind: Kind, help: str, *, note: str = "", in_file: str = "") -> Any:
    """Return a dataclass field that declares an option; without a default (``...``) it is required."""
    declared = {"kind": kind, "help": help, "note": note, "in_file": in_file}
    if isinstance(default, dict):
        return field(default_factory=dict, metadata={"option": declared})
    return field(default=MISSING if default is ... else default, metadata={"option": declared})


def options_of(declaration: Any) -> dict[str, Option]:
    """Return the options that a dataclass declares, by name and in order."""
    found = {}
    for item in fields(declaration):
        if declared := item.metadata.get("option"):
            default = {} if item.default_factory is not MISSING else item.default
            found[item.name] = Option(item.name, default=default, **declared)
    return found


def checked(declared: Option, value: Any, subject: str) -> Any:
    """Return a value in the form in which the option is kept.

    Raises BadInputError for a value that the option does not accept; ``subject`` names the option in its message.
    """
    if value is None and declared.default is None:
        return None
    try:
        return declared.kind.accept(value)
    except BadInputError as error:
        raise BadInputError(subject, error.expected, error.got, error.hint) from None
    except (TypeError, ValueError):
        hint = near_names(value, declared.kind.choices) if isinstance(value, str) else ""
        raise BadInputError(subject, declared.kind.expected, repr(value), hint) from None


def validate(options: Any) -> None:
    """Check every option of a frozen dataclass, for its ``__post_init__``, and keep each in its one form."""
    for name, declared in options_of(options).items():
        object.__setattr__(options, name, checked(declared, getattr(options, name), name))


def check_names(declaration: Any, given: Iterable[str], subject: str) -> None:
    """Refuse names that the dataclass does not declare. Raises BadInputError with the nearest known names."""
    known = options_of(declaration)
    for name in given:
        if name not in known:
            hint = near_names(name, known) or f"known: {', '.join(known)}"
            raise BadInputError(f"{subject}: {name}" if subject else name, "the name of an option", repr(name), hint)


def read_toml(declaration: Any, path: Path, command: str) -> dict[str, Any]:
    """Return the options that a TOML file sets, checked; hyphens in names count as underscores.

    Raises BadInputError naming the file and the key; ``command`` is what the options are of.
    """
    content = parse_toml(path, TEXT_BYTES, "a TOML file that can be read")
    known = options_of(declaration)
    second = {item.in_file: item.name for item in known.values() if item.in_file}
    found = {}
    for key, value in content.items():
        name = key.replace("-", "_")
        name = second.get(name, name)
        if name not in known:
            raise BadInputError(f"{path}: {key}", f"an option of {command}", repr(key), near_names(name, known))
        found[name] = checked(known[name], value, f"{path}: {key}")
    return found

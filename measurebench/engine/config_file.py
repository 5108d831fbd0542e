"""Reads the TOML file of ``--config``: options of a run, and the user's word where they would run code."""

from collections.abc import Container, Mapping
from pathlib import Path
from typing import Any

from measurebench.attacks.references import names_code, split_references
from measurebench.core.errors import BadInputError
from measurebench.core.option_fields import read_toml
from measurebench.core.trust import NamedCode, demand_word
from measurebench.engine.options import RunOptions

__all__ = ["read_config"]


def read_config(path: Path, *, overridden: Container[str] = (), trust_code: bool = False) -> dict[str, Any]:
    """Return the options of a run that a file sets, without those that are ``overridden``.

    Raises BadInputError for a file that cannot be read and for options that a file cannot set, and UntrustedCodeError
    where the file names code and the user's word is missing.
    """
    found = read_toml(RunOptions, path, "run")
    if "trust_code" in found:
        hint = "a file cannot vouch for itself"
        raise BadInputError(f"{path}: trust_code", "--trust-code on the command line", "it in the file", hint)
    kept = {name: value for name, value in found.items() if name not in overridden}
    demand_word(_named_code(kept, str(path)), trust_code)
    return kept


def _named_code(options: Mapping[str, Any], file: str) -> list[NamedCode]:
    """Return what the options would run."""
    attacks = [name for name in split_references(options.get("attacks", "")) if names_code(name)]
    found = [NamedCode(file, "attacks", name, "built-in attacks") for name in attacks]
    if ":" in (name := options.get("architecture") or ""):
        found.append(NamedCode(file, "architecture", name))
    if options.get("allow_pickle"):
        found.append(NamedCode(file, "allow_pickle", "whatever the checkpoints hold", "false"))
    return found

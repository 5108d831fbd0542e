"""Lists what can be named in a command, and which package or file it comes from."""

import importlib
from collections.abc import Sequence
from importlib.metadata import distributions

from measurebench.core.errors import BadInputError, near_names
from measurebench.core.origins import GROUPS
from measurebench.core.plugins import has_plugins

__all__ = ["list_plugins", "misspelt_groups"]

# Where the registry of each kind is, and the function that returns it.
_REGISTRIES = {
    "measures": ("measurebench.measures.registry", "all_measures"),
    "attacks": ("measurebench.attacks.registry", "all_attacks"),
    "datasets": ("measurebench.datasets.registry", "all_datasets"),
    "architectures": ("measurebench.models.architectures", "all_architectures"),
    "objectives": ("measurebench.training.objectives", "all_objectives"),
    "statistics": ("measurebench.stats.statistics.registry", "all_statistics"),
}


def list_plugins(kinds: Sequence[str] = ()) -> list[dict[str, str]]:
    """Return kind, name, origin, file and SHA-256 of all that is registered for some kinds, built-in things included.

    Without kinds, only what packages and ``--plugin`` files add is listed; nothing is imported where they add nothing.
    Raises BadInputError for an unknown kind.

    >>> [row["origin"] for row in list_plugins(["attacks"]) if row["name"] == "pgd"]
    ['measurebench']
    """
    for kind in kinds:
        if kind not in GROUPS:
            raise BadInputError("kind", ", ".join(GROUPS), repr(kind), near_names(kind, GROUPS))
    return [row for kind in kinds or GROUPS for row in _rows(kind, built_in=bool(kinds))]


def misspelt_groups() -> list[str]:
    """Return a sentence for each entry point of a group ``measurebench.KIND`` that nothing reads."""
    groups = [f"measurebench.{kind}" for kind in GROUPS]
    return [
        f"package {package.name} {package.version}: nothing reads the group {point.group!r} of the entry point "
        f"{point.name!r}; {near_names(point.group, groups, 1) or 'known: ' + ', '.join(groups)}"
        for package in distributions()
        for point in package.entry_points
        if point.group.startswith("measurebench.") and point.group not in groups
    ]


def _rows(kind: str, *, built_in: bool) -> list[dict[str, str]]:
    if not (built_in or has_plugins(kind)):
        return []
    module, function = _REGISTRIES[kind]
    registry = getattr(importlib.import_module(module), function)()
    origins = {name: registry.origin(name) for name in registry}
    return [
        {"kind": kind, "name": name, "origin": str(origin), "file": origin.file, "sha256": origin.sha256}
        for name, origin in origins.items()
        if built_in or not origin.is_built_in
    ]

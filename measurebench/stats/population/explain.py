"""A first look at a table: which column is taken for what, why, and how to say otherwise."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pandas as pd

from measurebench.core.columns import column_like, describe, looks_like_outcome
from measurebench.stats.population.population import identified, naming_column
from measurebench.stats.population.roles import measure_columns, require, setting_columns

__all__ = ["TARGET", "Taken", "explain"]

TARGET = "robust_gap_pgd"
"""The column that is predicted where none is named."""

_RESERVED = {
    "count": ("number of images", "gives the sampling error of the gap"),
    "outcome": ("accuracy", "never judged; gives the gap's error and the control"),
    "gap": ("gap", "an outcome, judged nowhere"),
    "identity": ("identity", "shown on the page"),
    "provenance": ("provenance", "shown on the page"),
    "status": ("status", "shown on the page"),
    "setting": ("ignored", "looks like a setting; other settings were named"),
}


@dataclass(frozen=True)
class Taken:
    """What a column was taken for, the reason, and the option that says otherwise (empty where there is none)."""

    column: str
    role: str
    reason: str
    option: str


def explain(
    table: pd.DataFrame,
    *,
    target: str = TARGET,
    measures: Sequence[str] | None = None,
    settings: Sequence[str] | None = None,
    defense: str = "defense",
    run: str = "run",
    cluster: str = "cluster",
    id: str | None = None,
) -> list[Taken]:
    """Return what ``analyze`` with these options takes each column for, in the order of the table.

    Works without a target, too: a row of the result then says that it is missing. Raises BadInputError for a named
    column that is not in the table, other than the target.
    """
    whole = identified(table, id)
    given = [str(name) for name in table.columns]
    asked = {"defense": defense, "run": run, "cluster": cluster}
    usual = {role: column_like(given, wanted, role) for role, wanted in asked.items()}
    for role, wanted in asked.items():
        if wanted != role:
            require(whole, wanted, role)
    naming = id or naming_column(table.set_axis(given, axis=1))
    axes = setting_columns(whole, settings, usual["defense"])
    judged = _judged(whole, target, measures, [*(settings or ()), *usual.values()])
    look: list[tuple[str, str, str, Callable[[str], bool]]] = [
        ("target", "named" if target != TARGET else "its name", "--target", lambda n: n == target),
        ("id", "named" if id else "its name, and no entry twice", "--id", lambda n: n == naming),
        ("defense", "its name or --defense; also a setting", "--defense", lambda n: n == usual["defense"]),
        ("run", "models of one run are resampled together", "--run", lambda n: n == usual["run"]),
        ("cluster", "models of one cluster are resampled together", "--cluster", lambda n: n == usual["cluster"]),
        ("setting", "named" if settings else "its name", "--settings", lambda n: n in axes),
        ("measure", "named" if measures else "a column of numbers", "--measures", lambda n: n in judged),
    ]
    found = []
    for name in given:
        role, reason, option = next((r[:3] for r in look if r[3](name)), None) or _other(whole, name, measures)
        found.append(Taken(name, role, reason, option))
    if target not in given:
        found.insert(0, _no_target(target, given))
    return found


def _judged(table: pd.DataFrame, target: str, measures: Sequence[str] | None, others: Sequence[str]) -> set[str]:
    """Return the measures; none where the table has no column that could be one."""
    from measurebench.core.errors import BadInputError

    try:
        return set(measure_columns(table, target, measures, others))
    except BadInputError:
        if measures is not None:
            raise
        return set()


def _other(table: pd.DataFrame, name: str, measures: Sequence[str] | None) -> tuple[str, str, str]:
    """Return role, reason and option of a column that the analysis does not use itself."""
    role = describe(name, table.columns).role
    if role != "measure":
        return *_RESERVED[role], "--settings" if role == "setting" else "--target" if role == "gap" else ""
    column = table[name]
    if column.isna().all():
        return "ignored", "empty", ""
    if looks_like_outcome(name):
        return "accuracy or gap", "its name; never judged unless named", "--measures or --target"
    if measures is not None:
        return "ignored", "other measures were named", "--measures"
    if pd.api.types.is_bool_dtype(column.dtype):
        return "ignored", "true or false", "--settings"
    wrong = column.dropna().astype(str)
    return "ignored", f"text, such as {wrong[pd.to_numeric(wrong, errors='coerce').isna()].iloc[0]!r}", "--settings"


def _no_target(target: str, names: Sequence[str]) -> Taken:
    """Return a line that says that the target is missing, with columns that may be it."""
    likely = [name for name in names if "gap" in name.casefold()] or [n for n in names if looks_like_outcome(n)]
    hint = f"; perhaps --target {likely[0]!r}" if likely else ""
    return Taken(f"({target})", "target", f"MISSING: the table has no such column{hint}", "--target")

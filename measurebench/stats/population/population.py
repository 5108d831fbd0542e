"""The models that are judged: a table after the filters, as arrays, with the unit of resampling."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from measurebench.core.columns import NOTES, accuracy_column, column_like, columns_like
from measurebench.core.errors import BadInputError, near_names
from measurebench.stats.analysis import FilterStep
from measurebench.stats.population.percent import fractions
from measurebench.stats.population.roles import (
    measure_columns,
    numbers,
    require,
    setting_columns,
    taken_notes,
    unread_columns,
)
from measurebench.stats.population.threats import EARLIER, RADIUS, of_radius, require_one_threat, superseded
from measurebench.stats.population.units import resampling_units
from measurebench.stats.resampling.draws import Floats, Ints

__all__ = [
    "CONVERGED_AT",
    "UNSTATED",
    "Population",
    "identified",
    "is_standard",
    "level_names",
    "naming_column",
    "read_population",
]

CONVERGED_AT = 0.15
"""Train PGD accuracy below which a robustly trained model counts as not converged: chance is 0.1 on ten classes."""

# The column that CONVERGED_AT is about.
_CONVERGENCE = accuracy_column("pgd", "train")

_STANDARD = frozenset({"standard", "none", "clean", "natural", "erm"})
UNSTATED = "not stated"
_LARGEST = 1e100

# From a table to the rows that are left out, by index, each with its reason.
_Filter = Callable[[pd.DataFrame], dict[int, str]]


@dataclass(frozen=True)
class Population:
    """The n models as arrays.

    ``y`` [n] is the target, ``measures`` holds each measure [n] with NaN where missing, ``levels`` the name of each
    model's level in every setting, "not stated" where empty. ``units`` [n] numbers what is resampled as one; ``unit``
    names the column. ``too_few`` says why nothing can be inferred, or is empty.
    """

    table: pd.DataFrame
    target: str
    y: Floats
    measures: dict[str, Floats]
    levels: dict[str, list[str]]
    defense: str | None
    unit: str
    units: Ints
    filters: tuple[FilterStep, ...]
    notes: list[str] = field(default_factory=list)
    too_few: str = ""

    @property
    def ids(self) -> list[str]:
        """The models' ids, in the order of the arrays."""
        return [str(value) for value in self.table["model_id"]]

    @property
    def n_units(self) -> int:
        """How many independent units the models form."""
        return len(np.unique(self.units))

    def column(self, name: str) -> Floats | None:
        """Return a numeric column of the table, NaN where missing: [n]; None where the table has no such column."""
        return numbers(self.table, name, "column") if name in self.table.columns else None


def read_population(
    table: pd.DataFrame,
    *,
    target: str,
    measures: Sequence[str] | None,
    settings: Sequence[str] | None,
    defense: str,
    run: str,
    cluster: str,
    where: str | None = None,
    exclude_standard: bool = False,
    converged_at: float = CONVERGED_AT,
    radius: str | float | None = None,
    id: str | None = None,
) -> Population:
    """Return the models of a table that the filters keep.

    In this order models are left out that do not meet ``where``, are not of ``radius``, have no target, were measured
    again later under another configuration, repeat another row, did not converge, and, with ``exclude_standard``, that
    were trained without an attack. Raises BadInputError for a missing or textual column, an expression that cannot be
    evaluated, one id on different rows, models of several threat models, a target too large or small to be squared, or
    fewer than two models left.
    """
    told = [*table.attrs.get(NOTES, []), *_naming_notes(table, id)]
    table, percent = fractions(identified(table, id), target)
    require(table, target, "target")
    defense, run, cluster = (
        _found(table, wanted, usual, told)
        for wanted, usual in ((defense, "defense"), (run, "run"), (cluster, "cluster"))
    )
    names = measure_columns(table, target, measures, [*(settings or ()), defense, run, cluster])
    for name, usual in ((defense, "defense"), (run, "run"), (cluster, "cluster")):
        if name != usual:
            require(table, name, usual)
    axes = setting_columns(table, settings, defense)
    filters: dict[str, _Filter] = {
        "where": lambda t: _where(t, where),
        RADIUS: lambda t: of_radius(t, radius),
        "no target": lambda t: _without_target(t, target),
        EARLIER: lambda t: _of_one_threat(t, settings or ()),
        "duplicates": lambda t: _duplicates(t, axes, run),
        "not converged": lambda t: _not_converged(t, defense, converged_at),
        "without Standard": lambda t: _standard(t, defense) if exclude_standard else {},
    }
    given = table
    table, steps = _filtered(given, filters)
    notes = [*told, *([percent] if percent else [])]
    if measures is None:
        notes += taken_notes(table, [target, *axes, run, cluster], axes)
        notes += unread_columns(table, [target, *axes, run, cluster])
    _check_target(numbers(table, target, "target"), target)
    table = table.sort_values("model_id", kind="stable", key=_natural).reset_index(drop=True)
    unit, units, too_few = resampling_units(table, given, run, cluster, notes)
    return Population(
        table,
        target,
        numbers(table, target, "target"),
        {n: numbers(table, n, "measure") for n in names},
        {axis: level_names(table[axis]) for axis in axes},
        defense if defense in table.columns else None,
        unit,
        units,
        tuple(steps),
        notes,
        too_few,
    )


def _check_target(y: Floats, target: str) -> None:
    """Raise BadInputError for a target that cannot be squared without leaving the range of float64."""
    size = float(np.abs(y).max())
    if size > _LARGEST or 0 < size < 1 / _LARGEST:
        raise _beyond(target, size)


def _beyond(target: str, value: float) -> BadInputError:
    """Return the error about a target that is too large or too small to be reckoned with."""
    expected = f"values from {1 / _LARGEST:g} to {_LARGEST:g} in size, or zero"
    return BadInputError(f"target {target!r}", expected, f"{value:g}", "rescale it")


def level_names(column: pd.Series) -> list[str]:
    """Return the name of each model's level: whole numbers without a decimal point, a missing one "not stated".

    >>> level_names(pd.Series([64.0, True, None, "SGD"], dtype=object))
    ['64', 'true', 'not stated', 'SGD']
    """
    return [_level(value) for value in column]


def is_standard(name: object) -> bool:
    """Say whether a defense's name means training without an attack.

    >>> is_standard("Standard"), is_standard("AT")
    (True, False)
    """
    return str(name).strip().lower() in _STANDARD


def _level(value: object) -> str:
    if value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and np.isnan(value)):
        return UNSTATED
    if isinstance(value, (bool, np.bool_)):
        return "true" if value else "false"
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        return str(int(value))
    return str(value)


def _natural(ids: pd.Series) -> pd.Series:
    """Sort m2 before m10: the order of rows must not matter, and the order of numbers should be seen."""
    return ids.str.replace(r"\d+", lambda match: match.group().zfill(12), regex=True)


def _found(table: pd.DataFrame, wanted: str, usual: str, told: list[str]) -> str:
    """Return the column for a role; one that only means the same as the usual name is told."""
    found = column_like(list(map(str, table.columns)), wanted, usual)
    if found != wanted:
        told.append(f"Column {found} was taken for the {usual}.")
    return found


def _naming_notes(table: pd.DataFrame, id: str | None) -> list[str]:
    """Return a note where rows are named by their number although a column looks like one of names."""
    candidates = columns_like(map(str, table.columns), "id")
    if id is not None or "model_id" in candidates or not candidates or naming_column(table) is not None:
        return []
    return [
        f"Models are named by the numbers of their rows: column {candidates[0]} has missing or repeated entries, so"
        " that it does not tell them apart."
    ]


def naming_column(table: pd.DataFrame) -> str | None:
    """Return the column that names the models: model_id, else one called model, name or the like with unique entries.

    None where there is none, so that rows are named by their number.
    """
    for name in columns_like(map(str, table.columns), "id"):
        if name == "model_id" or (table[name].notna().all() and table[name].is_unique):
            return name
    return None


def identified(table: pd.DataFrame, id: str | None = None) -> pd.DataFrame:
    """Return a copy with a column model_id: that of ``id``, else of ``naming_column``, else the numbers of rows.

    Raises BadInputError for a table that has two columns of one name, or that lacks the column ``id``.
    """
    table = table.copy()
    table.columns = [str(name) for name in table.columns]
    if duplicated := table.columns[table.columns.duplicated()].tolist():
        raise BadInputError("the table", "every column once", f"{duplicated[0]!r} twice")
    if id is not None:
        require(table, id, "id")
    numbered = pd.Series([f"row {i + 1}" for i in range(len(table))], index=table.index, dtype=object)
    if (source := id or naming_column(table)) is not None:
        given = table[source]
        numbered = given.astype(object).where(given.notna(), numbered).astype(str)
    if "model_id" in table.columns:
        table["model_id"] = numbered
    else:
        table.insert(0, "model_id", numbered)
    return table.reset_index(drop=True)


def _where(table: pd.DataFrame, expression: str | None) -> dict[int, str]:
    if not expression:
        return {}
    if "@" in expression or "__" in expression:
        raise BadInputError("where", 'an expression over columns, such as defense == "AT"', repr(expression))
    try:
        kept = table.eval(expression, engine="python")
    except Exception as error:  # noqa: BLE001 - pandas raises whatever the expression meets
        hint = near_names(str(error).split("'")[1], table.columns) if "'" in str(error) else ""
        raise BadInputError("where", "an expression over columns", f"{expression!r} ({error})", hint) from None
    if not isinstance(kept, pd.Series) or not pd.api.types.is_bool_dtype(kept.dtype):
        raise BadInputError("where", "an expression that is true or false for each model", repr(expression))
    return {int(i): f"does not meet {expression}" for i in table.index[~kept.fillna(False).astype(bool)]}


def _without_target(table: pd.DataFrame, target: str) -> dict[int, str]:
    missing = np.isnan(numbers(table, target, "target"))
    if missing.all() and (given := pd.to_numeric(table[target], errors="coerce").dropna()).size:
        raise _beyond(target, float(given.iloc[0]))
    said = table["reason"] if "reason" in table.columns else pd.Series("", index=table.index)
    return {
        int(i): f"no {target}" + (f": {said[i]}" if isinstance(said[i], str) and said[i] else "")
        for i in table.index[missing]
    }


def _filtered(table: pd.DataFrame, filters: Mapping[str, _Filter]) -> tuple[pd.DataFrame, list[FilterStep]]:
    """Return the rows that all filters keep, and what each left out; those on threat models are told if they did."""
    steps: list[FilterStep] = []
    for label, leave_out in filters.items():
        reasons = leave_out(table)
        if reasons or label not in (RADIUS, EARLIER):
            steps.append(_step(label, table, reasons))
        table = table.drop(index=list(reasons))
    if len(table) < 2:
        raise BadInputError("the table", "at least two models", f"{len(table)} after the filters", _told(steps))
    return table, steps


def _of_one_threat(table: pd.DataFrame, settings: Sequence[str]) -> dict[int, str]:
    """Name rows of earlier configurations, once it is sure that all rows are of one threat model."""
    require_one_threat(table, settings)
    return superseded(table)


def _duplicates(table: pd.DataFrame, axes: Sequence[str], run: str) -> dict[int, str]:
    """Name the later of two equal rows, and networks that count already: the same file with the same results.

    The checkpoints of one run may hold the same network, as when the best epoch is the last. Both rows stay if a
    setting tells them apart: they are resampled as one, and that the setting changes nothing is a result. To leave
    one out would take rows by their outcome, those of runs that did not overfit.
    """
    repeated = table.duplicated("model_id", keep="first")
    same = table.duplicated(keep="first") if repeated.any() else repeated  # equal rows have equal names
    if (conflicting := table.loc[repeated & ~same, "model_id"]).size:
        raise BadInputError("model_id", "each model once", f"{conflicting.iloc[0]!r} on rows that differ")
    reasons = {int(i): "the same row again" for i in table.index[same]}
    if "file_sha256" in table.columns:
        results = [c for c in table.columns if c not in axes and _is_number(table[c])]
        again = _again(table[table["file_sha256"].notna()], axes, run, ["file_sha256", *results])
        reasons |= {int(i): "the same file with the same numbers" for i in again}
    return reasons


def _again(table: pd.DataFrame, axes: Sequence[str], run: str, network: list[str]) -> pd.Index:
    """Return the rows whose network stands in an earlier row, of another run or with the same settings."""
    table = table[table.duplicated(network, keep=False)]
    again = table.duplicated(network)
    if run in table.columns:
        number = table.groupby(network, dropna=False, sort=False).ngroup()
        first_run = number.map(table[run].groupby(number, sort=False).head(1).set_axis(number.unique()))
        checkpoint = (table[run] == first_run) & ~table.duplicated([*network, run, *axes])
        again &= ~checkpoint
    return table.index[again]


def _is_number(column: pd.Series) -> bool:
    """Say whether a column holds numbers; truth values, which pandas counts among them, are settings or remarks."""
    return pd.api.types.is_numeric_dtype(column.dtype) and not pd.api.types.is_bool_dtype(column.dtype)


def _not_converged(table: pd.DataFrame, defense: str, threshold: float) -> dict[int, str]:
    if _CONVERGENCE not in table.columns:
        return {}
    accuracy = numbers(table, _CONVERGENCE, "column")
    standard = [is_standard(d) for d in table[defense]] if defense in table.columns else [False] * len(table)
    below = (accuracy < threshold) & ~np.array(standard, dtype=bool)
    return {int(i): f"train PGD accuracy below {threshold}" for i in table.index[below]}


def _standard(table: pd.DataFrame, defense: str) -> dict[int, str]:
    if defense not in table.columns:
        return {}
    return {int(i): "trained without an attack" for i, d in table[defense].items() if is_standard(d)}  # type: ignore[call-overload]


def _step(name: str, table: pd.DataFrame, reasons: dict[int, str]) -> FilterStep:
    left_out = tuple((str(table.loc[i, "model_id"]), why) for i, why in reasons.items())
    return FilterStep(name, len(table), len(table) - len(reasons), left_out)


def _told(steps: Sequence[FilterStep]) -> str:
    told = [f"{s.name} left out {s.n_before - s.n_after}" for s in steps if s.n_after < s.n_before]
    return ", ".join(told)

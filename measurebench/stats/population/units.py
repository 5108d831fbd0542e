"""The units of resampling: what is drawn, exchanged and left out as one, since it shares its training."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from measurebench.stats.resampling.draws import Ints

__all__ = ["MIN_CLUSTERS", "MIN_RUNS", "resampling_units"]

MIN_CLUSTERS = 10
"""Fewer papers than this are not resampled: a bootstrap of a handful of units gives intervals that are too narrow."""

MIN_RUNS = 4
"""With fewer runs than this there is no inference at all: three runs have ten different resamples."""

_FILE = "file_sha256"
_TOLD = 3  # joined units are named up to here


def resampling_units(
    table: pd.DataFrame, given: pd.DataFrame, run: str, cluster: str, notes: list[str]
) -> tuple[str, Ints, str]:
    """Number the units of resampling: papers where there are enough of them, else training runs, else models.

    Returns the column that names them, the unit of each model [n], and why nothing can be inferred (or nothing): runs
    that are too few to resample; their models are no stand-in. Units that hold the same file anywhere in ``given``,
    the table before any model was left out, are one: up to that network they are one training. ``notes`` are added to.
    """
    unit, by_paper = _column(table, run, cluster, notes)
    papers = cluster if by_paper else ""
    own, joined = _names(table, run, papers), _joined(given, _names(given, run, papers))
    chosen = [joined.get(name, name) for name in own]
    if told := _joined_words(unit, joined, set(own)):
        notes.append(told)
    too_few = ""
    if len(set(chosen)) < MIN_RUNS and unit != "model_id":
        too_few = f"{len(set(chosen))} values of {unit} are too few to resample: no intervals and no p-values"
        notes.append(f"{too_few}.")
    units = np.unique(np.array(chosen, dtype=object).astype(str), return_inverse=True)[1]
    notes.append(f"Resampled by {unit}: {len(np.unique(units))} units for {len(table)} models.")
    return unit, units.astype(np.int64), too_few


def _column(table: pd.DataFrame, run: str, cluster: str, notes: list[str]) -> tuple[str, bool]:
    """Return the column that names the units, and whether it is that of papers."""
    unit = run if run in table and table[run].notna().any() else "model_id"
    if cluster not in table or not table[cluster].notna().any():
        return unit, False
    n_papers = table[cluster].nunique()
    if n_papers >= MIN_CLUSTERS:
        return cluster, True
    notes.append(f"{n_papers} values of {cluster} are too few to resample; {unit} is the unit instead.")
    return unit, False


def _names(table: pd.DataFrame, run: str, cluster: str) -> list[str]:
    """Return the name of each model's unit: its paper where ``cluster`` is asked for, else its run, else itself."""
    names = [f"model {name}" for name in table["model_id"]]
    for column, kind in ((run, "run"), (cluster, "cluster")):
        if column in table:
            names = [f"{kind} {v}" if pd.notna(v) else n for v, n in zip(table[column], names, strict=True)]
    return names


def _joined(table: pd.DataFrame, names: Sequence[str]) -> dict[str, str]:
    """Return, for each unit that shares a file with another, the first of those that are one with it."""
    if _FILE not in table:
        return {}
    first: dict[str, str] = {}

    def root(name: str) -> str:
        while (next_ := first.get(name, name)) != name:
            name = next_
        return name

    holder: dict[str, str] = {}
    for file, name in zip(table[_FILE], names, strict=True):
        if not isinstance(file, str) or not file:
            continue
        one, other = sorted((root(holder.setdefault(file, name)), root(name)))
        first[one], first[other] = one, one
    found = {name: root(name) for name in first}
    shared = {top for name, top in found.items() if name != top}
    return {name: top for name, top in found.items() if top in shared}


def _joined_words(unit: str, joined: dict[str, str], present: set[str]) -> str:
    """Say which of the units that are present count as one; nothing where none does."""
    groups: dict[str, list[str]] = {}
    for name, top in joined.items():
        if name in present:
            groups.setdefault(top, []).append(name.split(" ", 1)[1])
    told = [" and ".join(sorted(names)) for names in groups.values() if len(names) > 1]
    if not told:
        return ""
    more = f"; and {len(told) - _TOLD} more" if len(told) > _TOLD else ""
    return f"Values of {unit} that hold the same file count as one unit: {'; '.join(told[:_TOLD])}{more}."

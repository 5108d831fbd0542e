"""Ranks one's own models by their robust accuracy: the lowest that any attack at hand has left, with intervals."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from measurebench.core.columns import accuracy_column, attack_title, attacks_in, count_columns
from measurebench.core.errors import BadInputError
from measurebench.core.threat import radius_text
from measurebench.reporting.subject.drawable import drawable
from measurebench.reporting.subject.rank_intervals import ranked
from measurebench.stats.population.percent import fractions
from measurebench.stats.population.population import identified, level_names
from measurebench.stats.population.roles import require
from measurebench.stats.population.threats import rows_shown

__all__ = ["MAX_SERIES", "OTHER", "own_ranking", "read_own"]

MAX_SERIES = 8  # the theme has eight colours that can be told apart
OTHER = "other"
_TASK = ("dataset", "norm", "radius")
# RobustBench's standard evaluation: a model that did not face it may only be as robust as it seems, or less.
_STANDARD = "autoattack"


def read_own(sources: Path | str | Sequence[Path | str]) -> pd.DataFrame:
    """Return the table of models of results folders, which are joined, or of one table.

    Raises BadInputError for what cannot be read or joined.
    """
    from measurebench.store.joining import join_results
    from measurebench.store.tables import read_table

    paths = [Path(sources)] if isinstance(sources, str | Path) else [Path(source) for source in sources]
    return read_table(paths[0]) if len(paths) == 1 else join_results(paths)


def own_ranking(
    table: pd.DataFrame,
    *,
    accuracies: Sequence[str] = (),
    dataset: str = "",
    norm: str = "",
    radius: str = "",
) -> pd.DataFrame:
    """Return the models of one data set and threat model with their ranks, the most robust first.

    Columns that are added: ``robust_accuracy``, the lowest accuracy on test images under any attack; ``attack``, which
    attack that was; ``n_images``, on how many images, missing where unknown; ``rank``, ``rank_best``, ``rank_worst``,
    ``low`` and ``high`` as ``ranked`` gives them; ``weaker_attacks``, true where stronger attacks were run on other
    models. Such a model may be less robust than it seems, and is never taken to beat another by more than chance.
    Models without an attack are left out. ``accuracies`` names the columns to take where they are not called as in the
    contract; their number of images is then ``n_test``. ``dataset``, ``norm`` and ``radius`` choose where a table has
    several. Raises BadInputError for a table of several tasks, and for one without robust accuracies of two models.
    """
    table = drawable(identified(fractions(table, "")[0]))
    accuracies = [drawable(name) for name in accuracies]
    table = _of_one_task(table, {"dataset": dataset, "norm": norm}, radius)
    faced = _robust_accuracies(table, accuracies)
    kept, lowest = table.loc[faced.index], faced.idxmin(axis=1).astype(str)
    found = kept.assign(
        robust_accuracy=faced.min(axis=1),
        attack=lowest.map(attack_title),
        n_images=[_n_images(kept.iloc[i], attack) for i, attack in enumerate(lowest)],
        weaker_attacks=_weaker(faced, lowest),
        radius=kept["radius"].map(radius_text, na_action="ignore") if "radius" in kept else None,
        _defense=_series(kept),
    )
    found = ranked(found, "robust_accuracy", found["n_images"], at_most=found["weaker_attacks"])
    order = ["robust_accuracy", *(["clean_accuracy_test"] if "clean_accuracy_test" in found else []), "model_id"]
    ascending = [name == "model_id" for name in order]
    return found.sort_values(order, ascending=ascending, kind="stable").reset_index(drop=True)


def _robust_accuracies(table: pd.DataFrame, named: Sequence[str]) -> pd.DataFrame:
    """Return the accuracies on test images, a row for each model that faced an attack, a column for each attack."""
    columns = {name: name for name in named} or {a: accuracy_column(a, "test") for a in attacks_in(table.columns)}
    for name in named:
        require(table, name, "--accuracies")
    present = {attack: pd.to_numeric(table[name], errors="coerce") for attack, name in columns.items() if name in table}
    # Accuracies by their usual names are fractions by now; those that were named may be in percent.
    present = {name: values / 100 if named and values.max() > 1 else values for name, values in present.items()}
    found = pd.DataFrame(present, index=table.index).dropna(how="all").dropna(axis=1, how="all")
    if len(found) < 2:
        expected = "two models or more with an accuracy under attack on test images, such as pgd_accuracy_test"
        hint = "`measurebench report` writes the page of one model" if len(found) else "name columns with --accuracies"
        raise BadInputError("the results", expected, str(len(found)) if len(found) else "none", hint)
    return found


def _of_one_task(table: pd.DataFrame, chosen: dict[str, str], radius: str) -> pd.DataFrame:
    """Return the latest rows of one data set, norm and radius. Raises BadInputError where there are several."""
    for name, value in chosen.items():
        if value:
            levels = sorted(table[name].dropna().astype(str).unique()) if name in table.columns else []
            if value not in levels:
                raise BadInputError(name, f"one of the results': {', '.join(levels) or 'none is named'}", repr(value))
            table = table[table[name].astype(str) == value]
    table = rows_shown(table, radius or None)
    counts = Counter(_tasks(table))
    if len(counts) > 1:
        told = "; ".join(f"{task} for {n}" for task, n in sorted(counts.items()))
        hint = "choose with --dataset, --norm and --radius"
        raise BadInputError("the results", "models of one data set and threat model", told, hint)
    return table


def _tasks(table: pd.DataFrame) -> list[str]:
    """Return the data set and threat model of each row as a text; what a row does not state is left out."""
    present = [name for name in _TASK if name in table.columns]
    rows = table[present].to_dict("records")
    texts = [[radius_text(v) if k == "radius" else str(v) for k, v in row.items() if pd.notna(v)] for row in rows]
    return [" ".join(text) or "nothing stated" for text in texts]


def _n_images(row: "pd.Series[Any]", attack: str) -> float:
    """Return on how many test images an attack was run, NaN where the table does not say."""
    known = [row[name] for name in count_columns(attack, "test") if name in row.index and pd.notna(row[name])]
    return float(known[0]) if known and float(known[0]) > 0 else float("nan")


def _weaker(faced: pd.DataFrame, lowest: "pd.Series[str]") -> list[bool]:
    """Say of each model [n] whether an attack that it did not face is stronger than those that it faced."""
    missing = faced.isna()
    return [
        any(_is_stronger(attack, lowest[row], faced) for attack in faced.columns[missing.loc[row]])
        for row in faced.index
    ]


def _is_stronger(attack: str, than: str, faced: pd.DataFrame) -> bool:
    """Say whether an attack left less than another on most models that faced both; AutoAttack where none did."""
    both = faced[[attack, than]].dropna()
    if both.empty:
        return attack == _STANDARD
    return int((both[attack] < both[than]).sum()) * 2 > len(both)


def _series(table: pd.DataFrame) -> list[str]:
    """Return the name of the colour of each model: its defense, the rarest beyond seven together."""
    if "defense" not in table.columns or table["defense"].nunique() < 2:
        return ["all models"] * len(table)
    names = level_names(table["defense"])
    counts = Counter(names)
    if len(counts) <= MAX_SERIES:
        return names
    frequent = sorted(counts, key=lambda name: (-counts[name], name))[: MAX_SERIES - 1]
    return [name if name in frequent else OTHER for name in names]

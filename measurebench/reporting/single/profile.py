"""What the page of a single model tells: accuracies with intervals, measures with errors, classes and its place."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from measurebench.core.columns import (
    accuracy_column,
    attacks_in,
    count_columns,
    describe,
    gap_column,
    outcome_columns,
)
from measurebench.core.errors import BadInputError
from measurebench.core.info import FAMILIES, MeasureInfo
from measurebench.core.intervals import wilson_interval
from measurebench.core.records import Record
from measurebench.reporting.html.wording import defined
from measurebench.reporting.single.population import Population

__all__ = ["ClassRow", "Place", "Rate", "Value", "classes_of", "gaps_of", "rates_of", "values_of"]


@dataclass(frozen=True)
class Place:
    """Where a value stands among other models: the share below it in percent, and how many models have one."""

    percent: float
    n: int


@dataclass(frozen=True)
class Rate:
    """An accuracy or a gap, a fraction, with its 95 % interval where the number of images is known."""

    column: str
    title: str
    value: float
    n: int | None
    low: float | None = None
    high: float | None = None
    place: Place | None = None


@dataclass(frozen=True)
class Value:
    """A measure: its value and standard error, or the reason why there is none."""

    column: str
    title: str
    family: str
    unit: str
    explanation: str
    value: float | None
    error: float | None
    reason: str
    place: Place | None = None


@dataclass(frozen=True)
class ClassRow:
    """Results for the images of one class: how many, and the accuracy by its title, with the interval's ends."""

    label: int
    n: int
    rates: Mapping[str, tuple[float, float, float]]


def rates_of(row: "pd.Series[Any]", population: Population | None) -> list[Rate]:
    """Return the accuracies of a model, attack by attack, training images before test images."""
    found: list[Rate] = []
    for attack in ("clean", *attacks_in(row.index)):
        for split in ("train", "test"):
            name = accuracy_column(attack, split)
            if defined(row.get(name)) and name not in {rate.column for rate in found}:
                found.append(_rate_of(name, row, _n_images(row, attack, split), population))
    return found


def _rate_of(name: str, row: "pd.Series[Any]", n: int | None, population: Population | None) -> Rate:
    value = float(row[name])
    low, high = wilson_interval(round(value * n), n) if n else (None, None)
    return Rate(name, describe(name).title, value, n, low, high, _place(name, value, population))


def _n_images(row: "pd.Series[Any]", attack: str, split: str) -> int | None:
    known = [row[name] for name in count_columns(attack, split) if name in row.index and pd.notna(row[name])]
    return int(known[0]) if known and known[0] > 0 else None


def gaps_of(row: "pd.Series[Any]", rates: Iterable[Rate], population: Population | None) -> list[Rate]:
    """Return the robust generalization gaps, each with Newcombe's interval for a difference of two proportions.

    Newcombe 1998, "Interval estimation for the difference between independent proportions", method 10.
    """
    by_name, found = {rate.column: rate for rate in rates}, []
    for attack in attacks_in(row.index):
        name = gap_column(attack)
        train, test = (by_name.get(accuracy_column(attack, split)) for split in ("train", "test"))
        if train is None or test is None or not defined(row.get(name)):
            continue
        low, high = _newcombe(train, test)
        value = float(row[name])
        found.append(Rate(name, describe(name).title, value, None, low, high, _place(name, value, population)))
    return found


def _newcombe(first: Rate, second: Rate) -> tuple[float | None, float | None]:
    """Return the interval of first minus second."""
    if first.low is None or first.high is None or second.low is None or second.high is None:
        return None, None
    difference = first.value - second.value
    down = ((first.value - first.low) ** 2 + (second.high - second.value) ** 2) ** 0.5
    up = ((first.high - first.value) ** 2 + (second.value - second.low) ** 2) ** 0.5
    return difference - down, difference + up


def values_of(
    row: "pd.Series[Any]",
    infos: Mapping[str, MeasureInfo],
    records: Iterable[Record],
    population: Population | None,
) -> list[Value]:
    """Return the measures of a model in the order of the families; standard errors and reasons come from records."""
    by_name = {_column(record): record for record in records}
    outcomes = set(outcome_columns(row.index))
    names = [
        name
        for name in row.index
        if name not in outcomes and describe(name, row.index).role == "measure" and not name.endswith("_accuracy")
    ]
    names = [name for name in names if defined(row[name]) or name in by_name]
    order = {family: place for place, family in enumerate(FAMILIES)}
    found = [_value(name, row, infos, by_name.get(name), population) for name in names]
    return sorted(found, key=lambda value: order.get(value.family, len(order)))  # type: ignore[call-overload]


def _column(record: Record) -> str:
    return record.measure if record.split == "train" else f"{record.measure}_{record.split}"


def _value(
    name: str,
    row: "pd.Series[Any]",
    infos: Mapping[str, MeasureInfo],
    record: Record | None,
    population: Population | None,
) -> Value:
    info = infos.get(name) or infos.get(name.removesuffix("_test"))
    value = float(row[name]) if defined(row[name]) else None
    return Value(
        name,
        f"{info.title}{' (test images)' if info.id != name else ''}" if info else name,
        info.family if info else "other",
        info.unit if info else "",
        info.explanation if info else "",
        value,
        record.standard_error if record else None,
        record.reason if record and value is None else "",
        _place(name, value, population),
    )


def _place(name: str, value: Any, population: Population | None) -> Place | None:
    found = population.percentile(name, value) if population else None
    return Place(*found) if found else None


def classes_of(folder: Path, config_digest: str | None = None) -> tuple[list[str], list[ClassRow]]:
    """Return the attacks and the accuracies on the test images of each class, of one configuration where it is named.

    Both are empty for a folder without verdicts.
    """
    from measurebench.store.verdicts import read_verdicts

    try:
        verdicts = read_verdicts(folder, config_digest)
    except BadInputError:
        return [], []
    verdicts = verdicts[verdicts["split"] == "test"]
    if verdicts.empty or "label" not in verdicts.columns:
        return [], []
    rates: dict[int, dict[str, tuple[float, float, float]]] = {}
    numbers: dict[int, int] = {}
    titles = ["clean"]
    for measure, table in verdicts.groupby("measure", sort=False):
        title = describe(accuracy_column(str(measure).removesuffix("_accuracy"), "test")).attack
        titles.append(title)
        for label in sorted(set(table["label"].astype(int))):
            images = table[table["label"] == label]
            n = len(images)
            numbers[label] = max(n, numbers.get(label, 0))
            of_class = rates.setdefault(label, {})
            of_class["clean"] = _rate(int(images["correct"].sum()), n)
            of_class[title] = _rate(int(images["robust"].sum()), n)
    return titles, [ClassRow(label, numbers[label], rates[label]) for label in sorted(rates)]


def _rate(k: int, n: int) -> tuple[float, float, float]:
    low, high = wilson_interval(k, n)
    return k / n, float(low), float(high)

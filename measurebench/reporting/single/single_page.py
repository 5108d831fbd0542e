"""Builds the page of a single model: one self-contained HTML file without a chart, so without any library."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from measurebench.core.columns import attack_title, describe
from measurebench.core.info import MeasureInfo
from measurebench.core.infos import measure_infos
from measurebench.core.threat import radius_text
from measurebench.reporting.figures.gallery import GalleryItem
from measurebench.reporting.html.shell import render
from measurebench.reporting.html.wording import compact, defined, percent, points, setting_name, signed
from measurebench.reporting.single.population import Population, reference_population
from measurebench.reporting.single.profile import (
    ClassRow,
    Place,
    Rate,
    Value,
    classes_of,
    gaps_of,
    rates_of,
    values_of,
)

__all__ = ["Single", "load_single", "single_page"]


_LONG = 1e12  # whole numbers beyond are easier to read as powers of ten


@dataclass(frozen=True)
class Single:
    """One model as its page sees it: its row of the table of models, and what belongs to it."""

    name: str
    row: "pd.Series[Any]"
    rates: list[Rate]
    gaps: list[Rate]
    values: list[Value]
    class_titles: list[str]
    classes: list[ClassRow]
    population: Population | None
    provenance: Mapping[str, Any] = field(default_factory=dict)
    gallery: tuple[GalleryItem, ...] = ()

    def best(self, split: str) -> Rate | None:
        """Return the accuracy on a split under the strongest attack, the one that leaves least; clean if none."""
        attacked = [r for r in self.rates if describe(r.column).split == split and describe(r.column).attack != "clean"]
        return min(attacked, key=lambda rate: rate.value, default=None)


def load_single(
    table: pd.DataFrame,
    *,
    name: str = "",
    folder: Path | None = None,
    infos: Mapping[str, MeasureInfo] | None = None,
    provenance: Mapping[str, Any] | None = None,
    gallery: tuple[GalleryItem, ...] = (),
) -> Single:
    """Return what a page tells of the one model of a table; ``folder`` is its results folder, where there is one."""
    row = table.iloc[0]
    population = reference_population(row)
    records, titles, classes = [], [], []  # type: ignore[var-annotated]
    if folder is not None:
        from measurebench.store.folder import ResultsFolder, model_key

        results = ResultsFolder.open(folder)
        entry = next(iter(results.catalogue().values()))
        records = results.records_by_model()[model_key(entry)]
        titles, classes = classes_of(folder)
    rates = rates_of(row, population)
    return Single(
        name or str(row.get("model_id", "the model")),
        row,
        rates,
        gaps_of(row, rates, population),
        values_of(row, measure_infos() if infos is None else infos, records, population),
        titles,
        classes,
        population,
        provenance or {},
        gallery,
    )


def single_page(single: Single) -> str:
    """Return the page as HTML; the same model gives the same bytes."""
    sentence, lead = _finding(single)
    groups: dict[str, list[dict[str, Any]]] = {}
    for value in single.values:
        groups.setdefault(value.family, []).append(_value_row(value))
    return render(
        "single.html",
        {},
        title=f"{sentence} · {single.name}",
        description=lead,
        kicker=" · ".join([single.name, *_task(single.row)]),
        sections=_navigation(single),
        sentence=sentence,
        lead=lead,
        cards=[_card(rate) for rate in _headline(single)],
        flags=_flags(single.row),
        rates=[_rate_row(rate) for rate in single.rates] + [_rate_row(gap, is_gap=True) for gap in single.gaps],
        groups=list(groups.items()),
        class_titles=[_attack_title(title) for title in single.class_titles],
        classes=[_class_row(row, single.class_titles) for row in single.classes],
        population=single.population,
        gallery=single.gallery,
        facts=_facts(single),
        commands=_commands(single),
    )


def _navigation(single: Single) -> list[tuple[str, str]]:
    named = [("finding", "Summary"), ("accuracies", "Accuracies"), ("measures", "Measures")]
    named += [("classes", "Classes")] if single.classes else []
    named += [("gallery", "Images")] if single.gallery else []
    return [*named, ("methods", "Methods")]


def _finding(single: Single) -> tuple[str, str]:
    """Return the page's first sentence and what follows it."""
    test, train = single.best("test"), single.best("train")
    rate = test or train
    if rate is None:
        return single.name, f"{len(single.values)} measures of one model; no attack was run."
    images = "test images" if rate is test else "training images"
    attack = _attack_title(describe(rate.column).attack)
    sentence = f"{percent(rate.value)} of {images} withstand {attack}"
    told = [f"The 95 % interval is {_ends(rate, percent)}, from {rate.n:,} images."] if rate.n else []
    for gap in single.gaps:
        if describe(gap.column).attack == describe(rate.column).attack:
            told.append(_gap_sentence(gap))
    return sentence, " ".join(told)


def _gap_sentence(gap: Rate) -> str:
    size = f"{points(abs(gap.value))} points"
    if gap.low is not None and gap.high is not None and gap.low <= 0 <= gap.high:
        return f"Training images withstand it as often as test images, as far as these numbers tell ({_gap_text(gap)})."
    return f"Of training images, {size} {'more' if gap.value > 0 else 'fewer'} withstand it ({_gap_text(gap)})."


def _gap_text(gap: Rate) -> str:
    if gap.low is None or gap.high is None:
        return f"{signed(100 * gap.value, 1)} points"
    return f"gap {signed(100 * gap.value, 1)}, interval {_interval(gap, True)} points"


def _ends(rate: Rate, form: Any) -> str:
    return f"{form(rate.low)} to {form(rate.high)}" if rate.low is not None else ""


def _headline(single: Single) -> list[Rate]:
    """Return the numbers at the top: clean and robust accuracy on test images, and gaps."""
    on_test = [rate for rate in single.rates if describe(rate.column).split == "test"]
    return (on_test or single.rates)[:3] + single.gaps[:1]


def _card(rate: Rate) -> dict[str, str]:
    is_gap = describe(rate.column).role == "gap"
    value = f"{signed(100 * rate.value, 1)} points" if is_gap else percent(rate.value)
    return {"label": rate.title, "value": value, "detail": _interval(rate, is_gap)}


def _interval(rate: Rate, is_gap: bool) -> str:
    if rate.low is None or rate.high is None:
        return "number of images unknown"
    if is_gap:
        return f"{signed(100 * rate.low, 1)} to {signed(100 * rate.high, 1)}"
    return f"{percent(rate.low)} to {percent(rate.high)}"


def _rate_row(rate: Rate, is_gap: bool = False) -> dict[str, Any]:
    return {
        "title": rate.title,
        "value": f"{signed(100 * rate.value, 1)} points" if is_gap else percent(rate.value),
        "interval": _interval(rate, is_gap),
        "n": f"{rate.n:,}" if rate.n else "",
        "place": _placed(rate.place),
    }


def _value_row(value: Value) -> dict[str, Any]:
    return {
        "title": value.title,
        "column": value.column,
        "unit": "" if value.unit in ("1", "-") else value.unit,
        "explanation": value.explanation,
        "value": _number(value.value),
        "error": compact(value.error) if defined(value.error) else "",
        "reason": value.reason,
        "place": _placed(value.place),
    }


def _placed(place: Place | None) -> dict[str, Any] | None:
    """Return where a value stands: the percentile to draw and to print."""
    if place is None:
        return None
    # 0 and 100 are kept for the models beyond all others.
    shown = min(max(round(place.percent), 1), 99) if 0 < place.percent < 100 else round(place.percent)
    return {"percent": str(shown), "n": f"{place.n:,}"}


def _number(value: float | None) -> str:
    """Return a value with four digits, a whole number in full."""
    return f"{int(value):,}" if value is not None and value.is_integer() and abs(value) < _LONG else compact(value)


def _attack_title(attack: str) -> str:
    return "no attack" if attack == "clean" else attack_title(attack)


def _class_row(row: ClassRow, titles: list[str]) -> dict[str, Any]:
    cells = [row.rates.get(title) for title in titles]
    return {"label": f"class {row.label}", "n": f"{row.n:,}", "cells": [c and _cell(*c) for c in cells]}


def _cell(rate: float, low: float, high: float) -> tuple[str, str, str]:
    """Return an accuracy in words, its interval, and the length of its bar in percent."""
    return percent(rate), f"{percent(low, 0)} to {percent(high, 0)}", f"{100 * rate:.1f}"


def _flags(row: "pd.Series[Any]") -> list[tuple[str, str]]:
    """Return warnings of attacks and what failed, each with what it is about."""
    names = [str(name) for name in row.index]
    found = []
    for name in names:
        column = describe(name, names)
        if column.role == "status" and name not in ("status", "reason") and isinstance(row[name], str) and row[name]:
            found.append((column.label, row[name]))
    if row.get("status") == "failed" and isinstance(row.get("reason"), str):
        found.append(("failed", row["reason"]))
    return found


def _task(row: "pd.Series[Any]") -> list[str]:
    names = [str(row[name]) for name in ("defense", "dataset", "norm") if isinstance(row.get(name), str)]
    return names + ([f"radius {radius_text(row['radius'])}"] if pd.notna(row.get("radius")) else [])


def _facts(single: Single) -> list[tuple[str, str]]:
    """Return identity, settings and provenance of the model, and the software that measured it."""
    found = []
    for name in map(str, single.row.index):
        column, value = describe(name), single.row[name]
        if column.role in ("identity", "setting", "provenance", "count") and pd.notna(value) and value != "":
            label = setting_name(name) if column.role == "setting" else column.label
            found.append((label, radius_text(value) if name == "radius" else _plain(value)))
    latest: Mapping[str, Any] = (single.provenance.get("environments") or [{}])[-1]
    plain = {str(key): value for key, value in latest.items() if isinstance(value, str | int | float) and key != "host"}
    return found + [(key.replace("_", " "), _plain(value)) for key, value in plain.items()]


def _plain(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        return f"{int(value):,}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _commands(single: Single) -> list[str]:
    lines = [run.get("command") or "" for run in single.provenance.get("runs") or []]
    told = [" ".join(map(str, line)) if isinstance(line, list) else str(line) for line in lines]
    return [line for line in dict.fromkeys(told) if line]

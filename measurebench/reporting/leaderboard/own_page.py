"""Writes the leaderboard of one's own results: a page with the ranked table first, and the table as CSV."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from measurebench.core.columns import Column, describe, flags_column
from measurebench.core.file_sets import write_set
from measurebench.core.infos import measure_infos
from measurebench.reporting.charts.leaderboard import own
from measurebench.reporting.figures.figure import Figure
from measurebench.reporting.figures.figure_files import check_formats, write_figures
from measurebench.reporting.figures.page_data import datasets, figure_data
from measurebench.reporting.html.embedding import columns as embedded
from measurebench.reporting.html.shell import render
from measurebench.reporting.html.wording import count, listed, measure_name, percent
from measurebench.reporting.leaderboard.own_results import own_ranking, read_own
from measurebench.reporting.study.study_page import Section
from measurebench.reporting.subject.warned import warning_columns, warning_sentence, warnings_in
from measurebench.store.csv_text import csv_text

__all__ = ["own_page", "worded", "write_own_leaderboard"]

# key: label, format, group, shown at first
_ADDED: dict[str, tuple[str, str, str, bool]] = {
    "rank": ("rank", "integer", "ranking", True),
    "model_id": ("model", "text", "ranking", True),
    "robust_accuracy": ("robust accuracy", "percent2", "accuracy", True),
    "low": ("95 % from", "percent2", "accuracy", True),
    "high": ("to", "percent2", "accuracy", True),
    "possible_ranks": ("possible ranks", "text", "ranking", True),
    "rank_best": ("best possible rank", "integer", "ranking", False),
    "rank_worst": ("worst possible rank", "integer", "ranking", False),
    "attack": ("strongest attack", "text", "accuracy", True),
    "n_images": ("images", "integer", "accuracy", True),
    "weaker": ("upper bound only", "text", "accuracy", True),
}
_FIRST = ("clean_accuracy_test", "defense", "architecture")
_GROUPS = {
    "identity": "model",
    "setting": "settings",
    "measure": "measures",
    "status": "records",
    "provenance": "records",
}
_ROLES = ("identity", "setting", "outcome", "gap", "count", "measure", "status", "provenance")


def write_own_leaderboard(
    sources: Path | str | Sequence[Path | str] | pd.DataFrame,
    out: Path | str,
    *,
    accuracies: Sequence[str] = (),
    dataset: str = "",
    norm: str = "",
    radius: str = "",
    name: str = "",
    figures: Path | str | None = None,
    formats: Sequence[str] = ("svg", "png"),
) -> Path:
    """Write ``out/index.html`` and ``out/leaderboard.csv``, the ranking of one's own models; return the page's path.

    ``sources`` are results folders or a table. Models are ranked by the lowest accuracy on test images that any attack
    left. ``accuracies`` names the columns that hold these accuracies where they are called otherwise. ``dataset``,
    ``norm`` and ``radius`` choose where there are several; they are never mixed. ``figures``: a folder for every chart
    as a file in ``formats``. Raises BadInputError for input that cannot be used.
    """
    check_formats(formats)
    read = sources if isinstance(sources, pd.DataFrame) else read_own(sources)
    table = worded(own_ranking(read, accuracies=accuracies, dataset=dataset, norm=norm, radius=radius))
    shown = table[[column["key"] for column in _columns(table)]].convert_dtypes()
    files = {"index.html": own_page(table, name).encode(), "leaderboard.csv": csv_text(shown).encode()}
    page, *_ = write_set(Path(out), files)
    if figures is not None:
        write_figures(_figures(table), Path(figures), formats)
    return Path(out) / page.name


def worded(table: pd.DataFrame) -> pd.DataFrame:
    """Return the ranking with what charts and table need: numbers of rows, and yes or no in words."""
    ends = zip(table["rank_best"].astype(int), table["rank_worst"].astype(int), strict=True)
    return table.assign(
        _i=range(len(table)),
        _place=range(len(table)),
        _target=table["robust_accuracy"],
        possible_ranks=[f"{best}\u2013{worst}" if best < worst else str(best) for best, worst in ends],
        weaker=table["weaker_attacks"].map({True: "yes", False: "no"}),
    )


def _figures(table: pd.DataFrame) -> tuple[Figure, ...]:
    return tuple(figure for figure in (own.ranking(table), own.against_clean(table)) if figure is not None)


def own_page(table: pd.DataFrame, name: str = "") -> str:
    """Return the page of a ranking as HTML; the same table gives the same bytes."""
    figures = _figures(table)
    intro = (
        "A rank looks exact, but it rests on a number of images. Models whose difference could be chance share ranks."
    )
    parts = (Section("ranking", "How sure the ranking is", "Ranking", intro, "stack", figures),)
    sentence, warned = _headline(table), warnings_in(table)
    return render(
        "leaderboard.html",
        _data(table, list(figures), name),
        title=f"{name or 'Leaderboard'}: {sentence}",
        description=f"Models ranked by robust accuracy, with intervals. {sentence}.",
        kicker=" · ".join([*([name] if name else []), *_task(table), count(len(table), "model")]),
        sentence=sentence,
        lead=_lead(table),
        sections=[
            ("models", "Models"),
            *((section.id, section.label) for section in parts),
            *([("warnings", "Warnings")] if warned else []),
            ("methods", "Methods"),
        ],
        chart_sections=parts,
        measure_groups=[],
        sources=_methods(table),
        warned=warned,
        warning=warning_sentence(warned, len(table)),
        noun="models",
    )


def _headline(table: pd.DataFrame) -> str:
    first = table.iloc[0]
    open_places = int(first["rank_worst"])
    if open_places == 1:
        return f"{first['model_id']} is the most robust of {len(table)} models"
    return f"{open_places} of {len(table)} models could hold the first place"


def _lead(table: pd.DataFrame) -> str:
    known, bounds = table["robust_accuracy"], int(table["weaker_attacks"].sum())
    told = f"Robust accuracy runs from {percent(known.min())} to {percent(known.max())}. "
    if bounds:
        verb, their = ("was", "its") if bounds == 1 else ("were", "their")
        told += (
            f"{count(bounds, 'model')} {verb} attacked by weaker attacks only, so {their} robust accuracy may be lower "
            "than it seems. "
        )
    return told + "Every chart can be filtered, linked to and saved."


def _task(table: pd.DataFrame) -> list[str]:
    """Return the data set and the threat model of the ranking, where the table states them."""
    found = []
    for name in ("dataset", "norm", "radius"):
        stated = table[name].dropna().unique().tolist() if name in table.columns else []
        found += [f"radius {stated[0]}" if name == "radius" else str(stated[0])] if stated else []
    return found


def _methods(table: pd.DataFrame) -> list[tuple[str, str]]:
    counts = sorted({int(n) for n in table["n_images"].dropna()})
    attacks = [f"{attack} for {n}" for attack, n in table["attack"].value_counts(sort=True).items()]
    rows = [
        ("robust accuracy", "the lowest accuracy on test images under any attack that was run on the model"),
        ("strongest attack", listed(attacks)),
        ("test images", listed([f"{n:,}" for n in counts]) if counts else "unknown, so that there are no intervals"),
        (
            "intervals",
            "Wilson, 95 %; differences by Newcombe's method without pairing, which is conservative for the same images",
        ),
    ]
    if table["weaker_attacks"].any():
        names = table.loc[table["weaker_attacks"], "model_id"].astype(str).tolist()
        rows.append(("upper bounds only", f"{listed(names)}: never taken to beat another model by more than chance"))
    return rows


def _columns(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the columns of the table, the ranking first; what else is known can be shown."""
    known = {**_ADDED} if table["weaker_attacks"].any() else {k: v for k, v in _ADDED.items() if k != "weaker"}
    found = [_column(key, *facts) for key, facts in known.items()]
    names = [str(name) for name in table.columns if _is_told(table, str(name))]
    rest = sorted((describe(name, names) for name in names), key=_order)
    warnings = warning_columns(table)
    of_attack = {flags_column(c.attack) for c in rest if c.role == "outcome"}
    return found + [
        _column(c.name, _label(c), _format(table, c), _GROUPS.get(c.role, "accuracy"), c.name in _FIRST)
        | ({"warning": warnings[c.name]} if warnings.get(c.name) in of_attack else {})
        for c in rest
    ]


def _is_told(table: pd.DataFrame, name: str) -> bool:
    """Say whether a column tells something that no column of the ranking tells already."""
    ours = name in _ADDED or name.startswith("_") or name == "weaker_attacks"
    return not ours and bool(table[name].notna().any()) and not table[name].equals(table["model_id"])


def _label(column: Column) -> str:
    return measure_name(column.name, measure_infos()) if column.role == "measure" else column.label


def _format(table: pd.DataFrame, column: Column) -> str:
    numeric = pd.api.types.is_numeric_dtype(table[column.name].dtype)
    kind = column.format if column.format != "text" else "number"
    return kind if numeric and not pd.api.types.is_bool_dtype(table[column.name].dtype) else "text"


def _order(column: Column) -> tuple[int, int]:
    return (_FIRST.index(column.name) if column.name in _FIRST else len(_FIRST), _ROLES.index(column.role))


def _column(key: str, label: str, format: str, group: str, shown: bool) -> dict[str, Any]:
    return {"key": key, "label": label, "format": format, "group": group, "shown": shown}


def _data(table: pd.DataFrame, figures: list[Figure], name: str) -> dict[str, Any]:
    columns = _columns(table)
    drawn = ["_defense", "_target", "_place", "weaker_attacks"]
    models = embedded(table[list(dict.fromkeys([column["key"] for column in columns] + drawn))])
    return {
        "figures": figure_data(figures),
        "datasets": datasets(figures, {"models": models}),
        "columns": columns,
        "filters": [_filter(table, key) for key in ("defense", "architecture", "attack") if _is_filter(table, key)],
        "measures": [],
        "measure": None,
        "sort": {"key": "rank", "direction": 1},
        "noun": "models",
        "names": {"_target": "robust_accuracy", "_defense": "defense"},
        "file": name or "leaderboard",
    }


def _is_filter(table: pd.DataFrame, key: str) -> bool:
    return key in table.columns and 1 < table[key].nunique(dropna=False) <= 14


def _filter(table: pd.DataFrame, key: str) -> dict[str, Any]:
    counts = table[key].astype(object).where(table[key].notna(), "not stated").astype(str).value_counts().sort_index()
    return {"key": key, "label": key, "levels": [{"level": str(level), "n": int(n)} for level, n in counts.items()]}

"""Writes the leaderboard page: RobustBench's entries, what was claimed, what was found, and how sure the ranking is."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from measurebench.core.columns import describe, is_gap
from measurebench.core.errors import BadInputError
from measurebench.core.info import MeasureInfo
from measurebench.core.infos import measure_infos
from measurebench.core.packages import installed_version
from measurebench.reporting.charts.leaderboard import (
    best_known,
    clean,
    measured,
    overestimation,
    parameters,
    reported,
    venue,
    year,
)
from measurebench.reporting.charts.leaderboard import papers as papers_chart
from measurebench.reporting.charts.leaderboard import ranking as ranking_chart
from measurebench.reporting.figures.figure import Figure
from measurebench.reporting.figures.figure_files import check_formats, file_name, write_figures
from measurebench.reporting.figures.page_data import datasets, figure_data
from measurebench.reporting.html.embedding import columns as embedded
from measurebench.reporting.html.shell import render, write_text
from measurebench.reporting.html.wording import count, listed, measure_name, percent
from measurebench.reporting.leaderboard.boards import Board, find_board
from measurebench.reporting.leaderboard.entries import leaderboard
from measurebench.reporting.study.study_page import Section
from measurebench.reporting.subject.drawable import drawable
from measurebench.reporting.subject.rank_intervals import ranked
from measurebench.reporting.subject.warned import warning_columns, warning_sentence, warnings_in

__all__ = [
    "board_of",
    "headline",
    "joined",
    "leaderboard_page",
    "prepared",
    "sections",
    "static_figures",
    "write_leaderboard",
]

# key: label, format, group, shown at first. Columns that tables of models have too are called as they are there.
_COLUMNS: dict[str, tuple[str, str, str, bool]] = {
    "rank": ("rank", "integer", "ranking", True),
    "rank_best": ("best possible rank", "integer", "ranking", False),
    "rank_worst": ("worst possible rank", "integer", "ranking", False),
    "model_id": (describe("model_id").label, "text", "ranking", True),
    "paper": ("paper", "text", "paper", True),
    "clean_accuracy": ("clean", "percent2", "accuracy", True),
    "autoattack_accuracy": ("AutoAttack", "percent2", "accuracy", True),
    "low": ("low", "percent2", "accuracy", False),
    "high": ("high", "percent2", "accuracy", False),
    "robust_accuracy": ("best known", "percent2", "accuracy", True),
    "corruption_accuracy_3d": ("3D corruptions", "percent2", "accuracy", True),
    "mce": ("mCE", "percent2", "accuracy", True),
    "mce_3d": ("mCE, 3D", "percent2", "accuracy", False),
    "reported_accuracy": ("reported", "percent2", "accuracy", False),
    "overestimation": ("overestimation", "points", "accuracy", False),
    "reliable": ("reliable", "text", "accuracy", True),
    "training_data": ("training data", "text", "model", True),
    "architecture": (describe("architecture").label, "text", "model", True),
    "n_parameters": (describe("n_parameters").label, "integer", "model", True),
    "defense": (describe("defense").label, "text", "model", False),
    "forward_passes": ("forward passes", "integer", "model", False),
    "norm": (describe("norm").label, "text", "model", False),
    "radius": (describe("radius").label, "text", "model", False),
    "venue": ("venue", "text", "paper", True),
    "published_in": ("published in", "text", "paper", False),
    "year": ("year", "text", "paper", True),
    "authors": ("authors", "text", "paper", False),
    "weights": ("weights available", "text", "model", False),
    "footnote": ("footnote", "text", "paper", False),
}
_FILTERS = {
    "training_data": "training data",
    "reliable": "reliable",
    "published_in": "published in",
    "year": "year",
    "weights": "weights available",
}
_CORRUPTION_ACCURACY = "the mean over 15 kinds of common corruptions and 5 severities"
_PRESENT = {True: "yes", False: "no"}


def write_leaderboard(
    out: Path | str,
    *,
    norm: str = "Linf",
    dataset: str = "cifar10",
    model_info: Path | str | None = None,
    records: Path | str | pd.DataFrame | None = None,
    figures: Path | str | None = None,
    formats: tuple[str, ...] = ("svg", "png"),
) -> Path:
    """Write ``out/index.html``, the analysis of one of RobustBench's leaderboards; return its path.

    ``dataset`` is cifar10, cifar100 or imagenet, ``norm`` Linf, L2 or corruptions. ``model_info``: RobustBench's folder
    of that name, for AutoAttack's and reported accuracy, extra data, reliability and footnotes. ``records``: a results
    folder or table whose measures join by model id. ``figures``: a folder for every chart as a file in ``formats``.
    Raises BadInputError for input that cannot be used.
    """
    check_formats(formats)
    table = prepared(leaderboard(norm, Path(model_info) if model_info else None, dataset=dataset))
    names: list[str] = []
    if records is not None:
        table, names = joined(table, records)
    page = write_text(Path(out) / "index.html", leaderboard_page(table, names))
    if figures is not None:
        write_figures(static_figures(table, names), Path(figures), formats)
    return page


def static_figures(table: pd.DataFrame, measures: list[str]) -> list[Figure]:
    """Return every chart of the page, with a scatter for each measure."""
    infos = measure_infos()
    fixed = [figure for section in sections(table, []) for figure in section.figures]
    each = [replace(measured.figure(table, name, infos), id=f"scatter_{file_name(name)}") for name in measures]
    return fixed + each


def prepared(table: pd.DataFrame) -> pd.DataFrame:
    """Return the entries with ranks, intervals and overestimation, and with flags in words (yes, no, unknown)."""
    table = ranked(table, "robust_accuracy", board_of(table).images)
    return table.assign(
        _i=range(len(table)),
        _defense=table["training_data"],
        _target=table["robust_accuracy"],
        # Accuracies have four decimals: without rounding, a difference of exactly one point may count as more.
        overestimation=(table["reported_accuracy"] - table["autoattack_accuracy"]).round(8),
        reliable=[{True: "no", False: "yes"}.get(value, "unknown") for value in table["unreliable"]],
        weights=[_PRESENT.get(value, "no") for value in table["in_zoo"]],
        year=table["year"].astype("Int64"),
    )


def board_of(table: pd.DataFrame) -> Board:
    """Return the board whose entries a table holds."""
    return find_board(str(table["dataset"].iloc[0]), str(table["norm"].iloc[0]))


def joined(table: pd.DataFrame, records: Path | str | pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Return the entries with the measures of a results folder beside them, by model id, and the measures' names.

    Where the records name data set and norm, only those of the entries' own data set and norm join; measures do not
    depend on corruptions, so that to such entries those of any norm join. Raises BadInputError for records without
    model ids, and where no record belongs to an entry.
    """
    from measurebench.stats.population.roles import measure_columns
    from measurebench.store.tables import read_table

    found = drawable(records if isinstance(records, pd.DataFrame) else read_table(Path(records)))
    if "model_id" not in found.columns:
        raise BadInputError("records", "a table with a column model_id", f"the columns {listed(list(found.columns))}")
    board = board_of(table)
    found = _of_board(found.reset_index(drop=True), board)
    if not found["model_id"].isin(table["model_id"]).any():
        under = "" if board.is_corruptions else f" under {board.threat}"
        raise BadInputError("records", f"models of the leaderboard measured on {board.title}{under}", "none")
    names = [name for name in measure_columns(found, "autoattack_accuracy", None, ()) if name not in table.columns]
    besides = [name for name in map(str, found.columns) if is_gap(name) or name in warning_columns(found).values()]
    values = found[["model_id", *besides, *names]].drop_duplicates("model_id")
    values = values[values["model_id"].isin(table["model_id"])]
    return table.merge(values, on="model_id", how="left"), names


def _of_board(records: pd.DataFrame, board: Board) -> pd.DataFrame:
    """Return the records of a board under the entries' ids: L2 ids that Linf has too end in "-L2"."""
    ids, norm = records["model_id"].astype(str), board.threat
    kept = ids.str.extract(r"(?:^|[:/])(Linf|L2|corruptions)/", expand=False).fillna(norm) == norm
    for name, wanted in (("norm", norm), ("dataset", board.dataset)):
        if name in records.columns and not (name == "norm" and board.is_corruptions):
            family = records[name].astype(str).str.partition(":")[0].str.lower()
            kept &= records[name].isna() | (family == wanted.lower())
    keys = ids.str.rsplit("/", n=1).str[-1].str.rsplit(":", n=1).str[-1]
    marked = keys.str.endswith("-L2") & (norm == "L2")
    found = records.assign(model_id=keys.where(~marked, keys.str.removesuffix("-L2")))[kept]
    # Of both ids in a table that names no norms, the one that ends in "-L2" is the L2 entry's.
    return found.loc[marked[kept].sort_values(ascending=False, kind="stable").index]


def sections(table: pd.DataFrame, measures: list[str]) -> tuple[Section, ...]:
    """Return the page's sections of charts."""
    board = board_of(table)
    planned = (
        Section(
            "ranking",
            "How sure the ranking is",
            "Ranking",
            f"A rank looks exact, but it rests on {board.images:,} test images. Entries whose difference could be "
            "chance share a range of ranks.",
            "stack",
            _present(ranking_chart.figure(table, board.images), best_known.figure(table)),
        ),
        Section(
            "claims",
            "What was claimed and what was found",
            "Claims",
            "The authors of an entry report a robust accuracy of their own. AutoAttack evaluates all entries in the "
            "same way.",
            "pair",
            _present(reported.figure(table), *overestimation.figures(table)),
        ),
        Section(
            "progress",
            "Clean and robust accuracy over the years",
            "Progress",
            "The frontier joins the entries that no other beats in clean and robust accuracy at once.",
            "pair",
            _present(clean.figure(table), year.figure(table), parameters.figure(table), venue.figure(table)),
        ),
        Section(
            "papers",
            "One row per paper",
            "Papers",
            "Many papers enter several networks. Here each paper is one row.",
            "stack",
            (papers_chart.figure(table),),
        ),
        Section(
            "measures",
            "Measures of the entries",
            "Measures",
            "Each measure of the entries, against their robust accuracy.",
            "stack",
            _present(measured.figure(table, measures[0], measure_infos()) if measures else None),
        ),
    )
    return tuple(section for section in planned if section.figures)


def _present(*figures: Figure | None) -> tuple[Figure, ...]:
    return tuple(figure for figure in figures if figure is not None)


def leaderboard_page(table: pd.DataFrame, measures: list[str]) -> str:
    """Return the page as HTML."""
    board = board_of(table)
    parts = sections(table, measures)
    figures = [figure for section in parts for figure in section.figures]
    sentence, warned = headline(table), warnings_in(table)
    return render(
        "leaderboard.html",
        _data(table, figures, measures, board),
        title=f"RobustBench {board.name}: {sentence}",
        description=f"RobustBench's {board.name} leaderboard with intervals, overestimation, frontier and papers.",
        kicker=f"RobustBench \u00b7 {board.title} \u00b7 {board.threat} \u00b7 {count(len(table), 'entry', 'entries')} "
        f"\u00b7 {count(table['paper_key'].nunique(), 'paper')}",
        sentence=sentence,
        lead=_lead(table),
        sections=[
            ("models", "Entries"),
            *((section.id, section.label) for section in parts),
            *([("warnings", "Warnings")] if warned else []),
            ("methods", "Sources"),
        ],
        chart_sections=parts,
        measure_groups=[("measures", [(name, measure_name(name, measure_infos())) for name in measures])],
        sources=_sources(table),
        warned=warned,
        warning=warning_sentence(warned, len(table)),
    )


def headline(table: pd.DataFrame) -> str:
    """Return who is first, or how many entries may be."""
    first = table.iloc[0]
    open_places = int(first["rank_worst"])
    if open_places == 1:
        return f"{first['model_id']} is the most robust of {len(table)} entries"
    return f"{open_places} of {len(table)} entries could hold the first place"


def _lead(table: pd.DataFrame) -> str:
    known = table["robust_accuracy"].dropna()
    told = f"Accuracy under {board_of(table).attacked} runs from {percent(known.min())} to {percent(known.max())}. "
    over = table["overestimation"].dropna()
    if len(over):
        told += f"{int((over > 0.05).sum())} of {len(over)} reports were more than 5 points too high. "
    return told + "Numbers come with their uncertainty; every chart can be filtered, linked to and saved."


def _sources(table: pd.DataFrame) -> list[tuple[str, str]]:
    """Return what the page rests on and what is not known, as name and value."""
    board, unknown = board_of(table), int((table["reliable"] == "unknown").sum())
    rows = [
        (
            "source",
            f"the tables in the description of the installed package robustbench {installed_version('robustbench')}",
        ),
        ("entries", f"{len(table)}, {int((table['weights'] == 'yes').sum())} of them with weights in the package"),
        (
            "intervals",
            f"Wilson, 95 %, {board.images:,} test images; differences by Newcombe's method without pairing"
            + ("; a mean over corruptions of the same images varies less" if board.is_corruptions else ""),
        ),
        ("reliability", f"unknown for {unknown}" if unknown else "stated for all"),
    ]
    if board.is_corruptions:
        rows.append(("robust accuracy", _CORRUPTION_ACCURACY))
    elif table["autoattack_accuracy"].isna().all():
        note = "what RobustBench ranks by: AutoAttack's accuracy, or a stronger attack's where one is known"
        rows.append(("robust accuracy", f"{note}; --model-info tells the two apart"))
    else:
        rows.append(("robust accuracy", "the lower of AutoAttack's and the best known attack's; it ranks the entries"))
    if table["mce"].notna().any():
        rows.append(("mCE", "mean corruption error: errors under each corruption, relative to AlexNet's (100 %)"))
    radii = sorted({str(value) for value in table["radius"].dropna()})
    if radii:
        rows.append(("radii", f"{listed(radii)}; entries with an unusual radius are ranked with the others"))
    return rows


def _data(table: pd.DataFrame, figures: list[Figure], measures: list[str], board: Board) -> dict[str, Any]:
    names = [name for name in _COLUMNS if table[name].notna().any()]
    warnings = warning_columns(table)
    extra = [name for name in table.columns if is_gap(name) or name in measures or name in warnings.values()]
    links = {"paper": "link"}
    plain = table[[*names, *extra, "link", "venue_name"]]
    models = embedded(plain) | {"aliases": {"_defense": "training_data", "_target": "robust_accuracy"}}
    infos = measure_infos()
    charts = figure_data(figures, dynamic=("scatter",))
    if measures:
        charts["scatter"]["spec"] = measured.template(table)
    return {
        "figures": charts,
        "datasets": datasets(figures, {"models": models}),
        "columns": [
            {
                "key": name,
                "label": _heading(name, label, board),
                "format": kind,
                "group": group,
                "shown": shown,
                "link": links.get(name),
            }
            for name, (label, kind, group, shown) in _COLUMNS.items()
            if name in names
        ]
        + [
            {"key": name, "label": _label(name, infos), "format": _format(name), "group": "measures", "shown": False}
            | ({"warning": warnings[name]} if name in warnings else {})
            for name in extra
        ],
        "filters": [
            _filter(table, key, label) for key, label in _FILTERS.items() if 1 < table[key].nunique(dropna=False) <= 14
        ],
        "measures": [measured.about(table, name, infos) for name in measures],
        "measure": measures[0] if measures else None,
        "sort": {"key": "rank", "direction": 1},
        "noun": "entries",
        "names": {"_target": "robust_accuracy", "_defense": "training_data"},
        "file": f"robustbench-{board.dataset}-{board.threat}",
    }


def _heading(name: str, label: str, board: Board) -> str:
    """Return the heading of a column: the accuracy that ranks entries is called what it is on the board."""
    return "corruption accuracy" if name == "robust_accuracy" and board.is_corruptions else label


def _label(name: str, infos: Mapping[str, MeasureInfo]) -> str:
    return describe(name).label if describe(name).role in ("gap", "status") else measure_name(name, infos)


def _format(name: str) -> str:
    return describe(name).format if describe(name).role in ("gap", "status") else "number"


def _filter(table: pd.DataFrame, key: str, label: str) -> dict[str, Any]:
    texts = [
        "not stated" if pd.isna(value) else str(int(value)) if key == "year" else str(value) for value in table[key]
    ]
    counts = pd.Series(texts).value_counts().sort_index()
    return {"key": key, "label": label, "levels": [{"level": str(level), "n": int(n)} for level, n in counts.items()]}

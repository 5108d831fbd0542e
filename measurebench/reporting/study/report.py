"""Writes a study's page and its figures."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from measurebench.core.errors import BadInputError
from measurebench.reporting.charts import scatter
from measurebench.reporting.figures.figure import Figure
from measurebench.reporting.figures.figure_files import check_formats, file_name, write_figures
from measurebench.reporting.figures.gallery import read_gallery
from measurebench.reporting.figures.latex import latex_table
from measurebench.reporting.html.shell import write_text
from measurebench.reporting.single.single_page import Single, load_single, single_page
from measurebench.reporting.study.study_page import sections, study_page
from measurebench.reporting.subject.study import Study, load_study, sources_of
from measurebench.stats.population.threats import RADIUS, rows_shown, superseded

__all__ = ["static_figures", "write_report"]


def write_report(
    source: Path | str | pd.DataFrame | Sequence[Path | str],
    out: Path | str,
    *,
    name: str = "",
    figures: Path | str | None = None,
    formats: Sequence[str] = ("svg", "png"),
    analysis: Path | str | None = None,
    options: Mapping[str, Any] | None = None,
) -> Path:
    """Write ``out/index.html``, one self-contained page of results folders or any table of models; return its path.

    A source with a single model gets the page of a model: accuracies with intervals, measures with errors, classes, and
    its place among the models of a shipped study. Where it was measured at several radii, the page has the curve and is
    otherwise about the radius in ``options``, else about the latest. ``name`` is the study's, ``figures`` a folder for
    every chart as a file in ``formats`` and every matrix of estimates as a LaTeX table, ``analysis`` the folder of an
    analysis made before, ``options`` go to ``measurebench.analyze``.
    Raises BadInputError for input that cannot be used.
    """
    check_formats(formats)
    if (single := _single(source, name, (options or {}).get(RADIUS))) is not None:
        if figures is not None:
            raise BadInputError("--figures", "a study of several models, whose charts become files", "a single model")
        return write_text(Path(out) / "index.html", single_page(single))
    study = load_study(source, name=name, analysis=analysis, options=options)
    page = write_text(Path(out) / "index.html", study_page(study))
    if figures is not None:
        drawn = static_figures(study)
        write_figures(drawn, Path(figures), formats)
        for figure in drawn:
            if (text := latex_table(figure)) is not None:
                write_text(Path(figures) / f"{figure.id}.tex", text)
    return page


def _single(source: Path | str | pd.DataFrame | Sequence[Path | str], name: str, radius: Any) -> Single | None:
    """Return the one model of a source, None where there are several."""
    if isinstance(source, pd.DataFrame):
        return load_single(_shown(source, radius), name=name, radii=_radii(source)) if _is_one_model(source) else None
    from measurebench.store.recorded_infos import infos_of
    from measurebench.store.tables import read_provenance, read_table

    if len(paths := sources_of(source)) != 1:
        return None
    path = paths[0]
    table = read_table(path)
    if not _is_one_model(table):
        return None
    folder = path if path.is_dir() else None
    return load_single(
        _shown(table, radius),
        name=name,
        folder=folder,
        infos=infos_of(path),
        provenance=read_provenance(path),
        gallery=read_gallery((folder or path.parent) / "gallery"),
        radii=_radii(table),
    )


def _is_one_model(table: pd.DataFrame) -> bool:
    """Tell whether all rows are of one model: one row, or a model at several radii of one norm."""
    if len(table) == 1:
        return True
    one = all(table[key].nunique(dropna=False) == 1 for key in ("norm", "dataset") if key in table.columns)
    return bool(one and "model_id" in table.columns and table["model_id"].nunique(dropna=False) == 1)


def _shown(table: pd.DataFrame, radius: Any) -> pd.DataFrame:
    """Return the rows of a radius, or all, without those of earlier configurations."""
    return rows_shown(table, radius) if len(table) > 1 else table


def _radii(table: pd.DataFrame) -> pd.DataFrame | None:
    """Return the latest row of each radius, where there is a radius."""
    return table.drop(index=list(superseded(table))) if RADIUS in table.columns and len(table) > 1 else None


def static_figures(study: Study) -> list[Figure]:
    """Return every chart of the page, with a scatter for each measure."""
    fixed = [figure for section in sections(study) for figure in section.figures if figure.id != "scatter"]
    each = [replace(scatter.figure(study, name), id=f"scatter_{file_name(name)}") for name in study.by_family]
    return fixed + each

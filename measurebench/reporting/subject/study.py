"""One study as the page sees it: the table of models, its analysis, and where both come from."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from measurebench.core.columns import accuracy_columns
from measurebench.core.digests import digest_json
from measurebench.core.errors import BadInputError
from measurebench.core.info import FAMILIES, MeasureInfo
from measurebench.core.infos import measure_infos
from measurebench.reporting.figures.gallery import GalleryItem, read_gallery
from measurebench.reporting.html.wording import defined
from measurebench.reporting.subject.drawable import drawable
from measurebench.reporting.subject.target import Target
from measurebench.stats import Analysis, analyze, read_analysis
from measurebench.stats.judging.significance import significant as is_sure
from measurebench.stats.population.population import identified, is_standard, level_names

__all__ = ["ALL", "MAX_SERIES", "OTHER", "Study", "is_sure", "load_study"]

MAX_SERIES = 8  # the theme has eight colours that can be told apart
OTHER = "other"
ALL = "all models"


@dataclass(frozen=True)
class Study:
    """Models and what was found about them.

    ``table`` has one row per model (design of the contract, section 8) and, besides, the columns that charts rest on:
    ``_i`` (number of the row), ``_target`` (missing for a model that the analysis left out) and ``_defense``
    (its name; the rarest beyond seven are "other").
    """

    name: str
    table: pd.DataFrame
    analysis: Analysis
    infos: Mapping[str, MeasureInfo] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    gallery: tuple[GalleryItem, ...] = ()

    @classmethod
    def of(cls, name: str, table: pd.DataFrame, analysis: Analysis, **parts: Any) -> "Study":
        """Return a study of a table as it was read."""
        table = identified(table)
        target = pd.to_numeric(table[analysis.target], errors="coerce")
        target = target.where(_kept(table["model_id"], target, analysis))
        added = {
            "_i": range(len(table)),
            "_target": target,
            "_defense": _defenses(table, analysis.defense, target.notna()),
        }
        return cls(name, pd.concat([table, pd.DataFrame(added, index=table.index)], axis=1), analysis, **parts)

    @cached_property
    def defenses(self) -> tuple[str, ...]:
        """Names of the defenses that are drawn apart: training without an attack first, "other" last."""
        names = sorted(set(self.measured["_defense"]))
        return tuple(sorted(names, key=lambda name: (name == OTHER, not is_standard(name))))

    @cached_property
    def ranked(self) -> tuple[str, ...]:
        """All measures, the strongest association with the target over all models first."""
        return tuple(self.analysis.ranking()["measure"])

    @cached_property
    def by_family(self) -> tuple[str, ...]:
        """All measures in the order of the families, unknown ones last."""
        order = {family: i for i, family in enumerate(FAMILIES)}
        known = {name: order[self.infos[name].family] for name in self.analysis.measures if name in self.infos}
        return tuple(sorted(self.analysis.measures, key=lambda name: known.get(name, len(order))))

    @cached_property
    def target(self) -> Target:
        """What is predicted, as it is worded and drawn."""
        return Target(self.analysis.target)

    @cached_property
    def accuracies(self) -> tuple[str, str] | None:
        """Columns of train and test robust accuracy that belong to the target, or None where no model has both."""
        names = accuracy_columns(self.analysis.target)
        if not all(name in self.table.columns for name in names):
            return None
        return names if self.measured[list(names)].notna().all(axis=1).any() else None

    @cached_property
    def measured(self) -> pd.DataFrame:
        """The models that the analysis rests on: they have the target, and no filter left them out."""
        return self.table[self.table["_target"].notna()]

    @cached_property
    def left_out(self) -> dict[str, str]:
        """Models that the analysis does not rest on, each with the reason."""
        out = {model: why for step in self.analysis.filters for model, why in step.left_out}
        for row in self.table[self.table["_target"].isna()].to_dict("records"):
            said = row.get("reason")
            out.setdefault(row["model_id"], said if isinstance(said, str) and said else "not measured")
        return out

    def estimate(
        self, measure: str, statistic: str = "tau_b", level: str = "", axis: str | None = None
    ) -> dict[str, Any]:
        """Return one row of the correlations, or {} where it was not estimated."""
        place = axis if axis is not None else (self.analysis.defense or "" if level else "")
        return self._estimates.get((measure, statistic, place, level), {})

    @cached_property
    def _estimates(self) -> dict[tuple[str, str, str, str], dict[str, Any]]:
        rows = self.analysis.correlations.fillna({"axis": "", "level": ""}).to_dict("records")
        return {(r["measure"], r["statistic"], r["axis"], str(r["level"])): r for r in rows if defined(r["estimate"])}  # type: ignore[misc]


def _kept(ids: "pd.Series[Any]", target: "pd.Series[Any]", analysis: Analysis) -> "pd.Series[Any]":
    """Say of each row whether the filters kept it; where they left out one of several rows of an id, it is the last.

    A row without the target goes first.
    """
    out = Counter(model for step in analysis.filters for model, _ in step.left_out)
    in_turn = ids[target.isna().sort_values(kind="stable").index]
    return in_turn.groupby(in_turn).cumcount(ascending=False).reindex(ids.index) >= ids.map(lambda name: out[name])


def _defenses(table: pd.DataFrame, column: str | None, kept: "pd.Series[Any]") -> list[str]:
    if column is None or column not in table.columns:
        return [ALL] * len(table)
    names = level_names(table[column])
    counts = Counter(level_names(table.loc[kept, column]))
    if len(counts) <= MAX_SERIES:
        return names
    frequent = sorted(counts, key=lambda name: (-counts[name], name))[: MAX_SERIES - 1]
    return [name if name in frequent else OTHER for name in names]


def load_study(
    source: Path | str | pd.DataFrame,
    *,
    name: str = "",
    infos: Mapping[str, MeasureInfo] | None = None,
    analysis: Path | str | None = None,
    options: Mapping[str, Any] | None = None,
) -> Study:
    """Read a results folder, a file or a table in memory, and the analysis that belongs to it.

    The analysis is looked for in ``analysis``, else beside the source; it counts only if it was made from this very
    table (by digest). Otherwise, and with any ``options`` of ``analyze``, the table is analysed here. Raises
    BadInputError for a source that cannot be read, and for an ``analysis`` of another table.
    """
    if isinstance(source, pd.DataFrame):
        table, folder, told, shipped = source, None, {}, measure_infos()
    else:
        from measurebench.store.recorded_infos import infos_of
        from measurebench.store.tables import read_provenance, read_table

        path = Path(source)
        table, told, shipped = read_table(path), read_provenance(path), infos_of(path)
        folder = path if path.is_dir() else path.parent
        name = name or _name(path)
    known = dict(shipped if infos is None else infos)
    found = None if options else _belonging(table, folder, analysis)
    if found is None:
        found = analyze(table, infos=known, **(options or {}))
    gallery = next((g for place in _gallery_places(folder) if (g := read_gallery(place))), ())
    named = {key: replace(info, title=drawable(info.title), unit=drawable(info.unit)) for key, info in known.items()}
    parts = {"infos": {drawable(key): info for key, info in named.items()}, "provenance": told, "gallery": gallery}
    return Study.of(drawable(name or "study"), drawable(table), drawable(found), **parts)


def _gallery_places(folder: Path | None) -> list[Path]:
    """Return where a study's gallery may lie: in its folder, or beside a folder called "records"."""
    if folder is None:
        return []
    beside = [folder.resolve().parent / "gallery"] if folder.resolve().name == "records" else []
    return [folder / "gallery", *beside]


def _name(path: Path) -> str:
    """Name a study after its folder; "records" and the like are named by the folder around them."""
    resolved = path.resolve()
    stem = resolved.name if resolved.is_dir() else resolved.stem
    return resolved.parent.name if stem in {"records", "models", "results"} and resolved.parent.name else stem


def _belonging(table: pd.DataFrame, folder: Path | None, analysis: Path | str | None) -> Analysis | None:
    """Return the analysis of exactly this table: the one named, or one that lies with the data."""
    if analysis is not None:
        found = read_analysis(analysis)
        missing = [name for name in (found.target, *found.measures) if name not in table.columns]
        if missing:
            raise BadInputError(str(analysis), "an analysis of this table", f"one of a table with {missing[0]!r}")
        return found
    digest = digest_json(table.to_csv(index=False))
    for place in (folder, folder / "analysis", folder.parent / "analysis") if folder else ():
        if (place / "analysis.json").is_file():
            found = read_analysis(place)
            if found.provenance.get("table_digest") == digest:
                return found
    return None

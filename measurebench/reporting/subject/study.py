"""One study as the page sees it: the table of models, its analysis, and where both come from."""

from collections import Counter
from collections.abc import Mapping, Sequence
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
from measurebench.core.threat import radius_text
from measurebench.reporting.figures.gallery import GalleryItem, read_gallery
from measurebench.reporting.html.wording import defined
from measurebench.reporting.subject.drawable import drawable
from measurebench.reporting.subject.target import Target
from measurebench.reporting.subject.warned import warned_by
from measurebench.stats import Analysis, analyze, read_analysis
from measurebench.stats.judging.best import best_first
from measurebench.stats.judging.significance import significant as is_sure
from measurebench.stats.judging.significance import with_tests
from measurebench.stats.judging.verdict import row_words
from measurebench.stats.population.population import identified, is_standard, level_names
from measurebench.stats.population.threats import EARLIER, RADIUS, radii_in, rows_shown, superseded

__all__ = ["ALL", "MAX_SERIES", "OTHER", "Study", "is_sure", "load_study", "sources_of", "study_name"]

MAX_SERIES = 8  # the theme has eight colours that can be told apart
OTHER = "other"
ALL = "all models"


@dataclass(frozen=True)
class Study:
    """Models and what was found about them.

    ``table`` has one row per model (design of the contract, section 8), with the radius as text such as 8/255, and,
    besides, the columns that charts rest on: ``_i`` (number of the row), ``_target`` (missing for a model that the
    analysis left out) and ``_defense`` (its name; the rarest beyond seven are "other"); where the target's attack
    warns about models also ``_warning``. ``sweep`` has the rows of all radii, where there are several.
    """

    name: str
    table: pd.DataFrame
    analysis: Analysis
    infos: Mapping[str, MeasureInfo] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    gallery: tuple[GalleryItem, ...] = ()
    sweep: pd.DataFrame | None = None

    @classmethod
    def of(cls, name: str, table: pd.DataFrame, analysis: Analysis, **parts: Any) -> "Study":
        """Return a study of a table as it was read; of several radii it shows the one that was analysed."""
        whole = identified(table, analysis.provenance.get("id"))
        table = rows_shown(whole, analysis.provenance.get(RADIUS))
        hidden = Counter(whole["model_id"]) - Counter(table["model_id"])
        sweep = whole.drop(index=list(superseded(whole))) if len(radii_in(whole)) > 1 else None
        table = table.reset_index(drop=True)
        if "radius" in table.columns:
            table = table.assign(radius=table["radius"].map(radius_text, na_action="ignore"))
        target = pd.to_numeric(table[analysis.target], errors="coerce")
        target = target.where(_kept(table["model_id"], target, analysis, hidden))
        added: dict[str, Any] = {
            "_i": range(len(table)),
            "_target": target,
            "_defense": _defenses(table, analysis.defense, target.notna()),
        }
        if (warning := warned_by(table, analysis.target)) is not None:
            added["_warning"] = warning.tolist()
        return cls(
            name, pd.concat([table, pd.DataFrame(added, index=table.index)], axis=1), analysis, sweep=sweep, **parts
        )

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
    def best_first(self) -> tuple[str, ...]:
        """All measures, the best predictor first: those that hold beside the controls before any other."""
        records = self.analysis.judgements.to_dict("records")
        return tuple(best_first({str(key): value for key, value in row.items()} for row in records))

    @cached_property
    def by_family(self) -> tuple[str, ...]:
        """All measures in the order of the families, unknown ones last."""
        order = {family: i for i, family in enumerate(FAMILIES)}
        known = {name: order[self.infos[name].family] for name in self.analysis.measures if name in self.infos}
        return tuple(sorted(self.analysis.measures, key=lambda name: known.get(name, len(order))))

    @cached_property
    def controls(self) -> tuple[str, ...]:
        """The negative controls that are shown beside the measures: random numbers, and what all settings predict."""
        known = list(dict.fromkeys(self.analysis.controls["measure"]))
        return tuple(known[:1] + known[-1:]) if len(known) > 1 else tuple(known)

    @cached_property
    def verdicts(self) -> Mapping[str, str]:
        """The verdict of each measure, a key of ``VERDICTS``."""
        judged = self.analysis.judgements
        return dict(zip(judged["measure"], judged["verdict"], strict=True))

    @cached_property
    def verdict_words(self) -> Mapping[str, str]:
        """The verdict of each measure in words, which follow its name."""
        records = self.analysis.judgements.to_dict("records")
        return {str(row["measure"]): row_words({str(k): v for k, v in row.items()}) for row in records}

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
    def n_warned(self) -> int:
        """How many of the measured models the target's attack warns about."""
        return int((self.measured["_warning"] != "").sum()) if "_warning" in self.table.columns else 0

    @cached_property
    def measured(self) -> pd.DataFrame:
        """The models that the analysis rests on: they have the target, and no filter left them out."""
        return self.table[self.table["_target"].notna()]

    @cached_property
    def left_out(self) -> dict[str, str]:
        """Models that the analysis does not rest on, each with the reason."""
        shown = set(self.table["model_id"])
        out = {
            model: why
            for step in self.analysis.filters
            for model, why in step.left_out
            if step.name not in (RADIUS, EARLIER) or model not in shown
        }
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
        tables = [with_tests(t, self.analysis.tests) for t in (self.analysis.correlations, self.analysis.controls)]
        rows = [row for table in tables for row in table.fillna({"axis": "", "level": ""}).to_dict("records")]
        return {(r["measure"], r["statistic"], r["axis"], str(r["level"])): r for r in rows if defined(r["estimate"])}  # type: ignore[misc]


def _kept(
    ids: "pd.Series[Any]", target: "pd.Series[Any]", analysis: Analysis, hidden: Mapping[str, int]
) -> "pd.Series[Any]":
    """Say of each row whether the filters kept it; where they left out one of several rows of an id, it is the last.

    A row without the target goes first. ``hidden`` counts the rows of each model that the page does not show at all.
    """
    out = Counter(model for step in analysis.filters for model, _ in step.left_out)
    out.subtract(hidden)
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
    source: Path | str | pd.DataFrame | Sequence[Path | str],
    *,
    name: str = "",
    infos: Mapping[str, MeasureInfo] | None = None,
    analysis: Path | str | None = None,
    options: Mapping[str, Any] | None = None,
) -> Study:
    """Read a results folder, several of them, a file or a table in memory, and the analysis that belongs to it.

    The analysis is looked for in ``analysis``, else beside the source; it counts only if it was made from this very
    table (by digest). Otherwise, and with any ``options`` of ``analyze``, the table is analysed here. Raises
    BadInputError for a source that cannot be read, and for an ``analysis`` of another table.
    """
    if isinstance(source, pd.DataFrame):
        table, folder, told, shipped = source, None, {}, measure_infos()
    else:
        from measurebench.store.joining import infos_of_sources, provenance_of_sources, read_sources

        paths = sources_of(source)
        table, told, shipped = read_sources(paths), provenance_of_sources(paths), infos_of_sources(paths)
        folder = None if len(paths) > 1 else paths[0] if paths[0].is_dir() else paths[0].parent
        name = name or _joined_name(paths)
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


def sources_of(source: Path | str | Sequence[Path | str]) -> list[Path]:
    """Return the paths of one or several sources."""
    return [Path(source)] if isinstance(source, Path | str) else [Path(each) for each in source]


def _joined_name(paths: Sequence[Path]) -> str:
    """Name a study after its folders, or after the folder around them where there are many."""
    names = list(dict.fromkeys(study_name(path) for path in paths))
    return " + ".join(names) if len(names) < 4 else paths[0].resolve().parent.name or names[0]


def study_name(path: Path) -> str:
    """Name a study after its folder; "records" and the like are named by the folder around them."""
    resolved = path.resolve()
    stem = resolved.name if resolved.is_dir() else resolved.stem
    return (
        resolved.parent.name if stem in {"records", "models", "results", "verdicts"} and resolved.parent.name else stem
    )


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

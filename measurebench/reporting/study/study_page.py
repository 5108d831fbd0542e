"""Builds the page of a study: one self-contained HTML file."""

from dataclasses import dataclass
from typing import Any

from measurebench.core.threat import radius_text
from measurebench.reporting.charts import (
    accuracies,
    by_setting,
    control,
    gap,
    heatmap,
    radius_curve,
    regressions,
    residuals,
    scatter,
    signerror,
)
from measurebench.reporting.figures.figure import Figure
from measurebench.reporting.figures.page_data import datasets, figure_data
from measurebench.reporting.html.embedding import columns as embedded
from measurebench.reporting.html.shell import render
from measurebench.reporting.html.wording import axis_title, count, listed, measure_name
from measurebench.reporting.study.finding import finding
from measurebench.reporting.study.methods import glossary, limits, methods, provenance, symbols, terms
from measurebench.reporting.study.model_table import filters, table_columns
from measurebench.reporting.subject.study import Study
from measurebench.reporting.subject.warned import warning_sentence, warnings_in

__all__ = ["Section", "sections", "study_page"]


@dataclass(frozen=True)
class Section:
    """A section of charts; ``layout`` is pair (side by side where there is room) or stack."""

    id: str
    title: str
    label: str
    intro: str
    layout: str
    figures: tuple[Figure, ...]


def sections(study: Study) -> tuple[Section, ...]:
    """Return the sections of charts that the study has data for."""
    best, target = study.best_first[0], study.target
    planned = (
        Section("gap", *_opening(study), "pair", _present(accuracies.figure(study), gap.figure(study))),
        Section(
            "radii",
            "How robustness falls with the radius",
            "Radii",
            f"The models were attacked at several radii. The rest of this page is about {_radius(study)}.",
            "stack",
            _present(radius_curve.figure(study)),
        ),
        Section(
            "measures",
            f"Which measures predict {target.the}, and under which defenses",
            "Measures",
            "One row per measure, strongest first. A measure that holds everywhere keeps its colour along the row.",
            "stack",
            (heatmap.figure(study), scatter.figure(study, best)),
        ),
        Section(
            "settings",
            "Setting by setting",
            "Settings",
            "A correlation over many models can come from one training setting that moves both the measure and "
            f"{target.the}. Comparing models that differ in a single setting, or share the value of one, separates the "
            "two.",
            "stack",
            _present(by_setting.figure(study, "psi"), by_setting.figure(study, "pi"), signerror.figure(study)),
        ),
        Section(
            "residuals",
            "Which models break the pattern",
            "Exceptions",
            f"A line fitted to the measure of the strongest association predicts {target.the} of every model. The "
            "charts show how far each model lies from its prediction.",
            "stack",
            _present(residuals.figure(study)),
        ),
        Section(
            "regressions",
            "What a measure adds",
            "Regressions",
            f"The training settings alone already predict part of {target.the}. A measure is useful for what it adds "
            "to them.",
            "pair",
            _present(regressions.figure(study), control.figure(study)),
        ),
    )
    return tuple(section for section in planned if section.figures)


def _radius(study: Study) -> str:
    """Return the radius that the page's statistics rest on, in words."""
    radius = study.analysis.provenance.get("radius")
    return f"radius {radius_text(radius)}" if radius is not None else "one of them"


def _opening(study: Study) -> tuple[str, str, str]:
    """Return title, label and introduction of the section on what is predicted."""
    if not study.target.is_gap:
        return f"How {study.target.name} differs between models", "Target", "This is what the measures should predict."
    return (
        "Robust on training images, less so on new ones",
        "The gap",
        "Every model was attacked on images that it was trained on and on images that it never saw.",
    )


def _present(*figures: Figure | None) -> tuple[Figure, ...]:
    return tuple(figure for figure in figures if figure is not None)


def study_page(study: Study) -> str:
    """Return the page as HTML; the same study gives the same bytes."""
    parts = sections(study)
    figures = [figure for section in parts for figure in section.figures]
    found, warned = finding(study), warnings_in(study.table)
    told, commands = provenance(study)
    return render(
        "study.html",
        _data(study, figures),
        title=f"{found.sentence} \u00b7 {study.name}",
        description=found.lead,
        kicker=_kicker(study),
        sections=_navigation(study, parts),
        finding=found,
        warned=warned,
        warning=warning_sentence(warned, len(study.table)),
        chart_sections=parts,
        measure_groups=_groups(study),
        left_out=sorted(study.left_out.items()),
        gallery=study.gallery,
        terms=terms(study),
        methods=methods(study),
        limits=limits(study),
        provenance=told,
        commands=commands,
        glossary=glossary(study),
        symbols=symbols(),
    )


def _navigation(study: Study, parts: tuple[Section, ...]) -> list[tuple[str, str]]:
    middle = [(section.id, section.label) for section in parts]
    gallery = [("gallery", "Images")] if study.gallery else []
    warnings = [("warnings", "Warnings")] if warnings_in(study.table) else []
    return [("finding", "Finding"), *middle, ("models", "Models"), *warnings, *gallery, ("methods", "Methods")]


def _kicker(study: Study) -> str:
    told = [study.name, count(len(study.table), "model"), count(len(study.analysis.measures), "measure")]
    for name in ("dataset", "norm", "radius"):
        if name in study.table.columns and study.table[name].notna().any():
            values = sorted({str(value) for value in study.table[name].dropna()})
            told.append(f"{'radius ' if name == 'radius' else ''}{listed(values, 3)}")
    return " \u00b7 ".join(told)


def _groups(study: Study) -> list[tuple[str, list[tuple[str, str]]]]:
    groups: dict[str, list[tuple[str, str]]] = {}
    for name in study.by_family:
        family = study.infos[name].family if name in study.infos else "other"
        groups.setdefault(family, []).append((name, measure_name(name, study.infos)))
    return list(groups.items())


def _data(study: Study, figures: list[Figure]) -> dict[str, Any]:
    """Return all that the page's scripts read: every data set once, by column."""
    plain = study.table[[name for name in study.table.columns if not name.startswith("_")]]
    kept = [name for name in ("_defense", "_target", "_warning") if name in study.table.columns]
    models = embedded(plain.assign(**{name: study.table[name] for name in kept}))
    fits = embedded(scatter.fit_lines(study).drop(columns=["target"], errors="ignore"), digits=9)
    data = figure_data(figures, dynamic=("scatter",))
    data["scatter"]["spec"] = scatter.template(study)
    return {
        "figures": data,
        "datasets": datasets(figures, {"models": models, "fits": fits}),
        "columns": table_columns(study),
        "filters": filters(study),
        "measures": [_measure(study, name) for name in study.by_family],
        "measure": study.best_first[0],
        "sort": {"key": study.analysis.target, "direction": -1},
        "file": study.name,
        "noun": "models",
        "names": {"_target": study.analysis.target, "_defense": "defense", "_warning": "warning"},
    }


def _measure(study: Study, name: str) -> dict[str, str]:
    info = study.infos.get(name)
    return {
        "id": name,
        "title": measure_name(name, study.infos),
        "axis": axis_title(name, study.infos),
        "sentence": scatter.sentence(study, name),
        "inside": scatter.inside(study, name),
        "explanation": info.explanation if info else "",
        "formula": info.formula if info else "",
        "source": info.source if info else "",
    }

"""Compares two studies measure by measure: which associations differ, and which are shown in one study only."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from measurebench.core.errors import BadInputError
from measurebench.core.intervals import ALPHA
from measurebench.reporting.charts import compared
from measurebench.reporting.figures.page_data import datasets, figure_data
from measurebench.reporting.html.embedding import columns as embedded
from measurebench.reporting.html.shell import render, write_text
from measurebench.reporting.html.wording import count, defined, fixed, listed, measure_name, target_name
from measurebench.reporting.subject.study import Study, is_sure, load_study
from measurebench.stats.judging.adjustment import holm
from measurebench.stats.judging.best import holds
from measurebench.stats.judging.differences import difference_interval
from measurebench.stats.judging.verdict import VERDICTS

__all__ = [
    "CHANGES",
    "change",
    "comparison",
    "comparison_page",
    "comparison_sentence",
    "write_comparison",
]

CHANGES = {
    "turned": "the sign changed, and is shown in both studies",
    "gained": "shown in the second study only",
    "lost": "shown in the first study only",
    "apart": "same sign, but the intervals do not overlap",
    "same": "shown in both studies, with the same sign",
    "neither": "shown in neither study",
    "one side": "measured in one study only",
}
_COLUMNS = {
    "title": ("measure", "text"),
    "change": ("change", "text"),
    "tau_a": ("τ, first", "tau"),
    "low_a": ("low", "tau"),
    "high_a": ("high", "tau"),
    "n_a": ("n, first", "integer"),
    "tau_b": ("τ, second", "tau"),
    "low_b": ("low", "tau"),
    "high_b": ("high", "tau"),
    "n_b": ("n, second", "integer"),
    "difference": ("difference", "tau"),
    "difference_low": ("low", "tau"),
    "difference_high": ("high", "tau"),
    "difference_p": ("p, adjusted", "p"),
    "agreement": ("agreement of values", "tau"),
    "shared": ("models in both", "integer"),
}


def write_comparison(
    first: Path | str | pd.DataFrame,
    second: Path | str | pd.DataFrame,
    out: Path | str,
    *,
    options: Mapping[str, Any] | None = None,
) -> Path:
    """Write ``out/index.html``, what two studies conclude of each measure and where they disagree; return its path.

    ``options`` go to ``measurebench.analyze`` for both. Raises BadInputError for input that cannot be used.
    """
    studies = (load_study(first, options=options), load_study(second, options=options))
    return write_text(Path(out) / "index.html", comparison_page(*studies))


def comparison(first: Study, second: Study) -> pd.DataFrame:
    """Return one row per measure of either study: both tau with intervals, the change, and how far values agree.

    ``difference`` is tau of the second study less that of the first, ``difference_low`` and ``difference_high`` its
    95 % interval, ``difference_p`` the p-value by Holm over the measures of both studies, and
    ``differs`` whether that is at most 0.05. ``agreement`` is Kendall's tau of the measure's values over the models
    that both have (missing below three). Measures that differ come first, then the other changes, then the largest
    differences. Raises BadInputError where the studies share no measure.
    """
    names = list(dict.fromkeys([*first.ranked, *second.ranked]))
    if not set(first.ranked) & set(second.ranked):
        raise BadInputError(
            "compare", "tables with at least one measure in common", "none", "do both have the study's names?"
        )
    rows = [_row(name, first, second) for name in names]
    _adjust(rows)
    order = {change: i for i, change in enumerate(CHANGES)}
    rows.sort(
        key=lambda row: (not row["differs"], order[row["change"]], -abs(row["difference"] or 0.0), row["measure"])
    )
    return pd.DataFrame(rows).assign(order=range(len(rows)), _i=range(len(rows)))


def _adjust(rows: list[dict[str, Any]]) -> None:
    """Adjust the known p-values of the differences by Holm, and say which measures differ."""
    known = [row for row in rows if defined(row["difference_p"])]
    for row, p in zip(known, holm(np.array([row["difference_p"] for row in known], dtype=np.float64)), strict=True):
        row["difference_p"] = float(p)
    for row in rows:
        row["differs"] = defined(row["difference_p"]) and row["difference_p"] <= ALPHA


def _row(name: str, first: Study, second: Study) -> dict[str, Any]:
    a, b = first.estimate(name), second.estimate(name)
    agreement, shared = _agreement(name, first.table, second.table)
    low, high, p = difference_interval(a, b)
    return {
        "model_id": name,
        "measure": name,
        "title": measure_name(name, first.infos),
        "change": change(a, b),
        "tau_a": a.get("estimate"),
        "low_a": a.get("ci_low"),
        "high_a": a.get("ci_high"),
        "n_a": a.get("n_models"),
        "tau_b": b.get("estimate"),
        "low_b": b.get("ci_low"),
        "high_b": b.get("ci_high"),
        "n_b": b.get("n_models"),
        "difference": b["estimate"] - a["estimate"] if a and b else None,
        "difference_low": low,
        "difference_high": high,
        "difference_p": p,
        "agreement": agreement,
        "shared": shared,
    }


def change(a: Mapping[str, Any], b: Mapping[str, Any]) -> str:
    """Return the code (a key of ``CHANGES``) of what became of an association from one study to the other.

    ``a`` and ``b`` are rows of correlations, empty where the study lacks the measure. A sign that changes counts only
    where both associations are shown (``is_sure``).

    >>> strong = {"estimate": 0.6, "ci_low": 0.4, "ci_high": 0.8, "p_adjusted": 0.001}
    >>> weak = {"estimate": 0.1, "ci_low": -0.2, "ci_high": 0.4, "p_adjusted": 0.6}
    >>> change(weak, strong), change(strong, weak), change(strong, {})
    ('gained', 'lost', 'one side')
    """
    if not (a and b):
        return "one side"
    if is_sure(a) and is_sure(b):
        if (a["estimate"] > 0) != (b["estimate"] > 0):
            return "turned"
        apart = a["ci_low"] > b["ci_high"] or b["ci_low"] > a["ci_high"]
        return "apart" if apart else "same"
    return "gained" if is_sure(b) else "lost" if is_sure(a) else "neither"


def _agreement(name: str, first: pd.DataFrame, second: pd.DataFrame) -> tuple[float | None, int]:
    if name not in first.columns or name not in second.columns:
        return None, 0
    both = first[["model_id", name]].merge(second[["model_id", name]], on="model_id").iloc[:, 1:]
    both = both.apply(pd.to_numeric, errors="coerce").dropna()
    tau = both.iloc[:, 0].corr(both.iloc[:, 1], method="kendall") if len(both) > 2 else None
    return (tau if defined(tau) else None), len(both)


def comparison_page(first: Study, second: Study) -> str:
    """Return the comparison as HTML."""
    table = comparison(first, second)
    figure = compared.figure(table, first.name, second.name)
    differing = table[table["differs"]]
    best = [_best(study) for study in (first, second)]
    counts = table["change"].value_counts()
    return render(
        "comparison.html",
        _data(table, figure, f"{first.name}-{second.name}"),
        title=f"{first.name} and {second.name} compared",
        description="Which associations of measures differ between two studies.",
        kicker=f"{first.name} ({count(len(first.table), 'model')}) and {second.name} "
        f"({count(len(second.table), 'model')})",
        sentence=comparison_sentence(table),
        lead=_lead(best, differing),
        changes=[(CHANGES[name], int(counts[name])) for name in CHANGES if name in counts],
        figure=figure,
        sections=[("compared", "Measures"), ("models", "Table"), ("methods", "Studies")],
        studies=[_about(study) for study in (first, second)],
    )


def comparison_sentence(table: pd.DataFrame) -> str:
    """Return in a sentence how many associations differ, and how many are shown, judged or measured in part only.

    ``table`` is what ``comparison`` returns.
    """
    n = {name: int((table["change"] == name).sum()) for name in CHANGES}
    differing, alone, shown = int(table["differs"].sum()), n["one side"], n["gained"] + n["lost"]
    both = len(table) - alone
    told = [
        f"{differing or 'None'} of {count(both, 'association')} {'differ' if differing > 1 else 'differs'} "
        "by more than chance"
    ]
    if unjudged := both - int(table["difference_p"].notna().sum()):
        told.append(f"{unjudged} cannot be judged, since too few models give no interval")
    if shown:
        told.append(f"{shown} {'is' if shown == 1 else 'are'} shown in one study and not in the other")
    if alone:
        told.append(f"{count(alone, 'measure')} {'is' if alone == 1 else 'are'} in one study only")
    return "; ".join(told)


def _lead(best: list[str], differing: pd.DataFrame) -> str:
    told = (
        f"{best[0]} is the best predictor in both studies. "
        if best[0] == best[1]
        else f"The best predictor is {best[0]} in the first study and {best[1]} in the second. "
    )
    return told + (
        f"These differ: {listed(list(differing['title']))}."
        if len(differing)
        else "The differences are no larger than chance would give."
    )


def _best(study: Study) -> str:
    """Return the name of the best measure, and its verdict where it does not hold."""
    name = study.best_first[0]
    verdict = study.verdicts[name]
    return measure_name(name, study.infos) + ("" if holds(verdict) else f" (which {VERDICTS[verdict]})")


def _about(study: Study) -> tuple[str, str]:
    row = study.estimate(study.best_first[0])
    told = f"best measure {_best(study)}, τ = {fixed(row.get('estimate'))}"
    models, target = count(study.analysis.n_models, "model"), target_name(study.analysis.target)
    return study.name, f"{models} in the statistics; predicts the {target}; {told}"


def _data(table: pd.DataFrame, figure: Any, name: str) -> dict[str, Any]:
    shown = table.assign(change=[CHANGES[code] for code in table["change"]])
    return {
        "figures": figure_data([figure]),
        "datasets": datasets([figure], {"models": embedded(shown.drop(columns=["_i"]))}),
        "columns": [
            {"key": key, "label": label, "format": kind, "group": "columns", "shown": True}
            for key, (label, kind) in _COLUMNS.items()
        ],
        "filters": [
            {
                "key": "change",
                "label": "change",
                "levels": [
                    {"level": str(k), "n": int(v)} for k, v in shown["change"].value_counts().sort_index().items()
                ],
            }
        ],
        "measures": [],
        "measure": None,
        "sort": {"key": "order", "direction": 1},
        "file": name,
        "noun": "measures",
    }

"""Draws the control: tau with the target, and the tau of residuals, with train robust accuracy held fixed."""

from typing import Any

import pandas as pd

from measurebench.reporting.charts.paired import paired_chart
from measurebench.reporting.figures.figure import Column, Figure, specification
from measurebench.reporting.html.wording import count, measure_name
from measurebench.reporting.subject.study import Study, is_sure

__all__ = ["figure"]

_COLUMNS = (
    Column("title", "measure"),
    Column("tau", "τ", "tau"),
    Column("tau_low", "τ, low", "tau"),
    Column("tau_high", "τ, high", "tau"),
    Column("held", "τ of residuals", "tau"),
    Column("held_low", "residuals, low", "tau"),
    Column("held_high", "residuals, high", "tau"),
    Column("n_models", "n models", "integer"),
)
_SERIES = (("tau", "tau_low", "tau_high"), ("held", "held_low", "held_high"))

_WHY = "The gap is train minus test robust accuracy, so what follows train robust accuracy follows the gap too. "


def figure(study: Study) -> Figure | None:
    """Return the chart, or None where train robust accuracy is not in the table."""
    if study.accuracies is None:
        return None
    rows = [row for name in study.ranked if (row := _row(study, name, study.accuracies[0]))]
    if not rows:
        return None
    shown = [row for row in rows if row["tau_sure"]]
    left = [row for row in shown if row["held_sure"] and (row["held"] > 0) == (row["tau"] > 0)]
    turned = [row for row in shown if row["held_sure"] and (row["held"] > 0) != (row["tau"] > 0)]
    return Figure(
        "control",
        f"{len(left)} of {count(len(shown), 'association')} {'stands' if len(left) == 1 else 'stand'} when "
        "train robust accuracy is held fixed"
        if shown
        else "No association is shown over all models, so there is none to control",
        f"{count(len(turned), 'association')} {'changes' if len(turned) == 1 else 'change'} sign under the control."
        if turned
        else "None is shown to change sign under the control.",
        specification(
            paired_chart("control", _SERIES, f"rank correlation with {study.target.the}", _COLUMNS, len(rows))
        ),
        {"control": pd.DataFrame(rows)},
        "control",
        _COLUMNS,
        f"{_WHY if study.target.is_gap else ''}Circle: τ; diamond: "
        "τ of what train robust accuracy leaves of both; lines are 95 % intervals.",
        picks=True,
        rows=len(rows),
    )


def _row(study: Study, name: str, held: str) -> dict[str, Any] | None:
    tau, left = study.estimate(name), study.estimate(name, "residual_tau", axis=held)
    if not (tau and left):
        return None
    return {
        "measure": name,
        "title": measure_name(name, study.infos),
        "order": study.ranked.index(name),
        "tau": tau["estimate"],
        "tau_low": tau["ci_low"],
        "tau_high": tau["ci_high"],
        "tau_sure": is_sure(tau),
        "held": left["estimate"],
        "held_low": left["ci_low"],
        "held_high": left["ci_high"],
        "held_sure": is_sure(left),
        "n_models": left["n_models"],
    }

"""Draws granulated psi and conditional pi of each measure per training setting, beside tau over all models."""

from typing import Any

import pandas as pd

from measurebench.reporting.charts.heatmap import expected_sign
from measurebench.reporting.charts.matrix import COLUMNS, EXPECTED, FEW_PAIRS, few_pairs, matrix, matrix_width
from measurebench.reporting.figures.figure import Figure, specification
from measurebench.reporting.html.wording import fixed, interval, listed, measure_name, setting_name
from measurebench.reporting.subject.study import Study, is_sure

__all__ = ["SYMBOLS", "figure"]

SYMBOLS = {"psi": "ψ", "pi": "π"}
_READING = {
    "psi": "ψ compares models that differ in one setting only, and averages over all values of the other settings. "
    "It asks whether the measure follows the effect of that setting.",
    "pi": "π compares models that share the value of one setting. A large π beside a small ψ points to a confounder.",
}
_KEYS = ("estimate", "ci_low", "ci_high", "n_models", "n_pairs", "p_adjusted")


def figure(study: Study, statistic: str) -> Figure | None:
    """Return the matrix of ``psi`` or ``pi``, or None where no setting could be compared."""
    axes = [axis for axis in study.analysis.settings if _any(study, statistic, axis)]
    if not axes:
        return None
    symbol = SYMBOLS[statistic]
    labels = {axis: _broken(setting_name(axis)) for axis in axes}
    columns = [EXPECTED, "all\nτ", *labels.values(), f"mean\n{symbol}"]
    rows = [row for i, name in enumerate(study.ranked) for row in _rows(study, name, i, statistic, labels)]
    return Figure(
        statistic,
        _title(study, statistic),
        _summary(study, statistic, axes),
        specification(matrix(statistic, columns, len(study.ranked), symbol)),
        {statistic: pd.DataFrame(rows)},
        statistic,
        COLUMNS,
        f"{_READING[statistic]} Faded cells rest on fewer than {FEW_PAIRS} pairs of models.",
        picks=True,
        rows=len(study.ranked),
        min_width=matrix_width(len(columns)),
    )


def _broken(name: str) -> str:
    first, _, rest = name.partition(" ")
    return f"{first}\n{rest or ' '}"


def _any(study: Study, statistic: str, axis: str) -> bool:
    return any(study.estimate(name, statistic, axis=axis) for name in study.ranked)


def _title(study: Study, statistic: str) -> str:
    means = [(name, study.estimate(name, f"{statistic}_mean")) for name in study.ranked]
    known = [(name, row) for name, row in means if row]
    doing = {"psi": "With one setting changed at a time", "pi": "With one setting held fixed"}[statistic]
    if not known:
        return f"{doing}, no measure has a mean over the settings"
    name, row = max(known, key=lambda pair: abs(pair[1]["estimate"]))
    told = f"mean {SYMBOLS[statistic]} = {fixed(row['estimate'])}, 95 % {interval(row['ci_low'], row['ci_high'])}"
    return f"{doing}, {measure_name(name, study.infos)} follows {study.target.the} most closely ({told})"


def _summary(study: Study, statistic: str, axes: list[str]) -> str:
    missing = [setting_name(axis) for axis in study.analysis.settings if axis not in axes]
    told = f"Settings compared: {listed([setting_name(axis) for axis in axes], 12)}."
    if statistic == "psi" and len(study.analysis.matching):
        pairs = {row["axis"]: row["n_pairs"] for row in study.analysis.matching.to_dict("records")}
        told = (
            "Pairs of models that differ in one setting only: "
            + listed([f"{setting_name(axis)} {int(pairs.get(axis, 0)):,}" for axis in axes], 12)
            + "."
        )
    return told + (f" Not comparable in this table: {listed(missing, 12)}." if missing else "")


def _rows(study: Study, name: str, order: int, statistic: str, labels: dict[str, str]) -> list[dict[str, Any]]:
    shared = {
        "measure": name,
        "title": measure_name(name, study.infos),
        "order": order,
        "expected": expected_sign(study, name),
    }
    blank: dict[str, Any] = dict.fromkeys(_KEYS)
    cells = [
        shared
        | blank
        | {"column": EXPECTED, "group": "expected sign", "sign": shared["expected"], "sure": False, "few": False}
    ]
    found = [("all\nτ", "all models, τ", study.estimate(name))]
    found += [(label, setting_name(axis), study.estimate(name, statistic, axis=axis)) for axis, label in labels.items()]
    found.append((f"mean\n{SYMBOLS[statistic]}", "mean over settings", study.estimate(name, f"{statistic}_mean")))
    for column, group, row in found:
        values = {key: row.get(key) for key in _KEYS}
        cells.append(
            shared
            | values
            | {"column": column, "group": group, "sign": "", "sure": is_sure(row), "few": few_pairs(row)}
        )
    return cells

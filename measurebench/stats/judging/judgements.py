"""Says in one sentence per measure what the numbers show, and nothing that they do not show."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from measurebench.core.info import MeasureInfo
from measurebench.stats.judging.sentences import sentence
from measurebench.stats.judging.significance import (
    Row,
    end_near_zero,
    gain_on_the_edge,
    level_of,
    on_the_edge,
    significant,
    with_tests,
)
from measurebench.stats.judging.verdict import MARGIN, VERDICTS, Evidence, opposite_inside, sign, verdict

__all__ = ["VERDICTS", "judgements"]

_NAN = float("nan")
_STATISTICS = ("tau_b", "tau_within", "partial_tau", "residual_tau")


def judgements(
    correlations: pd.DataFrame,
    measures: Sequence[str],
    defense: str | None,
    control: str | None,
    infos: Mapping[str, MeasureInfo],
    of_gap: bool = True,
    *,
    added: Mapping[str, Row] | None = None,
    power: Sequence[Mapping[str, Any]] = (),
    margin: float = MARGIN,
    draws: tuple[int, int] | None = None,
    tests: pd.DataFrame | None = None,
) -> list[dict[str, Any]]:
    """Return one judgement per measure, as rows of ``JUDGEMENTS``.

    ``correlations`` are those of the analysis, ``control`` is the column of train robust accuracy or None. Hypotheses
    are about the gap, so they are left out where the target is none (``of_gap`` False). ``added`` says by measure what
    it adds to the settings (None where there are no settings), ``power`` are the rows of that table. ``draws`` counts
    bootstrap draws and permutations: with it the sentence says where another seed might decide otherwise. ``tests``
    are the rows of that table: the units of each correlation, and the permutations behind its p-value.
    """
    by_measure = _rows_of(correlations if tests is None else with_tests(correlations, tests), measures)
    units = {str(row["level"]): int(row["n_units"]) for row in power}
    alphas = _alphas(power)
    rows = []
    for name in measures:
        own = by_measure[name]
        inside = [row for row in own if row["statistic"] == "tau_within" and row["axis"] == (defense or "?")]
        total, held = _one(own, "tau_b", ""), _one(own, "residual_tau", control or "?")
        partial = _one(own, "partial_tau", control or "?")
        found = Evidence(total, inside, held, None if added is None else added[name], units, margin=margin, **alphas)
        rows.append(_judge(name, found, defense, control, infos.get(name), of_gap, draws) | _partial(partial or {}))
    return rows


def _alphas(power: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the levels of the tests over all models and inside defenses, by their names in ``Evidence``."""
    if not power:
        return {}
    by_level = {str(row["level"]): row for row in power if row["level"]}
    inside = {level: float(row["alpha"]) for level, row in by_level.items()}
    alone = {level: float(row.get("alpha_alone", row["alpha"])) for level, row in by_level.items()}
    least = {str(row["level"]): float(row.get("least_p", 0.0)) for row in power}
    return {"alpha": float(power[0]["alpha"]), "alpha_inside": inside, "alpha_alone": alone, "least_p": least}


def _judge(
    name: str,
    of: Evidence,
    defense: str | None,
    control: str | None,
    info: MeasureInfo | None,
    of_gap: bool,
    draws: tuple[int, int] | None,
) -> dict[str, Any]:
    code, reversal = verdict(of)
    found = sign(of.total["estimate"]) if of.total and significant(of.total) else ""
    hypothesis = info.hypothesis if info and of_gap else ""
    edge = _edge(of, draws)
    title = info.title if info else name
    total, held, more = of.total or {}, of.held or {}, of.added or {}
    return {
        "measure": name,
        "title": title,
        "verdict": code,
        "sentence": sentence(title, of, code, defense, control, hypothesis, edge),
        "hypothesis": hypothesis,
        "found": found,
        "agrees": found == hypothesis if found and hypothesis else None,
        "reversal": reversal,
        "n_models": total.get("n_models", 0),
        "tau_b": total.get("estimate"),
        "ci_low": total.get("ci_low"),
        "ci_high": total.get("ci_high"),
        "p_value": total.get("p_value"),
        "p_adjusted": total.get("p_adjusted"),
        "residual_tau": held.get("estimate"),
        "residual_ci_low": held.get("ci_low"),
        "residual_ci_high": held.get("ci_high"),
        "added": more.get("gain", _NAN),
        "added_ci_low": more.get("ci_low", _NAN),
        "added_ci_high": more.get("ci_high", _NAN),
        "detectable_tau": of.detectable(of.total) if of.total else _NAN,
        "edge": edge,
        "opposite": ", ".join(opposite_inside(of)),
    }


def _partial(row: Row) -> dict[str, Any]:
    """Return Kendall's partial tau as columns of a judgement."""
    return {
        "partial_tau": row.get("estimate"),
        "partial_ci_low": row.get("ci_low"),
        "partial_ci_high": row.get("ci_high"),
    }


def _edge(of: Evidence, draws: tuple[int, int] | None) -> str:
    """Name the parts of a judgement that stand on the edge of being shown."""
    if draws is None:
        return ""
    named = [("all models", of.total)] if of.total else []
    named += [(str(row["level"]), row) for row in of.inside]
    n_models = int(of.total["n_models"]) if of.total else 0
    names = [name for name, row in named if on_the_edge(row, *draws, n_models, level_of(row, of.total))]
    if of.added is not None and gain_on_the_edge(of.added, of.least_gain, draws[0]):
        names.append("what it adds to the settings")
    if of.held is not None and of.overall and end_near_zero(of.held, draws[0]):
        names.append("tau with train robust accuracy held fixed")
    return ", ".join(names)


def _rows_of(correlations: pd.DataFrame, measures: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """Return by measure the rows that a judgement rests on."""
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in measures}
    for row in correlations[correlations["statistic"].isin(_STATISTICS)].to_dict("records"):
        if row["measure"] in found:
            found[row["measure"]].append({str(k): v for k, v in row.items()})
    return found


def _one(rows: Sequence[Row], statistic: str, axis: str) -> Row | None:
    return next((row for row in rows if row["statistic"] == statistic and row["axis"] == axis), None)

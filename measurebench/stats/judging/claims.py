"""Judges the study's published claims on any table: each holds, does not hold, or is not decided by it.

The claims are those of Kim, Park, Choi and Lee 2023, "Fantastic Robustness Measures: The Secrets of Robust
Generalization" (NeurIPS), reduced to what an ``Analysis`` can decide; the thresholds are this project's.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from measurebench.core.columns import is_gap
from measurebench.core.intervals import ALPHA
from measurebench.stats.analysis import Analysis, tidy
from measurebench.stats.judging.differences import difference_interval
from measurebench.stats.judging.significance import Row, shown_inside, significant

__all__ = ["COLUMNS", "POOR", "Verdict", "judged_claims"]

COLUMNS = ("claim", "measure", "statistic", "estimate", "ci_low", "ci_high", "n_models", "verdict", "found")
HOLDS, FAILS, OPEN, ABSENT = "holds", "does not hold", "not decided", "cannot be tested"
POOR = 0.3  # in size below this, a rank correlation is called poor; an interval must lie inside (-0.3, 0.3) to show it
_MARGINS = {"average_ce_pgd": -1, "prob_margin_pgd": +1, "inverse_margin_pgd": -1, "boundary_thickness": +1}
_SMOOTHNESS = {"local_lip": -1, "kl_divergence_pgd": -1}
_FLATNESS = (
    "estimated_sharpness_pgd",
    "estimated_inv_sharpness_pgd",
    "average_flat_pgd",
    "pacbayes_flat_pgd",
    "pacbayes_mag_flat_pgd",
)
_GRADIENT = "x_grad_norm_pgd"


@dataclass(frozen=True)
class Verdict:
    """One row: what was claimed of which measure, the number that decides it, and how."""

    claim: str
    measure: str
    statistic: str
    verdict: str
    found: str
    estimate: float = float("nan")
    ci_low: float = float("nan")
    ci_high: float = float("nan")
    n_models: int = 0


def judged_claims(analysis: Analysis) -> pd.DataFrame:
    """Return one row per claim and measure; see ``COLUMNS``.

    A claim about a measure that the table lacks "cannot be tested". Where the target is no gap, nothing can be.
    """
    tests: tuple[Callable[[Analysis], Iterator[Verdict]], ...] = (
        _depends_on_the_setup,
        _nothing_holds_everywhere,
        _against_folklore,
        _flatness_is_poor,
        _gradient_is_consistent,
        _thickness_turns,
    )
    if not is_gap(analysis.target):
        said = Verdict("all claims are about the gap", "", "", ABSENT, f"the target is {analysis.target}")
        return tidy([vars(said)], COLUMNS)
    return tidy([vars(row) for test in tests for row in test(analysis)], COLUMNS)


def _depends_on_the_setup(analysis: Analysis) -> Iterator[Verdict]:
    """Holds where the intervals of tau at two levels of one setting lie apart, which chance alone would seldom do.

    The levels are those that lie furthest apart of all settings, so that their difference is tested at 5 % divided by
    the number of pairs of levels (Bonferroni).
    """
    claim = "the correlation depends on the training set-up"
    for measure in analysis.measures:
        widest: tuple[float, Row, Row] | None = None
        compared = 0
        for _, rows in analysis.select_within(measure).groupby("axis", sort=False):
            levels = _records(rows[rows["ci_low"].notna()])
            if len(levels) < 2:
                continue
            compared += len(levels) * (len(levels) - 1) // 2
            low, high = min(levels, key=lambda row: row["ci_high"]), max(levels, key=lambda row: row["ci_low"])
            apart = float(high["ci_low"] - low["ci_high"])
            if widest is None or apart > widest[0]:
                widest = apart, low, high
        if widest is None:
            yield Verdict(claim, measure, "tau_within", ABSENT, "no setting has two levels with intervals")
            continue
        apart, lowest, highest = widest
        found = f"{lowest['axis']}: {_number(lowest)} at {lowest['level']}, {_number(highest)} at {highest['level']}"
        verdict = HOLDS if apart > 0 and difference_interval(lowest, highest)[2] * compared <= ALPHA else OPEN
        n_models = int(lowest["n_models"] + highest["n_models"])
        yield Verdict(claim, measure, "tau_within", verdict, found, n_models=n_models)


def _nothing_holds_everywhere(analysis: Analysis) -> Iterator[Verdict]:
    """Refuted by a measure shown with one sign over all models and inside every defense, and surely poor nowhere."""
    judged = [m for m in analysis.measures if _row(analysis, m, "tau_b") is not None]
    everywhere = [m for m in judged if _shown_everywhere(analysis, m)]
    refuted = [m for m in judged if _fails_somewhere(analysis, m)]
    found = f"one sign over all models and inside every defense: {', '.join(everywhere) or 'none'} of {len(judged)};"
    found += f" surely poor, or of another sign, somewhere: {len(refuted)}"
    counterexample = set(everywhere) - set(refuted)
    verdict = FAILS if counterexample else HOLDS if judged and len(refuted) == len(judged) else OPEN
    verdict = ABSENT if len(_defenses(analysis)) < 2 else verdict
    yield Verdict("no measure holds everywhere", "", "tau_b", verdict, found, n_models=analysis.n_models)


def _shown_everywhere(analysis: Analysis, measure: str) -> bool:
    """Say whether tau is shown with one sign over all models and inside every defense."""
    total, inside = _row(analysis, measure, "tau_b"), _records(_inside(analysis, measure))
    if total is None or len(inside) < len(_defenses(analysis)):
        return False
    rows = [total, *inside]
    return all(significant(row) for row in rows) and len({float(np.sign(row["estimate"])) for row in rows}) == 1


def _fails_somewhere(analysis: Analysis, measure: str) -> bool:
    """Say whether tau is surely poor over all models or inside a defense, or shown with both signs."""
    total, inside = _row(analysis, measure, "tau_b"), _records(_inside(analysis, measure))
    rows = inside if total is None else [total, *inside]
    shown = [row for row in rows if (significant(row) if row is total else shown_inside(row, total))]
    signs = {float(np.sign(row["estimate"])) for row in shown}
    return len(signs) > 1 or any(row["ci_low"] > -POOR and row["ci_high"] < POOR for row in rows)


def _defenses(analysis: Analysis) -> list[str]:
    """Return the levels of the defense, whether or not a measure has a tau inside them."""
    rows = analysis.correlations
    within = rows[(rows["statistic"] == "tau_within") & (rows["axis"] == (analysis.defense or ""))]
    return sorted(set(within["level"])) if analysis.defense else []


def _inside(analysis: Analysis, measure: str) -> pd.DataFrame:
    """Return a measure's tau inside each defense; nothing where the table has no defenses."""
    return analysis.select_within(measure, analysis.defense or "")


def _against_folklore(analysis: Analysis) -> Iterator[Verdict]:
    for family, signs in (("larger margins", _MARGINS), ("smoother functions", _SMOOTHNESS)):
        for measure, sign in signs.items():
            claim = f"{family} go with a larger gap: tau {'above' if sign > 0 else 'below'} 0"
            row = _row(analysis, measure, "tau_b")
            if row is None:
                yield _absent(claim, measure, "tau_b")
                continue
            verdict = OPEN if not significant(row) else HOLDS if sign * row["estimate"] > 0 else FAILS
            yield _of(row, claim, verdict)


def _flatness_is_poor(analysis: Analysis) -> Iterator[Verdict]:
    claim = f"flatness correlates poorly: tau between -{POOR} and {POOR}"
    for measure in _FLATNESS:
        row = _row(analysis, measure, "tau_b")
        if row is None:
            yield _absent(claim, measure, "tau_b")
            continue
        low, high = row["ci_low"], row["ci_high"]
        inside, outside = low > -POOR and high < POOR, low >= POOR or high <= -POOR
        yield _of(row, claim, HOLDS if inside else FAILS if outside else OPEN)
    row = _row(analysis, _FLATNESS[0], "tau_b")
    claim = "sharper minima can have the smaller gap: tau below 0"
    if row is not None:
        yield _of(row, claim, OPEN if not significant(row) else HOLDS if row["estimate"] < 0 else FAILS)


def _gradient_is_consistent(analysis: Analysis) -> Iterator[Verdict]:
    """Three claims: one sign inside every defense, more than average cross-entropy says, and the most consistent."""
    claim = "the input gradient norm keeps one sign inside every defense"
    inside = _inside(analysis, _GRADIENT)
    if inside.empty:
        yield _absent(claim, _GRADIENT, "tau_within")
        return
    total = _row(analysis, _GRADIENT, "tau_b")
    shown = [bool(shown_inside(row, total)) for row in _records(inside)]
    signs = {float(np.sign(row["estimate"])) for row, yes in zip(_records(inside), shown, strict=True) if yes}
    found = "; ".join(f"{row['level']} {_number(row)}" for row in _records(inside))
    everywhere = all(shown) and len(shown) == len(_defenses(analysis)) > 1
    verdict = FAILS if len(signs) > 1 else HOLDS if everywhere else OPEN
    yield Verdict(claim, _GRADIENT, "tau_within", verdict, found, n_models=int(inside["n_models"].sum()))
    claim = "it says more than average cross-entropy does"
    held = _row(analysis, _GRADIENT, "partial_tau", "average_ce_pgd")
    if held is None:
        yield _absent(claim, _GRADIENT, "partial_tau")
    else:
        yield _of(held, claim, HOLDS if significant(held) else OPEN)
    yield _steadiest(analysis)


def _steadiest(analysis: Analysis) -> Verdict:
    """Compare the weakest tau inside a defense, where the sign is one throughout, with that of every other measure."""
    weakest = {m: _weakest(_inside(analysis, m), len(_defenses(analysis))) for m in analysis.measures}
    own = weakest[_GRADIENT]
    order = sorted(weakest, key=lambda m: -weakest[m].tau)
    found = f"place {order.index(_GRADIENT) + 1} of {len(order)} by the weakest tau inside a defense, {own}"
    if order[0] != _GRADIENT:
        found += f"; first is {order[0]}, {weakest[order[0]]}"
    beaten = any(w.low > own.high for m, w in weakest.items() if m != _GRADIENT)
    surely = own.low > max((w.high for m, w in weakest.items() if m != _GRADIENT), default=np.inf)
    verdict = FAILS if beaten else HOLDS if surely and own.low > 0 else OPEN
    return Verdict("it is the most consistent measure", _GRADIENT, "tau_within", verdict, found, own.tau)


def _thickness_turns(analysis: Analysis) -> Iterator[Verdict]:
    claim, measure = "boundary thickness turns with the training method", "boundary_thickness"
    inside = _inside(analysis, measure)
    total = _row(analysis, measure, "tau_b")
    shown = [row["estimate"] for row in _records(inside) if shown_inside(row, total)]
    if inside.empty:
        yield _absent(claim, measure, "tau_within")
        return
    everywhere = len(shown) == len(_defenses(analysis)) > 1
    verdict = HOLDS if shown and min(shown) < 0 < max(shown) else FAILS if everywhere else OPEN
    found = "; ".join(f"{row['level']} {_number(row)}" for row in _records(inside))
    yield Verdict(claim, measure, "tau_within", verdict, found, n_models=int(inside["n_models"].sum()))


@dataclass(frozen=True)
class _Weakest:
    """The smallest size of tau over the defenses, where all have one sign, and how small and large it may be."""

    tau: float = 0.0
    low: float = 0.0
    high: float = 0.0

    def __str__(self) -> str:
        return f"{self.tau:.2f} [{self.low:.2f}, {self.high:.2f}]"


def _weakest(inside: pd.DataFrame, n_defenses: int) -> _Weakest:
    """Return the smallest tau over the levels; 0 where the sign changes, or a level has no tau or no interval."""
    taus = inside["estimate"].to_numpy(float)
    known = bool(inside["ci_low"].notna().all())
    if len(taus) < max(n_defenses, 2) or not known or len(set(np.sign(taus))) > 1:
        return _Weakest()
    sign = float(np.sign(taus[0]))
    ends = np.sort(sign * inside[["ci_low", "ci_high"]].to_numpy(float), axis=1)
    return _Weakest(float(np.abs(taus).min()), max(0.0, float(ends[:, 0].min())), float(ends[:, 1].min()))


def _row(analysis: Analysis, measure: str, statistic: str, axis: str = "") -> Row | None:
    rows = analysis.select(statistic, axis)
    found = _records(rows[rows["measure"] == measure])
    return found[0] if found and np.isfinite(found[0]["estimate"]) else None


def _records(rows: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(key): value for key, value in row.items()} for row in rows.to_dict("records")]


def _of(row: Row, claim: str, verdict: str) -> Verdict:
    statistic = str(row["statistic"])
    numbers = (float(row["estimate"]), float(row["ci_low"]), float(row["ci_high"]))
    return Verdict(claim, str(row["measure"]), statistic, verdict, _number(row), *numbers, int(row["n_models"]))


def _absent(claim: str, measure: str, statistic: str) -> Verdict:
    return Verdict(claim, measure, statistic, ABSENT, "the table has no such number")


def _number(row: Row) -> str:
    return f"{row['estimate']:+.2f} [{row['ci_low']:+.2f}, {row['ci_high']:+.2f}]"

"""Judges the study's published claims on any table: each holds, does not hold, or is not decided by it.

The claims are those of Kim, Park, Choi and Lee 2023, "Fantastic Robustness Measures: The Secrets of Robust
Generalization" (NeurIPS), reduced to what an ``Analysis`` can decide; the thresholds are this project's.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from measurebench.core.columns import is_gap
from measurebench.stats.analysis import Analysis, tidy
from measurebench.stats.judging.claim_rows import (
    ABSENT,
    FAILS,
    HOLDS,
    OPEN,
    Verdict,
    absent,
    edges,
    inside,
    number,
    of_row,
    records,
    reliable,
    row_of,
    unreliable_words,
)
from measurebench.stats.judging.set_up_claim import depends_on_the_setup
from measurebench.stats.judging.significance import end_error, shown_inside, significant

__all__ = ["COLUMNS", "POOR", "Verdict", "judged_claims"]

COLUMNS = ("claim", "measure", "statistic", "estimate", "ci_low", "ci_high", "n_models", "verdict", "found", "edge")
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
_TIE = 1e-12  # differences below this are rounding


def judged_claims(analysis: Analysis) -> pd.DataFrame:
    """Return one row per claim and measure; see ``COLUMNS``.

    A claim about a measure that the table lacks "cannot be tested". Where the target is no gap, nothing can be.
    """
    tests: tuple[Callable[[Analysis], Iterator[Verdict]], ...] = (
        depends_on_the_setup,
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


def _nothing_holds_everywhere(analysis: Analysis) -> Iterator[Verdict]:
    """Refuted by a measure shown with one sign over all models and inside every defense, and surely poor nowhere.

    A defense whose target is hardly reliable counts neither as surely poor nor as one in which nothing is shown.
    """
    judged = [m for m in analysis.measures if row_of(analysis, m, "tau_b") is not None]
    everywhere = [m for m in judged if _shown_everywhere(analysis, m)]
    refuted = [m for m in judged if _fails_somewhere(analysis, m)]
    counterexample = [name for name in everywhere if name not in refuted]
    counted = " and ".join(", ".join(_reliable(analysis)).rsplit(", ", 1)) or "no defense"
    found = f"shown with one sign over all models and inside {counted}, and nowhere surely poor or of another sign: "
    found += f"{', '.join(counterexample) or 'none'}; surely poor, or of another sign, somewhere: {len(refuted)} of "
    found += f"{len(judged)}{_left_out(analysis)}"
    verdict = FAILS if counterexample else HOLDS if judged and len(refuted) == len(judged) else OPEN
    verdict = ABSENT if len(_defenses(analysis)) < 2 else OPEN if len(_reliable(analysis)) < 2 else verdict
    yield Verdict("no measure holds everywhere", "", "tau_b", verdict, found, n_models=analysis.n_models)


def _shown_everywhere(analysis: Analysis, measure: str) -> bool:
    """Say whether tau is shown with one sign over all models and inside every defense whose target is reliable.

    A defense that does not count may not have the other sign: that its target is unreliable does not refute it.
    """
    total, within = row_of(analysis, measure, "tau_b"), _counted(analysis, measure)
    if total is None or len(within) < len(_reliable(analysis)) or not _has_one_sign(analysis, measure):
        return False
    rows, all_shown = [total, *within], all(shown_inside(row, total) for row in within)
    return significant(total) and all_shown and len({float(np.sign(row["estimate"])) for row in rows}) == 1


def _fails_somewhere(analysis: Analysis, measure: str) -> bool:
    """Say whether tau is surely poor over all models or inside a defense, or shown with both signs."""
    total, within = row_of(analysis, measure, "tau_b"), records(inside(analysis, measure))
    everywhere = [] if total is None else [total]
    shown = [row for row in everywhere if significant(row)] + [row for row in within if shown_inside(row, total)]
    signs = {float(np.sign(row["estimate"])) for row in shown}
    counted = [*everywhere, *_counted(analysis, measure)]
    return len(signs) > 1 or any(row["ci_low"] > -POOR and row["ci_high"] < POOR for row in counted)


def _has_one_sign(analysis: Analysis, measure: str) -> bool:
    """Say whether tau has one sign inside all defenses, shown or not, and whether or not they count."""
    return len(set(np.sign(inside(analysis, measure)["estimate"]))) < 2


def _defenses(analysis: Analysis) -> list[str]:
    """Return the levels of the defense, whether or not a measure has a tau inside them."""
    rows = analysis.correlations
    within = rows[(rows["statistic"] == "tau_within") & (rows["axis"] == (analysis.defense or ""))]
    return sorted(set(within["level"])) if analysis.defense else []


def _reliable(analysis: Analysis) -> list[str]:
    """Return the defenses that can speak against a measure."""
    return [name for name in _defenses(analysis) if reliable(analysis, {"axis": analysis.defense, "level": name})]


def _counted(analysis: Analysis, measure: str) -> list[dict[str, Any]]:
    """Return a measure's tau inside each defense that can speak against it."""
    return [row for row in records(inside(analysis, measure)) if reliable(analysis, row)]


def _left_out(analysis: Analysis) -> str:
    return unreliable_words(analysis, analysis.defense) if analysis.defense else ""


def _against_folklore(analysis: Analysis) -> Iterator[Verdict]:
    for family, signs in (("larger margins", _MARGINS), ("smoother functions", _SMOOTHNESS)):
        for measure, sign in signs.items():
            claim = f"{family} go with a larger gap: tau {'above' if sign > 0 else 'below'} 0"
            row = row_of(analysis, measure, "tau_b")
            if row is None:
                yield absent(claim, measure, "tau_b")
                continue
            verdict = OPEN if not significant(row) else HOLDS if sign * row["estimate"] > 0 else FAILS
            yield of_row(analysis, row, claim, verdict)


def _flatness_is_poor(analysis: Analysis) -> Iterator[Verdict]:
    claim = f"flatness correlates poorly: tau between -{POOR} and {POOR}"
    for measure in _FLATNESS:
        row = row_of(analysis, measure, "tau_b")
        if row is None:
            yield absent(claim, measure, "tau_b")
            continue
        low, high = row["ci_low"], row["ci_high"]
        poor, strong = low > -POOR and high < POOR, low >= POOR or high <= -POOR
        said = of_row(analysis, row, claim, HOLDS if poor else FAILS if strong else OPEN)
        yield replace(said, edge="all models" if _near_poor(analysis, low, high) else "")
    row = row_of(analysis, _FLATNESS[0], "tau_b")
    claim = "sharper minima can have the smaller gap: tau below 0"
    if row is not None:
        yield of_row(analysis, row, claim, OPEN if not significant(row) else HOLDS if row["estimate"] < 0 else FAILS)


def _near_poor(analysis: Analysis, low: float, high: float) -> bool:
    """Say whether another seed may move an end of an interval over one of the bounds of what is poor."""
    bootstrap = int(analysis.provenance.get("bootstrap") or 0)
    least = min(abs(end - bound) for end in (low, high) for bound in (-POOR, POOR))
    return bool(bootstrap) and bool(least <= 2 * end_error(bootstrap) * (high - low))


def _gradient_is_consistent(analysis: Analysis) -> Iterator[Verdict]:
    """Three claims: one sign inside every defense, more than average cross-entropy says, and the most consistent."""
    claim = "the input gradient norm keeps one sign inside every defense"
    if inside(analysis, _GRADIENT).empty:
        yield absent(claim, _GRADIENT, "tau_within")
        return
    shown, everywhere = _shown_inside(analysis, _GRADIENT)
    verdict = FAILS if len(set(np.sign(shown))) > 1 else HOLDS if everywhere else OPEN
    yield _about_defenses(analysis, claim, _GRADIENT, verdict)
    yield _beyond_cross_entropy(analysis)
    yield _steadiest(analysis)


def _shown_inside(analysis: Analysis, measure: str) -> tuple[list[float], bool]:
    """Return each tau that is shown inside a defense, and whether all defenses that can speak show one.

    The latter not if one that cannot has the other sign: whether it shows that, nobody knows.
    """
    total = row_of(analysis, measure, "tau_b")
    shown = [float(row["estimate"]) for row in records(inside(analysis, measure)) if shown_inside(row, total)]
    counted = _counted(analysis, measure)
    all_shown = all(shown_inside(row, total) for row in counted) and _has_one_sign(analysis, measure)
    return shown, all_shown and len(counted) == len(_reliable(analysis)) > 1


def _about_defenses(analysis: Analysis, claim: str, measure: str, verdict: str) -> Verdict:
    """Return a claim that tau inside the defenses decides."""
    within = inside(analysis, measure)
    found = "; ".join(f"{row['level']} {number(row)}" for row in records(within)) + _left_out(analysis)
    edge = edges(analysis, records(within), row_of(analysis, measure, "tau_b"))
    n_models = int(within["n_models"].sum())
    return Verdict(claim, measure, "tau_within", verdict, found, n_models=n_models, edge=edge)


def _beyond_cross_entropy(analysis: Analysis) -> Verdict:
    """Hold where tau is shown with average cross-entropy held fixed, with the sign that it has over all models."""
    claim = "it says more than average cross-entropy does"
    held, total = row_of(analysis, _GRADIENT, "residual_tau", "average_ce_pgd"), row_of(analysis, _GRADIENT, "tau_b")
    if held is None:
        return absent(claim, _GRADIENT, "residual_tau")
    said = of_row(analysis, held, claim, HOLDS if significant(held) else OPEN)
    if total is None or not significant(held) or held["estimate"] * total["estimate"] >= 0:
        return said
    turned = f"{said.found} with average cross-entropy held fixed: the sign turns, tau is {number(total)}"
    return replace(said, found=turned, verdict=OPEN)


def _steadiest(analysis: Analysis) -> Verdict:
    """Compare the weakest tau inside a defense, where the sign is one throughout, with that of every other measure."""
    weakest = {m: _weakest(_counted(analysis, m), len(_reliable(analysis))) for m in analysis.measures}
    own = weakest[_GRADIENT]
    others = [w for m, w in weakest.items() if m != _GRADIENT]
    verdict = FAILS if any(w.low > own.high for w in others) else OPEN
    if own.low > max((w.high for w in others), default=np.inf) and _has_one_sign(analysis, _GRADIENT):
        verdict = HOLDS
    claim, n_models = "it is the most consistent measure", sum(row["n_models"] for row in _counted(analysis, _GRADIENT))
    found = _place_words(weakest) + _left_out(analysis)
    return Verdict(claim, _GRADIENT, "tau_within", verdict, found, own.tau, n_models=int(n_models))


def _place_words(weakest: dict[str, "_Weakest"]) -> str:
    """Say where the input gradient norm stands among all measures by their weakest tau, and with how many it ties."""
    own = weakest[_GRADIENT]
    place = 1 + sum(w.tau > own.tau + _TIE for w in weakest.values())
    tied = sum(abs(w.tau - own.tau) <= _TIE for w in weakest.values()) - 1
    found = (
        f"place {place} of {len(weakest)}{f', tied with {tied},' if tied else ''} by the weakest tau inside a defense"
    )
    found += f", {own}"
    first = max(weakest, key=lambda m: weakest[m].tau)
    return found + (f"; first is {first}, {weakest[first]}" if place > 1 else "")


def _thickness_turns(analysis: Analysis) -> Iterator[Verdict]:
    claim, measure = "boundary thickness turns with the training method", "boundary_thickness"
    if inside(analysis, measure).empty:
        yield absent(claim, measure, "tau_within")
        return
    shown, everywhere = _shown_inside(analysis, measure)
    verdict = HOLDS if shown and min(shown) < 0 < max(shown) else FAILS if everywhere else OPEN
    yield _about_defenses(analysis, claim, measure, verdict)


@dataclass(frozen=True)
class _Weakest:
    """The smallest size of tau over the defenses, and how small and large it may be.

    A sign that changes, and a tau or an interval that is missing, count as 0; ``why`` says which.
    """

    tau: float
    low: float
    high: float
    why: str = ""

    def __str__(self) -> str:
        return f"0 ({self.why})" if self.why else f"{self.tau:.2f} [{self.low:.2f}, {self.high:.2f}]"


def _weakest(within: list[dict[str, Any]], n_defenses: int) -> _Weakest:
    """Return the smallest tau over the levels where all have one sign."""
    if len(within) < max(n_defenses, 2) or not all(np.isfinite(row["ci_low"]) for row in within):
        return _Weakest(0.0, 0.0, 1.0, "not known inside each defense, which counts as 0")
    taus = np.array([row["estimate"] for row in within])
    ends = np.array([[row["ci_low"], row["ci_high"]] for row in within])
    # With one sign in truth it is that of all levels, and the size is at most the least end on its side.
    high = max(0.0, float(ends[:, 1].min()), float((-ends[:, 0]).min()))
    if len(set(np.sign(taus))) > 1:
        return _Weakest(0.0, 0.0, high, "a change of sign counts as 0")
    nearer = ends[:, 0] if taus[0] > 0 else -ends[:, 1]
    return _Weakest(float(np.abs(taus).min()), max(0.0, float(nearer.min())), high)

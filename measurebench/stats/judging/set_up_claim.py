"""The claim that the correlation of a measure depends on the training set-up, over all measures and settings."""

from collections.abc import Iterator
from itertools import combinations
from typing import Any

import numpy as np

from measurebench.core.intervals import ALPHA
from measurebench.stats.analysis import Analysis
from measurebench.stats.judging.adjustment import holm
from measurebench.stats.judging.claim_rows import (
    ABSENT,
    HOLDS,
    OPEN,
    Verdict,
    number,
    records,
    reliability,
    reliable,
    units,
    unreliable_words,
    within,
)
from measurebench.stats.judging.differences import difference_interval
from measurebench.stats.judging.significance import Row, end_error
from measurebench.stats.resampling.intervals import FEW_UNITS

__all__ = ["corrected", "depends_on_the_setup"]

_CLAIM = "the correlation depends on the training set-up"
_Pair = tuple[dict[str, Any], dict[str, Any]]


def depends_on_the_setup(analysis: Analysis) -> Iterator[Verdict]:
    """Hold where the intervals of tau at two levels of one setting lie apart, which chance alone would seldom do.

    The p-value of a difference (that of Zou's interval, ``difference_interval``) is adjusted by Holm over all pairs of
    levels of all measures. Noise of the target pulls tau towards 0, at one level more than at another: the intervals
    must also lie apart, in the same order, whatever reliability each level has (``corrected``). Told is the pair that
    lies furthest apart, of those that are shown where there are any. Levels with fewer than 12 independent units, or
    whose target may be all noise (``reliable``), are not compared.
    """
    pairs = {name: _pairs(analysis, name) for name in analysis.measures}
    p_values = [difference_interval(*pair)[2] for found in pairs.values() for pair in found]
    adjusted = iter(holm(np.array(p_values, dtype=np.float64)).tolist())
    for name, found in pairs.items():
        p = [next(adjusted) for _ in found]
        if found:
            shown = [_lie_apart(analysis, pair, q) for pair, q in zip(found, p, strict=True)]
            told = max(range(len(found)), key=lambda k: (shown[k], _gap(found[k])))
            yield _judged(analysis, name, found[told], shown[told])
        else:
            yield _not_compared(analysis, name)


def _pairs(analysis: Analysis, measure: str) -> list[_Pair]:
    """Return the pairs of levels of one setting that can be compared, the one with the lower tau first."""
    found: list[_Pair] = []
    for _, rows in within(analysis, measure).groupby("axis", sort=False):
        known = records(rows[rows["ci_low"].notna()])
        usable = [row for row in known if units(analysis, row) >= FEW_UNITS and reliable(analysis, row)]
        found += [(a, b) if a["estimate"] <= b["estimate"] else (b, a) for a, b in combinations(usable, 2)]
    return found


def _gap(pair: _Pair) -> float:
    """Return how far two intervals lie apart; below 0 where they overlap."""
    low, high = pair
    return float(high["ci_low"] - low["ci_high"])


def _lie_apart(analysis: Analysis, pair: _Pair, p_adjusted: float) -> bool:
    """Say whether two levels differ, and in the same order for every reliability between its lower bound and 1."""
    lower, higher = _corrected(analysis, pair)
    return _gap(pair) > 0 and p_adjusted <= ALPHA and lower[1] < higher[0]


def corrected(row: Row, reliability: float) -> tuple[float, float]:
    """Return the least and the largest correlation without the target's noise, sin(pi tau / 2) / sqrt(R), in [-1, 1].

    If measure and target are jointly normal, noise that is independent of the measure shrinks the correlation by the
    root of the reliability R, which may be anything from its lower bound ``reliability`` to 1. An unknown one (NaN)
    corrects nothing.

    >>> corrected({"ci_low": 0.0, "ci_high": 1 / 3}, 0.25), corrected({"ci_low": 1 / 3, "ci_high": 1}, 0.81)
    ((0.0, 1.0), (0.5, 1.0))
    """
    shrunk = 1.0 if np.isnan(reliability) else float(np.sqrt(reliability))
    low, high = (round(float(np.sin(np.pi * row[end] / 2)), 12) for end in ("ci_low", "ci_high"))
    return max(-1.0, min(low, low / shrunk)), min(1.0, max(high, high / shrunk))


def _judged(analysis: Analysis, measure: str, pair: _Pair, shown: bool) -> Verdict:
    low, high = pair
    found = f"{low['axis']}: {_told(analysis, low)}, {_told(analysis, high)}"
    verdict = HOLDS if shown else OPEN
    n_models = int(low["n_models"] + high["n_models"])
    return Verdict(_CLAIM, measure, "tau_within", verdict, found, n_models=n_models, edge=_edge(analysis, pair))


def _edge(analysis: Analysis, pair: _Pair) -> str:
    """Name the two levels where another seed may move their intervals, corrected or not, over each other."""
    bootstrap = int(analysis.provenance.get("bootstrap") or 0)
    ends = [[(row["ci_low"], row["ci_high"]) for row in pair], _corrected(analysis, pair)]
    for first, second in ends if bootstrap else ():
        if abs(second[0] - first[1]) <= 2 * end_error(bootstrap) * float(
            np.hypot(first[1] - first[0], second[1] - second[0])
        ):
            return " and ".join(str(row["level"]) for row in pair)
    return ""


def _corrected(analysis: Analysis, pair: _Pair) -> list[tuple[float, float]]:
    return [corrected(row, reliability(analysis, str(row["axis"]), str(row["level"]))) for row in pair]


def _told(analysis: Analysis, row: dict[str, Any]) -> str:
    """Return tau at a level, with the reliability of the target there where it is known."""
    known = reliability(analysis, str(row["axis"]), str(row["level"]))
    return f"{number(row)} at {row['level']}" + (
        "" if np.isnan(known) else f" (reliability, estimated lower bound {known:.2f})"
    )


def _not_compared(analysis: Analysis, measure: str) -> Verdict:
    levels = analysis.select_within(measure)
    counts = levels[levels["ci_low"].notna()].groupby("axis").size()
    if len(counts) and counts.max() > 1:
        found = f"no setting has two levels of at least {FEW_UNITS} independent units and a reliable target"
        found += unreliable_words(analysis)
        return Verdict(_CLAIM, measure, "tau_within", OPEN, found)
    return Verdict(_CLAIM, measure, "tau_within", ABSENT, "no setting has two levels with intervals")

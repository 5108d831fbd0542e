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
    reliable,
    units,
    unreliable_words,
)
from measurebench.stats.judging.differences import difference_interval
from measurebench.stats.resampling.intervals import FEW_UNITS

__all__ = ["depends_on_the_setup"]

_CLAIM = "the correlation depends on the training set-up"
_Pair = tuple[dict[str, Any], dict[str, Any]]


def depends_on_the_setup(analysis: Analysis) -> Iterator[Verdict]:
    """Hold where the intervals of tau at two levels of one setting lie apart, which chance alone would seldom do.

    The p-value of a difference (that of Zou's interval, ``difference_interval``) is adjusted by Holm over all pairs of
    levels of all measures. Told is the pair that lies furthest apart, of those that are shown where there are any.
    Levels with fewer than 12 independent units, or whose target is hardly reliable, are not compared.
    """
    pairs = {name: _pairs(analysis, name) for name in analysis.measures}
    p_values = [difference_interval(*pair)[2] for found in pairs.values() for pair in found]
    adjusted = iter(holm(np.array(p_values, dtype=np.float64)).tolist())
    for name, found in pairs.items():
        p = [next(adjusted) for _ in found]
        if found:
            shown = [_gap(pair) > 0 and q <= ALPHA for pair, q in zip(found, p, strict=True)]
            told = max(range(len(found)), key=lambda k: (shown[k], _gap(found[k])))
            yield _judged(analysis, name, found[told], shown[told])
        else:
            yield _not_compared(analysis, name)


def _pairs(analysis: Analysis, measure: str) -> list[_Pair]:
    """Return the pairs of levels of one setting that can be compared, the one with the lower tau first."""
    found: list[_Pair] = []
    for _, rows in analysis.select_within(measure).groupby("axis", sort=False):
        known = records(rows[rows["ci_low"].notna()])
        usable = [row for row in known if units(analysis, row) >= FEW_UNITS and reliable(analysis, row)]
        found += [(a, b) if a["estimate"] <= b["estimate"] else (b, a) for a, b in combinations(usable, 2)]
    return found


def _gap(pair: _Pair) -> float:
    """Return how far two intervals lie apart; below 0 where they overlap."""
    low, high = pair
    return float(high["ci_low"] - low["ci_high"])


def _judged(analysis: Analysis, measure: str, pair: _Pair, shown: bool) -> Verdict:
    low, high = pair
    found = f"{low['axis']}: {number(low)} at {low['level']}, {number(high)} at {high['level']}"
    verdict = HOLDS if shown else OPEN
    found += unreliable_words(analysis)
    return Verdict(_CLAIM, measure, "tau_within", verdict, found, n_models=int(low["n_models"] + high["n_models"]))


def _not_compared(analysis: Analysis, measure: str) -> Verdict:
    within = analysis.select_within(measure)
    counts = within[within["ci_low"].notna()].groupby("axis").size()
    if len(counts) and counts.max() > 1:
        found = f"no setting has two levels of at least {FEW_UNITS} independent units and a reliable target"
        found += unreliable_words(analysis)
        return Verdict(_CLAIM, measure, "tau_within", OPEN, found)
    return Verdict(_CLAIM, measure, "tau_within", ABSENT, "no setting has two levels with intervals")

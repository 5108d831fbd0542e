"""Which measure is best, and how surely: shares of resamples, a confidence set, and intervals that hold together."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from measurebench.core.intervals import ALPHA
from measurebench.stats.resampling.draws import Floats

__all__ = ["MOST", "best_set", "simultaneous", "stability"]

MOST = 500
"""Measures that compete: every pair of them is compared in every draw, so that their number counts twice."""

_LARGEST = 0.9999  # a perfect tau, whose arctanh is not finite, counts as this


def stability(taus: Mapping[str, float], draws: Mapping[str, Floats]) -> list[dict[str, Any]]:
    """Return a row per measure: how often it is first, whether it may be the best, and its simultaneous interval.

    ``taus`` are tau_b over all models, ``draws`` [draws] their bootstrap draws, of the same resamples of units. First
    is the largest |tau|; measures that share the first place share the resample. Measures without tau or draws are left
    out, and of more than 500 those with the smallest |tau|.
    """
    names = [n for n, tau in taus.items() if np.isfinite(tau) and n in draws and np.isfinite(draws[n]).mean() > 0.5]
    if len(names) < 2:
        return []
    strongest = set(sorted(names, key=lambda name: -abs(taus[name]))[:MOST])
    names = [name for name in names if name in strongest]
    tau = np.array([taus[n] for n in names])
    drawn = np.stack([np.where(np.isfinite(draws[n]), draws[n], taus[n]) for n in names])
    sizes = np.abs(drawn)
    first = sizes >= sizes.max(axis=0) - 1e-12
    shares = (first / first.sum(axis=0)).mean(axis=1)
    # A draw of the other sign is small, and not as large as its size: |tau| of a weak measure would fold at 0.
    p_best = best_set(_spread_out(np.abs(tau)), _spread_out(np.sign(tau)[:, None] * drawn))
    low, high = simultaneous(tau, drawn)
    return [
        {
            "measure": name,
            "tau_b": float(tau[k]),
            "share_first": float(shares[k]),
            "p_best": float(p_best[k]),
            "may_be_best": bool(p_best[k] > ALPHA),
            "simultaneous_low": float(low[k]),
            "simultaneous_high": float(high[k]),
        }
        for k, name in enumerate(names)
    ]


def best_set(values: Floats, drawn: Floats) -> Floats:
    """Return the p-value of each measure being the best: values [measures], drawn [measures, draws]; [measures].

    The hypothesis that measure i is best is rejected by the largest studentised lead of another over it, compared with
    its bootstrap distribution around what was found (max-T, so that the number of rivals is accounted for). The
    measures not rejected at 5 % form a set that holds the best one in 95 % of tables: only one of these hypotheses is
    about the best (Mogstad, Romano, Shaikh and Wilhelm 2024, for ranks). Leads without spread count as certain.
    """
    result = np.ones(len(values))
    for i in range(len(values)):
        others = np.delete(np.arange(len(values)), i)
        lead = values[others] - values[i]
        moved = drawn[others] - drawn[i]
        spread = moved.std(axis=1, ddof=1)
        varies = spread > 1e-12
        if (lead[~varies] > 1e-12).any():
            result[i] = 0.0
        elif varies.any():
            scale = spread[varies]
            most = float((lead[varies] / scale).max())
            null = ((moved[varies] - lead[varies, None]) / scale[:, None]).max(axis=0)
            result[i] = (1 + np.count_nonzero(null >= most)) / (1 + len(null))
    return result


def simultaneous(values: Floats, drawn: Floats) -> tuple[Floats, Floats]:
    """Return intervals that hold all tau [measures] at once in 95 % of tables; drawn [measures, draws].

    Of arctanh(tau), each is its value and c standard errors, c the 95 % quantile of the largest studentised deviation
    over measures (max-T, as in the tests of Westfall and Young 1993). tau itself varies less the larger it is, so that
    intervals on its own scale hold all at once too seldom (benchmarks/results/together.md). No width where a measure
    does not vary.
    """
    centre, moved = _spread_out(values), _spread_out(drawn)
    spread = moved.std(axis=1, ddof=1)
    scale = np.where(spread > 1e-12, spread, np.inf)
    c = float(np.quantile(np.abs((moved - centre[:, None]) / scale[:, None]).max(axis=0), 1 - ALPHA))
    ends = np.tanh(centre - c * spread), np.tanh(centre + c * spread)
    return np.where(spread > 1e-12, ends[0], values), np.where(spread > 1e-12, ends[1], values)


def _spread_out(tau: Floats) -> Floats:
    """Return arctanh(tau), on which scale tau varies alike whatever its size (Fisher 1921); a perfect one is finite."""
    return np.arctanh(np.clip(tau, -_LARGEST, _LARGEST))

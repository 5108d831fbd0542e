"""What each measure adds to the training settings, on models that the fit has not seen."""

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from measurebench.core.intervals import Z
from measurebench.stats.population.population import UNSTATED, Population
from measurebench.stats.regressions.settings_fit import TERMS, Beside, Design, Designs, Split, curves, folds
from measurebench.stats.resampling.draws import Floats, Ints, percentile_interval, stream
from measurebench.stats.resampling.intervals import FEW_UNITS
from measurebench.stats.statistics.estimates import NAN, Draws, flaw

__all__ = [
    "FOLDS",
    "MIN_UNITS",
    "added",
    "added_rows",
    "division_t",
    "n_divisions",
    "proxy_refits",
    "settings_proxies",
]

FOLDS = 10
MIN_UNITS = 20
"""Fewer units are not divided: in simulations the intervals of the gain then held the truth too seldom."""

# With few runs the plain interval held the expected gain too seldom (benchmarks/results/coverage.md: as widened).
_WIDER = 12

# One division into folds is a matter of luck. On 643 runs a gain of 6 % moved by 0.8 points from one to the next, on 22
# runs one of 7 % by 20 points; there so many more divisions cost next to nothing.
_LEAST, _MOST, _PREDICTED = 5, 25, 1200

_SPLIT_FOLDS = 5  # folds of runs where a level divides runs, each met with each level


Refit = Callable[[Design, Ints, Split], Floats]
"""From settings, their rows in the population and a split to a column [n] that is fitted on the models of the split."""


def added(
    population: Population,
    draws: Draws,
    refits: Mapping[str, Refit] | None = None,
    designs: Designs | None = None,
    *,
    levels: bool = True,
) -> list[dict[str, Any]]:
    """Return by measure how much less the squared error is beside the settings than with the settings alone.

    ``variant`` "runs": whole training runs are held out, ten folds. ``variant`` "levels": each level of the setting in
    ``axis`` is held out whole, so that it must be predicted from the others. ``gain`` is 1 - mse_with / mse_settings;
    its interval resamples runs. The measure enters by its mid-rank, as a line or a curve. Nothing without settings.

    Without ``levels`` only the first. ``refits`` make the columns of measures that were fitted to the target: they are
    fitted again on the models of each split. Values from another division into folds would leak: what a model's value
    lacks tells its own target. ``designs`` are those of the population's settings, where the caller has them.
    """
    if not population.levels:
        return []
    by_models: dict[bytes, list[str]] = defaultdict(list)
    for name, x in population.measures.items():
        by_models[np.isfinite(x).tobytes()].append(name)
    designs = designs or Designs(population)
    found: dict[str, list[dict[str, Any]]] = {}
    for names in by_models.values():
        rows = np.flatnonzero(np.isfinite(population.measures[names[0]]))
        found |= _of_cohort(population, rows, names, draws, refits or {}, designs, levels=levels)
    return [row for name in population.measures for row in found[name]]


def n_divisions(n_units: int) -> int:
    """Return how many divisions of so many runs into folds are averaged: five from 240 runs on, up to 25 of fewer.

    >>> n_divisions(22), n_divisions(96), n_divisions(643)
    (25, 12, 5)
    """
    return int(np.clip(_PREDICTED // max(1, n_units), _LEAST, _MOST))


def division_t(n_units: int) -> float:
    """Return the 97.5 % point of Student's t for the error of a gain that this many divisions tell.

    >>> round(division_t(643), 3)
    2.776
    """
    from scipy.special import stdtrit

    return float(stdtrit(n_divisions(n_units) - 1, 0.975))


def added_rows(rows: list[dict[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Return the row of each measure in which whole runs are held out: the one that the judgement rests on."""
    return {str(row["measure"]): row for row in rows if row["variant"] == "runs"}


def _of_cohort(
    population: Population,
    rows: Ints,
    names: list[str],
    draws: Draws,
    refits: Mapping[str, Refit],
    designs: Designs,
    *,
    levels: bool,
) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of measures that have values on the same models."""
    y, units = population.y[rows], population.units[rows]
    n_units = len(np.unique(units))
    result: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    usable = [name for name in names if not flaw(population.measures[name][rows], y)]
    variants = [("runs", ""), *(("levels", axis) for axis in population.levels if levels)]
    few = f"{n_units} units are too few to hold some out" if n_units < MIN_UNITS else ""
    for name in names:
        if few or name not in usable:
            reason = few or flaw(population.measures[name][rows], y)
            result[name] = [_row(name, *variant, len(rows), n_units, reason=reason) for variant in variants]
    if few or not usable:
        return result
    design = designs.of(rows)
    x = curves(np.stack([_mid_ranks(population.measures[name][rows]) for name in usable], axis=1))
    fitted = [(k, refits[name]) for k, name in enumerate(usable) if name in refits]

    def columns(split: Split) -> Floats:
        if fitted:
            found = [_mid_ranks(refit(design, rows, split)) for _, refit in fitted]
            x[:, :, [k for k, _ in fitted]] = curves(np.stack(found, axis=1))
        return x

    repeats = len(rows) / n_units
    missed = [_missed(design, y, columns, _splits(population, rows, axis, draws), repeats) for _, axis in variants]
    for (variant, axis), found, sums in zip(variants, missed, _drawn(missed, units, draws), strict=True):
        for name, row in zip(usable, _gains(found, sums, n_units), strict=True):
            # Two to four fits are no sample of fits: a level is held out once.
            untested = {"p_value": NAN} if axis else {}
            result[name].append(_row(name, variant, axis, len(rows), n_units) | row | untested)
    return result


def _mid_ranks(x: Floats) -> Floats:
    ranks = _ranks(x)
    return np.asarray((ranks - ranks.mean()) / max(1e-300, float(ranks.std())))


def _ranks(x: Floats) -> Floats:
    """Return the ranks of x [n] from 1 on, ties sharing their mean rank."""
    from scipy.stats import rankdata

    with np.errstate(invalid="ignore"):  # of values beyond all whole numbers
        places = x.astype(np.int64)
    if not (places == x).all() or places.min(initial=0) < 0 or places.max(initial=0) > len(x):
        return np.asarray(rankdata(x))
    counts = np.bincount(places)  # the places of levels, of which there are few, are counted instead of sorted
    return np.asarray((np.cumsum(counts) - (counts - 1) / 2)[places])


def _splits(population: Population, rows: Ints, axis: str, draws: Draws) -> list[list[Split]]:
    """Return divisions into models to fit on and to predict; the models of one unit never part."""
    units = population.units[rows]
    if not axis:
        divisions = range(n_divisions(len(np.unique(units))))
        return [folds(units, FOLDS, draws.stream("added", "runs", str(k))) for k in divisions]
    names = np.array(population.levels[axis], dtype=object)[rows]
    levels = sorted(set(names.tolist()) - {UNSTATED})
    wanted: list[Ints] = [np.flatnonzero(names == level) for level in levels]
    if any(np.isin(units[names != level], units[names == level]).any() for level in levels):
        parts = folds(units, _SPLIT_FOLDS, draws.stream("added", "levels", axis))
        wanted = [np.intersect1d(inside, test) for inside in wanted for _, test in parts]
    splits = []
    for test in wanted:
        own = np.isin(names, list({names[k] for k in test}))
        splits.append((np.flatnonzero(~own & ~np.isin(units, units[test])), test))
    return [[(train, test) for train, test in splits if len(test)]]


@dataclass(frozen=True)
class _Missed:
    """Squared errors of the models that were predicted, the mean over the divisions into folds.

    ``each`` [n, 1 + measures] is that of the settings alone, then that beside each measure, 0 where ``known`` [n] says
    that a model was never predicted. ``by_round`` [rounds, 1 + measures] sums them division by division. ``reason``
    says why there are none.
    """

    each: Floats
    known: Any
    by_round: Floats
    reason: str = ""


def _missed(
    design: Design, y: Floats, columns: Callable[[Split], Floats], rounds: list[list[Split]], repeats: float
) -> _Missed:
    """Predict the models that each split holds out, by the settings and by them and each measure, [n, measures].

    ``columns`` gives the terms of the measures for a split, ``repeats`` are the models of a unit.
    """
    n, _, m = columns(rounds[0][0]).shape
    each, counted, by_round = np.zeros((n, 1 + m)), np.zeros(n), np.zeros((len(rounds), 1 + m))
    for k, splits in enumerate(rounds):
        for split in splits:
            if len(split[0]) < FEW_UNITS or np.ptp(y[split[0]]) == 0:
                continue
            found = Beside.predicted(design, y, columns(split), split, repeats)
            errors = np.column_stack([found.alone, found.beside])
            each[split[1]] += errors
            counted[split[1]] += 1
            by_round[k] += errors.sum(axis=0)
    known = counted > 0
    reason = "" if each[:, 0].sum() > 0 else "the settings determine the target"
    reason = reason if known.any() else "too few models are left to fit on"
    return _Missed(each * np.where(known, 1 / np.maximum(counted, 1), 0.0)[:, None], known, by_round, reason)


def _drawn(missed: list[_Missed], units: Ints, draws: Draws) -> list[Floats]:
    """Return the sums of squared errors in every draw of units, [draws, 1 + measures] each; ``units`` [n]."""
    n_all = draws.weights.shape[1]
    columns = np.concatenate([found.each for found in missed], axis=1).T
    by_unit = np.stack([np.bincount(units, column, minlength=n_all) for column in columns], axis=1)
    return np.split(draws.weights_double @ by_unit, len(missed), axis=1)  # all at once: the weights are read once


def _gains(missed: _Missed, sums: Floats, n_units: int) -> list[dict[str, Any]]:
    """Return the mean squared errors and the gain of every measure; ``sums`` are those of ``_drawn``."""
    if missed.reason:
        return [{"reason": missed.reason}] * (sums.shape[1] - 1)
    shares = 1 - sums[:, 1:] / np.where(sums[:, :1] > 0, sums[:, :1], np.nan)
    means = missed.each.sum(axis=0) / missed.known.sum()
    errors = _division_errors(missed.by_round)
    rows = []
    for k, with_measure in enumerate(means[1:].tolist()):
        gain, error = 1 - with_measure / float(means[0]), float(errors[k])
        low, high, reason = _interval(gain, shares[:, k], n_units, error)
        gain = 0.0 if low == high == 0 else gain  # apart from rounding
        values = {"mse_settings": float(means[0]), "mse_with": with_measure, "division_error": error}
        p = _p_value(gain, low, high)
        rows.append(values | {"gain": gain, "ci_low": low, "ci_high": high, "reason": reason, "p_value": p})
    return rows


def _division_errors(by_round: Floats) -> Floats:
    """Return the standard error of each gain, [measures], that comes from the division into folds; 0 for one round.

    ``by_round`` [rounds, 1 + measures] are sums of squared errors, the first of the settings alone.
    """
    gains = 1 - by_round[:, 1:] / np.where(by_round[:, :1] > 0, by_round[:, :1], np.nan)
    if len(gains) < 2:
        return np.zeros(gains.shape[1])
    return np.asarray(gains.std(axis=0, ddof=1) / np.sqrt(len(gains)))


def _interval(gain: float, shares: Floats, n_units: int, error: float) -> tuple[float, float, str]:
    """Return the percentile interval, widened, and a reason; [0, 0] where the settings determine the measure.

    Its ends lie 1 + 12 / units times as far from the gain, since the resamples do not repeat the fits, and further by
    what the division into folds adds: a standard ``error`` of its own (``division_t``).
    """
    if float(np.nanmax(np.abs(shares))) < 1e-9:
        return 0.0, 0.0, "the settings determine the measure, so that it can add nothing"
    low, high = percentile_interval(shares)
    wider, of_division = 1 + _WIDER / n_units, division_t(n_units) * error
    below, above = (float(np.hypot(wider * side, of_division)) for side in (gain - low, high - gain))
    return gain - below, gain + above, "" if np.isfinite(low) else "all resamples agree"


def _p_value(gain: float, low: float, high: float) -> float:
    """Return the two-sided p-value of no gain, of a normal estimate with the half of the interval towards 0."""
    from scipy.special import ndtr

    half = gain - low if gain > 0 else high - gain
    return float(2 * ndtr(-Z * abs(gain) / half)) if half > 0 else NAN


def _row(measure: str, variant: str, axis: str, n_models: int, n_units: int, reason: str = "") -> dict[str, Any]:
    numbers = dict.fromkeys(("mse_settings", "mse_with", "gain", "ci_low", "ci_high", "division_error", "p_value"), NAN)
    told = {"measure": measure, "variant": variant, "axis": axis, "n_models": n_models, "n_units": n_units}
    return told | numbers | {"reason": reason, "p_adjusted": NAN}


def proxy_refits(population: Population) -> dict[str, Refit]:
    """Return the makers of columns that know nothing but the settings: each one's best fit to the target, and of all.

    One setting orders its levels by their mean target; its values are the places in that order, so that models of one
    level stay tied.
    """

    def of_one(names: list[str]) -> Refit:
        level = np.unique(names, return_inverse=True)[1]
        return lambda _, rows, split: _places(level[rows], population.y[rows], split[0])[level[rows]]

    def of_all(design: Design, rows: Ints, split: Split) -> Floats:
        n = len(rows)
        return Beside.predicted(design, population.y[rows], np.empty((n, TERMS, 0)), (split[0], np.arange(n))).fitted

    one = {axis: of_one(names) for axis, names in population.levels.items()}
    return one | ({"all settings": of_all} if len(one) > 1 else {})


def settings_proxies(population: Population, seed: int, designs: Designs | None = None) -> dict[str, Floats]:
    """Return the columns [n] of ``proxy_refits`` out of fold: no value has seen the target of its own run.

    Nothing for a single run: there is no other to fit on. ``designs`` as in ``added``.
    """
    if population.n_units < 2:
        return {}
    rows = np.arange(len(population.y))
    design = (designs or Designs(population)).of(rows)
    splits = folds(population.units, FOLDS, stream("settings proxies", seed=seed))
    result = {}
    for name, refit in proxy_refits(population).items():
        values = np.zeros(len(rows))
        for train, test in splits:
            values[test] = refit(design, rows, (train, test))[test]
        result[name] = values
    return result


def _places(level: Ints, y: Floats, train: Ints) -> Floats:
    """Return each level's place by the mean target of the models fitted on; a level without any is in the middle."""
    size = int(level.max()) + 1
    counts = np.bincount(level[train], minlength=size)
    means = np.bincount(level[train], y[train], minlength=size) / np.maximum(counts, 1)
    means = np.where(counts > 0, means, y[train].mean())
    return np.unique(means, return_inverse=True)[1].astype(np.float64)

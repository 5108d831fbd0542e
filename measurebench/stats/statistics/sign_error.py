"""Dziugaite's weighted sign error: how often the order of two models is predicted wrongly."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from measurebench.stats.resampling.draws import (
    Floats,
    Ints,
    bootstrap_p,
    bootstrap_weights_double,
    percentile_interval,
)
from measurebench.stats.resampling.intervals import FEW_UNITS
from measurebench.stats.statistics.estimates import NAN, Draws, Estimate, Sample
from measurebench.stats.statistics.granulated import permuted_pairs
from measurebench.stats.statistics.matching import Matching, matchings
from measurebench.stats.statistics.registry import Asked, statistic

__all__ = [
    "MIN_EFFECTIVE",
    "Changes",
    "Environments",
    "by_change",
    "environment_rows",
    "environments",
    "environments_of",
    "pair_weights",
    "sign_errors",
]

MIN_EFFECTIVE = 12.0
"""Effective pairs that a change of a setting needs to be kept (Dziugaite et al. 2020, their published code)."""


def pair_weights(difference: Floats, inverse_n: Floats | None) -> Floats:
    """Return how surely the target of two models differs in the order seen: [pairs], in [0, 0.5].

    w = max(0, 1 - 2 exp(-2 t^2 / (1/n_train + 1/n_test)))^2 with t = |dg|/2, a two-sample Hoeffding bound, and
    (w - 0.5)_+ is returned (Dziugaite et al. 2020, with the sampling of training images added). ``inverse_n``
    [pairs] is 1/n_train + 1/n_test; None gives every pair the weight 0.5.
    """
    if inverse_n is None:
        return np.where(difference != 0, 0.5, 0.0)
    bound = 2 * np.exp(-2 * (np.abs(difference) / 2) ** 2 / inverse_n)
    return np.asarray(np.maximum(np.maximum(0.0, 1 - bound) ** 2 - 0.5, 0.0))


@dataclass(frozen=True)
class Changes:
    """The changes v1 -> v2 of one setting, environments, and how surely each pair's target differs: for all measures.

    Per pair: ``env`` [pairs] numbers its change, ``sure`` [pairs] is its weight, ``order`` [pairs] the sign of the
    target's difference. ``weight`` sums by component (those with any, ``rows``) and environment.
    """

    match: Matching
    names: list[tuple[str, str]]
    env: Ints
    sure: Floats
    order: Floats
    rows: Ints
    weight: Floats

    @classmethod
    def of(cls, match: Matching, y: Floats, inverse_n: Floats | None) -> "Changes":
        """Weigh the pairs by the target y [n]; ``inverse_n`` [n] is 1/n_train + 1/n_test per model or None."""
        i, j = match.i, match.j
        difference = y[i] - y[j]
        sure = pair_weights(difference, None if inverse_n is None else (inverse_n[i] + inverse_n[j]) / 2)
        changes, env = np.unique(np.stack([match.low, match.high], axis=1), axis=0, return_inverse=True)
        names = [(match.levels[a], match.levels[b]) for a, b in changes]
        env = env.reshape(-1)
        weight = _summed(match.component, env, len(names), sure)
        rows = np.flatnonzero(weight.sum(axis=1) > 0)
        return cls(match, names, env, sure, np.sign(difference), rows, weight[rows])

    def summed(self, values: Floats) -> Floats:
        """Sum values [pairs] by component and environment."""
        return _summed(self.match.component, self.env, len(self.names), values)[self.rows]

    @cached_property
    def n_pairs(self) -> Ints:
        """How many pairs each environment has."""
        return np.bincount(self.env, minlength=len(self.names))

    @cached_property
    def models(self) -> Ints:
        """The models that take part."""
        return np.unique(np.r_[self.match.i, self.match.j])

    @cached_property
    def sure_by_env(self) -> Floats:
        """Each pair's weight in the column of its environment: [pairs, environments]."""
        result = np.zeros((len(self.env), len(self.names)))
        result[np.arange(len(self.env)), self.env] = self.sure
        return result

    @cached_property
    def totals(self) -> Floats:
        """The weight of each environment."""
        return np.asarray(self.sure_by_env.sum(axis=0))

    @cached_property
    def effective(self) -> Floats:
        """The effective number of pairs of each environment, (sum w)^2 / sum w^2."""
        return _share(self.totals**2, (self.sure_by_env**2).sum(axis=0))

    @cached_property
    def kept(self) -> Any:
        """Which environments rest on an effective number of at least 12 pairs."""
        return self.effective >= MIN_EFFECTIVE


@dataclass(frozen=True)
class Environments:
    """The sign errors of one measure over the changes of one setting.

    ``wrong`` sums by component and environment; ``permuted`` [permutations, environments] holds the errors under
    exchanges, ``drawn`` [draws, environments] those in every bootstrap draw of independent comparisons.
    """

    changes: Changes
    wrong: Floats
    permuted: Floats
    drawn: Floats

    @property
    def losses(self) -> Floats:
        """The weighted share of wrongly ordered pairs per environment; NaN without weight."""
        return _share(self.wrong.sum(axis=0), self.changes.weight.sum(axis=0))


def environments(
    changes: Changes, x: Floats, sign: int, permuted: Floats, draws: Draws, drawn: Floats | None = None
) -> Environments:
    """Sum the sign errors of one measure x [n] over the pairs of each change of a setting.

    ``sign`` is +1 or -1, the direction predicted, ``permuted`` [permutations, pairs] sign(x_i - x_j) under
    exchanges, ``drawn`` [draws, environments] the errors in the bootstrap draws where the caller has them. Neither is
    needed of a setting without an environment that is kept. A tie in the measure counts one half.
    """
    wrong = _wrong(changes, x, sign)
    found = _drawn(changes, [wrong], draws)[0] if drawn is None else drawn
    return Environments(changes, wrong, _permuted(changes, sign, permuted), found)


def _permuted(changes: Changes, sign: int, permuted: Floats) -> Floats:
    """Return the errors under exchanges: [permutations, environments]; NaN where no environment is kept."""
    totals = changes.totals
    if not changes.kept.any():
        return np.full((len(permuted), len(totals)), NAN)
    moved = (totals - permuted @ (changes.sure_by_env * (sign * changes.order)[:, None])) / 2
    return _share(moved, np.broadcast_to(totals, moved.shape))


def _wrong(changes: Changes, x: Floats, sign: int) -> Floats:
    """Return the weight of the pairs that a measure orders wrongly, by component and environment."""
    i, j = changes.match.i, changes.match.j
    return changes.summed(changes.sure * (1 - np.sign(x[i] - x[j]) * (sign * changes.order)) / 2)


def _drawn(changes: Changes, wrong: list[Floats], draws: Draws) -> list[Floats]:
    """Return the errors of every measure in every draw of independent comparisons: [draws, environments] each.

    NaN where no environment is kept: nothing is then told of the draws.
    """
    n_env, n_components = len(changes.names), len(changes.rows)
    if not changes.kept.any():
        return [np.full((len(draws.weights), n_env), NAN)] * len(wrong)
    seed = draws.stream("bootstrap of sign errors", changes.match.axis)
    weights = bootstrap_weights_double(n_components, len(draws.weights), seed)
    whole = weights @ changes.weight
    parts = np.split(weights @ np.concatenate(wrong, axis=1), len(wrong), axis=1)
    return [_share(part, whole) for part in parts]


def _drawn_of_all(asked: Asked) -> list[dict[str, Floats]]:
    """Return the errors in the draws of every measure, setting by setting; all at once, as psi does."""
    found: list[dict[str, Floats]] = []
    for changes in asked.shared(_changes):
        if changes is None:
            found.append({})
            continue
        wrong = [_wrong(changes, sample.x, _direction(sample, asked)) for sample in asked.samples]
        drawn = _drawn(changes, wrong, asked.cohort.draws)
        found.append({sample.name: part for sample, part in zip(asked.samples, drawn, strict=True)})
    return found


def _direction(sample: Sample, asked: Asked) -> int:
    return asked.question.signs.get(sample.name, 1)


@statistic(
    "sign_error",
    title="Sign error",
    explanation="How often the order of two models that differ in one setting is predicted wrongly: the mean and the "
    "worst over the changes of a setting. 0 is perfect, 0.5 is chance.",
    axes="setting",
    writes=("sign_error_mean", "sign_error_max"),
    family="secondary",
    place=50,
    apart=("sign_error_max",),
)
def by_change(sample: Sample, asked: Asked) -> list[Estimate]:
    """Return the mean and the worst sign error of each setting, and over all of them; nothing without settings."""
    return sign_errors(asked.once(sample, environments_of)) if asked.population.levels else []


def environments_of(sample: Sample, asked: Asked) -> list[Environments]:
    """Return the sign errors of a measure over the changes of every setting that has a pair."""
    sign, draws = _direction(sample, asked), sample.cohort.draws
    parts = zip(asked.shared(_changes), asked.once(sample, permuted_pairs), asked.shared(_drawn_of_all), strict=True)
    return [
        environments(changes, sample.x, sign, permuted, draws, drawn[sample.name])
        for changes, permuted, drawn in parts
        if changes is not None
    ]


def _changes(asked: Asked) -> list[Changes | None]:
    """Return the changes of each setting, or None where no two models differ in it alone."""
    cohort, error = asked.cohort, asked.question.error
    inverse_n = None if error is None else error.inverse_n[cohort.rows]
    if inverse_n is not None:  # a gap of unknown error surely differs from no other
        inverse_n = np.where(np.isfinite(inverse_n), inverse_n, np.inf) if np.isfinite(inverse_n).any() else None
    return [Changes.of(match, cohort.y, inverse_n) if len(match.i) else None for match in asked.shared(matchings)]


def environment_rows(sample: Sample, asked: Asked) -> list[dict[str, Any]]:
    """Return the sign error of a measure for each change of one setting, with the pairs that it rests on."""
    return [
        {
            "measure": sample.name,
            "target": asked.population.target,
            "axis": env.changes.match.axis,
            "level_from": a,
            "level_to": b,
            "n_pairs": int(env.changes.n_pairs[k]),
            "effective_n": float(env.changes.effective[k]),
            "kept": bool(env.changes.kept[k]),
            "sign_error": float(env.losses[k]),
            "orientation": "+" if asked.question.signs.get(sample.name, 1) > 0 else "-",
        }
        for env in asked.once(sample, environments_of)
        for k, (a, b) in enumerate(env.changes.names)
    ]


def sign_errors(per_axis: list[Environments]) -> list[Estimate]:
    """Return the mean and the worst sign error per setting, and over all of them (axis empty).

    0 is perfect, 0.5 is chance. Environments below an effective 12 pairs are left out. Both p-values are two-sided.
    That of the mean inverts its interval around 0.5. That of the worst compares it with the worst errors under
    exchanges, since the worst of several errors lies above 0.5 by chance: small ones say that the measure fails in no
    environment, large ones that it surely fails in one.
    """
    rows: list[Estimate] = []
    for env in per_axis:
        rows += _summary(env.changes.match.axis, [env])
    return rows + _summary("", per_axis)


def _summary(axis: str, parts: list[Environments]) -> list[Estimate]:
    kept = [env for env in parts if env.changes.kept.any()]
    n_models = len(np.unique(np.concatenate([env.changes.models for env in kept]))) if kept else 0
    pairs = int(sum(env.changes.n_pairs[env.changes.kept].sum() for env in kept))
    if not kept:
        reason = f"no change of a setting rests on {MIN_EFFECTIVE:g} pairs that surely differ"
        return [Estimate(name, axis, "", 0, 0, NAN, reason=reason) for name in ("sign_error_mean", "sign_error_max")]
    losses = np.concatenate([env.losses[env.changes.kept] for env in kept])
    fewest = min(len(env.permuted) for env in kept)
    permuted = np.concatenate([env.permuted[:fewest, env.changes.kept] for env in kept], axis=1)
    names = [pair for env in kept for pair, keep in zip(env.changes.names, env.changes.kept, strict=True) if keep]
    worst = int(np.argmax(losses))
    mean_draws, max_draws = _together([env.drawn[:, env.changes.kept] for env in kept])
    few = min(len(env.changes.rows) for env in kept)
    reason = f"{few} independent comparisons are too few for an interval" if few < FEW_UNITS else ""
    if reason:
        mean_draws, max_draws = np.full((2, len(mean_draws)), NAN)
    low, high = percentile_interval(mean_draws, expanded=few)
    reason = reason or ("" if np.isfinite(low) else "the comparisons resample to no interval")
    mean = Estimate(
        "sign_error_mean",
        axis,
        "",
        n_models,
        pairs,
        float(losses.mean()),
        low,
        high,
        bootstrap_p(mean_draws, 0.5, few),
        reason,
    )
    low, high = percentile_interval(max_draws, expanded=few)
    reason = reason or ("" if np.isfinite(low) else "the comparisons resample to no interval")
    label = f"{names[worst][0]} -> {names[worst][1]}"
    value = float(losses[worst])
    p = _two_sided(value, permuted.max(axis=1)) if np.ptp(permuted, axis=0).max() > 1e-12 else NAN
    reason = reason or ("" if np.isfinite(p) else "no pair can be exchanged: no p-value")
    return [mean, Estimate("sign_error_max", axis, label, n_models, pairs, value, low, high, p, reason)]


def _two_sided(value: float, permuted: Floats) -> float:
    """Return twice the smaller share of exchanges [permutations] with a worst error as small, or as large, at most 1.

    The distribution of a maximum is neither symmetric nor normal, so that each side is counted by itself.
    """
    smaller = np.count_nonzero(permuted <= value + 1e-12)
    larger = np.count_nonzero(permuted >= value - 1e-12)
    return float(min(1.0, 2 * (1 + min(smaller, larger)) / (1 + len(permuted))))


def _together(drawn: list[Floats]) -> tuple[Floats, Floats]:
    """Return the mean and the worst error over the environments of all settings in every draw: [draws] each.

    ``drawn`` [draws, environments] of each setting. Settings are resampled apart, but their comparisons share models,
    so that their errors go up and down together. How closely is not known; here as closely as can be (draws in the
    order of their size), which makes the interval too wide rather than too narrow.
    """
    if len(drawn) == 1:
        return drawn[0].mean(axis=1), drawn[0].max(axis=1)
    sizes = [part.shape[1] for part in drawn]
    means = np.average([np.sort(part.mean(axis=1)) for part in drawn], axis=0, weights=sizes)
    return np.asarray(means), np.max([np.sort(part.max(axis=1)) for part in drawn], axis=0)


def _summed(component: Ints, env: Ints, n_env: int, values: Floats) -> Floats:
    """Sum values [pairs] by component and environment: [components, environments]."""
    shape = (int(component.max(initial=-1)) + 1, n_env)
    return np.bincount(component * n_env + env, values, minlength=shape[0] * n_env).reshape(shape).astype(np.float64)


def _share(part: Floats, whole: Floats) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(whole > 0, part / whole, NAN))

"""Dziugaite's weighted sign error: how often the order of two models is predicted wrongly."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from measurebench.stats.estimates import NAN, Draws, Estimate
from measurebench.stats.granulated import Matching
from measurebench.stats.resampling import (
    Floats,
    Ints,
    Singles,
    bootstrap_p,
    bootstrap_weights,
    percentile_interval,
    permutation_p,
)

MIN_EFFECTIVE = 12.0


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
class Environments:
    """The changes v1 -> v2 of one setting for one measure: sums per component, so that they can be resampled."""

    axis: str
    names: list[tuple[str, str]]
    n_pairs: Ints
    effective: Floats
    wrong: Floats
    weight: Floats
    permuted: Floats
    models: Ints

    @property
    def kept(self) -> Any:
        """Which environments rest on an effective number of at least 12 pairs."""
        return self.effective >= MIN_EFFECTIVE

    @property
    def losses(self) -> Floats:
        """The weighted share of wrongly ordered pairs per environment; NaN without weight."""
        return _share(self.wrong.sum(axis=0), self.weight.sum(axis=0))

    def drawn(self, draws: Draws) -> Floats:
        """Return the losses in every bootstrap draw of independent comparisons: [draws, environments]."""
        weights = bootstrap_weights(len(self.wrong), len(draws.weights), draws.seed + 4)
        return _share(weights @ self.wrong, weights @ self.weight)


def environments(
    match: Matching, x: Floats, y: Floats, inverse_n: Floats | None, sign: int, permuted: Singles
) -> Environments:
    """Sum the sign errors of one measure over the pairs of each change of a setting.

    ``inverse_n`` [n] is 1/n_train + 1/n_test per model or None, ``sign`` +1 or -1 the direction predicted,
    ``permuted`` [permutations, pairs] sign(x_i - x_j) under exchanges. A tie in the measure counts one half.
    """
    i, j = match.i, match.j
    difference = y[i] - y[j]
    w = pair_weights(difference, None if inverse_n is None else (inverse_n[i] + inverse_n[j]) / 2)
    changes, env = np.unique(np.stack([match.low, match.high], axis=1), axis=0, return_inverse=True)
    env = env.reshape(-1)
    names = [(match.levels[a], match.levels[b]) for a, b in changes]
    direction = sign * np.sign(difference)
    error = (1 - np.sign(x[i] - x[j]) * direction) / 2
    shape = (int(match.component.max(initial=-1)) + 1, len(names))
    flat = match.component * max(1, len(names)) + env

    def summed(values: Floats) -> Floats:
        return np.bincount(flat, values, minlength=shape[0] * shape[1]).reshape(shape).astype(np.float64)

    weight = summed(w)
    rows = np.flatnonzero(weight.sum(axis=1) > 0)
    one_hot = np.zeros((len(i), len(names)))
    one_hot[np.arange(len(i)), env] = w
    totals, squares = one_hot.sum(axis=0), (one_hot**2).sum(axis=0)
    moved = (totals - permuted @ (one_hot * direction[:, None])) / 2
    return Environments(
        match.axis,
        names,
        np.bincount(env, minlength=len(names)),
        _share(totals**2, squares),
        summed(w * error)[rows],
        weight[rows],
        _share(moved, np.broadcast_to(totals, moved.shape)),
        np.unique(np.r_[i, j]),
    )


def sign_errors(per_axis: list[Environments], draws: Draws) -> list[Estimate]:
    """Return the mean and the worst sign error per setting, and over all of them (axis empty).

    0 is perfect, 0.5 is chance. Environments below an effective 12 pairs are left out. The mean's p-value inverts
    its interval around 0.5; the worst one's is the share of exchanges whose worst error is as small.
    """
    rows: list[Estimate] = []
    for env in per_axis:
        rows += _summary(env.axis, [env], draws)
    return rows + _summary("", per_axis, draws)


def _summary(axis: str, parts: list[Environments], draws: Draws) -> list[Estimate]:
    kept = [env for env in parts if env.kept.any()]
    n_models = len(np.unique(np.concatenate([env.models for env in kept]))) if kept else 0
    pairs = int(sum(env.n_pairs[env.kept].sum() for env in kept))
    if not kept:
        reason = f"no change of a setting rests on {MIN_EFFECTIVE:g} pairs that surely differ"
        return [Estimate(name, axis, "", 0, 0, NAN, reason=reason) for name in ("sign_error_mean", "sign_error_max")]
    losses = np.concatenate([env.losses[env.kept] for env in kept])
    drawn = np.concatenate([env.drawn(draws)[:, env.kept] for env in kept], axis=1)
    fewest = min(len(env.permuted) for env in kept)
    permuted = np.concatenate([env.permuted[:fewest, env.kept] for env in kept], axis=1)
    names = [pair for env in kept for pair, keep in zip(env.names, env.kept, strict=True) if keep]
    worst = int(np.argmax(losses))
    mean_draws, max_draws = drawn.mean(axis=1), drawn.max(axis=1)
    low, high = percentile_interval(mean_draws)
    reason = "" if np.isfinite(low) else "the comparisons resample to no interval"
    mean = Estimate(
        "sign_error_mean",
        axis,
        "",
        n_models,
        pairs,
        float(losses.mean()),
        low,
        high,
        bootstrap_p(mean_draws, 0.5),
        reason,
    )
    low, high = percentile_interval(max_draws)
    reason = "" if np.isfinite(low) else "the comparisons resample to no interval"
    label = f"{names[worst][0]} -> {names[worst][1]}"
    value = float(losses[worst])
    extreme = np.abs(np.minimum(0.5, permuted.max(axis=1)) - 0.5)
    p = permutation_p(max(0.0, 0.5 - value), extreme)
    reason = reason or ("" if np.isfinite(p) else "no exchange makes the worst error small: no p-value")
    return [mean, Estimate("sign_error_max", axis, label, n_models, pairs, value, low, high, p, reason)]


def _share(part: Floats, whole: Floats) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(whole > 0, part / whole, NAN))

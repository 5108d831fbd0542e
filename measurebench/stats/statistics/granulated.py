"""Granulated tau: pairs of models that differ in exactly one setting (Jiang et al. 2020)."""

from dataclasses import dataclass

import numpy as np

from measurebench.stats.resampling.concordance import ranks_of
from measurebench.stats.resampling.draws import (
    Floats,
    Ints,
    bootstrap_weights_double,
    exchanges,
    n_permutations,
    percentile_interval,
    permutation_p,
)
from measurebench.stats.resampling.intervals import FEW_UNITS, is_perfect, perfect_interval
from measurebench.stats.resampling.permuted_kernels import moved_signs
from measurebench.stats.statistics.estimates import NAN, Draws, Estimate, Sample
from measurebench.stats.statistics.matching import Matching, matchings, summed
from measurebench.stats.statistics.registry import Asked, statistic

__all__ = [
    "Granulated",
    "Sharing",
    "by_pair",
    "exchanged",
    "granulated",
    "moves",
    "permuted_pairs",
    "permuted_signs",
    "psi_mean",
]


def exchanged(asked: Asked) -> list[Ints]:
    """Return the exchanges of every matching, the same for every measure: [permutations, n] each."""
    return [moves(match, asked.cohort.draws) for match in asked.shared(matchings)]


def permuted_pairs(sample: Sample, asked: Asked) -> list[Floats]:
    """Return the signs of a measure's matched pairs after each exchange, setting by setting: [permutations, pairs]."""
    rank, found = ranks_of(sample.x), zip(asked.shared(matchings), asked.shared(exchanged), strict=True)
    return [_signs(match, rank, exchange) for match, exchange in found]


_NO_INTERVAL = {True: "are too few for an interval", False: "resample to no interval"}


@statistic(
    "granulated",
    title="Granulated tau",
    explanation="tau_a among the models that differ in one setting alone, averaged over all combinations of the other "
    "settings (psi) and over the settings (psi_mean).",
    axes="setting",
    writes=("psi", "psi_mean"),
    family="secondary",
    place=40,
)
def by_pair(sample: Sample, asked: Asked) -> list[Estimate]:
    """Return psi of every setting, then psi_mean; nothing without settings."""
    cohort = sample.cohort
    shared = asked.shared(matchings), asked.shared(_terms), asked.shared(_drawn)
    found = [
        (match, granulated(match, sample.x, cohort.y, cohort.draws, permuted, drawn.get(sample.name), of))
        for match, of, drawn, permuted in zip(*shared, asked.once(sample, permuted_pairs), strict=True)
    ]
    return [*(psi.row for _, psi in found), psi_mean(found, asked.shared(_sharing))] if found else []


@dataclass(frozen=True)
class Granulated:
    """psi of one setting for one measure: the estimate, and each component's deviation from it."""

    row: Estimate
    components: Ints
    deviations: Floats


@dataclass(frozen=True)
class _Terms:
    """What a matching and a target give for every measure: each pair's weight, and its sign in the target.

    ``inner`` [pairs] numbers the pair's component among ``components``, ``counts`` sums the weights by component.
    """

    signs: Floats
    weight: Floats
    n_groups: int
    components: Ints
    inner: Ints
    counts: Floats

    @classmethod
    def of(cls, match: Matching, y: Floats) -> "_Terms":
        groups, local = np.unique(match.group, return_inverse=True)
        weight = np.asarray(1.0 / np.bincount(local)[local], dtype=np.float64)
        components, inner = np.unique(match.component, return_inverse=True)
        signs = np.sign(y[match.i] - y[match.j])
        return cls(signs, weight, len(groups), components, inner, summed(inner, weight))

    def terms(self, match: Matching, x: Floats) -> Floats:
        """Return what each pair adds to the sum over groups: [pairs]."""
        return np.asarray(np.sign(x[match.i] - x[match.j]) * self.signs * self.weight)


@dataclass(frozen=True)
class Sharing:
    """The pairs (first, second) of independent comparisons, those of all settings in turn, that share a run: [shared].

    ``n_units`` is the number of runs that take part.
    """

    first: Ints
    second: Ints
    n_units: int

    @classmethod
    def of(cls, matches: list[Matching]) -> "Sharing":
        """Take the comparisons of settings that have a pair."""
        from scipy.sparse import csr_array, vstack

        incidence = []
        n_units = max(int(match.units.max()) for match in matches) + 1
        for match in matches:
            components, rows = np.unique(match.component, return_inverse=True)
            unit = np.r_[match.units[match.i], match.units[match.j]]
            entries = (np.ones(len(unit)), (np.r_[rows, rows], unit))
            incidence.append(csr_array(entries, shape=(len(components), n_units)))
        stacked = vstack(incidence)
        first, second = (stacked @ stacked.T).tocoo().coords
        return cls(first, second, len(np.unique(stacked.tocoo().coords[1])))

    def error(self, deviations: list[Floats]) -> float:
        """Return the standard error of the mean psi from the deviations [components] of each setting; 0 if none."""
        e = np.concatenate([part / len(deviations) for part in deviations])
        variance = float((e[self.first] * e[self.second]).sum())
        return float(np.sqrt(variance)) if variance > 0 and len(e) > 2 else 0.0


def _sharing(asked: Asked) -> Sharing | None:
    matches = [match for match in asked.shared(matchings) if len(match.i)]
    return Sharing.of(matches) if matches else None


def _terms(asked: Asked) -> list[_Terms | None]:
    """Return what each setting's matching gives for every measure; None without a pair."""
    return [_Terms.of(match, asked.cohort.y) if len(match.i) else None for match in asked.shared(matchings)]


def _drawn(asked: Asked) -> list[dict[str, Floats]]:
    """Return psi of every measure in every draw of independent comparisons, setting by setting: [draws] each.

    All measures at once, since the draws of a setting take more time than what is computed from them.
    """
    cohort = asked.cohort
    found: list[dict[str, Floats]] = []
    for match, of in zip(asked.shared(matchings), asked.shared(_terms), strict=True):
        if of is None:
            found.append({})
            continue
        sums = np.stack([summed(of.inner, of.terms(match, sample.x)) for sample in asked.samples], axis=1)
        shares = _drawn_psi(sums, of.counts, cohort.draws, match.axis)
        found.append({sample.name: shares[:, k] for k, sample in enumerate(asked.samples)})
    return found


def _drawn_psi(sums: Floats, counts: Floats, draws: Draws, axis: str) -> Floats:
    """Return psi in every draw, from sums [components, measures] and counts [components]: [draws, measures]."""
    weights = bootstrap_weights_double(len(sums), len(draws.weights), draws.stream("bootstrap of psi", axis))
    both = weights @ np.column_stack([sums, counts])
    return np.asarray(both[:, :-1] / np.maximum(both[:, -1:], 1e-300))


def granulated(
    match: Matching,
    x: Floats,
    y: Floats,
    draws: Draws,
    permuted: Floats,
    drawn: Floats | None = None,
    of: _Terms | None = None,
) -> Granulated:
    """Return psi_k: the mean over groups of tau_a among the models that differ in setting k alone (Jiang eq. 9).

    ``permuted`` [permutations, pairs] holds sign(x_i - x_j) after exchanges inside the groups, ``drawn`` [draws] psi
    in the bootstrap draws, and ``of`` what the matching and the target give, where the caller has them. A tie counts 0,
    a group without a pair is skipped. x and y are [n].
    """
    if not len(match.i):
        reason = f"no two models differ in {match.axis} alone"
        return Granulated(Estimate("psi", match.axis, "", 0, 0, NAN, reason=reason), np.empty(0, np.int64), np.empty(0))
    of = _Terms.of(match, y) if of is None else of
    terms = of.terms(match, x)
    estimate = float(terms.sum() / of.n_groups)
    sums, components = summed(of.inner, terms), of.components
    few = len(components) < FEW_UNITS and not is_perfect(estimate)
    if is_perfect(estimate):
        low, high = perfect_interval(estimate, len(components))
    elif few:
        low, high = NAN, NAN
    else:
        drawn = _drawn_psi(sums[:, None], of.counts, draws, match.axis)[:, 0] if drawn is None else drawn
        low, high = percentile_interval(drawn, expanded=len(components))
    p = permutation_p(estimate, permuted @ (of.signs * of.weight) / of.n_groups, len(match.i))
    reason = "" if np.isfinite(low) else f"{len(components)} independent comparisons {_NO_INTERVAL[few]}"
    reason = reason or ("" if np.isfinite(p) else "no two models of a group can be exchanged")
    row = Estimate("psi", match.axis, "", match.n_models, len(match.i), estimate, low, high, p, reason)
    return Granulated(row, components, (sums - estimate * of.counts) / of.n_groups)


def permuted_signs(match: Matching, x: Floats, moved: Ints) -> Floats:
    """Return sign(x_i - x_j) of the matched pairs after each exchange: [permutations, pairs]."""
    return _signs(match, ranks_of(x), moved)


def _signs(match: Matching, rank: Ints, moved: Ints) -> Floats:
    signs = np.empty((len(moved), len(match.i)))
    short = np.uint16 if len(rank) <= 2**16 else np.uint32  # as few bytes as the number of models allows, to be read
    moved_signs(rank.astype(np.int32), moved, match.i.astype(short), match.j.astype(short), signs)
    return signs


def moves(match: Matching, draws: Draws) -> Ints:
    """Return the exchanges of a matching, the same for every measure: [permutations, n]."""
    draws_wanted = n_permutations(len(match.i), draws.permutations)
    return exchanges(match.strata, match.blocks, draws_wanted, draws.stream("psi", match.axis))


def psi_mean(results: list[tuple[Matching, Granulated]], sharing: Sharing | None = None) -> Estimate:
    """Return the mean of psi over settings, with an interval that allows for comparisons that share a run.

    One run takes part in a comparison for every setting, so the settings' psi are not independent. The variance sums
    the products of all deviations whose comparisons share a run (a dyadic-robust variance); t distribution.
    """
    defined = [(match, psi) for match, psi in results if np.isfinite(psi.row.estimate)]
    if not defined:
        return Estimate("psi_mean", "", "", 0, 0, NAN, reason="no two models differ in one setting alone")
    estimate = float(np.mean([psi.row.estimate for _, psi in defined]))
    n_models = len(np.unique(np.concatenate([np.r_[m.i, m.j] for m, _ in defined])))
    pairs = sum(psi.row.n_pairs for _, psi in defined)
    sharing = Sharing.of([match for match, _ in defined]) if sharing is None else sharing
    error, n_units = sharing.error([psi.deviations for _, psi in defined]), sharing.n_units
    if is_perfect(estimate):
        return _perfect_mean(estimate, n_models, pairs, max(len(psi.components) for _, psi in defined))
    if not error > 0 or min(len(psi.components) for _, psi in defined) < FEW_UNITS:
        reason = "too few independent comparisons for an interval and a test"
        return Estimate("psi_mean", "", "", n_models, pairs, estimate, reason=reason)
    from scipy.stats import t

    half = error * float(t.ppf(0.975, n_units - 1))
    p = float(2 * t.sf(abs(estimate) / error, n_units - 1))
    low, high = max(-1.0, estimate - half), min(1.0, estimate + half)
    return Estimate("psi_mean", "", "", n_models, pairs, estimate, low, high, p)


def _perfect_mean(estimate: float, n_models: int, pairs: int, n_comparisons: int) -> Estimate:
    """Judge a mean psi of 1 or -1 by the setting with the most independent comparisons, all of which agree.

    Each goes one way with a probability of at most 1/2 where nothing is there: a sign test.
    """
    low, high = perfect_interval(estimate, n_comparisons)
    reason = "" if np.isfinite(low) else f"{n_comparisons} independent comparisons, all alike, give no interval"
    p = min(1.0, 2 * 0.5**n_comparisons)
    return Estimate("psi_mean", "", "", n_models, pairs, estimate, low, high, p, reason)

"""All statistics of the measures that have values on the same models."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from measurebench.core.columns import is_gap
from measurebench.stats.population.population import Population, is_standard
from measurebench.stats.resampling.draws import Floats, Ints
from measurebench.stats.resampling.pair_counts import PairCounts
from measurebench.stats.statistics.conditional import Level, conditional, levels_of, pi_mean
from measurebench.stats.statistics.estimates import NAN, Cohort, Draws, Estimate, Sample
from measurebench.stats.statistics.granulated import (
    Granulated,
    Matching,
    granulated,
    matching,
    moves,
    permuted_signs,
    psi_mean,
)
from measurebench.stats.statistics.information import Cells, conditional_information
from measurebench.stats.statistics.overall import Control, kendall, overall, partial, permuted_overall, r2
from measurebench.stats.statistics.sign_error import Changes, Environments, environments, sign_errors
from measurebench.stats.statistics.target_noise import TargetError, noise
from measurebench.stats.statistics.top_weighted import Top, top_weighted

__all__ = ["Findings", "Question", "find", "matching_rows"]


@dataclass
class Findings:
    """What was found about each measure: estimates of the contract, further ones, and environments."""

    rows: dict[str, list[Estimate]] = field(default_factory=lambda: defaultdict(list))
    supplement: dict[str, list[tuple[str, Estimate]]] = field(default_factory=lambda: defaultdict(list))
    environments: list[dict[str, Any]] = field(default_factory=list)
    matchings: list[Matching] = field(default_factory=list)

    def without_inference(self, reason: str) -> "Findings":
        """Return the estimates without intervals and p-values."""

        def bare(row: Estimate) -> Estimate:
            return replace(row, low=NAN, high=NAN, p_value=NAN, reason=row.reason or reason)

        rows = defaultdict(list, {name: [bare(row) for row in rows] for name, rows in self.rows.items()})
        further = {name: [(target, bare(row)) for target, row in found] for name, found in self.supplement.items()}
        return replace(self, rows=rows, supplement=defaultdict(list, further))


@dataclass(frozen=True)
class Question:
    """What is asked of a population besides its own columns."""

    controls: Mapping[str, Floats]
    error: TargetError | None
    signs: Mapping[str, int]
    second_targets: Mapping[str, Floats]


def find(people: Population, draws: Draws, question: Question) -> Findings:
    """Compute every rank statistic of every measure, sharing the work of those with values on the same models."""
    findings = Findings()
    by_models: dict[bytes, list[str]] = defaultdict(list)
    for name, x in people.measures.items():
        by_models[np.isfinite(x).tobytes()].append(name)
    for names in by_models.values():
        rows = np.flatnonzero(np.isfinite(people.measures[names[0]]))
        if len(rows) < 2:
            for name in names:
                reason = f"{len(rows)} models have a value"
                findings.rows[name] += [Estimate(s, "", "", len(rows), 0, NAN, reason=reason) for s in _OVERALL]
            continue
        cohort = Cohort.of(people, rows, draws)
        samples = [Sample(name, people.measures[name][rows], cohort) for name in names]
        _rank(people, samples, question, findings)
        _by_level(people, samples, question, findings)
        _by_pair(people, samples, question, findings)
    return findings


_OVERALL = ("tau_b", "tau_a", "spearman")


def _rank(people: Population, samples: list[Sample], question: Question, findings: Findings) -> None:
    """Statistics over all models of a cohort."""
    cohort = samples[0].cohort
    rows = cohort.rows
    permuted = permuted_overall(samples)
    controls = [Control.of(name, z[rows], cohort) for name, z in question.controls.items()]
    counts: list[PairCounts] = []
    settings = {a: np.unique(names, return_inverse=True)[1][rows] for a, names in people.levels.items()}
    cells = Cells.of(settings, len(rows))
    top = Top.of(cohort, top_is_low=is_gap(people.target))
    for sample, moved in zip(samples, permuted, strict=True):
        estimates, drawn = overall(sample, moved)
        counts.append(drawn)
        findings.rows[sample.name] += estimates + partial(sample, controls, drawn.tau_b)
        further = [top_weighted(sample, top), r2(sample), conditional_information(sample, cells)]
        findings.supplement[sample.name] += [(people.target, row) for row in further]
    if question.error is not None:
        measured = noise(samples, question.error, counts, cohort.draws.seed)
        for sample, estimates in zip(samples, measured, strict=True):
            findings.supplement[sample.name] += [(people.target, row) for row in estimates]
    for target, y in question.second_targets.items():
        _variant(people, samples, rows[np.isfinite(y[rows])], y, (target, "", ""), findings)
    standard = np.array([is_standard(d) for d in people.levels.get(people.defense or "", [""] * len(people.y))])
    if standard[rows].any() and (~standard[rows]).sum() > 2:
        kept = rows[~standard[rows]]
        _variant(people, samples, kept, people.y, (people.target, "without", "Standard"), findings)


def _variant(
    people: Population,
    samples: list[Sample],
    rows: Ints,
    y: Floats,
    label: tuple[str, str, str],
    findings: Findings,
) -> None:
    """Find tau_b again on other models or for another target: a row of the supplement per measure."""
    if len(rows) < 2:
        return
    cohort = Cohort.of(people, rows, samples[0].cohort.draws, y)
    again = [Sample(s.name, people.measures[s.name][rows], cohort) for s in samples]
    for sample, moved in zip(again, permuted_overall(again), strict=True):
        tau = kendall(sample, moved)[0][0]
        row = Estimate(
            "tau_b",
            label[1],
            label[2],
            tau.n_models,
            tau.n_pairs,
            tau.estimate,
            tau.low,
            tau.high,
            tau.p_value,
            tau.reason,
        )
        findings.supplement[sample.name].append((label[0], row))


def _by_level(people: Population, samples: list[Sample], question: Question, findings: Findings) -> None:
    """tau inside levels, pi per setting and its mean; tau inside quarters of the controls, as a supplement."""
    cohort = samples[0].cohort
    per_axis = []
    for axis, names in people.levels.items():
        results = conditional(axis, levels_of(names, cohort), samples)
        per_axis.append([(found[-1], drawn) for found, drawn in results])
        for sample, (found, _) in zip(samples, results, strict=True):
            findings.rows[sample.name] += found
    for m, sample in enumerate(samples):
        if per_axis:
            findings.rows[sample.name].append(pi_mean([axis[m] for axis in per_axis], sample))
    for name, z in question.controls.items():
        levels = _quarters(z[cohort.rows])
        if levels:
            results = conditional(name, levels, samples)
            for sample, (found, _) in zip(samples, results, strict=True):
                inside = [(people.target, row) for row in found if row.statistic == "tau_within"]
                findings.supplement[sample.name] += inside


def _quarters(z: Floats) -> list[Level]:
    """Divide models into quarters of a control, where each holds at least five models."""
    known = np.isfinite(z)
    if known.sum() < 20:
        return []
    cuts = np.quantile(z[known], [0.25, 0.5, 0.75])
    quarter = np.searchsorted(cuts, z, side="right")
    parts = [np.flatnonzero(known & (quarter == k)) for k in range(4)]
    if min(len(rows) for rows in parts) < 5:
        return []
    return [Level(f"quarter {k + 1}: {z[rows].min():.4g} to {z[rows].max():.4g}", rows) for k, rows in enumerate(parts)]


def _by_pair(people: Population, samples: list[Sample], question: Question, findings: Findings) -> None:
    """psi and the sign error: statistics over pairs of models that differ in one setting alone."""
    if not people.levels:
        return
    cohort = samples[0].cohort
    own = {axis: np.array(names, dtype=object)[cohort.rows].tolist() for axis, names in people.levels.items()}
    matchings = [matching(axis, own, cohort.units) for axis in own]
    if len(cohort.y) == len(people.y) or not findings.matchings:
        findings.matchings = matchings
    inverse_n = None if question.error is None else question.error.inverse_n[cohort.rows]
    if inverse_n is not None:  # a gap of unknown error surely differs from no other
        inverse_n = np.where(np.isfinite(inverse_n), inverse_n, np.inf) if np.isfinite(inverse_n).any() else None
    signs = [question.signs.get(s.name, 1) for s in samples]
    psis: list[list[tuple[Matching, Granulated]]] = [[] for _ in samples]
    envs: list[list[Environments]] = [[] for _ in samples]
    for match in matchings:
        exchange = moves(match, cohort.draws)
        changes = Changes.of(match, cohort.y, inverse_n) if len(match.i) else None
        for m, sample in enumerate(samples):
            permuted = permuted_signs(match, sample.x, exchange)
            psis[m].append((match, granulated(match, sample.x, cohort.y, cohort.draws, permuted)))
            if changes is not None:
                envs[m].append(environments(changes, sample.x, signs[m], permuted, cohort.draws))
    for m, sample in enumerate(samples):
        findings.rows[sample.name] += [psi.row for _, psi in psis[m]] + [psi_mean(psis[m])]
        findings.rows[sample.name] += sign_errors(envs[m])
        findings.environments += _environment_rows(people, sample, envs[m], signs[m])


def _environment_rows(people: Population, sample: Sample, envs: list[Environments], sign: int) -> list[dict[str, Any]]:
    return [
        {
            "measure": sample.name,
            "target": people.target,
            "axis": env.changes.match.axis,
            "level_from": a,
            "level_to": b,
            "n_pairs": int(env.changes.n_pairs[k]),
            "effective_n": float(env.changes.effective[k]),
            "kept": bool(env.changes.kept[k]),
            "sign_error": float(env.losses[k]),
            "orientation": "+" if sign > 0 else "-",
        }
        for env in envs
        for k, (a, b) in enumerate(env.changes.names)
    ]


def matching_rows(people: Population, matchings: list[Matching]) -> list[dict[str, Any]]:
    """Return what psi rests on for each setting."""
    return [
        {
            "axis": match.axis,
            "n_levels": len(set(people.levels[match.axis])),
            "n_models": match.n_models,
            "n_groups": match.n_groups,
            "n_pairs": len(match.i),
            "computable": len(match.i) > 0,
            "reason": "" if len(match.i) else f"no two models differ in {match.axis} alone",
        }
        for match in matchings
    ]

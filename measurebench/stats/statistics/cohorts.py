"""All statistics of all measures; measures that have values on the same models share the work."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from measurebench.stats.population.population import Population
from measurebench.stats.resampling.draws import Floats
from measurebench.stats.statistics.estimates import NAN, Cohort, Draws, Estimate, Sample
from measurebench.stats.statistics.matching import Matching, matchings
from measurebench.stats.statistics.overall import kendall_of
from measurebench.stats.statistics.registry import Asked, Question, Statistic, all_statistics
from measurebench.stats.statistics.sign_error import environment_rows

__all__ = ["Findings", "batched", "find"]

_TESTED = ("statistic", "axis", "level", "n_units", "n_permutations")
_AT_A_TIME = 200  # measures: their concordances with 20,000 permutations take 32 MB


@dataclass
class Findings:
    """What was found about each measure: rows of the correlations and of the supplement, and what they rest on.

    ``tau_draws`` [draws] are tau_b of each measure in the bootstrap draws, which all measures share.
    """

    rows: dict[str, list[Estimate]] = field(default_factory=lambda: defaultdict(list))
    supplement: dict[str, list[Estimate]] = field(default_factory=lambda: defaultdict(list))
    environments: list[dict[str, Any]] = field(default_factory=list)
    matchings: list[Matching] = field(default_factory=list)
    tau_draws: dict[str, Floats] = field(default_factory=dict)

    def tests(self) -> list[dict[str, Any]]:
        """Return what each tau over all models and inside a level rests on, as rows of ``TESTS``.

        Inside a defense also its stratified tau, without which it is not shown.
        """
        return [
            {"measure": name, **{key: getattr(row, key) for key in _TESTED}, **self._stratified(name, row)}
            for name, rows in self.rows.items()
            for row in rows
            if row.statistic in ("tau_b", "tau_within") and row.n_units
        ]

    def _stratified(self, measure: str, of: Estimate) -> dict[str, float]:
        found = (row for row in self.supplement[measure] if row.statistic == "tau_stratified")
        row = next((row for row in found if (row.axis, row.level) == (of.axis, of.level)), None)
        values = (NAN, NAN, NAN) if row is None else (row.estimate, row.low, row.high)
        return dict(zip(("tau_stratified", "stratified_low", "stratified_high"), values, strict=True))

    def without_inference(self, reason: str) -> "Findings":
        """Return the estimates without intervals and p-values, and with the reason why."""

        def bare(rows: dict[str, list[Estimate]]) -> dict[str, list[Estimate]]:
            return defaultdict(list, {name: [_bare(row, reason) for row in of] for name, of in rows.items()})

        return replace(self, rows=bare(self.rows), supplement=bare(self.supplement))


def _bare(row: Estimate, reason: str) -> Estimate:
    return replace(row, low=NAN, high=NAN, p_value=NAN, reason=reason if np.isfinite(row.estimate) else row.reason)


def find(population: Population, draws: Draws, question: Question, only: Collection[str] = ()) -> Findings:
    """Compute every registered statistic of every measure, or ``only`` those named.

    A measure with a value on fewer than two models has rows that say so, and nothing else.
    """
    findings = Findings()
    by_models: dict[bytes, list[str]] = defaultdict(list)
    for name, x in population.measures.items():
        by_models[np.isfinite(x).tobytes()].append(name)
    statistics = [found for name, found in all_statistics().items() if not only or name in only]
    for names in by_models.values():
        rows = np.flatnonzero(np.isfinite(population.measures[names[0]]))
        if len(rows) < 2:
            reason = f"{len(rows)} models have a value"
            for name in names:
                findings.rows[name] += [Estimate(s, "", "", len(rows), 0, NAN, reason=reason) for s in _OVERALL]
            continue
        cohort = Cohort.of(population, rows, draws)
        for block in batched(names, _AT_A_TIME):
            samples = [Sample(name, population.measures[name][rows], cohort) for name in block]
            _find(Asked(population, question, samples), statistics, findings, is_whole=not only)
    return findings


def batched(names: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    """Yield names in blocks of at most so many.

    >>> list(batched(["a", "b", "c"], 2))
    [['a', 'b'], ['c']]
    """
    yield from (names[k : k + size] for k in range(0, len(names), size))


_OVERALL = ("tau_b", "tau_a", "spearman")


def _find(asked: Asked, statistics: list[Statistic], findings: Findings, *, is_whole: bool) -> None:
    """Compute the statistics of the measures of one cohort; with all of them, also what psi and sign errors rest on."""
    ordered = sorted(statistics, key=lambda found: (found.place, found.name))
    for sample in asked.samples:
        for each in ordered:
            into = findings.rows if each.table == "correlations" else findings.supplement
            into[sample.name] += each(sample, asked)
        if is_whole:
            findings.environments += environment_rows(sample, asked)
    if not is_whole:
        return
    asked_taus = asked.shared(kendall_of)
    findings.tau_draws |= {name: counts.tau_b for name, (_, counts) in asked_taus.items()}
    complete = len(asked.cohort.y) == len(asked.population.y)
    if complete or not findings.matchings:  # what psi rests on is told of all models, if any measure has all
        findings.matchings = asked.shared(matchings)

"""From a table of models to an analysis."""

import platform
from collections.abc import Mapping, Sequence
from functools import partial as partial_of
from typing import Any

import numpy as np
import pandas as pd

from measurebench.core.columns import accuracy_columns, control_column, is_gap
from measurebench.core.digests import digest_json
from measurebench.core.errors import BadInputError
from measurebench.core.info import MeasureInfo
from measurebench.core.intervals import ALPHA
from measurebench.core.packages import installed_version
from measurebench.stats.analysis import TABLES, Analysis, tidy
from measurebench.stats.judging.adjustment import adjusted, adjusted_gains, benjamini_hochberg, realised_levels
from measurebench.stats.judging.controls import controls
from measurebench.stats.judging.fragility import fragility
from measurebench.stats.judging.judgements import judgements
from measurebench.stats.judging.power import all_shown_in, coarse_notes, power_notes
from measurebench.stats.judging.significance import with_tests
from measurebench.stats.judging.stability import stability
from measurebench.stats.judging.verdict import MARGIN
from measurebench.stats.population.axes import usable_settings
from measurebench.stats.population.memory import check_memory
from measurebench.stats.population.missing_values import missing_notes
from measurebench.stats.population.population import CONVERGED_AT, Population, read_population
from measurebench.stats.population.roles import require
from measurebench.stats.population.target_error import gap_error, level_reliability, target_error
from measurebench.stats.regressions.added import added, added_rows
from measurebench.stats.regressions.linear import Regressions, settings_importance
from measurebench.stats.regressions.lines import lines, residuals
from measurebench.stats.regressions.mixed import mixed
from measurebench.stats.regressions.multivariable import multivariable
from measurebench.stats.regressions.settings_fit import Designs
from measurebench.stats.resampling.draws import NORMAL_FROM, Floats, n_permutations
from measurebench.stats.statistics.cohorts import Findings, find
from measurebench.stats.statistics.estimates import Draws, Estimate
from measurebench.stats.statistics.matching import matching_rows
from measurebench.stats.statistics.registry import Question
from measurebench.stats.statistics.standing import standing

__all__ = ["adjusted_supplement", "analyze", "enough_inside", "enough_permutations"]

# From 400 measures on Holm's correction is beyond so many permutations in tables below 300 models; a note says so.
_MOST_PERMUTATIONS = 20_000
_QUICK = 100  # models
# From 1,000 measures on what a defense shows by itself is beyond a million permutations.
_INSIDE_FOR_EACH, _MOST_INSIDE = 5000, 1_000_000


def analyze(
    table: pd.DataFrame,
    *,
    target: str = "robust_gap_pgd",
    measures: Sequence[str] | None = None,
    settings: Sequence[str] | None = None,
    defense: str = "defense",
    run: str = "run",
    cluster: str = "cluster",
    bootstrap: int = 2000,
    permutations: int | None = None,
    seed: int = 0,
    where: str | None = None,
    exclude_standard: bool = False,
    converged_at: float = CONVERGED_AT,
    partial: Sequence[str] = (),
    model: str | None = None,
    infos: Mapping[str, MeasureInfo] | None = None,
    margin: float = MARGIN,
    radius: str | float | None = None,
    id: str | None = None,
) -> Analysis:
    """Judge each measure of a table as a predictor of ``target``; see ``Analysis`` for what comes back.

    ``table`` has one row per model, named by the column ``id``. ``measures`` defaults to every numeric column that is
    no identity, setting or accuracy; ``settings`` to ``setting_*``, names such as lr or seed, architecture and the
    defense; the columns named by ``defense``, ``run`` and ``cluster`` may be absent. ``where`` is a pandas expression
    such as ``defense == "AT"``, ``radius`` keeps the models measured at it (a table of several threat models is refused
    otherwise), ``partial`` names further columns to hold fixed, ``model`` the id of a model whose standing is wanted,
    ``infos`` what is known of the measures (title, hypothesis), ``margin`` the |tau| up to which an association counts
    as small.
    ``permutations`` defaults to ``enough_permutations``. The same table, options and seed give the same
    numbers. Ties count as in tau_b; missing and infinite values leave a model out of that measure alone; what
    cannot be computed is NaN with its reason in ``undefined``. Raises BadInputError, naming what was expected.
    """
    population = usable_settings(
        read_population(
            table,
            target=target,
            measures=measures,
            settings=settings,
            defense=defense,
            run=run,
            cluster=cluster,
            where=where,
            exclude_standard=exclude_standard,
            converged_at=converged_at,
            radius=radius,
            id=id,
        )
    )
    permutations, finer = _permutations(population, permutations)
    _check_counts(bootstrap, permutations, seed)
    _check_margin(margin)
    check_memory(population, bootstrap, permutations)
    stands = standing(population, model) if model is not None else []
    infos = infos or {}
    question, control = _question(population, partial, infos)
    draws = {"bootstrap": bootstrap, "permutations": permutations, "seed": seed, "permutations_inside": finer}
    kept: dict[str, Any] = {"where": where, "exclude_standard": exclude_standard, "converged_at": converged_at}
    kept |= {} if radius is None else {"radius": str(radius)}
    kept |= {} if id is None else {"id": id}
    kept |= {} if margin == MARGIN else {"margin": margin}
    return Analysis(
        target=target,
        standing=tidy(stands, TABLES["standing"]),
        gap_error=gap_error(question.error, population.y),
        notes=_notes(population, question, permutations, finer),
        provenance=_drawn(population, draws) | kept | {"run": run, "cluster": cluster} | _provenance(table),
        **_described(population),
        **_found(population, question, control, infos, margin, draws),
    )


def _found(
    population: Population,
    question: Question,
    control: str | None,
    infos: Mapping[str, MeasureInfo],
    margin: float,
    draws: Mapping[str, int],
) -> dict[str, Any]:
    """Return what is computed and judged of measures and controls, by the name of its field in ``Analysis``."""
    all_draws = Draws.of(population, **draws)
    findings = find(population, all_draws, question)
    if population.too_few:
        findings = findings.without_inference(population.too_few)
    correlations = adjusted(tidy(_rows(population, findings.rows), TABLES["correlations"]), population.defense)
    designs = Designs(population)
    gains = added(population, all_draws, designs=designs)
    beside = controls(population, all_draws, question, correlations, designs)
    gains, of_controls = adjusted_gains(gains, beside.added)
    every_gain = [*gains, *of_controls]
    found_added = added_rows(every_gain) if gains else None
    levels = level_reliability(population, question.error, _held_out_error(population, every_gain))
    counts = draws["bootstrap"], draws["permutations"]
    tests = tidy([*findings.tests(), *beside.tests], TABLES["tests"])
    complete = all_shown_in(with_tests(correlations, tests), population.defense)
    power = power_notes(population, realised_levels(correlations, population.defense), all_draws, complete)
    judged = partial_of(_judged, population, control, infos, found_added, power, margin, counts, tests)
    return {
        "correlations": correlations,
        "tests": tests,
        "judgements": judged(correlations, tuple(population.measures)),
        "added": tidy(every_gain, TABLES["added"]),
        "levels": tidy(levels, TABLES["levels"]),
        "stability": tidy(_stability(population, findings), TABLES["stability"]),
        "fragility": tidy(fragility(population, findings.matchings, question.error), TABLES["fragility"]),
        "controls": beside.correlations,
        "control_judgements": judged(beside.correlations, beside.names),
        "power": tidy(power, TABLES["power"]),
        **_tables(population, findings, draws["seed"]),
    }


def _held_out_error(population: Population, gains: Sequence[Mapping[str, Any]]) -> float:
    """Return the mean squared error of the settings alone on held-out runs, NaN where not all models were predicted.

    Measures and controls that have values on all models meet the same folds, so that any of them tells it.
    """
    errors = [
        float(row["mse_settings"])
        for row in gains
        if row["variant"] == "runs" and row["n_models"] == len(population.y) and np.isfinite(row["mse_settings"])
    ]
    return errors[0] if errors else float("nan")


def _judged(
    population: Population,
    control: str | None,
    infos: Mapping[str, MeasureInfo],
    gains: Mapping[str, Mapping[str, Any]] | None,
    power: Sequence[Mapping[str, Any]],
    margin: float,
    draws: tuple[int, int],
    tests: pd.DataFrame,
    rows: pd.DataFrame,
    names: Sequence[str],
) -> pd.DataFrame:
    """Return the judgements of measures, or of controls, from their correlations."""
    found = judgements(
        rows,
        names,
        population.defense,
        control,
        infos,
        is_gap(population.target),
        added=gains,
        power=power,
        margin=margin,
        draws=draws,
        tests=tests,
    )
    return tidy(found, TABLES["judgements"])


def _described(population: Population) -> dict[str, Any]:
    """Return what an analysis says of its models, by the name of its field."""
    return {
        "measures": tuple(population.measures),
        "settings": tuple(population.levels),
        "defense": population.defense,
        "unit": population.unit,
        "n_models": len(population.y),
        "n_units": population.n_units,
        "filters": population.filters,
    }


def enough_permutations(n_measures: int, n_models: int = NORMAL_FROM) -> int:
    """Return how many permutations let Holm's smallest p over so many measures fall to 0.01; 1,000 to 20,000.

    The smallest p-value that k permutations can give is 1 / (1 + k), and Holm multiplies it by the number of tests.
    Tables of at most 100 models, of which permutations take little time, get ten times as many: then it rests on 50
    permutations instead of 5 whether Holm's smallest p reaches 0.05.
    """
    each = 1000 if n_models <= _QUICK else 100
    return min(_MOST_PERMUTATIONS, max(1000, each * n_measures))


def enough_inside(n_measures: int) -> int:
    """Return how many permutations show what a defense shows by itself, among so many measures; at most a million.

    With 5,000 for each measure, an adjusted p of ``ALONE`` is five permutations. Of so many only p-values are counted
    that fewer leave too coarse.

    >>> enough_inside(18)
    90000
    """
    return min(_MOST_INSIDE, _INSIDE_FOR_EACH * n_measures)


def _permutations(population: Population, asked: int | None) -> tuple[int, int]:
    """Return how many permutations are drawn, and how many for a coarse p-value inside a defense (0: no others)."""
    if asked is not None:
        return asked, 0
    m = len(population.measures)
    return enough_permutations(m, len(population.y)), enough_inside(m)


def _drawn(population: Population, draws: Mapping[str, int]) -> dict[str, Any]:
    """Return the numbers of draws that were asked for, and of permutations that were made."""
    return {**draws, "permutations_drawn": n_permutations(len(population.y), draws["permutations"])}


def _check_margin(margin: float) -> None:
    if not 0 < margin < 1:
        raise BadInputError("margin", "a tau between 0 and 1", f"{margin:g}", "0.1 is the default")


def _check_counts(bootstrap: int, permutations: int, seed: int) -> None:
    if seed < 0:
        raise BadInputError("seed", "a whole number of at least 0", str(seed))
    for name, value, least in (("bootstrap", bootstrap, 20), ("permutations", permutations, 19)):
        if value < least:
            raise BadInputError(name, f"at least {least} draws", str(value), "2000 is a good number")


def _question(
    population: Population, partial: Sequence[str], infos: Mapping[str, MeasureInfo]
) -> tuple[Question, str | None]:
    """Gather what is held fixed, the other target, the target's error and each measure's direction."""
    control = control_column(population.target)
    names = list(dict.fromkeys([control, "average_ce_pgd", *partial]))
    for name in partial:
        require(population.table, name, "held fixed")
    controls = {}
    for name in names:
        values = population.column(name) if name != population.target else None
        if values is not None and np.isfinite(values).any():
            controls[name] = values
    second: dict[str, Floats] = {}
    test = accuracy_columns(population.target)[1]
    if is_gap(population.target) and (values := population.column(test)) is not None and np.isfinite(values).any():
        second[test] = values
    known = infos if is_gap(population.target) else {}
    signs = {name: -1 for name in population.measures if name in known and known[name].hypothesis == "-"}
    question = Question(controls, target_error(population), signs, second)
    return question, control if control in controls else None


def _rows(population: Population, found: Mapping[str, list[Estimate]]) -> list[dict[str, Any]]:
    return [row.row(name, population.target) for name in population.measures for row in found[name]]


def _tables(population: Population, findings: Findings, seed: int) -> dict[str, Any]:
    """Compute the tables besides the correlations, by the name of their field."""
    regressions = Regressions(population)
    fitted = regressions.settings_only() + [row for name in population.measures for row in regressions.of(name)]
    supplement = _rows(population, findings.supplement)
    together, summary = multivariable(population, seed)
    best = _best(population, findings)
    found: dict[str, list[dict[str, Any]]] = {
        "regressions": fitted,
        "supplement": supplement,
        "matching": matching_rows(population, findings.matchings),
        "environments": findings.environments,
        "residuals": residuals(population, best) if best else [],
        "fits": lines(population),
        "mixed": [mixed(population, name) for name in population.measures] if population.defense else [],
        "multivariable": together,
        "axes_r2": settings_importance(population),
        "undefined": _undefined(population, findings) + regressions.undefined,
    }
    tables: dict[str, Any] = {name: tidy(rows, TABLES[name]) for name, rows in found.items()}
    tables["supplement"] = adjusted_supplement(tables["supplement"])
    return tables | {"multivariable_fit": summary}


def adjusted_supplement(supplement: pd.DataFrame) -> pd.DataFrame:
    """Return the supplement with Benjamini-Hochberg within each statistic, target and axis."""
    result = supplement.copy()
    for _, rows in supplement[supplement["p_value"].notna()].groupby(["statistic", "target", "axis"]):
        result.loc[rows.index, "p_adjusted"] = benjamini_hochberg(rows["p_value"].to_numpy())
    return result


def _stability(population: Population, findings: Findings) -> list[dict[str, Any]]:
    """Judge which measure is best; not where units are too few for any inference."""
    taus = {n: row.estimate for n in population.measures for row in findings.rows[n] if row.statistic == "tau_b"}
    return [] if population.too_few else stability(taus, findings.tau_draws)


def _best(population: Population, findings: Findings) -> str | None:
    """Return the measure with the largest |tau_b|."""
    sizes = {
        name: abs(row.estimate)
        for name in population.measures
        for row in findings.rows[name]
        if row.statistic == "tau_b" and np.isfinite(row.estimate)
    }
    return max(sizes, key=lambda name: sizes[name]) if sizes else None


def _undefined(population: Population, findings: Findings) -> list[dict[str, Any]]:
    """Return the reason of every estimate, interval or p-value that is missing."""
    return [
        {"measure": name, "statistic": row.statistic, "axis": row.axis, "level": row.level, "reason": row.reason}
        for name in population.measures
        for row in [*findings.rows[name], *findings.supplement[name]]
        if row.reason
    ]


def _notes(population: Population, question: Question, permutations: int, finer: int) -> tuple[str, ...]:
    notes = [*population.notes, *missing_notes(population)]
    if question.error is not None and (unknown := int((~np.isfinite(question.error.inverse_n)).sum())):
        notes.append(
            f"{population.target} of {unknown} models has no known sampling error; sign errors leave them out."
        )
    if question.error is None:
        notes.append(
            f"The sampling error of {population.target} is unknown: sign errors weigh all pairs that differ equally."
        )
    if len(population.y) < NORMAL_FROM and (m := len(population.measures)) / (permutations + 1) > ALPHA:
        notes.append(
            f"{permutations:,} permutations cannot give a p-value that is shown among {m:,} measures; name fewer."
        )
    notes += coarse_notes(population, permutations, finer)
    if population.defense is None:
        notes.append("No defenses to compare: nothing is said about what happens inside them.")
    for name in ("config_digest", "measurebench_version"):
        if name in population.table.columns and population.table[name].nunique() > 1:
            notes.append(f"The models were measured under {population.table[name].nunique()} values of {name}.")
    return tuple(notes)


def _provenance(table: pd.DataFrame) -> dict[str, Any]:
    """Return versions and a digest of the table; nothing that changes from one run to the next."""
    found: dict[str, Any] = {
        "table_digest": digest_json(table.to_csv(index=False)),
        "python": platform.python_version(),
    }
    for name in ("measurebench", "numpy", "pandas", "scipy", "statsmodels", "scikit-learn"):
        found[name] = installed_version(name)
    for name in ("config_digest", "measurebench_version", "dataset", "norm", "radius"):
        if name in table.columns:
            found[f"table_{name}"] = sorted({str(v) for v in table[name].dropna()})
    return found

"""tau inside levels, pi and their exchanges."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.special import ndtr

from measurebench.stats import Analysis, analyze
from measurebench.stats.judging.power import null_deviation
from measurebench.stats.resampling.draws import bootstrap_weights
from measurebench.stats.statistics.conditional import (
    NORMAL_UNITS,
    Inside,
    Level,
    conditional,
    levels_of,
    mean_defined,
    pi_mean,
)
from measurebench.stats.statistics.estimates import NAN, Cohort, Draws, Sample
from tests.stats.tables import grid, pair_tau

QUICK: dict[str, Any] = {"bootstrap": 30, "permutations": 39}


def cohort_of(y: np.ndarray, units: np.ndarray | None = None, permutations: int = 39) -> Cohort:
    units = np.arange(len(y)) if units is None else units
    weights = bootstrap_weights(len(np.unique(units)), 30, 0)
    return Cohort(np.arange(len(y)), y, units, Draws(weights, permutations, 0))


@pytest.fixture(scope="module")
def found() -> tuple[pd.DataFrame, Analysis]:
    table = grid()
    return table, analyze(table, **QUICK)


@pytest.mark.parametrize("axis", ["defense", "setting_stop", "setting_batch_size"])
@pytest.mark.parametrize("measure", ["signal", "tied"])
def test_taus_of_each_level_equal_pair_counting(found: tuple[pd.DataFrame, Analysis], axis: str, measure: str) -> None:
    table, analysis = found
    for level, inside in table.groupby(table[axis].astype(str)):
        for statistic, variant in (("tau_within", "b"), ("tau_a", "a")):
            row = analysis.select(statistic, axis, str(level)).set_index("measure").loc[measure]
            x, y = inside[measure].to_numpy(float), inside["robust_gap_pgd"].to_numpy(float)
            assert row["estimate"] == pytest.approx(pair_tau(x, y, variant), abs=1e-12)
            assert (row["n_models"], row["n_pairs"]) == (len(x), len(x) * (len(x) - 1) // 2)


def test_pi_averages_only_the_levels_in_which_tau_exists() -> None:
    table = grid()
    table["m"] = np.where(table["defense"] == "MART", 1.0, table["signal"])
    analysis = analyze(table, measures=["m"], **QUICK)
    taus = analysis.select("tau_within", "defense").set_index("level")["estimate"]
    pi = analysis.select("pi", "defense").iloc[0]
    assert np.isnan(taus["MART"])
    assert pi["estimate"] == pytest.approx(taus[["AT", "TRADES"]].mean())
    assert pi["n_models"] == 32


def test_a_setting_in_whose_levels_nothing_varies_has_no_pi() -> None:
    table = grid()
    table["m"] = table["defense"].map({"AT": 1.0, "MART": 2.0, "TRADES": 3.0})
    analysis = analyze(table, measures=["m"], **QUICK)
    assert np.isnan(analysis.select("pi", "defense")["estimate"].iloc[0])
    reasons = analysis.undefined.set_index(["statistic", "axis"])["reason"].groupby(level=[0, 1]).first()
    assert reasons["pi", "defense"] == "tau exists in no level of this setting"


def test_pi_mean_is_the_mean_over_the_settings_that_have_one(found: tuple[pd.DataFrame, Analysis]) -> None:
    _, analysis = found
    pis = analysis.correlations.query("statistic == 'pi' and measure == 'signal'")["estimate"]
    mean = analysis.select("pi_mean").set_index("measure").loc["signal"]
    assert mean["estimate"] == pytest.approx(pis.mean())
    assert mean["ci_low"] < mean["estimate"] < mean["ci_high"]


def test_without_any_pi_the_mean_says_why() -> None:
    sample = Sample("m", np.ones(4), cohort_of(np.arange(4.0)))
    assert pi_mean([], sample).reason == "the measure is constant"
    assert pi_mean([], Sample("m", np.arange(4.0), cohort_of(np.arange(4.0)))).reason == "no setting has a pi"


def test_a_level_that_is_not_stated_is_no_level() -> None:
    levels = levels_of(["b", "not stated", "a", "b"], cohort_of(np.arange(4.0)))
    assert [(level.name, level.rows.tolist()) for level in levels] == [("a", [2]), ("b", [0, 3])]


def test_a_level_of_one_model_says_so_and_leaves_the_others_alone() -> None:
    rng = np.random.default_rng(0)
    cohort = cohort_of(rng.normal(size=9))
    levels = [Level("a", np.arange(8)), Level("b", np.array([8]))]
    rows, _ = conditional("axis", levels, [Sample("m", rng.normal(size=9), cohort)])[0]
    by_name = {(row.statistic, row.level): row for row in rows}
    assert by_name["tau_within", "b"].reason == "1 model with a value"
    assert by_name["pi", ""].estimate == by_name["tau_within", "a"].estimate


def test_exchanges_inside_a_level_keep_the_difference_between_levels_out_of_the_p_value() -> None:
    # The measure follows the level alone: over all models it goes with the target, inside a level with nothing.
    rng = np.random.default_rng(1)
    level = np.repeat([0.0, 10.0], 40)
    cohort = cohort_of(level + rng.normal(size=80), permutations=199)
    sample = Sample("m", level + rng.normal(size=80), cohort)
    levels = [Level("low", np.arange(40)), Level("high", np.arange(40, 80))]
    rows, _ = conditional("axis", levels, [sample])[0]
    assert rows[-1].statistic == "pi"
    assert rows[-1].p_value > 0.05
    assert sample.concordance / (80 * 79) > 0.4


def test_a_small_level_of_a_large_table_counts_exchanges_of_its_own() -> None:
    rng = np.random.default_rng(3)
    y = rng.normal(size=320)
    cohort = cohort_of(y, permutations=99)
    small, large = Level("few", np.arange(NORMAL_UNITS - 1)), Level("many", np.arange(NORMAL_UNITS, 320))
    assert Inside.of("axis", small, cohort).is_small
    assert not Inside.of("axis", large, cohort).is_small
    rows, _ = conditional("axis", [small, large], [Sample("m", y.copy(), cohort)])[0]
    p = {row.level: row.p_value for row in rows if row.statistic == "tau_within"}
    assert p["few"] == pytest.approx(1 / 100)  # the smallest that 99 exchanges can give
    assert p["many"] < 1e-10  # a normal tail


def test_means_leave_out_what_is_undefined() -> None:
    values = np.array([[1.0, NAN, 2.0], [3.0, NAN, NAN]])
    np.testing.assert_array_equal(mean_defined(values), [2.0, NAN, 2.0])


def within(y: np.ndarray, x: np.ndarray, finer: int = 0, is_defense: bool = True) -> tuple[float, int]:
    """Return p of tau inside one level that holds all models, and the permutations it counts among."""
    weights = bootstrap_weights(len(y), 30, 0)
    cohort = Cohort(np.arange(len(y)), y, np.arange(len(y)), Draws(weights, 199, 0, permutations_inside=finer))
    (rows, _), *_ = conditional("defense", [Level("AT", np.arange(len(y)))], [Sample("m", x, cohort)], is_defense)
    assert rows[0].n_units == len(y)
    return rows[0].p_value, rows[0].n_permutations


def test_a_p_value_that_few_permutations_leave_coarse_counts_among_more_inside_a_defense() -> None:
    order = np.arange(7.0)
    assert within(order, order) == pytest.approx((1 / 200, 199), abs=0.01)
    p, n = within(order, order, finer=40_000)
    assert n == 40_000
    # Two of 5,040 orders are perfect: 15.9 of 40,000, give or take 4.
    assert (p * (n + 1) - 1) == pytest.approx(40_000 * 2 / 5040, abs=16)
    assert within(order, order, finer=40_000, is_defense=False)[1] == 199
    # tau of 1/21: most orders lie as far out, and the first permutations say so.
    assert within(order, np.array([3.0, 1, 6, 0, 5, 2, 4]), finer=40_000)[1] == 199


def test_inside_a_level_of_many_units_a_rare_p_value_is_that_of_the_normal_tail() -> None:
    order = np.arange(float(NORMAL_UNITS))
    p, n = within(order, order, finer=40_000)
    assert n == 0
    z = 1 / null_deviation(NORMAL_UNITS)  # of a perfect order; 199 permutations know the deviation to 5 %
    assert 2 * ndtr(-1.15 * z) < p < 2 * ndtr(-z / 1.15)

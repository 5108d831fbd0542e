import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import kendalltau, norm

from measurebench.stats.resampling.concordance import concordances, ranks_of
from measurebench.stats.resampling.draws import (
    bootstrap_p,
    bootstrap_weights,
    donations,
    exchanges,
    percentile_interval,
    permutation_p,
)


def test_a_draw_has_as_many_units_as_the_table() -> None:
    weights = bootstrap_weights(7, 50, 0)
    assert np.all(weights.sum(axis=1) == 7)
    assert len(np.unique(weights, axis=0)) > 40


def test_two_seeds_draw_differently_and_one_seed_alike() -> None:
    assert not np.array_equal(bootstrap_weights(9, 20, 0), bootstrap_weights(9, 20, 1))
    assert np.array_equal(bootstrap_weights(9, 20, 0), bootstrap_weights(9, 20, 0))


def test_exchanges_move_whole_runs_inside_their_stratum_only() -> None:
    runs = np.repeat(np.arange(6), 2)
    strata = np.repeat([0, 1], 6)
    moved = exchanges(strata, runs, 200, 0)
    assert np.all(np.sort(moved, axis=1) == np.arange(12))
    assert np.all(strata[moved] == strata)
    assert np.all(runs[moved[:, ::2]] == runs[moved[:, 1::2]])
    assert len(np.unique(moved, axis=0)) > 20


def test_runs_of_unlike_size_stay_where_they_are() -> None:
    moved = exchanges(np.zeros(6, np.int64), np.array([0, 1, 1, 2, 2, 2]), 20, 0)
    assert np.all(moved == np.arange(6))


def test_a_run_that_spans_two_strata_is_exchanged_as_one() -> None:
    # three runs, each with a best (0) and a last (1) checkpoint
    moved = exchanges(np.array([0, 1, 0, 1, 0, 1]), np.array([0, 0, 1, 1, 2, 2]), 50, 0)
    assert np.all(moved[:, 1::2] == moved[:, ::2] + 1)
    assert len(np.unique(moved, axis=0)) == 6


def test_permutation_p_values_agree_with_the_exact_ones_of_scipy() -> None:
    rng = np.random.default_rng(5)
    x, y = rng.normal(size=12), rng.normal(size=12)
    y += x
    moves = exchanges(np.zeros(12, np.int64), np.arange(12), 4000, 0)
    found = concordances(x[None], ranks_of(y)[moves])[0][0]
    statistic = float(concordances(x[None], ranks_of(y)[None])[0][0, 0])
    exact = kendalltau(x, y, method="exact").pvalue
    # 4 standard errors of a share of 4000 draws
    assert permutation_p(statistic, found) == pytest.approx(exact, abs=4 * np.sqrt(exact / 4000) + 1e-3)


def test_the_normal_tail_of_large_tables_agrees_with_kendalls_variance() -> None:
    rng = np.random.default_rng(6)
    n = 400
    x, y = rng.normal(size=n), rng.normal(size=n)
    y += 0.15 * x
    moves = exchanges(np.zeros(n, np.int64), np.arange(n), 300, 0)
    found = concordances(x[None], ranks_of(y)[moves])[0][0]
    statistic = float(concordances(x[None], ranks_of(y)[None])[0][0, 0])
    # The centre of 300 permutations is uncertain by 0.06 standard deviations, their spread by 4 %.
    z_found = (statistic - found.mean()) / found.std(ddof=1)
    z_known = statistic / np.sqrt(n * (n - 1) * (2 * n + 5) / 18 * 4)
    assert z_found == pytest.approx(z_known, rel=0.15)
    assert permutation_p(statistic, found, n) == pytest.approx(2 * norm.sf(abs(z_found)))


def test_no_interval_without_width_is_given() -> None:
    assert np.isnan(percentile_interval(np.ones(100))).all()
    assert np.isnan(percentile_interval(np.full(100, np.nan))).all()
    low, high = percentile_interval(np.arange(1001) / 1000)
    assert (low, high) == pytest.approx((0.025, 0.975))


def test_bootstrap_p_is_small_where_no_draw_crosses_the_null() -> None:
    assert bootstrap_p(np.linspace(0.1, 0.2, 999)) == pytest.approx(2 / 1000)
    assert bootstrap_p(np.linspace(-1, 1, 999)) > 0.9


def test_donations_of_equal_units_exchange_them_whole() -> None:
    units = np.array([0, 1, 0, 1, 2, 2])
    for row in donations(units, 50, 0):
        assert sorted(row) == list(range(6))
        pairs = {tuple(sorted(row[rows])) for rows in ([0, 2], [1, 3], [4, 5])}
        assert pairs == {(0, 2), (1, 3), (4, 5)}


def test_donations_reach_every_unit_whatever_its_size() -> None:
    units = np.array([5, 5, 5, 1, 2])
    moves = donations(units, 400, 0)
    assert set(moves[:, 0]) == set(moves[:, 3]) == {0, 1, 2, 3, 4}
    # A donor of one model gives its value to all three; a donor of three gives one of its own to a unit of one.
    assert all(len(set(row[:3])) in (1, 3) for row in moves)


@pytest.mark.parametrize("moved", [donations, lambda *of: exchanges(np.zeros(len(of[0]), np.int64), *of)])
@pytest.mark.parametrize("size", [2, 3])
def test_the_models_of_a_unit_come_in_every_order(moved: Callable[..., np.ndarray], size: int) -> None:
    """Names order the rows: a fixed order inside units would let the p-value depend on them."""
    units = np.repeat(np.arange(4), size)
    rows = moved(units, 6000, 0)
    taken = rows[:, :size] % size  # which of its donor's models each of the first unit's takes
    for order in itertools.permutations(range(size)):
        share = float((taken == order).all(1).mean())
        assert share == pytest.approx(1 / math.factorial(size), abs=0.03)


def test_other_names_of_checkpoints_move_no_p_value_beyond_its_error() -> None:
    """Best and last shift both columns; sorting the rows the other way round in half of the runs changes nothing."""
    rng = np.random.default_rng(3)
    units = np.repeat(np.arange(40), 2)
    last = np.tile([0.0, 1.0], 40)
    x, y = (rng.normal(size=40)[units] + last for _ in range(2))
    other = np.arange(80)
    other[:40] = other[:40].reshape(-1, 2)[:, ::-1].ravel()
    found = []
    for order in (np.arange(80), other):
        sign_x, ranks = np.sign(x[order][:, None] - x[order]), ranks_of(y[order])
        permuted = np.array([(sign_x * np.sign(r[:, None] - r)).sum() for r in ranks[donations(units, 1000, 5)]])
        found.append((permuted.mean(), permuted.std()))
    spread = found[0][1]
    assert abs(found[0][0]) < 0.15 * spread  # the null value is 0, as that of the interval
    assert abs(found[0][0] - found[1][0]) < 0.2 * spread
    assert found[1][1] == pytest.approx(spread, rel=0.1)


def test_a_rank_test_by_donations_keeps_its_level_with_unequal_units() -> None:
    # 6 runs of two models that share most of their values, 18 of one: nothing goes with anything, so 5 % of the tests
    # may reject; of 400, 20, and 40 or more would be 4.6 standard deviations away.
    rng = np.random.default_rng(0)
    units = np.r_[np.repeat(np.arange(6), 2), np.arange(6, 24)]
    moves = donations(units, 200, 1)
    rejected = 0
    for _ in range(400):
        x, y = (rng.normal(size=24)[units] + 0.1 * rng.normal(size=30) for _ in range(2))
        sx = np.sign(x[:, None] - x)
        ranks = np.argsort(np.argsort(y))
        permuted = np.array([(sx * np.sign(ranks[move][:, None] - ranks[move])).sum() for move in moves])
        rejected += permutation_p(float((sx * np.sign(y[:, None] - y)).sum()), permuted, 30) <= 0.05
    assert 5 <= rejected < 40


@pytest.mark.parametrize("n", [2, 3, 41, 2000])
def test_percentile_intervals_are_numpys_quantiles_to_the_last_bit(n: int) -> None:
    draws = np.random.default_rng(n).normal(size=n)
    assert percentile_interval(draws) == tuple(np.quantile(draws, [(1 - 0.95) / 2, (1 + 0.95) / 2]))


def test_expanded_intervals_of_a_mean_of_a_dozen_hold_the_truth_as_students_do() -> None:
    held = {0: 0, 12: 0}
    for seed in range(500):
        rng = np.random.default_rng([3, seed])
        values = rng.normal(size=12)
        means = rng.multinomial(12, np.full(12, 1 / 12), size=1000) @ values / 12
        for expanded in held:
            low, high = percentile_interval(means, expanded=expanded)
            held[expanded] += low <= 0 <= high
    assert held[0] < 0.93 * 500
    assert 0.935 * 500 < held[12] < 0.975 * 500


def test_the_expanded_p_value_is_where_the_expanded_interval_ends() -> None:
    draws = np.random.default_rng(0).normal(size=4001)
    for n in (12, 40, 400):
        low, high = percentile_interval(draws, expanded=n)
        for end in (low, high):
            assert bootstrap_p(draws, end, n) == pytest.approx(0.05, abs=2e-3)
    assert bootstrap_p(draws, 0.5, 10**7) == pytest.approx(bootstrap_p(draws, 0.5), abs=1e-5)
    assert bootstrap_p(draws, float(np.median(draws)), 12) == 1.0

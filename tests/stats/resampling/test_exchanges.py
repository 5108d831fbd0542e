"""Bootstrap intervals and exchanges: what they keep, and how often they are right."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from measurebench.stats.resampling.draws import (
    NORMAL_FROM,
    bootstrap_p,
    bootstrap_weights,
    bootstrap_weights_double,
    donations,
    exchanges,
    moves,
    n_permutations,
    percentile_interval,
    permutation_p,
)

UNITS = st.lists(st.integers(0, 5), min_size=2, max_size=14).map(lambda units: np.array(units, dtype=np.int64))
DRAWS = st.lists(st.floats(-1, 1), min_size=2, max_size=50).map(np.array)


@settings(max_examples=50, deadline=None)
@given(DRAWS)
def test_the_interval_is_numpys_quantiles(draws: np.ndarray) -> None:
    low, high = percentile_interval(draws)
    if np.ptp(draws) < 1e-12:
        assert np.isnan(low)
        return
    assert (low, high) == tuple(np.quantile(draws, [(1 - 0.95) / 2, (1 + 0.95) / 2]))
    narrow = percentile_interval(draws, 0.5)
    assert low <= narrow[0] <= narrow[1] <= high


def test_undefined_draws_do_not_count_unless_they_are_the_most() -> None:
    draws = np.append(np.arange(100.0), [np.nan] * 50)
    assert percentile_interval(draws) == pytest.approx((2.475, 96.525))
    assert np.isnan(percentile_interval(np.append(draws, [np.nan] * 60))).all()
    assert np.isnan(bootstrap_p(np.append(draws, [np.nan] * 60)))


def test_the_bootstrap_p_value_agrees_with_its_interval() -> None:
    draws = np.arange(-4, 96) / 100.0  # five draws at or below zero of a hundred
    assert bootstrap_p(draws) == pytest.approx(2 * 6 / 101)
    assert bootstrap_p(draws, null=0.455) == 1.0
    assert bootstrap_p(-draws) == bootstrap_p(draws)
    assert np.isnan(bootstrap_p(np.ones(10)))
    shifted = draws + 0.05
    assert bootstrap_p(shifted) < 0.05 < bootstrap_p(draws)
    assert percentile_interval(shifted)[0] > 0


def test_weights_are_shared_read_only_and_exact_in_double() -> None:
    single, double = bootstrap_weights(5, 10, 3), bootstrap_weights_double(5, 10, 3)
    assert single is bootstrap_weights(5, 10, 3)
    assert (single.dtype, double.dtype) == (np.float32, np.float64)
    np.testing.assert_array_equal(single, double)
    for weights in (single, double):
        with pytest.raises(ValueError, match="read-only"):
            weights[0, 0] = 1


@pytest.mark.parametrize("n_units", [1, 2, 3, 12, 333])
def test_units_are_drawn_as_numpy_draws_them(n_units: int) -> None:
    expected = np.random.default_rng(n_units).multinomial(n_units, np.full(n_units, 1 / n_units), size=700)
    np.testing.assert_array_equal(bootstrap_weights_double(n_units, 700, n_units), expected)


def test_counts_beyond_a_byte_are_kept_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    # A single unit is drawn once at most; so many draws of one unit no table has, but nothing must wrap around.
    class Fixed:
        def random(self, n: int) -> np.ndarray:
            return np.full(n, 2.0)  # beyond any sum of probabilities: left to the multinomial

        def multinomial(self, _n: int, _chances: np.ndarray, **_: int) -> np.ndarray:
            return np.array([[300, 0], [0, 300]])

    monkeypatch.setattr(np.random, "default_rng", lambda _: Fixed())
    assert bootstrap_weights_double(2, 2, 987654321).tolist() == [[300, 0], [0, 300]]


def test_exchanges_of_one_stream_are_those_of_class_after_class() -> None:
    # Three runs in strata 0 and 3, three in 1, two in 0 and 1, and one alone.
    units = np.array([0, 0, 1, 1, 2, 2, 3, 4, 5, 6, 7, 7, 8, 8])
    strata = np.array([0, 3, 0, 3, 0, 3, 1, 1, 1, 2, 0, 1, 0, 1])
    rng, expected = np.random.default_rng(5), np.tile(np.arange(14), (9, 1))
    for rows in ([[0, 1], [2, 3], [4, 5]], [[6], [7], [8]], [[10, 11], [12, 13]]):
        shuffled = np.argsort(rng.random((9, len(rows)), dtype=np.float32), axis=1)
        expected[:, np.ravel(rows)] = np.array(rows)[shuffled].reshape(9, -1)
    np.testing.assert_array_equal(exchanges(strata, units, 9, 5), expected)


def test_each_unit_is_drawn_once_on_average() -> None:
    weights = bootstrap_weights(10, 4000, 0)
    # A count is about Poisson with variance 0.9: its mean over 4,000 draws has a standard error of 0.015.
    assert weights.mean(axis=0) == pytest.approx(np.ones(10), abs=5 * 0.015)
    assert weights.var(axis=0) == pytest.approx(np.full(10, 0.9), rel=0.15)


@settings(max_examples=50, deadline=None)
@given(UNITS, st.integers(0, 5))
def test_exchanges_are_permutations_that_keep_units_together(units: np.ndarray, seed: int) -> None:
    strata = units % 2
    moved = exchanges(strata, units, 10, seed)
    assert np.array_equal(np.sort(moved, axis=1), np.tile(np.arange(len(units)), (10, 1)))
    assert np.array_equal(strata[moved], np.tile(strata, (10, 1)))
    for row in moved:
        assert all(len({units[row[k]] for k in np.flatnonzero(units == u)}) == 1 for u in np.unique(units))


@settings(max_examples=50, deadline=None)
@given(UNITS, st.integers(0, 5))
def test_donations_give_each_unit_the_values_of_one(units: np.ndarray, seed: int) -> None:
    moved = donations(units, 10, seed)
    for row in moved:
        donors = [set(units[row[units == u]].tolist()) for u in np.unique(units)]
        assert all(len(donor) == 1 for donor in donors)
        assert len(set.union(*donors)) == len(donors)  # no unit gives twice


def test_models_without_a_stratum_stay() -> None:
    strata = np.array([0, 0, -1, 0, -1])
    moved = moves(strata, np.arange(5), 30, 0)
    assert np.all(moved[:, [2, 4]] == [2, 4])
    assert len(np.unique(moved, axis=0)) > 2


def test_units_in_several_strata_are_exchanged_and_others_donate() -> None:
    units = np.array([0, 0, 1, 1, 2])
    across = moves(np.array([0, 1, 0, 1, 0]), units, 40, 0)
    assert np.array_equal(across[:, 4], np.full(40, 4))  # run 2 has no model in stratum 1
    inside = moves(np.zeros(5, np.int64), units, 40, 0)
    assert not np.array_equal(inside[:, 4], np.full(40, 4))


@pytest.mark.parametrize(
    ("n", "asked", "expected"), [(10, 5000, 5000), (NORMAL_FROM, 5000, 200), (NORMAL_FROM, 50, 50)]
)
def test_large_tables_take_few_permutations(n: int, asked: int, expected: int) -> None:
    assert n_permutations(n, asked) == expected


def test_a_permutation_p_counts_both_tails_and_itself() -> None:
    permuted = np.array([-3.0, -1.0, 0.0, 1.0, 2.0])
    assert permutation_p(2.0, permuted) == pytest.approx(3 / 6)
    assert permutation_p(9.0, permuted) == pytest.approx(1 / 6)
    assert permutation_p(0.0, permuted) == 1.0
    assert np.isnan(permutation_p(float("nan"), permuted))
    assert np.isnan(permutation_p(1.0, np.ones(5)))
    assert np.isnan(permutation_p(1.0, np.full(5, np.nan)))


def test_a_normal_tail_is_never_zero() -> None:
    permuted = np.random.default_rng(0).normal(size=200)
    assert 0 < permutation_p(1e6, permuted, NORMAL_FROM) < 1e-300

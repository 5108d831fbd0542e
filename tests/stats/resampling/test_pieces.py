"""The pieces that all counts of pairs rest on, each against the obvious loop."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import rankdata

from measurebench.stats.resampling.draws import bootstrap_weights
from measurebench.stats.resampling.pair_counts import (
    Drawn,
    MidRanks,
    collapsed,
    membership,
    moderate,
    pair_sum,
    quadratic,
    ratio,
    sign_matrix,
    tie_sizes,
    ties,
    weighted_r2,
)

TIED = st.lists(st.integers(0, 5), min_size=2, max_size=20).map(lambda v: np.array(v, dtype=float))


@settings(max_examples=50, deadline=None)
@given(TIED)
def test_signs_of_all_differences(values: np.ndarray) -> None:
    np.testing.assert_array_equal(sign_matrix(values), np.sign(values[:, None] - values[None, :]))


@settings(max_examples=50, deadline=None)
@given(TIED)
def test_ties_are_counted_as_numpy_counts_values(values: np.ndarray) -> None:
    np.testing.assert_array_equal(tie_sizes(values), np.unique(values, return_counts=True)[1])
    once = Drawn.once(len(values))
    assert ties(values, once)[0] == (tie_sizes(values) ** 2).sum()


@settings(max_examples=50, deadline=None)
@given(TIED)
def test_ranks_of_the_table_itself_are_scipys_centred(values: np.ndarray) -> None:
    ranks = MidRanks.among(values, Drawn.once(len(values)))
    expected = rankdata(values) - (len(values) + 1) / 2
    np.testing.assert_allclose(ranks.centred[:, 0] - 0.0, expected, atol=1e-5)
    assert ranks.spread[0] == pytest.approx((expected**2).sum())


def test_ranks_in_a_draw_are_those_of_the_repeated_rows() -> None:
    rng = np.random.default_rng(0)
    values, units = rng.integers(0, 6, 15).astype(float), np.repeat(np.arange(5), 3)
    drawn = Drawn.of(units, bootstrap_weights(5, 8, 1))
    ranks = MidRanks.among(values, drawn)
    for b in range(8):
        rows = np.repeat(np.arange(15), drawn.by_model[:, b].astype(int))
        expected = rankdata(values[rows]) - (len(rows) + 1) / 2
        np.testing.assert_allclose(ranks.centred[rows, b], expected, atol=1e-4)
        assert ranks.spread[b] == pytest.approx((expected**2).sum())


@pytest.mark.parametrize("n", [3, 60, 64, 130, 257])
def test_the_blocked_quadratic_form_is_w_s_w(n: int) -> None:
    rng = np.random.default_rng(n)
    half = rng.integers(-3, 4, (n, n))
    matrix = (half + half.T).astype(np.float32)
    weights = bootstrap_weights(n, 6, 0)
    expected = [w.astype(float) @ matrix.astype(float) @ w for w in weights]
    np.testing.assert_array_equal(quadratic(weights, matrix), expected)


def test_sums_beyond_single_precision_stay_exact() -> None:
    # Above 2^24 float32 has no odd numbers: the sum must be made in float64.
    n = 300
    weights = np.full((1, n), 20, np.float32)
    matrix = np.ones((n, n), np.float32)
    matrix[0, 0] = 2
    assert quadratic(weights, matrix)[0] == 400 * (n * n + 1)


def test_pairs_of_models_are_summed_by_unit() -> None:
    rng = np.random.default_rng(1)
    signs = np.sign(rng.normal(size=(7, 7))).astype(np.int8)
    signs = (signs + signs.T).clip(-1, 1)
    local = np.array([0, 0, 1, 2, 2, 2, 1])
    found = collapsed(signs, local)
    for u in range(3):
        for v in range(3):
            assert found[u, v] == signs[np.ix_(local == u, local == v)].sum()
    np.testing.assert_array_equal(collapsed(signs, np.arange(7)), signs)


def test_copies_of_one_unit_are_not_compared_with_each_other() -> None:
    drawn = Drawn.of(np.array([0, 0, 1]), np.array([[2.0, 1.0]], np.float32))
    matrix = collapsed(np.ones((3, 3), np.int8), drawn.local)
    # Unit 0 twice: its own four ordered pairs twice, its pairs with unit 1 twice, and those of unit 1 once.
    assert pair_sum(drawn, matrix)[0] == 2 * 4 + 2 * 2 * 2 + 1
    assert drawn.total[0] == pair_sum(drawn, matrix)[0]
    assert drawn.size[0] == 5
    assert drawn.cubes[0] == 2 * 8 + 1


def test_units_that_are_absent_take_no_part() -> None:
    weights = bootstrap_weights(4, 5, 0)
    drawn = Drawn.of(np.array([1, 3, 3]), weights)
    np.testing.assert_array_equal(drawn.weights, weights[:, [1, 3]])
    np.testing.assert_array_equal(drawn.by_model, weights[:, [1, 3, 3]].T)
    assert drawn.n_units == 2


def test_membership_counts_or_sums() -> None:
    rows, columns = np.array([0, 0, 1]), np.array([1, 1, 0])
    np.testing.assert_array_equal(membership(rows, columns).toarray(), [[0, 2], [1, 0]])
    summed = membership(rows, columns, np.array([0.5, 0.25, 4.0]))
    np.testing.assert_array_equal(summed.toarray(), [[0, 0.75], [4, 0]])


@pytest.mark.parametrize("scale", [2.0**-900, 1.0, 2.0**900])
def test_squares_of_moderate_values_stay_in_range_and_r2_does_not_see_the_scale(scale: float) -> None:
    x = np.array([1.0, 3.0, 2.0, 5.0])
    assert np.isfinite(moderate(x * scale) ** 2).all()
    assert 0.5 <= np.abs(moderate(x * scale)).max() < 1
    once = np.ones((1, 4), np.float32)
    expected = np.corrcoef(x, x**2)[0, 1] ** 2
    assert weighted_r2(x * scale, x**2, np.arange(4), once)[0] == pytest.approx(expected)


def test_a_constant_has_no_r2_and_zero_is_moderate() -> None:
    once = np.ones((1, 4), np.float32)
    assert np.isnan(weighted_r2(np.ones(4), np.arange(4.0), np.arange(4), once)[0])
    np.testing.assert_array_equal(moderate(np.zeros(3)), np.zeros(3))


def test_a_ratio_over_nothing_is_undefined() -> None:
    found = ratio(np.array([1.0, 1.0, 0.0, 1.0]), np.array([2.0, 0.0, 0.0, -1.0]))
    np.testing.assert_array_equal(found, [0.5, np.nan, np.nan, np.nan])

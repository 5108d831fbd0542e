"""The pieces that all counts of pairs rest on, each against the obvious loop."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from measurebench.stats.resampling.draws import bootstrap_weights
from measurebench.stats.resampling.pair_counts import (
    Drawn,
    concordance_by_model,
    drawn_concordance,
    moderate,
    ratio,
    spearman,
    tie_sizes,
    ties,
    weighted_spearman,
    weights_in_blocks,
)
from measurebench.stats.statistics.r2 import weighted_r2

TIED = st.lists(st.integers(0, 5), min_size=2, max_size=20).map(lambda v: np.array(v, dtype=float))


@settings(max_examples=50, deadline=None)
@given(TIED)
def test_ties_are_counted_as_numpy_counts_values(values: np.ndarray) -> None:
    np.testing.assert_array_equal(tie_sizes(values), np.unique(values, return_counts=True)[1])
    once = Drawn.once(len(values))
    assert ties(values, once)[0] == (tie_sizes(values) ** 2).sum()


def signs(values: np.ndarray) -> np.ndarray:
    return np.sign(values[:, None] - values)


def test_rank_correlations_in_a_draw_are_those_of_the_repeated_rows() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 6, (2, 15)).astype(float)
    units, weights = np.repeat(np.arange(5), 3), bootstrap_weights(5, 270, 1)
    found = weighted_spearman(x, y, Drawn.of(units, weights))
    for b, weight in enumerate(weights):
        rows = np.repeat(np.arange(15), weight[units].astype(int))
        assert found[b] == pytest.approx(spearmanr(x[rows], y[rows]).statistic, abs=1e-12)


def test_rank_correlations_after_exchanges_are_scipys() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.integers(0, 6, (2, 15)).astype(float)
    moved = np.stack([rng.permutation(15) for _ in range(3)])
    point, permuted = spearman(x, y, moved)
    assert point == pytest.approx(spearmanr(x, y).statistic)
    assert permuted.tolist() == pytest.approx([spearmanr(x, y[move]).statistic for move in moved])


@pytest.mark.parametrize("n_units", [1, 3, 33])
def test_counts_in_every_draw_are_those_of_the_plain_double_sum(n_units: int) -> None:
    # Pairs of two units count w_u w_v, those of one unit w_u. More draws than one block, few values, hence many ties.
    rng = np.random.default_rng(n_units)
    units = rng.integers(0, n_units, 40)
    x, y, heavy = rng.integers(0, 7, 40).astype(float), rng.integers(0, 9, 40).astype(float), rng.random(40)
    weights = bootstrap_weights(n_units, 270, 0)
    drawn = Drawn.of(units, weights)
    products, means = signs(x) * signs(y), (heavy[:, None] + heavy) / 2
    counted = (
        drawn_concordance(x, y, drawn),
        drawn_concordance(x, y, drawn, heavy),
        ties(x, drawn),
        ties(x, drawn, heavy),
    )
    for b, weight in enumerate(weights):
        own = weight[units].astype(float)
        count = np.where(units[:, None] == units, own[:, None], own[:, None] * own)
        equal = x[:, None] == x
        expected = [(count * what).sum() for what in (products, products * means, equal, equal * means)]
        assert [found[b] for found in counted] == pytest.approx(expected, abs=1e-9)


def test_sums_beyond_single_precision_stay_exact() -> None:
    # Above 2^24 float32 has no odd numbers: 5,001 models in order make 5,001 x 5,000 concordant ordered pairs.
    x = np.arange(5001.0)
    drawn = Drawn.of(np.arange(5001), np.ones((1, 5001), np.float32))
    assert drawn_concordance(x, x, drawn)[0] == 5001 * 5000


def test_the_concordance_of_one_model_is_its_row_of_signs() -> None:
    x, y = np.random.default_rng(2).integers(0, 5, (2, 30)).astype(float)
    np.testing.assert_array_equal(concordance_by_model(x, y), (signs(x) * signs(y)).sum(axis=1))


def test_copies_of_one_unit_are_not_compared_with_each_other() -> None:
    drawn = Drawn.of(np.array([0, 0, 1]), np.array([[2.0, 1.0]], np.float32))
    # Unit 0 twice: its own four ordered pairs twice, its pairs with unit 1 twice, and those of unit 1 once.
    assert drawn.total[0] == 2 * 4 + 2 * 2 * 2 + 1
    assert drawn.size[0] == 5


def test_units_that_are_absent_take_no_part() -> None:
    weights = bootstrap_weights(4, 5, 0)
    drawn = Drawn.of(np.array([1, 3, 3]), weights)
    np.testing.assert_array_equal(drawn.weights, weights[:, [1, 3]])
    np.testing.assert_array_equal(drawn.size, weights[:, [1, 3, 3]].sum(axis=1))
    assert drawn.n_units == 2
    of_all = Drawn.of(np.array([1, 3, 3]), weights, weights_in_blocks(weights))
    np.testing.assert_array_equal(of_all.blocks, drawn.blocks)
    assert of_all.blocks.flags.c_contiguous
    np.testing.assert_array_equal(drawn.blocks[0, :, :5], weights[:, [1, 3]].T)


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

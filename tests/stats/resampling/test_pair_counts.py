import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kendalltau, spearmanr

from measurebench.stats.resampling.concordance import concordances, ranks_of
from measurebench.stats.resampling.draws import bootstrap_weights, percentile_interval
from measurebench.stats.resampling.pair_counts import (
    Drawn,
    pair_counts,
    partial_tau,
    point_counts,
    weighted_spearman,
)
from measurebench.stats.statistics.r2 import weighted_r2
from tests.stats.tables import pair_tau

TIED = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=2, max_size=14)


@settings(max_examples=60, deadline=None)
@given(TIED)
def test_tau_a_and_tau_b_equal_pair_counting_on_tied_data(pairs: list[tuple[int, int]]) -> None:
    x, y = np.array(pairs, dtype=float).T
    counts = point_counts(x, y)
    assert counts.tau_a[0] == pytest.approx(pair_tau(x, y, "a"), abs=1e-12)
    assert counts.tau_b[0] == pytest.approx(pair_tau(x, y), abs=1e-12, nan_ok=True)


def _draws(n: int = 40, n_units: int = 16):
    rng = np.random.default_rng(1)
    units = rng.integers(0, n_units, n)
    x, y = rng.integers(0, 9, n).astype(float), rng.integers(0, 12, n) / 7
    return x, y, units, bootstrap_weights(n_units, 30, 3)


def pairs_of_a_draw(x, y, units, weights) -> tuple[float, float]:
    """tau_b and tau_a of one draw, pair by pair: w_u w_v between units, w_u inside one."""
    signs_x, signs_y = np.sign(x[:, None] - x), np.sign(y[:, None] - y)
    w = weights[units].astype(float)
    count = np.where(units[:, None] == units, w[:, None], w[:, None] * w)
    np.fill_diagonal(count, 0)
    concordance = (count * signs_x * signs_y).sum()
    untied = (count * signs_x**2).sum() * (count * signs_y**2).sum()
    return concordance / np.sqrt(untied), concordance / count.sum()


def test_every_bootstrap_draw_equals_a_slow_loop_and_scipy_on_the_repeated_rows() -> None:
    x, y, units, weights = _draws()
    drawn = Drawn.of(units, weights)
    counts = pair_counts(x, y, drawn)
    rho = weighted_spearman(x, y, drawn)
    r2 = weighted_r2(x, y, units, weights)
    for b in range(len(weights)):
        rows = np.repeat(np.arange(len(x)), weights[b][units].astype(int))
        expected = pairs_of_a_draw(x, y, units, weights[b])
        assert (counts.tau_b[b], counts.tau_a[b]) == pytest.approx(expected, abs=1e-9)
        assert rho[b] == pytest.approx(spearmanr(x[rows], y[rows]).statistic, abs=1e-12)
        assert r2[b] == pytest.approx(np.corrcoef(x[rows], y[rows])[0, 1] ** 2, abs=1e-9)


def test_large_tables_of_runs_of_two_equal_the_slow_loop() -> None:
    rng = np.random.default_rng(4)
    x, y = rng.integers(0, 50, 300).astype(float), rng.normal(size=300)
    units = np.repeat(np.arange(150), 2)
    weights = bootstrap_weights(150, 5, 0)
    counts = pair_counts(x, y, Drawn.of(units, weights))
    for b in range(5):
        assert counts.tau_b[b] == pytest.approx(pairs_of_a_draw(x, y, units, weights[b])[0], abs=1e-9)


def test_draws_of_single_models_equal_scipy_on_the_repeated_rows() -> None:
    rng = np.random.default_rng(5)
    x, y = rng.integers(0, 9, 40).astype(float), rng.integers(0, 12, 40) / 7
    weights = bootstrap_weights(40, 20, 3)
    counts = pair_counts(x, y, Drawn.of(np.arange(40), weights))
    for b in range(20):
        rows = np.repeat(np.arange(40), weights[b].astype(int))
        assert counts.tau_b[b] == pytest.approx(kendalltau(x[rows], y[rows]).statistic, abs=1e-9)


@pytest.mark.parametrize(("n_units", "size"), [(12, 8), (40, 5), (130, 2)])
def test_intervals_hold_the_estimate_where_units_differ_and_their_models_do_not(n_units: int, size: int) -> None:
    rng = np.random.default_rng(6)
    units = np.repeat(np.arange(n_units), size)
    outside = 0
    for seed in range(20):
        level = rng.normal(size=n_units)
        x, y = (level[units] + 0.1 * rng.normal(size=len(units)) for _ in range(2))
        low, high = percentile_interval(pair_counts(x, y, Drawn.of(units, bootstrap_weights(n_units, 500, seed))).tau_b)
        outside += not low <= point_counts(x, y).tau_b[0] <= high
    assert outside == 0


@pytest.mark.parametrize("n", [2, 3, 30, 271])
def test_concordance_equals_the_sum_of_signs_with_ties_and_without(n: int) -> None:
    rng = np.random.default_rng(n)
    xs = np.stack([rng.normal(size=n), rng.integers(0, 5, n).astype(float)])
    targets = np.stack([rng.integers(0, 20, n), rng.permutation(n), rng.integers(0, 2, n)])
    found, untied = concordances(xs, ranks_of(targets.astype(float)))
    for k, target in enumerate(targets):
        signs = np.sign(target[:, None] - target[None, :])
        assert untied[k] == np.count_nonzero(signs)
        for m, x in enumerate(xs):
            assert found[m, k] == (np.sign(x[:, None] - x[None, :]) * signs).sum()


@pytest.mark.parametrize("n_values", [2, 40, 5000])
def test_many_versions_of_a_target_are_counted_as_one_is(n_values: int) -> None:
    # Two values share a target by the hundred, 40 by threes, 5,000 hardly ever; more measures than are counted at once.
    rng = np.random.default_rng(n_values)
    xs = np.concatenate([rng.normal(size=(7, 130)), rng.integers(0, 9, (3, 130))])
    targets = ranks_of(rng.integers(0, n_values, (11, 130)).astype(float))
    found = concordances(xs, targets)[0]
    np.testing.assert_array_equal(found, np.concatenate([concordances(xs, t[None])[0] for t in targets], axis=1))


def test_partial_tau_equals_its_closed_form() -> None:
    # (0.5 - 0.6*0.4) / sqrt((1-0.36)(1-0.16)) = 0.26 / sqrt(0.5376)
    found = partial_tau(np.array([0.5]), np.array([0.6]), np.array([0.4]))[0]
    assert found == pytest.approx(0.26 / np.sqrt(0.5376))


def test_partial_tau_is_undefined_where_the_control_orders_the_measure_completely() -> None:
    assert np.isnan(partial_tau(np.array([0.5]), np.array([1.0]), np.array([0.4]))[0])


def test_a_constant_measure_has_no_tau_b_and_a_tau_a_of_zero() -> None:
    counts = point_counts(np.ones(5), np.arange(5.0))
    assert np.isnan(counts.tau_b[0])
    assert counts.tau_a[0] == 0

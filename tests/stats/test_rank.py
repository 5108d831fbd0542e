import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kendalltau, spearmanr

from measurebench.stats.concordance import concordances, ranks_of
from measurebench.stats.rank import (
    Drawn,
    MidRanks,
    pair_counts,
    partial_tau,
    point_counts,
    weighted_r2,
    weighted_spearman,
)
from measurebench.stats.resampling import bootstrap_weights
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


def test_every_bootstrap_draw_equals_scipy_on_the_repeated_rows() -> None:
    x, y, units, weights = _draws()
    drawn = Drawn.of(units, weights)
    tau = pair_counts(x, y, drawn).tau_b
    rho = weighted_spearman(MidRanks.among(x, drawn), MidRanks.among(y, drawn), drawn)
    r2 = weighted_r2(x, y, units, weights)
    for b in range(len(weights)):
        rows = np.repeat(np.arange(len(x)), weights[b][units].astype(int))
        assert tau[b] == pytest.approx(kendalltau(x[rows], y[rows]).statistic, abs=1e-9)
        assert rho[b] == pytest.approx(spearmanr(x[rows], y[rows]).statistic, abs=1e-6)
        assert r2[b] == pytest.approx(np.corrcoef(x[rows], y[rows])[0, 1] ** 2, abs=1e-9)


def test_large_tables_are_collapsed_by_run_without_changing_a_count() -> None:
    rng = np.random.default_rng(4)
    x, y = rng.integers(0, 50, 300).astype(float), rng.normal(size=300)
    units = np.repeat(np.arange(150), 2)
    weights = bootstrap_weights(150, 5, 0)
    counts = pair_counts(x, y, Drawn.of(units, weights))
    for b in range(5):
        rows = np.repeat(np.arange(300), weights[b][units].astype(int))
        assert counts.tau_b[b] == pytest.approx(kendalltau(x[rows], y[rows]).statistic, abs=1e-9)


@pytest.mark.parametrize("n", [2, 3, 30, 271])
def test_concordance_by_bits_equals_the_sum_of_signs_with_ties_and_without(n: int) -> None:
    rng = np.random.default_rng(n)
    xs = np.stack([rng.normal(size=n), rng.integers(0, 5, n).astype(float)])
    targets = np.stack([rng.integers(0, 20, n), rng.permutation(n), rng.integers(0, 2, n)])
    found, untied = concordances(xs, ranks_of(targets.astype(float)))
    for k, target in enumerate(targets):
        signs = np.sign(target[:, None] - target[None, :])
        assert untied[k] == np.count_nonzero(signs)
        for m, x in enumerate(xs):
            assert found[m, k] == (np.sign(x[:, None] - x[None, :]) * signs).sum()


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

"""The lasso against scikit-learn."""

import warnings

import numpy as np
import pytest
from sklearn.linear_model import Lasso, LassoCV

from measurebench.stats.regressions.lasso import chosen, lasso


def made(n: int = 90, p: int = 6, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, p))
    x[:, 3] = x[:, 0] + 0.1 * x[:, 3]  # two columns that say nearly the same
    return x, 2 * x[:, 0] - x[:, 1] + 3 + rng.normal(size=n)


@pytest.mark.parametrize("penalty", [1e-4, 0.05, 0.5, 5.0])
@pytest.mark.parametrize("counted", [False, True])
def test_coefficients_and_intercept_are_those_of_scikit_learn(penalty: float, counted: bool) -> None:
    x, y = made()
    weights = np.random.default_rng(1).integers(0, 3, len(y)).astype(float) if counted else None
    other = Lasso(alpha=penalty, max_iter=5000, precompute=True).fit(x, y, sample_weight=weights)
    w, intercept = lasso(penalty, x, y, weights)
    assert w == pytest.approx(other.coef_, rel=1e-9, abs=1e-12)
    assert intercept == pytest.approx(other.intercept_, rel=1e-9)


def test_the_path_of_penalties_has_the_errors_of_scikit_learn() -> None:
    x, y = made()
    folds = [(np.flatnonzero(np.arange(90) % 5 != k), np.flatnonzero(np.arange(90) % 5 == k)) for k in range(5)]
    other = LassoCV(cv=folds, alphas=30, max_iter=5000).fit(x, y)
    found = chosen(x, y, folds)
    assert found.penalties == pytest.approx(other.alphas_, rel=1e-12)
    assert found.errors == pytest.approx(other.mse_path_, rel=1e-9)
    assert found.best == pytest.approx(other.alpha_)
    assert found.sparing >= found.best


def test_a_column_without_values_and_one_penalty_above_all_select_nothing() -> None:
    x, y = made()
    x[:, 2] = 0.0
    assert lasso(0.1, x, y)[0][2] == 0
    w, intercept = lasso(1e3, x, y)
    assert not w.any()
    assert intercept == pytest.approx(y.mean())


def test_a_target_that_does_not_vary_selects_nothing_at_any_penalty() -> None:
    x, _ = made()
    folds = [(np.arange(45), np.arange(45, 90)), (np.arange(45, 90), np.arange(45))]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = chosen(x, np.full(90, 0.25), folds)
    assert not found.errors.any()

"""The jackknife's covariance against one fit without each cluster, and intervals that hold the truth."""

import numpy as np
import pytest
from scipy import stats

from measurebench.stats.regressions.jackknife import jackknife_covariance
from measurebench.stats.regressions.linear import fit


def clustered(sizes: list[int], seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A design of a constant and two covariates, a target, and clusters of these sizes, their rows mixed."""
    rng = np.random.default_rng(seed)
    clusters = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    n = len(clusters)
    design = np.column_stack([np.ones(n), rng.normal(size=(n, 2))])
    return design, rng.normal(size=n) + rng.normal(size=len(sizes))[clusters], clusters


def coefficients(design: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.linalg.lstsq(design, y, rcond=None)[0]


@pytest.mark.parametrize("sizes", [[2] * 12, [1, 1, 4, 2, 2, 5, 3], [1] * 9])
def test_it_equals_one_fit_without_each_cluster(sizes: list[int]) -> None:
    design, y, clusters = clustered(sizes)
    whole = coefficients(design, y)
    moved = np.array([coefficients(design[clusters != g], y[clusters != g]) - whole for g in range(len(sizes))])
    expected = (len(sizes) - 1) / len(sizes) * moved.T @ moved
    found = jackknife_covariance(design, y - design @ whole, clusters)
    assert found == pytest.approx(expected, rel=1e-9)


def test_a_cluster_that_decides_a_coefficient_alone_has_none() -> None:
    design, y, clusters = clustered([2] * 6)
    design = np.column_stack([design, clusters == 3])
    assert jackknife_covariance(design, y - design @ coefficients(design, y), clusters) is None
    found = fit(y, design, clusters)
    assert found.covariance == "cluster"
    assert all(np.isfinite(found.slope(1)))


def test_with_a_dozen_clusters_its_intervals_hold_the_truth_and_those_of_cv1_do_not() -> None:
    held = {"jackknife": 0, "cv1": 0}
    for seed in range(400):
        rng = np.random.default_rng([7, seed])
        clusters = np.repeat(np.arange(12), 2)
        both = rng.normal(size=(12, 2))[clusters] + 0.3 * rng.normal(size=(24, 2))
        levels = np.eye(4)[np.arange(12) % 4][clusters]
        design, y = np.column_stack([levels, both[:, 0]]), both[:, 1] + levels @ [0.0, 1.0, 2.0, 3.0]
        found = fit(y, design, clusters)
        held["jackknife"] += found.slope(4)[1] <= 0 <= found.slope(4)[2]
        slope, error = found.result.params[4], _cv1(design, y, clusters) ** 0.5
        held["cv1"] += abs(slope) <= stats.t(11).ppf(0.975) * error
    assert held["jackknife"] >= 372  # 93 %; with exactly 95 % it would be fewer once in 33 times
    assert held["cv1"] < 364


def _cv1(design: np.ndarray, y: np.ndarray, clusters: np.ndarray) -> float:
    """The last coefficient's variance by statsmodels' clusters."""
    from statsmodels.regression.linear_model import OLS

    return float(OLS(y, design).fit().get_robustcov_results("cluster", groups=clusters).cov_params()[-1, -1])

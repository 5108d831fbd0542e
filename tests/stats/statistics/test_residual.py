"""Tau of residuals beside scipy, and where Kendall's partial tau finds what is not there."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from measurebench.stats import analyze
from measurebench.stats.statistics.residual import left_of, normal_scores

QUICK = {"bootstrap": 200, "permutations": 99}


def table(n_runs: int, seed: int, noise: float = 1.0) -> pd.DataFrame:
    """Return runs whose measure and gap follow train accuracy, and nothing else that they share."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=n_runs)
    return pd.DataFrame(
        {
            "pgd_accuracy_train": 0.2 + 0.7 * stats.norm.cdf(z),
            "robust_gap_pgd": 0.2 + 0.05 * z + 0.04 * noise * rng.normal(size=n_runs),
            "follows": 1.5 * z + 0.8 * noise * rng.normal(size=n_runs),
            "more": z + rng.normal(size=n_runs),
        }
    )


def reference(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> float:
    scores = [stats.norm.ppf(stats.rankdata(v) / (len(v) + 1)) for v in (x, y, z)]
    columns = np.vander(scores[2], 4)
    left = [s - columns @ np.linalg.lstsq(columns, s, rcond=None)[0] for s in scores[:2]]
    return float(stats.kendalltau(*left).statistic)


def test_it_is_kendalls_tau_of_the_residuals_of_a_cubic_regression_of_normal_scores() -> None:
    models = table(60, 0)
    rows = analyze(models, measures=["follows", "more"], **QUICK).select("residual_tau", "pgd_accuracy_train")
    for row in rows.itertuples():
        expected = reference(*(models[c].to_numpy() for c in (row.measure, "robust_gap_pgd", "pgd_accuracy_train")))
        assert row.estimate == pytest.approx(expected, abs=1e-12)
        assert row.ci_low < row.estimate < row.ci_high


def test_independence_given_the_control_leaves_nothing_but_a_partial_tau() -> None:
    found = [analyze(table(150, seed), measures=["follows"], **QUICK) for seed in range(20)]
    left = np.array([each.select("residual_tau", "pgd_accuracy_train")["estimate"].iloc[0] for each in found])
    partial = np.array([each.select("partial_tau", "pgd_accuracy_train")["estimate"].iloc[0] for each in found])
    assert abs(left.mean()) < 3 * left.std(ddof=1) / np.sqrt(20)
    assert partial.mean() > 5 * partial.std(ddof=1) / np.sqrt(20)
    assert sum(each.judgements["verdict"].iloc[0] == "explained_by_train_accuracy" for each in found) >= 15


def test_what_the_control_determines_and_few_units_are_told() -> None:
    models = table(40, 1).assign(same=lambda t: np.exp(t["pgd_accuracy_train"]))
    rows = analyze(models, measures=["same", "more"], **QUICK)
    reasons = rows.undefined[rows.undefined["statistic"] == "residual_tau"].set_index("measure")["reason"]
    assert reasons["same"] == "pgd_accuracy_train determines the measure or the target"
    few = analyze(table(11, 2), measures=["more"], **QUICK)
    row = few.select("residual_tau", "pgd_accuracy_train").iloc[0]
    assert np.isfinite(row["estimate"])
    assert np.isnan([row["ci_low"], row["p_value"]]).all()
    assert "11 units are too few for an interval or a test of a tau of residuals" in set(few.undefined["reason"])


def test_equal_models_are_left_with_equal_values() -> None:
    rng = np.random.default_rng(0)
    x, z = (np.repeat(rng.normal(size=30), 2) for _ in range(2))
    left = left_of(x, z)
    np.testing.assert_array_equal(left[::2], left[1::2])
    assert not left_of(z**3, z).any()
    np.testing.assert_allclose(normal_scores(x), stats.norm.ppf(stats.rankdata(x) / 61))

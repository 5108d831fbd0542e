"""A line is drawn where it describes the models, and a local fit where the relation is plainly curved."""

import numpy as np
import pandas as pd
import pytest
from statsmodels.nonparametric.smoothers_lowess import lowess

from measurebench.reporting.charts import scatter
from measurebench.reporting.charts.curves import LEAST, is_curved, local_fit
from measurebench.reporting.subject.study import Study
from measurebench.stats import analyze
from tests.reporting.charts.drawn import drawn


def curved(n: int = 40) -> tuple[np.ndarray, np.ndarray]:
    draws = np.random.default_rng(0)
    x = draws.random(n)
    return x, 0.1 + 0.2 * np.exp(-6 * x) + draws.normal(0, 0.01, n)


def test_an_exponential_decay_is_curved_and_a_noisy_line_is_not() -> None:
    x, y = curved()
    assert is_curved(x, y)
    assert not is_curved(x, 0.3 - 0.2 * x + np.random.default_rng(1).normal(0, 0.05, len(x)))
    assert not is_curved(x, 2 - x)  # exact lines leave rounding alone to be explained


def test_one_straight_relation_in_a_hundred_is_taken_for_curved() -> None:
    draws = np.random.default_rng(2)
    taken = [is_curved(x, x + draws.normal(0, 1, 30)) for x in draws.normal(0, 1, (1000, 30))]
    assert 2 <= sum(taken) <= 22  # 10 expected, standard deviation 3.1


def test_few_models_or_few_values_are_never_curved() -> None:
    x, y = curved(LEAST - 1)
    assert not is_curved(x, y)
    levels = np.repeat([0.0, 1.0, 2.0, 3.0], 10)
    assert not is_curved(levels, levels**2)
    assert not is_curved(np.arange(20.0), np.ones(20))


def test_the_fit_is_lowess_at_quantiles_and_follows_the_planted_curve() -> None:
    x, y = curved(400)
    found = local_fit(x, y)
    assert found is not None
    at, fitted = found
    assert (at[0], at[-1]) == (x.min(), x.max())
    smooth = lowess(y, x, frac=1 / 2, it=0)
    assert fitted == pytest.approx(np.interp(at, smooth[:, 0], smooth[:, 1]), abs=1e-3)
    assert np.argmin(fitted) > len(at) // 2


def test_a_curved_relation_is_drawn_as_its_local_fit_without_a_band() -> None:
    x, y = curved()
    table = pd.DataFrame({"model_id": [f"m{i}" for i in range(len(x))], "robust_gap_pgd": y, "bent": x, "even": -y})
    study = Study.of("curved", table, analyze(table, bootstrap=20, permutations=99))
    scene = drawn(scatter.figure(study, "bent"))
    (line,) = scene.of("line")
    found = local_fit(x, y)
    assert found is not None
    height = scene.axis("left", unit=0.01)
    assert [scene.x.at(item["x"]) for item in line.items] == pytest.approx(found[0].tolist(), abs=1e-4)
    assert [height.at(item["y"]) for item in line.items] == pytest.approx(found[1].tolist(), abs=1e-4)
    assert not [layer for layer in scene.of("area") if layer.items]
    (straight,) = drawn(scatter.figure(study, "even")).of("area")
    assert len(straight.items) == 25

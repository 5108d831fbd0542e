"""The memory of an analysis: what the estimate says, and what is refused."""

import itertools
import tracemalloc

import numpy as np
import pandas as pd
import pytest

from measurebench.core.errors import BadInputError
from measurebench.stats import analyze
from measurebench.stats.population.memory import BUDGET, bytes_needed, matched_pairs


def settled(n_models: int, seed: int = 0) -> pd.DataFrame:
    """Return runs of two checkpoints on a grid of three settings and as many seeds as it takes."""
    rng = np.random.default_rng(seed)
    grid = itertools.product(range(n_models), ("AT", "TRADES"), ("a", "b"), (32, 64), ("best", "last"))
    rows = list(itertools.islice(grid, n_models))
    columns = ["setting_seed", "defense", "architecture", "setting_batch_size", "setting_stop"]
    table = pd.DataFrame(rows, columns=columns)
    table["run"] = np.arange(n_models) // 2
    return table.assign(gap=rng.normal(size=n_models), m=rng.normal(size=n_models))


def test_pairs_that_differ_in_one_setting_are_counted_as_they_are_listed() -> None:
    table = settled(160)
    found = analyze(table, target="gap", measures=["m"], bootstrap=20, permutations=19)
    axes = ["setting_seed", "defense", "architecture", "setting_batch_size", "setting_stop"]
    counted = matched_pairs({axis: table[axis].astype(str).tolist() for axis in axes})
    assert {axis: pairs for axis, (pairs, _) in counted.items()} == dict(
        zip(found.matching["axis"], found.matching["n_pairs"], strict=True)
    )
    assert counted["setting_seed"][1] == 45  # from each of ten seeds to each other
    assert matched_pairs({}) == {}
    assert matched_pairs({"a": ["x", "y", "z"]}) == {"a": (3, 3)}


@pytest.mark.slow
@pytest.mark.parametrize("n_models", [320, 800])
def test_the_estimate_is_near_the_most_that_is_taken(n_models: int) -> None:
    table = settled(n_models)
    analyze(table.head(48), target="gap", bootstrap=20, permutations=19)  # so that imports do not count
    tracemalloc.start()
    found = analyze(table, target="gap", measures=["m"], bootstrap=2000)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    matched = matched_pairs({axis: table[axis].astype(str).tolist() for axis in found.settings})
    expected = bytes_needed(len(table), found.n_units, 1, matched.values(), 2000, 1000)
    assert 0.6 < most / expected < 1.5


def test_ten_thousand_models_of_a_grid_fit_and_as_many_of_one_setting_are_refused() -> None:
    assert bytes_needed(10_000, 5_000, 20, [(10_000, 6)] * 9, 2000, 2000) < BUDGET / 2
    n = 10_000
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"setting_lr": rng.integers(0, 100, n), "gap": rng.normal(size=n), "m": rng.normal(size=n)})
    with pytest.raises(BadInputError, match=r"49,4\d\d,\d\d\d pairs that differ in one setting.*about \d,?\d* GiB"):
        analyze(table, target="gap", measures=["m"], settings=["setting_lr"])

import itertools

import numpy as np
import pytest

from measurebench.stats.resampling.draws import bootstrap_weights
from measurebench.stats.statistics.estimates import Cohort, Draws, Sample
from measurebench.stats.statistics.information import Cells, Lower, conditional_information


def _sample(x: np.ndarray, y: np.ndarray) -> Sample:
    n = len(x)
    return Sample("m", x, Cohort(np.arange(n), y, np.arange(n), Draws(bootstrap_weights(n, 20, 0), 19, 0)))


def _reference(x: np.ndarray, y: np.ndarray, levels: tuple[np.ndarray, ...]) -> float:
    """Plug-in I(Vx; Vy | U) / H(Vy | U), pair by pair."""
    counts: dict[tuple, dict[tuple, int]] = {}
    for i, j in itertools.permutations(range(len(x)), 2):
        a, b = np.sign(x[i] - x[j]), np.sign(y[i] - y[j])
        if a and b:
            key = tuple((u[i], u[j]) for u in levels)
            cell = counts.setdefault(key, {})
            cell[(a, b)] = cell.get((a, b), 0) + 1
    information = entropy = 0.0
    total = sum(sum(cell.values()) for cell in counts.values())
    for cell in counts.values():
        n = sum(cell.values())
        for value in (1.0, -1.0):
            p = sum(c for (_, b), c in cell.items() if b == value) / n
            entropy -= n / total * (p * np.log(p) if p else 0)
        for (a, b), c in cell.items():
            pa = sum(k for (q, _), k in cell.items() if q == a) / n
            pb = sum(k for (_, q), k in cell.items() if q == b) / n
            information += c / total * np.log(c / n / pa / pb)
    return information / entropy


def test_conditional_information_is_the_minimum_over_sets_of_settings() -> None:
    rng = np.random.default_rng(0)
    n = 24
    u, v = rng.integers(0, 2, n), rng.integers(0, 3, n)
    y = rng.normal(size=n) + u
    x = np.round(y + rng.normal(size=n), 1)
    found = conditional_information(_sample(x, y), Cells.of({"u": u, "v": v}, n))
    expected = {"": (), "u": (u,), "v": (v,), "u + v": (u, v)}
    values = {name: _reference(x, y, levels) for name, levels in expected.items()}
    best = min(values, key=lambda name: values[name])
    assert found.estimate == pytest.approx(values[best], abs=1e-6)
    assert found.axis == best


def test_the_target_itself_carries_all_information() -> None:
    y = np.random.default_rng(1).normal(size=20)
    assert conditional_information(_sample(y, y), Cells.of({}, 20)).estimate == pytest.approx(1.0)


def test_pairs_are_counted_cell_by_cell_as_in_a_slow_loop() -> None:
    rng = np.random.default_rng(3)
    n = 150
    settings = {"u": rng.integers(0, 3, n), "v": rng.integers(0, 2, n)}
    x, y = rng.integers(0, 12, n), rng.integers(0, 30, n)
    cells = Cells.of(settings, n)
    lower = Lower.of(y, cells)
    smaller, tied = lower.counted(x, cells)
    for place, name in enumerate(cells.names):
        k, own = cells.sizes[place], cells.own[place]
        expected = np.zeros((3, k, k), int)
        for i in range(n):
            for j in range(n):
                if y[j] < y[i]:
                    expected[:, own[i], own[j]] += [x[j] < x[i], x[j] == x[i], True]
        for found, wanted in zip((smaller, tied, lower.counts), expected, strict=True):
            np.testing.assert_array_equal(cells.tables(found)[place], wanted, err_msg=name)

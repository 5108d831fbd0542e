"""Bootstrap counts against numpy, number for number."""

import numpy as np
import pytest

from measurebench.stats.resampling import multinomial
from measurebench.stats.resampling.multinomial import equal_counts


@pytest.mark.parametrize("n", [1, 2, 3, 7, 40, 600])
def test_the_counts_are_those_of_numpy(n: int) -> None:
    for seed in range(3):
        expected = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=200)
        found = equal_counts(np.random.default_rng(seed), n, 200)
        assert found.dtype == np.float32
        assert np.array_equal(found, expected)
        assert (found.sum(axis=1) == n).all()


def test_where_numpy_takes_another_way_it_is_called_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multinomial, "_fill", lambda *_: False)
    expected = np.random.default_rng(4).multinomial(9, np.full(9, 1 / 9), size=50)
    assert np.array_equal(equal_counts(np.random.default_rng(4), 9, 50), expected)


def test_too_few_uniform_numbers_are_told() -> None:
    left = multinomial._left(5)
    logs = np.log1p(-np.minimum(left, 1 - left))
    assert not multinomial._fill(np.zeros((9, 5), np.float32), left, logs, np.full(6, 0.5))

import numpy as np
import pytest

from measurebench.stats.resampling import drawn_units as module
from measurebench.stats.resampling.drawn_units import drawn_units


def of_numpy(n_units: int, draws: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).multinomial(n_units, np.full(n_units, 1 / n_units), size=draws)


@pytest.mark.parametrize("n_units", [1, 2, 3, 4, 5, 12, 40, 255, 643])
def test_units_are_drawn_as_numpy_draws_them(n_units: int) -> None:
    for seed in range(3):
        found = drawn_units(n_units, 500, seed)
        assert found.dtype == np.uint8
        np.testing.assert_array_equal(found, of_numpy(n_units, 500, seed))


def test_draws_go_on_in_the_stream_where_a_block_of_them_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_AT_A_TIME", 100)
    np.testing.assert_array_equal(drawn_units(30, 200, 5), of_numpy(30, 200, 5))


def test_what_inversion_does_not_draw_is_left_to_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_draw", lambda *_: -1)
    np.testing.assert_array_equal(drawn_units(7, 20, 1), of_numpy(7, 20, 1))

"""Concordant pairs in every draw, by merging, are those of the plain double sum."""

import numpy as np
import pytest

from measurebench.stats.resampling import merging
from measurebench.stats.resampling import pair_counts as pair_counts_module
from measurebench.stats.resampling.draws import bootstrap_weights
from measurebench.stats.resampling.merging import drawn_concordant
from measurebench.stats.resampling.pair_counts import Drawn, drawn_concordance, pair_counts, weighted_spearman
from measurebench.stats.resampling.vectors import ALIGNMENT, BLOCK, aligned


def in_blocks(weights: np.ndarray, kind: type) -> np.ndarray:
    blocks = aligned((len(weights) // BLOCK, weights.shape[1], BLOCK), kind)
    blocks[:] = weights.reshape(-1, BLOCK, weights.shape[1]).swapaxes(1, 2)
    return blocks


@pytest.mark.parametrize("n", [1, 2, 7, 8, 9, 16, 17, 40, 129])
@pytest.mark.parametrize("kind", [np.int16, np.int32])
@pytest.mark.parametrize("size", [0.0, 30_000.0])  # a row for each unit, and, as if the sums were too large, each model
def test_concordant_pairs_are_counted_as_in_the_plain_double_sum(n: int, kind: type, size: float) -> None:
    rng = np.random.default_rng(n)
    unit, rank = rng.integers(0, max(1, n // 2), n), rng.integers(0, n, n)
    n_units = int(unit.max()) + 1
    weights = rng.integers(0, 5, (2 * BLOCK, n_units))
    concordant = np.triu(rank[:, None] < rank, 1)
    same = unit[:, None] == unit
    own = np.bincount(np.repeat(unit, n), (concordant & same).ravel(), minlength=n_units).astype(np.int64)
    found = drawn_concordant(rank, unit, own, in_blocks(weights, kind), (size, 5.0)).ravel()
    for w, count in zip(weights[:, unit], found, strict=True):
        assert count == (concordant * np.where(same, w[:, None], np.outer(w, w))).sum()


def test_sums_beyond_sixteen_bits_stay_exact() -> None:
    # One run of 300 checkpoints in order: 44,850 concordant pairs, which count w = 3.
    x, drawn = np.arange(300.0), Drawn.of(np.zeros(300, np.int64), np.array([[3.0]], np.float32))
    assert pair_counts(x, x, drawn).concordance.tolist() == [3 * 300 * 299]


def test_parts_double_until_one_is_left() -> None:
    assert [merging._n_levels(n) for n in (1, 8, 9, 16, 17, 32, 33)] == [0, 0, 1, 1, 2, 2, 3]


def test_aligned_arrays_start_at_a_line_of_the_cache() -> None:
    for shape in ((1, 64), (7, 64), (3, 5, 64)):
        found = aligned(shape, np.int16)
        assert found.ctypes.data % ALIGNMENT == 0
        assert found.shape == shape
        assert not found.any()


def test_draws_of_very_many_models_are_counted_in_wider_numbers_with_the_same_result(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(8)
    x, y, heavy = rng.integers(0, 20, 90).astype(float), rng.integers(0, 40, 90).astype(float), rng.random(90)
    units, weights = rng.integers(0, 30, 90), bootstrap_weights(30, 70, 2)

    def found() -> list[np.ndarray]:
        drawn = Drawn.of(units, weights)
        counts = pair_counts(x, y, drawn)
        sums = [counts.concordance, counts.ties_x, counts.ties_y, drawn.total, drawn.cubes]
        return [*sums, weighted_spearman(x, y, drawn), drawn_concordance(x, y, drawn, heavy), drawn.blocks]

    narrow = found()
    monkeypatch.setattr(pair_counts_module, "_NARROW", 1)
    wide = found()
    assert (narrow[-1].dtype, wide[-1].dtype) == (np.int16, np.int32)
    for few, many in zip(narrow, wide, strict=True):
        np.testing.assert_array_equal(few, many)

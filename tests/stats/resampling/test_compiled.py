"""Loops are compiled, with a cache on disk where a folder for it can be written."""

from typing import Any

import numba
import numpy as np
import pytest

from measurebench.core.compiled import compiled
from measurebench.stats.resampling.compiled import LANES, add_shared_bits, ones_in


def test_loops_are_compiled_without_a_cache_where_no_folder_can_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    njit = numba.njit

    def without_folder(*args: Any, cache: bool = False, **options: Any) -> Any:
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return njit(*args, **options)

    monkeypatch.setattr(numba, "njit", without_folder)
    assert compiled(lambda k: k + 1)(2) == 3


def test_set_bits_are_counted() -> None:
    count = numba.njit()(lambda word: ones_in(word))
    assert [count(word) for word in (0, 1, 0b1011, 2**62 - 1)] == [0, 1, 3, 62]


def test_bits_set_in_two_rows_of_words_are_added_lane_by_lane() -> None:
    rng = np.random.default_rng(0)
    own, seen = (rng.integers(0, 2**63, shape).astype(np.uint64) for shape in ((3, LANES), 3))
    counts = np.arange(LANES)
    numba.njit()(lambda counts, own, seen: add_shared_bits(counts, own, seen))(counts, own, seen)
    ones = [sum(int(a & b).bit_count() for a, b in zip(lane, seen, strict=True)) for lane in own.T]
    assert counts.tolist() == [k + count for k, count in enumerate(ones)]

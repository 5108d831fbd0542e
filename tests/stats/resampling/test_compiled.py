"""Loops are compiled, with a cache on disk where a folder for it can be written."""

from typing import Any

import numba
import pytest

from measurebench.core.compiled import compiled
from measurebench.stats.resampling.compiled import ones_in


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

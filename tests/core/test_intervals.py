"""Intervals of proportions against scipy, and p-values as text."""

import re
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binomtest, norm

import measurebench
from measurebench.core.intervals import ALPHA, Z, p_value_text, wilson_interval

COUNTS = [(0, 5), (1, 5), (5, 5), (274, 300), (1, 1)]


@pytest.mark.parametrize(("k", "n"), COUNTS)
def test_the_wilson_interval_is_that_of_scipy(k: int, n: int) -> None:
    interval = binomtest(k, n).proportion_ci(0.95, method="wilson")
    assert wilson_interval(k, n) == pytest.approx((interval.low, interval.high), abs=1e-14)


def test_arrays_give_the_intervals_of_their_elements() -> None:
    k, n = np.array(COUNTS).T
    low, high = wilson_interval(k, n)
    assert [*zip(low, high, strict=True)] == [wilson_interval(*each) for each in COUNTS]


def test_a_missing_proportion_has_no_interval() -> None:
    low, high = wilson_interval(np.array([np.nan, 2.0]), 4)
    assert np.isnan([low[0], high[0]]).all()
    assert 0 < low[1] < 0.5 < high[1] < 1


def test_the_normal_quantile_is_that_of_scipy() -> None:
    assert pytest.approx(norm.ppf(0.975), abs=1e-15) == Z


def test_a_p_value_below_a_thousandth_is_said_to_be_below_it() -> None:
    assert [p_value_text(p) for p in (1.0, 0.05, 0.001, 0.00099, 0.0)] == ["1.000", "0.050", "0.001", *["< 0.001"] * 2]


def test_no_other_module_has_a_level_or_a_normal_quantile_of_its_own() -> None:
    """A level that is written twice may be changed once: tests and intervals would then disagree."""
    assert norm.ppf(1 - ALPHA / 2) == pytest.approx(Z, abs=1e-15)
    own = re.compile(r"^_?(ALPHA|Z)\b.*= *[\d.]+|\b1\.9(6|59\d*)\b *[*/+-]|[*/+-] *1\.9(6|59\d*)\b", re.MULTILINE)
    package = Path(measurebench.__file__).parent
    owners = {str(path.relative_to(package)) for path in package.rglob("*.py") if own.search(path.read_text("utf-8"))}
    allowed = {"core/intervals.py", "measures/uncertainty.py"}  # docstring of the last
    assert owners <= allowed

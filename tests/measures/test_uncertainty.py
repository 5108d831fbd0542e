import math

import pytest
import torch

from measurebench.measures.uncertainty import (
    jackknife_error,
    order_statistic,
    percentile_rank,
    root_mean,
)


def test_the_jackknife_of_a_mean_is_its_standard_error() -> None:
    values = torch.tensor([1.0, 4.0, 2.0, 7.0], dtype=torch.float64)
    left_out = (values.sum() - values) / 3
    # for a mean the jackknife is s / sqrt(n) exactly
    assert jackknife_error(left_out) == pytest.approx(float(values.std()) / 2, rel=1e-12)


def test_one_example_has_no_error() -> None:
    assert jackknife_error(torch.tensor([3.0])) is None
    assert order_statistic(torch.tensor([3.0]), 1).standard_error is None


@pytest.mark.parametrize(("n", "percent", "rank"), [(100, 10, 10), (99, 10, 9), (5, 10, 1), (10, 100, 10), (3, 0, 1)])
def test_percentile_ranks_round_down_and_start_at_one(n: int, percent: float, rank: int) -> None:
    assert percentile_rank(n, percent) == rank


def test_the_interval_of_a_median_covers_95_percent_of_samples() -> None:
    draws = torch.rand(400, 101, generator=torch.Generator().manual_seed(0))
    covered = [found.low <= 0.5 <= found.high for found in (order_statistic(row, 51) for row in draws)]
    # binomial with 400 draws: 0.95 +- 3 * sqrt(0.95 * 0.05 / 400) = 0.917 ... 0.983
    assert 0.917 < sum(covered) / 400 < 0.99


def test_the_error_of_a_median_is_that_of_large_samples() -> None:
    values = torch.randn(4001, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    # sqrt(pi / 2) / sqrt(n) for the normal distribution; the interval's width itself varies by about a tenth
    assert order_statistic(values, 2001).standard_error == pytest.approx(math.sqrt(math.pi / 2 / 4001), rel=0.3)


def test_the_error_of_a_root_follows_the_delta_method() -> None:
    squares = torch.tensor([1.0, 9.0], dtype=torch.float64)
    found = root_mean(squares)
    # mean 5, its error sqrt(32) / sqrt(2) = 4; the root's error 4 / (2 sqrt 5)
    assert found.value == pytest.approx(math.sqrt(5))
    assert found.standard_error == pytest.approx(4 / (2 * math.sqrt(5)))

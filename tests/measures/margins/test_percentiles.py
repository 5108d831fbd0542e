import pytest
import torch
from torch import nn

from measurebench.measures.context import MeasureContext
from measurebench.measures.margins.percentiles import InverseMargin, MarginPercentile
from measurebench.measures.registry import find_measure
from measurebench.measures.value import UndefinedMeasureError
from tests.measures.cases import context


def with_margins(margins: list[float]) -> MeasureContext:
    """A network whose logits are (x, 0), so that the margin of an image of label 0 is its pixel."""
    net = nn.Linear(1, 2, bias=False).double().requires_grad_(False)
    net.weight.data = torch.tensor([[1.0], [0.0]], dtype=torch.float64)
    return context(
        net, torch.tensor(margins, dtype=torch.float64)[:, None], torch.zeros(len(margins), dtype=torch.int64)
    )


def test_percentiles_are_order_statistics_and_never_interpolated() -> None:
    here = with_margins([float(i) for i in range(1, 21)][::-1])
    for percent, expected in ((0, 1), (10, 2), (25, 5), (50, 10), (75, 15), (90, 18), (100, 20)):
        assert MarginPercentile(float(percent))(here).value == expected


def test_published_percentiles_are_other_ones() -> None:
    here = with_margins([float(i) for i in range(1, 101)])
    # n // 25, n // 50, n // 75, n // 90: the 4th, 2nd, 1st and 1st smallest of 100
    found = [find_measure(f"margin_p{p}:reference")(here).value for p in (25, 50, 75, 90)]
    assert found == [4, 2, 1, 1]


def test_few_examples_have_no_published_percentile() -> None:
    with pytest.raises(UndefinedMeasureError, match="fewer than 90 examples"):
        find_measure("margin_p90:reference")(with_margins([1.0] * 50))


def test_extremes_carry_the_distance_to_their_neighbour_as_error() -> None:
    found = MarginPercentile(0.0)(with_margins([3.0, 1.0, 7.0]))
    # the jackknife: leaving the smallest out gives 3, any other 1; sqrt(2/3 * (2/3 * 2^2)) = 2/3 * 2
    assert found.standard_error == pytest.approx(2 / 3 * 2)


@pytest.mark.parametrize(("gamma", "negative"), [(0.5, 0), (-0.5, 1)])
def test_the_inverse_margin_is_one_over_the_square_and_tells_the_sign(gamma: float, negative: int) -> None:
    here = with_margins([gamma] + [2.0] * 15)  # rank max(1, 1) of 16
    found = InverseMargin()(here)
    assert found.value == pytest.approx(4)
    assert found.diagnostics["gamma"] == gamma
    assert found.diagnostics["negative_margin"] == negative
    assert find_measure("inverse_margin:reference")(here).diagnostics["gamma"] == abs(gamma)
    assert find_measure("inverse_margin:signed")(here).value == pytest.approx(4 if gamma > 0 else -4)


def test_the_error_of_the_inverse_follows_the_delta_method() -> None:
    here = with_margins([1.0 + 0.01 * i for i in range(100)])
    gamma, inverse = MarginPercentile(10.0)(here), InverseMargin()(here)
    assert inverse.standard_error == pytest.approx(2 * gamma.standard_error / gamma.value**3, rel=1e-12)


def test_a_margin_of_zero_has_no_inverse() -> None:
    with pytest.raises(UndefinedMeasureError, match="margin is zero"):
        InverseMargin()(with_margins([0.0] * 12))


def test_the_published_rank_fails_below_ten_examples() -> None:
    with pytest.raises(UndefinedMeasureError, match="fewer than 10"):
        find_measure("inverse_margin:reference")(with_margins([1.0] * 9))

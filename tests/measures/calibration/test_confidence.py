import math

import pytest
import torch
from torch import nn

from measurebench.measures.calibration.confidence import CalibrationError, Sureness
from measurebench.measures.context import MeasureContext
from tests.measures.cases import context, linear_fixture


def test_entropy_of_the_linear_fixture() -> None:
    net, images, labels, _ = linear_fixture()
    assert Sureness("entropy")(context(net, images, labels)).value == pytest.approx(0.698339716534, abs=1e-11)


def test_an_undecided_network_has_the_largest_entropy_and_the_least_confidence() -> None:
    net, images, labels, _ = linear_fixture()
    net.weight.data *= 0
    net.bias.data *= 0
    assert Sureness("entropy")(context(net, images, labels)).value == pytest.approx(math.log(3), rel=1e-14)
    assert Sureness("confidence")(context(net, images, labels)).value == pytest.approx(1 / 3, rel=1e-14)


def sure(probabilities: list[float], right: list[bool]) -> MeasureContext:
    """A network that predicts class 0 with these probabilities, rightly or not."""
    net = nn.Linear(1, 2, bias=False).double().requires_grad_(False)
    net.weight.data = torch.tensor([[1.0], [0.0]], dtype=torch.float64)
    logits = [math.log(p / (1 - p)) for p in probabilities]
    labels = torch.tensor([0 if r else 1 for r in right])
    return context(net, torch.tensor(logits, dtype=torch.float64)[:, None], labels)


def test_calibration_error_of_two_bins_by_hand() -> None:
    # Bin (0.8, 0.867]: confidences 0.81 and 0.85, one right: |1.66 - 1| / 4. Bin (0.533, 0.6]: 0.55 and 0.58, both
    # right: |1.13 - 2| / 4.
    here = sure([0.81, 0.85, 0.55, 0.58], [True, False, True, True])
    found = CalibrationError()(here)
    assert found.value == pytest.approx((0.66 + 0.87) / 4, rel=1e-12)


def test_its_error_is_the_jackknife_by_brute_force() -> None:
    probabilities = [0.81, 0.85, 0.55, 0.58, 0.95, 0.7]
    right = [True, False, True, True, True, False]
    left_out = []
    for i in range(6):
        keep = [j for j in range(6) if j != i]
        left_out.append(CalibrationError()(sure([probabilities[j] for j in keep], [right[j] for j in keep])).value)
    mean = sum(left_out) / 6
    expected = math.sqrt(5 / 6 * sum((value - mean) ** 2 for value in left_out))
    assert CalibrationError()(sure(probabilities, right)).standard_error == pytest.approx(expected, rel=1e-10)


def test_the_number_of_bins_acts() -> None:
    here = sure([0.81, 0.85, 0.55, 0.58], [True, False, True, True])
    assert CalibrationError(n_bins=1)(here).value == pytest.approx(abs(0.81 + 0.85 + 0.55 + 0.58 - 3) / 4, rel=1e-12)

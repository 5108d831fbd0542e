import pytest
import torch

from measurebench.core.threat import ThreatModel
from measurebench.measures.robustness.estimated_accuracy import EstimatedRobustAccuracy, _corrected, best_threshold
from measurebench.measures.value import UndefinedMeasureError
from tests.measures.cases import context, two_class_linear

T, F = True, False


@pytest.mark.parametrize(
    ("robust", "expected"),
    [([F, F, T, T], 2.5), ([T, T, T, T], 0.0), ([F, F, F, F], 4.0), ([F, T, F, T], 1.5), ([T, F, T, T], 0.0)],
)
def test_the_threshold_makes_the_fewest_errors(robust: list[bool], expected: float) -> None:
    order = torch.tensor([2, 0, 3, 1])
    margins = torch.tensor([1.0, 2.0, 3.0, 4.0])
    assert best_threshold(margins[order], torch.tensor(robust)[order]) == expected


def test_a_linear_network_s_robust_accuracy_is_told_by_its_margins() -> None:
    # an image resists exactly if its margin exceeds radius * ||w||_1, so nothing is left to correct
    weight = torch.tensor([3.0, -2.0, 1.0, 4.0], dtype=torch.float64)
    net = two_class_linear(weight)
    images = 0.3 + 0.4 * torch.rand(400, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    labels = net(images).argmax(1)
    here = context(net, images, labels, threat=ThreatModel.parse("Linf", 0.05))
    true = float((((images - 0.5) @ weight).abs() > 0.05 * 10).double().mean())
    found = EstimatedRobustAccuracy()(here)
    assert found.diagnostics["n_attacked"] == 100
    assert found.diagnostics["errors_on_attacked"] == 0
    assert found.value == pytest.approx(true, abs=0.03)  # the margins between the two nearest attacked ones
    assert found.diagnostics["low"] <= true <= found.diagnostics["high"]


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    generator = torch.Generator().manual_seed(0)
    covered = 0
    for _ in range(400):
        margins = torch.rand(400, generator=generator, dtype=torch.float64)
        robust = (margins + 0.3 * torch.randn(400, generator=generator) > 0.5).double()
        called = (margins > 0.6).double()  # a poor threshold, which the correction has to mend
        found = _corrected(called, called[:100], robust[:100], 0.6)
        covered += found.diagnostics["low"] <= 0.5 <= found.diagnostics["high"]
    assert 0.91 <= covered / 400 <= 0.98


def test_with_everything_attacked_it_is_the_robust_accuracy() -> None:
    called, robust = torch.tensor([1.0, 0.0, 1.0, 1.0]).double(), torch.tensor([1.0, 1.0, 0.0, 1.0]).double()
    found = _corrected(called, called, robust, 0.5)
    assert found.value == pytest.approx(0.75)
    assert found.standard_error == pytest.approx(float(robust.std()) / 2, rel=1e-12)


def test_one_example_is_too_few() -> None:
    net = two_class_linear(torch.ones(4, dtype=torch.float64))
    images, labels = torch.full((1, 4), 0.7, dtype=torch.float64), torch.ones(1, dtype=torch.int64)
    with pytest.raises(UndefinedMeasureError, match="two examples"):
        EstimatedRobustAccuracy()(context(net, images, labels))

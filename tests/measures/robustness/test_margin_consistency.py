import pytest
import torch
from scipy.stats import kendalltau

from measurebench.core.threat import ThreatModel
from measurebench.measures.perturbation.input_margin import input_margins
from measurebench.measures.robustness.margin_consistency import MarginConsistency, _projection
from measurebench.measures.value import UndefinedMeasureError
from tests.measures.cases import context, two_class_linear

WEIGHT = torch.tensor([3.0, -1.0, 2.0, 0.5], dtype=torch.float64)


def linear_case(norm: str, radius: str) -> tuple:
    torch.manual_seed(0)
    net = two_class_linear(WEIGHT)
    images = 0.5 + 0.1 * (torch.rand(20, 4, dtype=torch.float64) - 0.5)  # the nearest boundary lies inside the box
    labels = net(images).argmax(1)
    return net, images, labels, context(net, images, labels, threat=ThreatModel.parse(norm, radius))


@pytest.mark.parametrize(("norm", "dual"), [("Linf", 1), ("L2", 2)])
def test_input_margins_of_a_linear_network_are_its_margin_over_the_dual_norm(norm: str, dual: int) -> None:
    _net, images, _labels, here = linear_case(norm, "1/8")
    margin = (images - 0.5) @ WEIGHT
    exact = margin.abs() / WEIGHT.norm(p=dual)
    found = input_margins(here, torch.arange(20), 0.5, 12)
    # The bisection stops at 0.5 / 2^12 above; steps of a quarter of the radius reach the surface of the ball.
    assert bool((found >= exact * (1 - 1e-9)).all())
    assert bool((found - exact <= 0.5 / 2**12 + 1e-9).all())


def test_a_linear_network_is_perfectly_consistent() -> None:
    _, _, _, here = linear_case("Linf", "1/8")
    found = MarginConsistency(halvings=14)(here)
    assert found.value == pytest.approx(1, abs=0.02)
    assert found.diagnostics["n_correct"] == 20


def test_pairs_are_counted_as_kendall_does() -> None:
    torch.manual_seed(1)
    a, b = torch.rand(30).double(), torch.rand(30).double()
    tau, error = _projection(a, b)
    assert tau == pytest.approx(kendalltau(a, b).statistic, rel=1e-12)  # without ties tau-a is tau-b
    assert error > 0


def test_the_error_matches_repeated_samples() -> None:
    generator = torch.Generator().manual_seed(2)
    taus, errors = [], []
    for _ in range(200):
        a = torch.randn(60, generator=generator)
        b = a + torch.randn(60, generator=generator)
        tau, error = _projection(a.double(), b.double())
        taus.append(tau)
        errors.append(error)
    spread = float(torch.tensor(taus).std())
    # 200 samples estimate a standard deviation to 5 %; the projection leaves terms of order 1/n out
    assert sum(errors) / 200 == pytest.approx(spread, rel=0.2)


def test_two_infinities_are_tied() -> None:
    tau, _ = _projection(torch.tensor([1.0, 2.0, 3.0]).double(), torch.tensor([1.0, torch.inf, torch.inf]).double())
    assert tau == pytest.approx(2 / 3)


def test_too_few_correct_images_are_undefined() -> None:
    net, images, labels, _ = linear_case("Linf", "1/8")
    with pytest.raises(UndefinedMeasureError, match="three correct images, 0 are"):
        MarginConsistency()(context(net, images, 1 - labels))


def test_images_out_of_reach_have_no_order() -> None:
    net, images, _labels, _ = linear_case("Linf", "1/8")
    net.bias.data += torch.tensor([0.0, 100.0])
    with pytest.raises(UndefinedMeasureError, match="same margin"):
        MarginConsistency()(context(net, images, net(images).argmax(1), threat=ThreatModel.parse("Linf", "1/100")))

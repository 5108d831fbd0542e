import math

import pytest
import torch
from scipy.stats import binomtest, norm

from measurebench.measures.robustness.certified_radius import CertifiedRadius, lower_bound
from tests.measures.cases import context, two_class_linear


def test_bounds_are_scipy_s_exact_ones() -> None:
    counts = torch.tensor([0, 1, 250, 499, 500])
    expected = [binomtest(int(k), 500, alternative="greater").proportion_ci(0.999, "exact").low for k in counts]
    assert lower_bound(counts, 500, 0.001).tolist() == pytest.approx(expected, rel=1e-9)


def test_a_network_of_one_opinion_has_the_largest_radius() -> None:
    net = two_class_linear(torch.zeros(4, dtype=torch.float64))
    net.bias.data = torch.tensor([1.0, 0.0], dtype=torch.float64)
    images, labels = torch.rand(4, 4, dtype=torch.float64), torch.tensor([0, 0, 0, 1])
    found = CertifiedRadius(n_draws=100)(context(net, images, labels))
    largest = 0.25 * norm.ppf(0.001 ** (1 / 100))
    assert found.per_example.tolist() == pytest.approx([largest, largest, largest, 0.0], rel=1e-9)
    assert found.diagnostics["certified"] == 0.75
    assert found.diagnostics["abstained"] == 0


def test_a_linear_network_is_certified_below_its_distance_to_the_boundary() -> None:
    # under noise the side of a hyperplane is kept with probability Phi(distance / sigma): the exact radius is distance
    weight = torch.tensor([3.0, -2.0, 1.0, 4.0], dtype=torch.float64)
    net, distance = two_class_linear(weight), 0.2
    images = (0.5 + distance * weight / weight.norm())[None] + 1e-6 * torch.arange(12)[:, None]
    found = CertifiedRadius(n_draws=2000)(context(net, images, torch.ones(12, dtype=torch.int64)))
    p = norm.cdf(distance / 0.25)
    loss = 0.25 * 3.09 * math.sqrt(p * (1 - p) / 2000) / norm.pdf(distance / 0.25)  # what the 99.9 % bound costs
    assert bool((found.per_example < distance).all())
    assert found.value == pytest.approx(distance - loss, abs=0.01)


def test_noise_that_leaves_the_class_open_abstains() -> None:
    net = two_class_linear(torch.ones(4, dtype=torch.float64))
    images = torch.full((5, 4), 0.5, dtype=torch.float64) + 1e-6 * torch.arange(5)[:, None]
    found = CertifiedRadius(n_draws=50)(context(net, images, torch.ones(5, dtype=torch.int64)))
    assert found.diagnostics["abstained"] >= 0.8
    assert bool((found.per_example >= 0).all())

import math

import pytest
import torch

from measurebench.core.threat import ThreatModel
from measurebench.measures.robustness.probabilistic import ProbabilisticRobustness
from tests.measures.cases import context, two_class_linear


def images_at(offset: float, n: int) -> torch.Tensor:
    """Flat images of one pixel just beside each other, ``offset`` above the boundary at 1/2."""
    return 0.5 + offset + 1e-6 * torch.arange(n, dtype=torch.float64)[:, None]


def test_one_pixel_keeps_its_side_as_often_as_the_interval_says() -> None:
    # the pixel moves uniformly in [-r, r]; the share above -offset is (r + offset) / (2 r)
    net = two_class_linear(torch.ones(1, dtype=torch.float64))
    here = context(net, images_at(0.05, 40), torch.ones(40, dtype=torch.int64), threat=ThreatModel.parse("Linf", 0.1))
    found = ProbabilisticRobustness()(here)
    assert found.value == pytest.approx(0.75, abs=4 * math.sqrt(0.75 * 0.25 / 4000))
    assert found.standard_error == pytest.approx(math.sqrt(0.75 * 0.25 / 4000), rel=0.4)


@pytest.mark.parametrize(("offset", "label", "expected"), [(0.2, 1, 1.0), (0.2, 0, 0.0)])
def test_out_of_reach_of_the_boundary_it_is_the_accuracy(offset: float, label: int, expected: float) -> None:
    net = two_class_linear(torch.ones(1, dtype=torch.float64))
    labels = torch.full((3,), label)
    here = context(net, images_at(offset, 3), labels, threat=ThreatModel.parse("L2", 0.1))
    found = ProbabilisticRobustness(n_draws=20)(here)
    assert found.value == expected
    assert found.diagnostics["share_at_95_percent"] == expected

import pytest
import torch
from torch import nn

from measurebench.measures.api import measure
from measurebench.measures.flatness.sharpness_flat import SharpnessFlatness
from tests.measures.flatness.nets import examples, network, relu_pair


def value(item, net, images, labels, **options):
    (found,) = measure(net, images, labels, [item], **options).values()
    return found


def spread_margins(n=100):
    """Two classes, z = (w x, -w x) with w = 1 and x_i = (0.5 + i/n): every example has weights of its own."""
    net = nn.Linear(n, 2, bias=False).double()
    margins = 0.1 + torch.arange(n, dtype=torch.float64) / n
    net.weight.data = torch.stack([margins, -margins]) / 2
    return net.requires_grad_(False), torch.eye(n, dtype=torch.float64), torch.zeros(n, dtype=torch.int64)


def test_a_box_topples_the_examples_whose_margin_it_covers():
    # the worst v in |v_j| <= a lowers every margin m_i = 0.1 + i/n by 2a: a fall of a tenth takes margins up to 0.2,
    # so a = 0.1; one example is one hundredth of accuracy, and of the margin
    found = value(SharpnessFlatness(), *spread_margins())
    assert found.diagnostics["radius"] == pytest.approx(0.1, abs=0.006)
    assert found.value == found.diagnostics["radius"] ** -2


def test_a_relative_box_topples_everything_at_its_own_size_only():
    # |v_j| <= a |w_j| lowers margin m_i by a m_i: nothing falls before a = 1, then all at once
    found = value(SharpnessFlatness("magnitude"), *spread_margins())
    assert found.diagnostics["radius"] == pytest.approx(1.0, rel=0.03)


def test_only_the_relative_box_survives_rescaling():
    images = torch.rand(60, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    labels = relu_pair()(images).argmax(1)
    for box, survives in (("magnitude", True), ("absolute", False)):
        values = [value(SharpnessFlatness(box), relu_pair(c), images, labels).value for c in (1.0, 10.0)]
        assert (abs(values[1] / values[0] - 1) < 1e-6) is survives


def test_worst_case_boxes_are_smaller_than_the_noise_that_is_borne():
    net = network("wide")
    images, labels = examples(net, 60)
    found = measure(net, images, labels, ["sharpness_flat", "pacbayes_flat"])
    assert found["sharpness_flat"].value > found["pacbayes_flat"].value


def test_an_accuracy_below_the_displacement_leaves_it_undefined():
    net = network("wide")
    images, labels = examples(net, 40)
    found = value("sharpness_flat", net, images, (labels + 1) % 10)
    assert found.value is None
    assert "below" in found.reason

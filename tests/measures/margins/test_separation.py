import math

import pytest
import torch
from torch import nn

from measurebench.measures.margins.separation import FeatureSeparation, davies_bouldin, difference_index
from measurebench.measures.value import UndefinedMeasureError
from tests.measures.cases import context, examples, network


def clusters() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    labels = torch.arange(60) % 4
    return torch.randn(60, 5, dtype=torch.float64) + 3 * torch.eye(5, dtype=torch.float64)[labels], labels


def test_the_davies_bouldin_index_is_the_slow_loop_s() -> None:
    vectors, labels = clusters()
    means = [vectors[labels == c].mean(0) for c in range(4)]
    spread = [float((vectors[labels == c] - means[c]).norm(dim=1).mean()) for c in range(4)]
    worst = [
        max((spread[i] + spread[j]) / math.dist(means[i].tolist(), means[j].tolist()) for j in range(4) if j != i)
        for i in range(4)
    ]
    assert float(davies_bouldin(vectors, labels, 10)) == pytest.approx(sum(worst) / 4, rel=1e-12)


def test_two_pairs_on_a_line_have_known_indices() -> None:
    # means 1 and 9, spreads 1 and 1: (1 + 1) / 8; the means lie 4 from their centre: (4 - 1) / 4
    vectors, labels = torch.tensor([[0.0], [2.0], [8.0], [10.0]], dtype=torch.float64), torch.tensor([0, 0, 1, 1])
    assert float(davies_bouldin(vectors, labels, 2)) == pytest.approx(0.25, rel=1e-12)
    assert float(difference_index(vectors, labels, 2)) == pytest.approx(0.75, rel=1e-12)


def test_classes_with_one_centre_have_the_smallest_difference_index() -> None:
    vectors, labels = torch.tensor([[-1.0], [1.0], [-2.0], [2.0]], dtype=torch.float64), torch.tensor([0, 0, 1, 1])
    assert float(difference_index(vectors, labels, 2)) == -1


def test_the_features_are_what_the_last_linear_layer_reads() -> None:
    net = network("wide")
    images, labels = examples(net)
    hidden = nn.Sequential(*list(net)[:3])(images)
    found = FeatureSeparation("rdi")(context(net, images, labels, batch_size=5))
    assert found.value == pytest.approx(float(difference_index(hidden, labels, 10)), rel=1e-12)
    assert found.standard_error > 0


def test_a_single_label_has_no_separation() -> None:
    net = network("wide")
    images, labels = examples(net)
    with pytest.raises(UndefinedMeasureError, match="same label"):
        FeatureSeparation()(context(net, images, torch.zeros_like(labels)))


def test_a_network_without_a_linear_layer_has_no_features() -> None:
    net = nn.Sequential(nn.Conv2d(1, 10, 8), nn.Flatten()).double().requires_grad_(False)
    with pytest.raises(UndefinedMeasureError, match="no features"):
        FeatureSeparation()(context(net, *examples(network("wide"))))

import math

import pytest
import torch
from torch import nn

from measurebench.measures.registry import find_measure
from measurebench.measures.value import UndefinedMeasureError
from measurebench.measures.weights.size import EuclideanNorm, NumParams
from tests.measures.cases import context

IMAGES, LABELS = torch.rand(4, 2, dtype=torch.float64), torch.tensor([0, 1, 0, 1])


def linear(*rows: list[float]) -> nn.Module:
    layer = nn.Linear(2, len(rows)).double()
    layer.weight.data = torch.tensor(rows, dtype=torch.float64)
    return nn.Sequential(layer).requires_grad_(False)


def test_weights_3_and_4_have_norm_5() -> None:
    here = context(linear([3, 0], [0, 4]), IMAGES, LABELS)
    assert EuclideanNorm("euclid_norm")(here).value == 5
    assert EuclideanNorm("param_norm")(here).value == 25


def test_euclidean_norm_triples_when_weights_triple() -> None:
    once = EuclideanNorm("euclid_norm")(context(linear([1, 2], [3, 4]), IMAGES, LABELS)).value
    thrice = EuclideanNorm("euclid_norm")(context(linear([3, 6], [9, 12]), IMAGES, LABELS)).value
    assert thrice == pytest.approx(3 * once, rel=1e-14)


def test_distance_to_initialisation_is_that_of_the_difference() -> None:
    here = context(linear([3, 1], [1, 5]), IMAGES, LABELS, initial=linear([0, 1], [1, 1]))
    assert EuclideanNorm("euclid_init_norm")(here).value == 5
    assert EuclideanNorm("fro_dist")(here).value == 25


def test_distance_to_unknown_initial_weights_is_undefined() -> None:
    with pytest.raises(UndefinedMeasureError, match="weights at initialisation are not known"):
        EuclideanNorm("euclid_init_norm")(context(linear([1, 2], [3, 4]), IMAGES, LABELS))


def test_distance_to_another_network_is_undefined() -> None:
    here = context(linear([3, 1], [1, 5]), IMAGES, LABELS, initial=linear([0, 1], [1, 1], [2, 2]))
    with pytest.raises(UndefinedMeasureError, match="different layers"):
        EuclideanNorm("euclid_init_norm")(here)


def test_a_network_without_weight_layers_has_no_norm() -> None:
    with pytest.raises(UndefinedMeasureError, match="no convolution, linear or attention layer"):
        EuclideanNorm("euclid_norm")(context(nn.Sequential(nn.BatchNorm1d(2)).eval(), IMAGES, LABELS))


def test_parameters_are_counted_once_each() -> None:
    first, second = nn.Linear(2, 2), nn.Linear(2, 2)
    second.weight = first.weight
    network = nn.Sequential(first, nn.BatchNorm1d(2), second).eval()
    here = context(network, IMAGES.float(), LABELS)
    # a weight of 4 shared, two biases of 2, and the norm's 2 + 2; running statistics are no parameters
    assert NumParams()(here).value == 12
    assert find_measure("num_params:reference")(here).value == 4


def test_a_transformer_says_what_it_counts_and_what_not() -> None:
    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.position = nn.Parameter(torch.zeros(3, 4))
            self.block = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)
            self.head = nn.Linear(4, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head((self.block(x + self.position)).mean(1))

    network = Tokens().eval().requires_grad_(False)
    value = EuclideanNorm("euclid_norm")(context(network, torch.rand(2, 3, 4), torch.tensor([0, 1])))
    weights = [p for name, p in network.named_parameters() if p.dim() == 2 and name != "position"]
    assert value.value == pytest.approx(math.sqrt(sum(float(p.double().square().sum()) for p in weights)), rel=1e-12)
    assert value.diagnostics["n_layers"] == 7
    assert value.diagnostics["not_counted"] == "position"
    assert value.diagnostics["n_norms_ignored"] == 2

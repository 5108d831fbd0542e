import math

import pytest
import torch
from torch import nn

from measurebench.core.errors import BadInputError
from measurebench.measures.registry import find_measure
from measurebench.measures.value import UndefinedMeasureError
from measurebench.measures.weights.products import LogLayerNorms
from tests.measures.cases import context, examples, network

IMAGES, LABELS = torch.rand(4, 3, dtype=torch.float64), torch.tensor([0, 1, 0, 1])


def deep(*diagonals: list[float]) -> nn.Module:
    layers = []
    for diagonal in diagonals:
        layer = nn.Linear(len(diagonal), len(diagonal), bias=False).double()
        layer.weight.data = torch.diag(torch.tensor(diagonal, dtype=torch.float64))
        layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers[:-1]).requires_grad_(False)


def test_diagonal_layers_have_the_norms_of_their_diagonals() -> None:
    here = context(deep([1, 2, 2], [4, 3, 0]), IMAGES, LABELS)
    # Frobenius: 9 and 25; spectral: 4 and 16
    assert find_measure("log_prod_of_fro")(here).value == pytest.approx(math.log(9 * 25), rel=1e-14)
    assert find_measure("log_prod_of_spec")(here).value == pytest.approx(math.log(4 * 16), rel=1e-14)
    assert find_measure("log_sum_of_fro")(here).value == pytest.approx(math.log(2 * math.sqrt(9 * 25)), rel=1e-14)
    assert find_measure("log_sum_of_spec")(here).value == pytest.approx(math.log(2 * math.sqrt(64)), rel=1e-14)


@pytest.mark.parametrize("name", ["log_prod_of_fro", "log_prod_of_spec"])
def test_tripling_every_layer_adds_two_logarithms_of_three_per_layer(name: str) -> None:
    once = find_measure(name)(context(deep([1, 2, 3], [2, 2, 1]), IMAGES, LABELS)).value
    thrice = find_measure(name)(context(deep([3, 6, 9], [6, 6, 3]), IMAGES, LABELS)).value
    assert thrice - once == pytest.approx(2 * 2 * math.log(3), rel=1e-12)


def test_a_layer_of_zeros_has_no_logarithm() -> None:
    with pytest.raises(UndefinedMeasureError, match="layer '2' is zero"):
        find_measure("log_prod_of_fro")(context(deep([1, 1, 1], [0, 0, 0]), IMAGES, LABELS))


def test_folded_norms_are_those_of_the_scaled_weights() -> None:
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(2)
    norm.running_var, norm.weight.data = torch.tensor([4.0, 0.25]), torch.tensor([3.0, -1.0])
    net = nn.Sequential(nn.Conv2d(1, 2, 1, bias=False), norm, nn.Flatten(), nn.Linear(8, 2)).double().eval()
    here = context(net.requires_grad_(False), torch.rand(2, 1, 2, 2).double(), torch.tensor([0, 1]))
    scale = torch.tensor([3 / math.sqrt(4 + 1e-5), -1 / math.sqrt(0.25 + 1e-5)], dtype=torch.float64)
    folded = (net[0].weight.flatten() * scale).square().sum() * net[3].weight.square().sum()
    assert find_measure("log_prod_of_fro_bn_folded")(here).value == pytest.approx(math.log(folded), rel=1e-6)
    # as a layer of its own the norm is diagonal: its squared Frobenius norm is the sum of squared scales
    layered = net[0].weight.square().sum() * scale.square().sum() * net[3].weight.square().sum()
    assert LogLayerNorms("fro", "prod", "layer")(here).value == pytest.approx(math.log(layered), rel=1e-6)
    assert find_measure("log_prod_of_fro")(here).diagnostics["n_norms_ignored"] == 1


def test_a_preactivation_network_keeps_the_norm_that_cannot_be_folded() -> None:
    net = network("preactivation")
    images, labels = examples(net)
    value = find_measure("log_prod_of_spec_bn_folded")(context(net, images, labels))
    assert value.diagnostics["n_norms_folded"] == 2
    assert value.diagnostics["n_norms_as_layers"] == 1


def test_folding_that_would_change_the_function_is_refused() -> None:
    class Sly(nn.Module):
        """Reads its convolution's output once more, where no tensor function is called."""

        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(1, 2, 1, bias=False), nn.BatchNorm2d(2)
            nn.init.normal_(self.norm.weight)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            made = self.conv(x)
            return self.norm(made).mean((2, 3)) + made.tolist()[0][0][0][0]

    torch.manual_seed(1)
    here = context(Sly().double().eval().requires_grad_(False), torch.rand(2, 1, 3, 3).double(), torch.tensor([0, 1]))
    with pytest.raises(UndefinedMeasureError, match="would move the logits"):
        find_measure("log_prod_of_fro_bn_folded")(here)


def test_an_unknown_treatment_of_batch_norm_is_bad_input() -> None:
    with pytest.raises(BadInputError, match="ignore, fold or layer"):
        LogLayerNorms("fro", "prod", "none").__call__(context(deep([1, 1, 1]), IMAGES, LABELS))

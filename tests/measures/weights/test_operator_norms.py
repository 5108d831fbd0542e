import math

import pytest
import torch
from torch import nn

from measurebench.measures.network.convolution import circular_norm, padded_norm
from measurebench.measures.network.layers import squared_spectral_norms, weight_layers
from measurebench.measures.registry import find_measure
from measurebench.measures.value import UndefinedMeasureError
from tests.measures.cases import context, examples, network


def test_every_layer_counts_at_its_own_size_and_stride() -> None:
    net = network("residual")
    images, labels = examples(net)
    sizes = {"conv1": 8, "block1.conv1": 8, "block1.conv2": 4, "block1.shortcut.0": 8}
    for name, norm in (("fft", circular_norm), ("zero_padded", padded_norm)):
        expected = 0.0
        for layer in weight_layers(net):
            if layer.name in sizes:
                shape = (layer.weight.shape[1], sizes[layer.name], sizes[layer.name])
                expected += math.log(norm(layer, shape))
            else:
                expected += math.log(float(squared_spectral_norms(layer.matrix)))
        found = find_measure(f"log_prod_of_spec_{name}")(context(net, images, labels))
        assert found.value == pytest.approx(expected, rel=1e-9)


class Idle(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.used, self.idle = nn.Linear(4, 2), nn.Conv2d(1, 1, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.used(x)


def test_a_convolution_that_is_never_called_has_no_size() -> None:
    with pytest.raises(UndefinedMeasureError, match="layer 'idle' is never called"):
        find_measure("log_prod_of_spec_fft")(context(Idle(), torch.rand(2, 4), torch.tensor([0, 1])))


def test_a_weight_used_at_two_sizes_counts_with_the_larger_norm() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 1, 3, padding=1, bias=False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.conv(nn.functional.max_pool2d(self.conv(x), 2)).flatten(1)

    torch.manual_seed(0)
    net = Twice().double().requires_grad_(False)
    layer = weight_layers(net)[0]
    expected = max(circular_norm(layer, (1, 6, 6)), circular_norm(layer, (1, 3, 3)))
    here = context(net, torch.rand(2, 1, 6, 6).double(), torch.tensor([0, 1]))
    assert find_measure("log_prod_of_spec_fft")(here).value == pytest.approx(math.log(expected), rel=1e-12)

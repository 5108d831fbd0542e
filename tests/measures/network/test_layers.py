import torch
from torch import nn

from measurebench.measures.network.layers import (
    is_normalization,
    parameter_names,
    squared_spectral_norms,
    uncounted_weights,
    weight_layers,
)


def test_a_tied_weight_counts_once() -> None:
    first, second = nn.Linear(4, 4), nn.Linear(4, 4)
    second.weight = first.weight
    assert [layer.name for layer in weight_layers(nn.Sequential(first, second))] == ["0"]


def test_layers_are_found_by_type_and_never_by_name() -> None:
    network = nn.ModuleDict({"bn": nn.Conv2d(1, 2, 3), "weight": nn.BatchNorm2d(2), "bias": nn.Linear(2, 2)})
    assert [layer.name for layer in weight_layers(network)] == ["bn", "bias"]


def test_an_attention_counts_as_three_projections_and_its_output() -> None:
    layers = weight_layers(nn.MultiheadAttention(6, 2))
    assert [layer.name for layer in layers] == [".q", ".k", ".v", "out_proj"]
    assert all(layer.matrix.shape == (6, 6) for layer in layers)


def test_an_attention_with_widths_of_its_own_has_the_same_layers() -> None:
    layers = weight_layers(nn.MultiheadAttention(6, 2, kdim=4, vdim=5))
    assert [tuple(layer.matrix.shape) for layer in layers] == [(6, 6), (6, 4), (6, 5), (6, 6)]


def test_a_grouped_convolution_is_block_diagonal() -> None:
    # Two groups [2, 1]: the dense matrix has their entries on the diagonal, so its spectral norm is the larger of them.
    layer = nn.Conv2d(2, 2, 1, groups=2, bias=False)
    layer.weight.data = torch.tensor([2.0, 1.0]).reshape(2, 1, 1, 1)
    blocks = weight_layers(nn.Sequential(layer))[0].blocks
    assert squared_spectral_norms(blocks).tolist() == [4.0, 1.0]


def test_a_transposed_convolution_has_one_row_per_output_channel() -> None:
    layer = nn.ConvTranspose2d(4, 6, 2, groups=2)
    found = weight_layers(nn.Sequential(layer))[0]
    # output channel 4 is the second of group 1, which reads input channels 2 and 3
    assert torch.equal(found.matrix[4].float(), layer.weight[2:4, 1].flatten())


def test_weight_norm_is_measured_as_it_acts() -> None:
    layer = nn.utils.parametrizations.weight_norm(nn.Linear(3, 2))
    found = weight_layers(nn.Sequential(layer))[0]
    assert found.parameter == ""
    assert torch.equal(found.weight, layer.weight)


class ChannelNorm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3))


class NormedProjection(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.matrix = nn.Parameter(torch.ones(3, 3))


def test_normalisation_is_told_by_type_or_by_name_and_shape() -> None:
    assert all(is_normalization(module) for module in (nn.LayerNorm(3), nn.GroupNorm(1, 3), ChannelNorm()))
    assert not any(is_normalization(module) for module in (NormedProjection(), nn.Linear(3, 3), nn.ReLU()))


def test_parameters_of_normalisation_layers_can_be_left_out() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    assert parameter_names(network) == ["0.weight", "0.bias"]
    assert len(parameter_names(network, normalization=True)) == 4


def test_what_is_no_layer_is_named() -> None:
    network = nn.Sequential(NormedProjection(), nn.Linear(3, 3))
    assert uncounted_weights(network) == ["0.matrix"]


def test_spectral_norm_of_a_gram_matrix_agrees_with_singular_values() -> None:
    matrices = torch.randn(3, 4, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for each in (matrices, matrices.mT):
        # 7 products of size 1 rounded at 1e-16, squared: far below 1e-13
        assert torch.allclose(squared_spectral_norms(each), torch.linalg.svdvals(each)[:, 0] ** 2, rtol=1e-13)

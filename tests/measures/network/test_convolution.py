"""Operator norms against dense matrices, built by sending every unit image through the convolution."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from measurebench.measures.network.convolution import circular_norm, padded_norm
from measurebench.measures.network.layers import WeightLayer, squared_spectral_norms, weight_layers


def dense(operator: Callable[[Tensor], Tensor], shape: tuple[int, ...]) -> float:
    """Return the squared spectral norm of a linear map's matrix."""
    size = int(torch.tensor(shape).prod())
    units = torch.eye(size, dtype=torch.float64).reshape(size, *shape)
    with torch.no_grad():
        matrix = torch.stack([operator(unit[None]).flatten() for unit in units])
    return float(torch.linalg.svdvals(matrix)[0]) ** 2


def circular(module: nn.Conv2d) -> Callable[[Tensor], Tensor]:
    """The convolution that wraps around: every output reads the pixels at stride * position + dilation * tap."""

    def operator(image: Tensor) -> Tensor:
        rows, columns = image.shape[2:]
        out = torch.zeros(1, module.out_channels, rows // module.stride[0], columns // module.stride[1]).double()
        for (a, b), tap in zip(
            torch.cartesian_prod(*map(torch.arange, module.kernel_size)).tolist(),
            module.weight.double().flatten(2).unbind(2),
            strict=True,
        ):
            moved = torch.roll(image, (-a * module.dilation[0], -b * module.dilation[1]), (2, 3))
            moved = moved[:, :, :: module.stride[0], :: module.stride[1]]
            out += F.conv2d(moved, tap[:, :, None, None], groups=module.groups)
        return out

    return operator


def layer_of(module: nn.Module) -> WeightLayer:
    return weight_layers(nn.Sequential(module))[0]


CASES = [
    {"kernel_size": 3, "padding": 1},
    {"kernel_size": 3, "padding": 1, "stride": 2},
    {"kernel_size": 5, "padding": 2, "stride": 2},
    {"kernel_size": 1, "stride": 2},
    {"kernel_size": 4, "padding": 1, "stride": 2},
    {"kernel_size": 3, "padding": 2, "dilation": 2},
    {"kernel_size": 3, "padding": 1, "groups": 2},
    {"kernel_size": (3, 1), "padding": (1, 0), "stride": (1, 2)},
    {"kernel_size": 7, "padding": 3},  # larger than the image: it wraps around
    {"kernel_size": 3, "padding": 0},
]


@pytest.mark.parametrize("case", CASES)
def test_circular_norms_are_those_of_the_dense_operator(case: dict[str, int]) -> None:
    torch.manual_seed(0)
    module = nn.Conv2d(2, 4, bias=False, **case).double()
    # both eigenvalue problems are exact to some 100 roundings of 1e-16
    assert circular_norm(layer_of(module), (2, 6, 6)) == pytest.approx(dense(circular(module), (2, 6, 6)), rel=1e-12)


@pytest.mark.parametrize("case", CASES[:8] + CASES[9:])
@pytest.mark.parametrize("mode", ["zeros", "circular", "reflect"])
def test_padded_norms_are_those_of_the_dense_operator(case: dict[str, int], mode: str) -> None:
    torch.manual_seed(0)
    module = nn.Conv2d(2, 4, bias=False, padding_mode=mode, **case).double()
    # the residual of 1e-8 bounds the eigenvalue's error by 1e-8, and far less where it is separated
    assert padded_norm(layer_of(module), (2, 6, 6)) == pytest.approx(dense(module, (2, 6, 6)), rel=1e-9)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("groups", [1, 2])
def test_a_transposed_convolution_is_measured_as_it_acts(stride: int, groups: int) -> None:
    torch.manual_seed(0)
    module = nn.ConvTranspose2d(4, 2, 3, stride=stride, padding=1, groups=groups, bias=False).double()
    assert padded_norm(layer_of(module), (4, 4, 4)) == pytest.approx(dense(module, (4, 4, 4)), rel=1e-9)
    adjoint = nn.Conv2d(2, 4, 3, stride=stride, padding=1, groups=groups, bias=False).double()
    adjoint.weight.data = module.weight.data
    size = 4 * stride
    expected = dense(circular(adjoint), (2, size, size))
    assert circular_norm(layer_of(module), (4, 4, 4)) == pytest.approx(expected, rel=1e-12)


def test_the_kernel_of_ones_has_known_norms() -> None:
    # Circular: all nine taps add up for the constant image; with stride 2 the aliases of frequency 0 have transfers
    # 9, 3, 3, 1 (1 + 2 cos 0 = 3 or 1 + 2 cos pi = -1 per axis), and sqrt(81 + 9 + 9 + 1) / 2 = 5.
    module = nn.Conv2d(1, 1, 3, padding=1, bias=False)
    module.weight.data.fill_(1.0)
    layer = layer_of(module)
    assert circular_norm(layer, (1, 8, 8)) == pytest.approx(81, rel=1e-13)
    # Zero padding: the 8 x 8 tridiagonal matrix of ones has norm 1 + 2 cos(pi / 9), squared for two axes.
    expected = (1 + 2 * torch.cos(torch.tensor(torch.pi / 9, dtype=torch.float64))) ** 4
    assert padded_norm(layer, (1, 8, 8)) == pytest.approx(float(expected), rel=1e-9)
    module.stride = (2, 2)
    assert circular_norm(layer, (1, 8, 8)) == pytest.approx(25, rel=1e-13)
    assert padded_norm(layer, (1, 8, 8)) == pytest.approx(4.53209**2, rel=1e-5)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("kernel", [3, 5])
def test_norms_bound_each_other(seed: int, kernel: int) -> None:
    torch.manual_seed(seed)
    one = nn.Conv2d(3, 4, kernel, padding=kernel // 2, bias=False).double()
    two = nn.Conv2d(3, 4, kernel, padding=kernel // 2, stride=2, bias=False).double()
    two.weight.data = one.weight.data
    matrix = float(squared_spectral_norms(layer_of(one).matrix))
    fft, strided = (circular_norm(layer_of(module), (3, 8, 8)) for module in (one, two))
    wider = circular_norm(layer_of(one), (3, 8 + kernel // 2, 8 + kernel // 2))
    slack = 1 + 1e-12
    assert matrix <= strided * slack
    assert strided <= fft * slack
    assert fft <= kernel**2 * matrix * slack
    # the zero-padded operator on n x n is a compression of the circular one on (n + p) x (n + p)
    assert padded_norm(layer_of(one), (3, 8, 8)) <= wider * (1 + 1e-8)


def test_one_and_three_dimensional_convolutions_have_norms_too() -> None:
    torch.manual_seed(0)
    for module, shape in (
        (nn.Conv1d(2, 3, 3, padding=1, bias=False), (2, 6)),
        (nn.Conv3d(1, 2, 2, bias=False), (1, 3, 3, 3)),
    ):
        double = module.double()
        assert padded_norm(layer_of(double), shape) == pytest.approx(dense(double, shape), rel=1e-9)
        assert circular_norm(layer_of(double), shape) >= squared_spectral_norms(layer_of(double).matrix) * (1 - 1e-12)


def test_a_layer_that_is_no_convolution_is_refused() -> None:
    with pytest.raises(TypeError, match="not a convolution"):
        circular_norm(layer_of(nn.Linear(2, 2)), (2,))

"""Matrices with known singular values, and convolutions whose transfer matrices numpy decomposes one and all."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from measurebench.measures.network import convolution
from measurebench.measures.network.convolution import circular_norm
from measurebench.measures.network.largest_norm import largest_square, may_reach, reach
from measurebench.measures.network.layers import weight_layers


def with_values(largest: list[float], n_rows: int = 80) -> Tensor:
    """Matrices with random singular vectors and values from 0 up to the one given, complex64 [n, rows, rows + 10]."""
    torch.manual_seed(0)
    made = []
    for top in largest:
        u = torch.linalg.qr(torch.randn(n_rows, n_rows, dtype=torch.complex128))[0]
        v = torch.linalg.qr(torch.randn(n_rows + 10, n_rows, dtype=torch.complex128))[0]
        made.append((u * torch.linspace(0, top, n_rows)) @ v.mH)
    return torch.stack(made).to(torch.complex64)


@pytest.mark.parametrize("n_steps", [12, 30])
@pytest.mark.parametrize("wide", [True, False])
def test_matrices_that_reach_the_threshold_are_kept_and_those_far_below_are_not(n_steps: int, wide: bool) -> None:
    share = reach(80, n_steps)
    matrices = with_values([1.0, 1.0001, 1000.0, (0.99 * share) ** 0.5, 0.5, 0.0])
    kept = may_reach(matrices if wide else matrices.mT.contiguous(), 1.0, n_steps)
    assert kept.tolist() == [True, True, True, False, False, False]
    assert share < 1


def test_more_steps_reach_closer_to_the_threshold() -> None:
    assert reach(512, 12) < reach(512, 30) < 1
    # (C + 1) / 2 = 1 / reach with C = cosh(acosh(100 sqrt(n)) / steps), worked out for n = 1e4 and one step: C = 1e4
    assert reach(10_000, 2) == pytest.approx(2 / 10_001)


def test_the_largest_square_is_the_largest_of_all() -> None:
    assert largest_square(with_values([0.5, 2.0, 1.0]).to(torch.complex128)) == pytest.approx(4, rel=1e-6)


def by_fourier(weight: Tensor, size: int) -> float:
    """The largest squared singular value over all frequencies (Sedghi et al. 2019)."""
    transfers = np.fft.fft2(weight.numpy(), (size, size), axes=(2, 3)).transpose(2, 3, 0, 1)
    return float(np.linalg.svd(transfers, compute_uv=False).max() ** 2)


@pytest.mark.parametrize("peak", [0.0, 0.3])
def test_leaving_frequencies_out_does_not_change_the_norm(peak: float, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    module = nn.Conv2d(70, 72, 3, padding=1, bias=False).double()
    module.weight.data += peak * module.weight.data.abs().mean()  # a peak at frequency zero
    layer = weight_layers(nn.Sequential(module))[0]
    decomposed: list[int] = []

    def counted(matrices: Tensor) -> float:
        decomposed.append(len(matrices))
        return largest_square(matrices)

    monkeypatch.setattr(convolution, "largest_square", counted)
    monkeypatch.setitem(convolution._CHUNK, "cpu", 72 * 70 * 7)  # seven frequencies at a time
    assert circular_norm(layer, (70, 6, 6)) == pytest.approx(by_fourier(module.weight.data, 6), rel=1e-12)
    # of 24 frequencies: with a peak only the peak, and the first of all that any search must start at
    assert sum(decomposed) <= (2 if peak else 25)


@pytest.mark.parametrize(("stride", "groups"), [(2, 1), (1, 2)])
def test_strides_and_groups_leave_out_frequencies_too(
    stride: int, groups: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    module = nn.Conv2d(66 * groups, 68 * groups, 3, stride=stride, padding=1, groups=groups, bias=False).double()
    layer = weight_layers(nn.Sequential(module))[0]
    found = circular_norm(layer, (66 * groups, 6, 6))
    monkeypatch.setattr(convolution, "_DIRECT", 10_000)  # every frequency is decomposed
    assert found == pytest.approx(circular_norm(layer, (66 * groups, 6, 6)), rel=1e-13)

"""Random numbers are the same on the GPU and on the CPU, to the last bit."""

import pytest
import torch

from measurebench.attacks import noise
from measurebench.attacks.starts import keyed_start
from measurebench.core.threat import Norm
from measurebench.measures.perturbation.normals import normals
from measurebench.measures.perturbation.weight_noise import WeightNoise
from tests.gpu.subjects import digits, digits_network


@pytest.mark.parametrize("n", [1, 1000, (1 << 23) + 5])  # the last takes more than one chunk on either device
def test_normal_numbers_are_equal(device: str, n: int) -> None:
    assert torch.equal(normals(n, torch.device(device), "gpu", 3).cpu(), normals(n, torch.device("cpu"), "gpu", 3))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_noise_on_weights_is_equal(device: str, dtype: torch.dtype) -> None:
    plain, there = (
        WeightNoise(dict(digits_network(place, dtype).named_parameters()), 0, "gpu") for place in ("cpu", device)
    )
    for draw in (0, 1):
        for name, numbers in plain[draw].items():
            assert there[draw][name].device.type == torch.device(device).type
            assert torch.equal(there[draw][name].cpu(), numbers), name


def test_noise_of_examples_is_equal(device: str) -> None:
    keys = torch.arange(1000)
    there = keys.to(device)
    assert torch.equal(noise.uniform(there, (3, 8), 0, "x").cpu(), noise.uniform(keys, (3, 8), 0, "x"))
    assert torch.equal(noise.integers(there, 7, 0, "x").cpu(), noise.integers(keys, 7, 0, "x"))
    images, _ = digits(50, "cpu")
    assert torch.equal(noise.content_keys(images.to(device)).cpu(), noise.content_keys(images))
    # the inverse of the normal distribution takes logarithms, of which devices have their own
    plain = noise.normal(keys, (8,), 0, "x", dtype=torch.float64)
    assert torch.allclose(noise.normal(there, (8,), 0, "x", dtype=torch.float64).cpu(), plain, rtol=1e-12)


def test_a_uniform_start_is_equal(device: str) -> None:
    images, _ = digits(50, "cpu")
    keys = torch.arange(50)
    plain = keyed_start("uniform", images, keys, Norm.LINF, 0.1, 0, "pgd")
    there = keyed_start("uniform", images.to(device), keys.to(device), Norm.LINF, 0.1, 0, "pgd")
    assert torch.equal(there.cpu(), plain)

"""Memory that ends on a real GPU: the work is done in smaller parts, with the same values."""

import gc
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from measurebench import measure
from measurebench.compute.batching import Batches
from measurebench.compute.memory import free_bytes
from measurebench.models.architectures import built_in

IS_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="a CPU's memory does not end where it is told to")


@pytest.fixture
def little_memory() -> Iterator[None]:
    """Let this process have 600 MiB more of the GPU than it has now."""
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + 600 * 2**20) / total)
    yield
    torch.cuda.set_per_process_memory_fraction(1.0)


@IS_GPU
def test_a_batch_that_does_not_fit_is_halved_until_it_does() -> None:
    sizes, free = [], free_bytes("cuda:0")
    assert free is not None

    def work(rows: slice) -> Tensor:
        sizes.append(rows.stop - rows.start)
        return torch.empty(sizes[-1], free // 5, dtype=torch.uint8, device="cuda")[:, :1].clone()

    assert len(Batches(8).cat(work, 8)) == 8
    assert sizes == [8, 4, 4]


@IS_GPU
def test_the_spectrum_of_a_large_network_takes_few_bytes_a_weight() -> None:
    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Linear(3072, 8192), torch.nn.Tanh(), torch.nn.Linear(8192, 10)
    )
    network = network.eval().requires_grad_(False).to("cuda")
    n_weights = sum(parameter.numel() for parameter in network.parameters())  # 25 million
    images, labels = torch.rand(32, 3, 32, 32, device="cuda"), torch.arange(32, device="cuda") % 10
    measure(network, images, labels, ["average_ce"])
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    found = measure(network, images, labels, ["hess_lmax"])
    assert found["hess_lmax"].diagnostics["n_steps"] == 30
    # thirty vectors of 4 bytes a weight, and the working vectors; in float64 the thirty alone took 240
    assert (torch.cuda.max_memory_allocated() - before) / n_weights < 220
    gc.collect()
    assert (torch.cuda.memory_allocated() - before) / n_weights < 8


@IS_GPU
@pytest.mark.usefixtures("little_memory")
def test_measures_in_little_memory_have_the_values_of_much() -> None:
    torch.manual_seed(0)
    network = built_in()["resnet-18"].build(10, 3).eval().requires_grad_(False).to("cuda")
    images, labels = torch.rand(256, 3, 32, 32, device="cuda"), torch.arange(256, device="cuda") % 10
    ids = ["average_ce", "x_grad_norm", "w_grad_norm"]
    large, small = (measure(network, images, labels, ids, batch_size=size) for size in (256, 8))
    for name in ids:
        assert large[name].value == pytest.approx(small[name].value, rel=1e-4)

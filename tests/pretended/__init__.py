"""A pretended GPU: tensors that say they lie on ``cuda:0``, for tests on machines without one.

Inside the block ``cuda`` is a device that computes in ordinary memory, with the values of the CPU to the last bit:

    with pretended_gpu():
        network, images = network.to("cuda"), images.to("cuda")
        with counting() as counts:
            attack(network, images)
    assert counts.synchronisations == 0

It refuses, in the words of torch, an operation that mixes devices, a conversion to numpy, and a generator of another
device. It counts operations, synchronisations, uploads, products in reduced precision and sums without a fixed order,
and knows what memory its tensors take. What it cannot show is how long anything takes, what runs side by side, and the
last digits of a real GPU. ``torch.device("cuda")`` as a context, streams and graphs are not pretended.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.pretended.counts import Counts, counting

__all__ = ["Counts", "counting", "pretended_gpu"]


@contextmanager
def pretended_gpu(n_devices: int = 1) -> Iterator[None]:
    """Let ``cuda`` mean the pretended GPU inside the block; ``n_devices`` seem to be there, the first is used."""
    from measurebench.compute.graphs import SWITCH
    from measurebench.measures.perturbation import normals
    from tests.pretended.cuda import patch_cuda
    from tests.pretended.dispatch import Dispatch
    from tests.pretended.factories import patch_factories

    with warnings.catch_warnings():
        # torch compiles these derivatives when they are first asked for, from functions that are replaced below
        warnings.simplefilter("ignore", FutureWarning)
        import torch._decomp.decompositions_for_jvp  # noqa: F401
    with pytest.MonkeyPatch.context() as patch:
        patch_cuda(patch, n_devices)
        patch.setenv(SWITCH, "0")  # there are no pretended graphs: passes run as they are, operation by operation
        patch_factories(patch)
        with Dispatch():
            try:
                yield
            finally:
                normals._table.cache_clear()  # a copy on the pretended GPU is of no use to a real one

"""A pretended GPU: tensors that say they lie on ``cuda:0``, for tests on machines without one."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.pretended.counts import Counts, counting

__all__ = ["Counts", "counting", "pretended_gpu"]


@contextmanager
def pretended_gpu(n_devices: int = 1) -> Iterator[None]:
    """Let ``cuda`` mean the pretended GPU inside the block; ``n_devices`` seem to be there, the first is used."""
    from tests.pretended.cuda import patch_cuda
    from tests.pretended.dispatch import Dispatch
    from tests.pretended.factories import patch_factories

    with pytest.MonkeyPatch.context() as patch:
        patch_cuda(patch, n_devices)
        patch_factories(patch)
        with Dispatch():
            yield

"""A pretended GPU: tensors that say they lie on ``cuda:0``, for tests on machines without one."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.pretended.counts import Counts, counting

__all__ = ["Counts", "counting", "pretended_gpu"]


@contextmanager
def pretended_gpu() -> Iterator[None]:
    """Let ``cuda`` mean the pretended GPU inside the block."""
    from tests.pretended.cuda import patch_cuda
    from tests.pretended.factories import patch_factories
    from tests.pretended.tensor import Dispatch

    with pytest.MonkeyPatch.context() as patch:
        patch_cuda(patch)
        patch_factories(patch)
        with Dispatch():
            yield

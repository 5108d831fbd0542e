"""The settings of torch that decide the last digits of a number."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from measurebench.core.config import Precision

__all__ = ["numerics"]


@contextmanager
def numerics(precision: Precision) -> Iterator[None]:
    """Compute on one CPU thread, deterministically, TF32 only in ``fast`` precision; as before afterwards."""
    threads, matmul = torch.get_num_threads(), torch.backends.cuda.matmul.allow_tf32
    cudnn = torch.backends.cudnn
    before = (cudnn.allow_tf32, cudnn.deterministic, cudnn.benchmark)
    torch.set_num_threads(1)
    torch.backends.cuda.matmul.allow_tf32 = precision == "fast"
    cudnn.allow_tf32, cudnn.deterministic, cudnn.benchmark = precision == "fast", True, False
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.backends.cuda.matmul.allow_tf32 = matmul
        cudnn.allow_tf32, cudnn.deterministic, cudnn.benchmark = before

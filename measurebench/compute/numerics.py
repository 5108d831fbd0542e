"""Sets the switches of torch that decide the last digits of a number."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from measurebench.core.config import Precision

__all__ = ["numerics"]


@contextmanager
def numerics(precision: Precision) -> Iterator[None]:
    """Compute on one CPU thread, deterministically, with TF32 only in ``fast`` precision, while the context lasts.

    Afterwards all switches are as they were before, also when the code inside raises.
    """
    # The order in which threads add numbers differs from run to run, and with it the last digits: hence one thread.
    # cuDNN's benchmark mode picks algorithms by their speed on the day, with the same effect.
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

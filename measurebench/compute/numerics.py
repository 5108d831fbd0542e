"""Sets the switches of torch that decide the last digits of a number."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from measurebench.core.config import Precision

__all__ = ["full_precision", "numerics"]


@contextmanager
def full_precision(tf32: bool = False) -> Iterator[None]:
    """Compute on a GPU deterministically and without TF32 (or with it) while the context lasts; a CPU is unaffected.

    Afterwards all switches are as they were before, also when the code inside raises.
    """
    # TF32 keeps 10 bits of each factor: an error of 1e-3, which torch accepts in convolutions unless told otherwise.
    # cuDNN's benchmark mode picks algorithms by their speed on the day, and with them the last digits.
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = (matmul.allow_tf32, cudnn.allow_tf32, cudnn.deterministic, cudnn.benchmark)
    matmul.allow_tf32, cudnn.allow_tf32, cudnn.deterministic, cudnn.benchmark = tf32, tf32, True, False
    try:
        yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32, cudnn.deterministic, cudnn.benchmark = before


@contextmanager
def numerics(precision: Precision) -> Iterator[None]:
    """Compute on one CPU thread, deterministically, with TF32 only in ``fast`` precision, while the context lasts.

    Training and benchmarks may be fast; whatever is measured is computed in ``exact`` numerics.

    Afterwards all switches are as they were before, also when the code inside raises.
    """
    # The order in which threads add numbers differs from run to run, and with it the last digits: hence one thread.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with full_precision(tf32=precision == "fast"):
            yield
    finally:
        torch.set_num_threads(threads)

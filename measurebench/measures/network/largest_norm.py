"""Tells which of many matrices may have the largest spectral norm, for the price of a few products with vectors.

If the largest eigenvalue of A A* is at least L, then a Chebyshev polynomial p for the interval [0, a], with a < L,
makes the Rayleigh quotient of p(A A*) x exceed almost a, unless the vector x happens to be almost orthogonal to the
eigenvector u. The polynomial multiplies an overlap |<u, x>|^2 of 0.1 / n, for n entries, to 1,000 times the rest. For
eight random complex vectors at once, all overlaps are smaller than that with a probability of 1e-8.
"""

import math

import torch
from torch import Tensor

from measurebench.measures.network.layers import squared_spectral_norms

__all__ = ["largest_square", "may_reach", "reach"]

_VECTORS = 8
# The square of the factor by which the polynomial multiplies an overlap of 0.1 / n, so that it becomes 1,000 times 1.
_GAIN = 1e4
# Room for the share of the rest, 1e-3, and for the rounding of float32 over all steps, far below 1e-3.
_SLACK = 0.995


def largest_square(matrices: Tensor) -> float:
    """Return the largest squared singular value of all matrices [n, o, m].

    >>> largest_square(torch.tensor([[[3.0, 0.0], [0.0, 4.0]], [[5.0, 0.0], [0.0, 1.0]]]).double())
    25.0
    """
    return float(squared_spectral_norms(matrices).amax())


def reach(size: int, n_steps: int) -> float:
    """Return a / L: the share of the threshold below which matrices with ``size`` rows are recognised in some steps.

    >>> round(reach(512, 12), 2), round(reach(512, 30), 2)
    (0.87, 0.98)
    """
    return 2 / (math.cosh(math.acosh(math.sqrt(_GAIN * size)) / (n_steps - 1)) + 1)


def may_reach(matrices: Tensor, threshold: float, n_steps: int) -> Tensor:
    """Return which complex matrices [n, o, m] may have a squared singular value of ``threshold`` or more, bool [n].

    A matrix that has one is left out with a probability of 1e-8. A matrix without one above ``reach`` times the
    threshold is left out.
    """
    short = matrices if matrices.shape[-2] <= matrices.shape[-1] else matrices.mT
    size = short.shape[-2]
    end = threshold * reach(size, n_steps)
    numbers = torch.randn(size, 2 * _VECTORS, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    start = torch.view_as_complex(numbers.reshape(size, _VECTORS, 2))
    before, now = torch.zeros(()).to(short), (start / math.sqrt(size)).to(short).expand(len(short), -1, -1)
    image = _gram(short, now)
    for step in range(1, n_steps):  # T_0 = 1, T_1 = x, T_{k+1} = 2 x T_k - T_{k-1}, with x = 2 A A* / a - 1
        factor = 1.0 if step == 1 else 2.0
        before, now = now, image.mul_(2 * factor / end).sub_(now, alpha=factor).sub_(before if step > 1 else 0.0)
        image = _gram(short, now)
    quotients = (now.conj() * image).sum(1).real / now.abs().square().sum(1)
    # what is not finite was multiplied beyond the largest number, and so is far above the threshold
    return ~(quotients.amax(1) < _SLACK * end)


def _gram(matrices: Tensor, vectors: Tensor) -> Tensor:
    """Return A A* x for matrices A [n, o, m] and vectors x [n, o, k]."""
    # A* x as the conjugate of A' conj(x): torch would copy a matrix in order to conjugate it
    return torch.bmm(matrices, torch.bmm(matrices.mT, vectors.conj()).conj())

"""Projection of points on hyperplanes within the box [0, 1], by Newton's method (for FAB, Croce and Hein 2020).

Both norms ask for the root of a sum of bounded terms, sum_i u_i min(s, p_i) = r with u, p >= 0: concave and
increasing in s. From s = r / sum u Newton's method climbs monotonically and ends, after about three rounds, at the
exact root, where the set of bounded terms no longer changes. Sorting finds the same root with more work.
"""

import torch
from torch import Tensor

from measurebench.attacks.standard.rows import some
from measurebench.core.threat import Norm

__all__ = ["ROUNDS", "move_to_hyperplane", "root_of_bounded_sum"]

# More than any pair has needed; a search cut short falls short of the hyperplane and does no harm.
ROUNDS = 24
_FAR = 1e12
_FLAT = 1e-8


def root_of_bounded_sum(weights: Tensor, bounds: Tensor, total: Tensor, rounds: int = ROUNDS) -> Tensor:
    """Return s with sum_i weights_i min(s, bounds_i) = total, for each of the pairs: [n, m].

    ``weights`` [n, 1, d] and ``bounds`` [n, m, d] are not negative, ``total`` is [n, m]. The root is infinite where
    even the sum of all bounded terms stays below the total.

    >>> root_of_bounded_sum(torch.ones(1, 1, 2), torch.tensor([[[0.25, 1.0]]]), torch.tensor([[1.0]])).item()
    0.75
    """
    turned = weights.transpose(1, 2)  # a matrix product sums without storing the terms
    weighted = weights * bounds
    root = _quotient(total, weights.sum(-1).expand_as(total))
    chosen = torch.empty_like(weighted)  # masks as numbers, written where the last ones were
    for turn in range(rounds):
        slope = torch.matmul(torch.gt(bounds, root[..., None], out=chosen), turned)[..., 0]
        bounded = torch.le(bounds, root[..., None], out=chosen).mul_(weighted).sum(-1)
        following = _quotient(total - bounded, slope)
        if not some(following != root, turn):
            return following
        root = following
    return root


def _quotient(numerator: Tensor, denominator: Tensor) -> Tensor:
    return torch.where(denominator > 0, numerator / denominator, torch.inf)


def move_to_hyperplane(points: Tensor, normals: Tensor, offsets: Tensor, norm: Norm) -> Tensor:
    """Return the smallest moves [n, m, d] that take points of the box to the hyperplane <w, x> = b within the box.

    ``points`` [n, m, d] in [0, 1], ``normals`` [n, d] and ``offsets`` [n]. A point that cannot reach it goes as far
    as the box allows. Coordinates with w = 0 (for L2: |w| up to 1e-8) stay.
    """
    w = normals[:, None, :]
    excess = torch.matmul(points, w.transpose(1, 2))[..., 0] - offsets[:, None]
    way = torch.where(excess >= 0, -1.0, 1.0).to(points.dtype)[..., None] * w
    ends = torch.gt(way, 0, out=torch.empty_like(way))  # 1 where the point moves up
    room = ends.sub_(points).abs_()
    if norm is Norm.LINF:
        root = root_of_bounded_sum(w.abs(), room, excess.abs())
        return torch.minimum(root[..., None], room, out=room).mul_(way.sign_())
    flat = w.abs() < _FLAT
    bounds = (room / w.abs()).clamp_max(_FAR).masked_fill(flat, _FAR)
    root = root_of_bounded_sum(w**2, bounds, excess.abs())
    return (way * torch.minimum(root[..., None], bounds)).masked_fill(w.abs() <= _FLAT, 0)

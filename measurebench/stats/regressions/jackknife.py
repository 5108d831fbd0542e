"""The covariance of least squares coefficients by leaving out one cluster of rows at a time."""

from collections.abc import Iterator

import numpy as np

from measurebench.stats.resampling.draws import Floats, Ints

__all__ = ["jackknife_covariance"]

_DECIDES = 1e-9
"""A cluster whose largest leverage is nearer to 1 than this decides a coefficient alone: the fit fails without it."""


def jackknife_covariance(
    design: Floats, residuals: Floats, clusters: Ints, inverse: Floats | None = None
) -> Floats | None:
    """Return the covariance [columns, columns] of the coefficients of a design [n, columns] of full rank.

    With G clusters it is (G - 1) / G times the sum over clusters g of (b_g - b)(b_g - b)', where b_g are the
    coefficients without the rows of g (CV3 of MacKinnon, Nielsen and Webb 2023, "Fast and reliable jackknife and
    bootstrap methods for cluster-robust inference"). Not one of the fits is made anew: b - b_g =
    (X'X)^-1 X_g' (I - H_g)^-1 e_g, with the block H_g of the hat matrix and the residuals e_g of all rows.
    None if a coefficient cannot be fitted without one of the clusters. ``inverse`` is (X'X)^-1, where it is known.

    >>> ones, y = np.ones((3, 1)), np.array([0.0, 1.0, 5.0])  # the variance of a mean: that of the sample / n
    >>> bool(np.isclose(jackknife_covariance(ones, y - y.mean(), np.arange(3))[0, 0], y.var(ddof=1) / 3))
    True
    """
    if inverse is None:
        half = np.linalg.pinv(design)
        inverse = half @ half.T
    solved = design @ inverse
    shifts = []
    for rows in _by_size(clusters):
        # einsum, since numpy multiplies many small matrices one by one
        left = np.eye(rows.shape[1]) - np.einsum("gik,gjk->gij", design[rows], solved[rows])
        if np.linalg.eigvalsh(left).min() < _DECIDES:
            return None
        missed = np.linalg.solve(left, residuals[rows][..., None])[..., 0]
        shifts.append(np.einsum("gi,gik->gk", missed, design[rows]) @ inverse)
    moved = np.concatenate(shifts)
    return np.asarray((len(moved) - 1) / len(moved) * (moved.T @ moved))


def _by_size(clusters: Ints) -> Iterator[Ints]:
    """Yield the rows of the clusters, those of one size together: [clusters of the size, size]."""
    order = np.argsort(clusters, kind="stable")
    _, starts, sizes = np.unique(clusters[order], return_index=True, return_counts=True)
    for size in np.unique(sizes):
        yield order[starts[sizes == size][:, None] + np.arange(size)]

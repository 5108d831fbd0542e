"""Local fits for scatter plots in which a straight line would mislead."""

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["LEAST", "POINTS", "is_curved", "local_fit"]

Floats = npt.NDArray[np.float64]

LEAST = 12  # below so many models the two terms of curvature would follow single models
POINTS = 25
_SHARE = 1 / 2  # of the models in each local fit: a wider one flattens the steep end of a decay
# A study has hundreds of lines: at 0.05 five in a hundred straight ones would be drawn as curves.
_P_VALUE = 0.01


def is_curved(x: Floats, y: Floats) -> bool:
    """Say whether a straight line does not describe y [n] over x [n]: the F test of x^2 and x^3 beside x, p < 0.01.

    Fewer than ``LEAST`` points, or fewer than five values of x, are never curved.

    >>> x = np.linspace(0, 1, 30)
    >>> is_curved(x, np.exp(-5 * x)), is_curved(x, 2 - x)
    (True, False)
    """
    if len(x) < LEAST or len(np.unique(x)) < 5 or np.ptp(y) == 0:
        return False
    from scipy.stats import f

    z = 2 * (x - x.min()) / np.ptp(x) - 1
    line, cubic = (_squares(z, y, degree) for degree in (1, 3))
    free = len(x) - 4
    if cubic <= 1e-20 * len(x) * float(np.var(y)):  # exactly a cubic: curved unless it is exactly a line as well
        return line > 1e-12 * len(x) * float(np.var(y))
    return bool(f.sf((line - cubic) / 2 / (cubic / free), 2, free) < _P_VALUE)


def _squares(x: Floats, y: Floats, degree: int) -> float:
    """Return the residual sum of squares of a polynomial."""
    terms = np.vander(x, degree + 1)
    return float(((y - terms @ np.linalg.lstsq(terms, y, rcond=None)[0]) ** 2).sum())


def local_fit(x: Floats, y: Floats) -> tuple[Floats, Floats] | None:
    """Return a local fit of y over x at 25 quantiles of x, two arrays [25]; None where a straight line will do.

    The fit is LOWESS without reweighting: a weighted line through the nearest half of the points (Cleveland
    1979, doi:10.1080/01621459.1979.10481038).
    """
    if not is_curved(x, y):
        return None
    from statsmodels.nonparametric.smoothers_lowess import lowess

    at = np.quantile(x, np.linspace(0, 1, POINTS))
    fitted: Any = lowess(y, x, frac=_SHARE, it=0, xvals=at)
    return (at, np.asarray(fitted, dtype=float)) if np.isfinite(fitted).all() else None

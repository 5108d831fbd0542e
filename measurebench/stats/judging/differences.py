"""The difference of two estimates, judged from the intervals of both."""

import math
from collections.abc import Mapping
from typing import Any

from measurebench.core.intervals import Z

__all__ = ["difference_interval"]

_ENDS = ("estimate", "ci_low", "ci_high")


def difference_interval(a: Mapping[str, Any], b: Mapping[str, Any]) -> tuple[float, float, float]:
    """Return the 95 % interval of the estimate in ``b`` less that in ``a``, and the p-value of no difference.

    ``a`` and ``b`` are rows of correlations. The interval is put together from those of both (Zou 2007, eq. 15, for
    independent studies), so that it may be lopsided; p goes by its half towards 0, as for a normal estimate. Where both
    rest on some of the same models, which agree more than others, the interval is too wide rather than too narrow. All
    are missing where either row lacks the estimate or its interval.

    >>> low, high, p = difference_interval(
    ...     {"estimate": 0.5, "ci_low": 0.2, "ci_high": 0.7}, {"estimate": 0.1, "ci_low": -0.3, "ci_high": 0.5}
    ... )
    >>> round(low, 3), round(high, 3), round(p, 3)
    (-0.847, 0.1, 0.117)
    """
    values = [math.nan if row.get(name) is None else float(row[name]) for row in (a, b) for name in _ENDS]
    if any(map(math.isnan, values)):
        return math.nan, math.nan, math.nan
    at, a_low, a_high, bt, b_low, b_high = values
    down, up = math.hypot(bt - b_low, a_high - at), math.hypot(b_high - bt, at - a_low)
    difference = bt - at
    half = down if difference > 0 else up
    p = math.erfc(abs(difference) / half * Z / math.sqrt(2)) if half else float(difference == 0)
    return difference - down, difference + up, p

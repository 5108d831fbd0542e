"""The level of tests and intervals, intervals of proportions, and p-values as text: one of each everywhere."""

from typing import Any

import numpy as np

__all__ = ["ALPHA", "Z", "p_value_text", "wilson_interval"]

ALPHA = 0.05
"""The level of every test and, as 1 - ALPHA, of every interval."""

Z = 1.959963984540054  # the 1 - ALPHA / 2 point of the normal distribution
_SMALLEST_P = 0.001


def wilson_interval(k: Any, n: Any) -> tuple[Any, Any]:
    """Return the 95 % interval for a proportion k of n (Wilson 1927): the p with (k/n - p)^2 <= z^2 p (1 - p) / n.

    ``k`` and ``n`` are numbers or arrays [m]. The interval ends exactly at 0 for k = 0, and at 1 for k = n.

    >>> tuple(round(float(end), 4) for end in wilson_interval(8, 10))
    (0.4902, 0.9433)
    """
    center, spread = (k + Z**2 / 2) / (n + Z**2), Z / (n + Z**2) * np.sqrt(k * (n - k) / n + Z**2 / 4)
    return np.where(k == 0, 0.0, center - spread)[()], np.where(k == n, 1.0, center + spread)[()]


def p_value_text(value: float) -> str:
    """Return a p-value with three digits, and "< 0.001" for a smaller one.

    >>> p_value_text(0.0421), p_value_text(1e-9)
    ('0.042', '< 0.001')
    """
    return f"< {_SMALLEST_P}" if value < _SMALLEST_P else f"{value:.3f}"

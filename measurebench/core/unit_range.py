"""One tolerance for pixels slightly outside [0, 1], at every place where images come in; they are clamped then."""

__all__ = ["UNIT_TOLERANCE", "is_unit_range"]

# Normalising and back in float32 with the usual means and deviations moves a pixel by at most 2e-7. A pixel that was
# really meant to lie outside is off by 1/255 or more.
UNIT_TOLERANCE = 1e-6


def is_unit_range(low: float, high: float) -> bool:
    """Tell whether the smallest and largest pixel lie in [0, 1] but for rounding; NaN never does.

    >>> is_unit_range(-3e-8, 1.0), is_unit_range(0.0, 1.01)
    (True, False)
    """
    return low >= -UNIT_TOLERANCE and high <= 1 + UNIT_TOLERANCE

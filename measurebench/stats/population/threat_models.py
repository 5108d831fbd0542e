"""Refuses to pool models whose robustness was measured under different threat models."""

from collections.abc import Sequence
from fractions import Fraction

import pandas as pd

from measurebench.core.errors import BadInputError

__all__ = ["check_one_threat_model", "radius_text"]

_COLUMNS = ("norm", "radius", "dataset")
_ON_255 = 255
# Radii come as decimals: 8/255 is 0.03137254901960784 in one table and 0.0314 in another.
_TOLERANCE = 5e-5


def check_one_threat_model(table: pd.DataFrame, settings: Sequence[str]) -> None:
    """Raise BadInputError where models differ in norm, radius or data set and that column is no setting.

    A gap at 2/255 and one at 8/255 are different quantities: one rank correlation over both would tell which radius
    was used. As a setting the column is told apart like any other: tau is given inside each of its levels.
    """
    for name in _COLUMNS:
        if name not in table.columns or name in settings:
            continue
        counts = table[name].dropna().map(lambda v, n=name: radius_text(v) if n == "radius" else str(v)).value_counts()
        if len(counts) > 1:
            came = ", ".join(f"{value} for {n} models" for value, n in counts.items())
            raise BadInputError(
                "the table", f"models of one {name}", came, f"choose some with --where, or name {name} in --settings"
            )


def radius_text(value: object) -> str:
    """Return a radius as a fraction of 255 where it is one, else as a short decimal.

    >>> radius_text(0.00784313725490196), radius_text(0.0314), radius_text(0.5), radius_text(0.3)
    ('2/255', '8/255', '0.5', '0.3')
    """
    try:
        number = float(str(value))
    except ValueError:
        return str(value)
    steps = Fraction(number * _ON_255).limit_denominator(2)
    if 0 < number < 0.1 and steps > 0 and abs(float(steps) / _ON_255 - number) < _TOLERANCE:
        return f"{float(steps):g}/255"
    return f"{number:.6g}"

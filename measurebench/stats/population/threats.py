"""Threat models and configurations in a table: which rows may be compared with each other."""

from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from typing import Any

import pandas as pd

from measurebench.core.errors import BadInputError
from measurebench.core.threat import radius_text

__all__ = [
    "EARLIER",
    "RADIUS",
    "of_radius",
    "radii_in",
    "radius_number",
    "require_one_threat",
    "rows_shown",
    "superseded",
]

RADIUS = "radius"
EARLIER = "configuration"
"""Names of the filters that leave out rows of other radii, and of earlier configurations."""


_HALF_LEVELS = 2 * 255
_ROUNDING = 5e-5  # of four decimals
_DECIMALS_BELOW = 0.1  # a larger radius is written as the decimal that it is: 0.5, 0.3


def radius_number(value: Any) -> float | None:
    """Return a radius of a table as a number, None where it is missing or no number.

    >>> radius_number("8/255") == 8 / 255, radius_number(0.5), radius_number(None)
    (True, 0.5, None)
    """
    if value is None or (isinstance(value, float) and value != value):
        return None
    return _number(str(value).replace(" ", ""))


@lru_cache(maxsize=1024)
def _number(text: str) -> float | None:
    try:
        return float(Fraction(text))
    except (ValueError, ZeroDivisionError):
        return None


def _exact(value: Any) -> float | None:
    """Return a radius as a number: the half grey level that a decimal was rounded from, where there is one.

    So 8/255, 0.0313725490 and 0.0314 are one, and 0.031 is another.
    """
    number = radius_number(value)
    if number is None or not 0 < number < _DECIMALS_BELOW:
        return number
    level = round(number * _HALF_LEVELS) / _HALF_LEVELS
    return level if level > 0 and abs(level - number) < _ROUNDING else number


def _same(value: Any) -> float | None:
    """Return a radius as a number that equal radii share."""
    number = _exact(value)
    return None if number is None else round(number, 7)


def radii_in(table: pd.DataFrame) -> list[str]:
    """Return the radii of a table from small to large, as texts."""
    found = {_same(value): radius_text(value) for value in table[RADIUS]} if RADIUS in table.columns else {}
    return [found[key] for key in sorted(key for key in found if key is not None)]


def of_radius(table: pd.DataFrame, radius: str | float | None) -> dict[int, str]:
    """Return the rows of other radii, by index, with the reason; none for no radius.

    Raises BadInputError where the table has no row of this radius.
    """
    if radius is None:
        return {}
    wanted = _same(radius)
    known = radii_in(table)
    if wanted is None or wanted not in [_same(text) for text in known]:
        expected = f"one of the table's radii: {', '.join(known)}" if known else "a table with a column radius"
        raise BadInputError(RADIUS, expected, repr(str(radius)))
    others = [i for i in table.index if _same(table.loc[i, RADIUS]) != wanted]
    return {int(i): f"not of radius {radius_text(radius)}" for i in others}


def _threats(table: pd.DataFrame) -> list[str]:
    """Return the threat model of each row as text; empty where the table does not say."""
    norms = table["norm"] if "norm" in table.columns else pd.Series("", index=table.index)
    radii = table[RADIUS] if RADIUS in table.columns else pd.Series(None, index=table.index, dtype=object)
    parts = [
        (
            str(norm) if isinstance(norm, str) else "",
            "" if (number := _exact(radius)) is None else radius_text(number),
        )
        for norm, radius in zip(norms, radii, strict=True)
    ]
    return [" ".join(part for part in pair if part) for pair in parts]


def require_one_threat(table: pd.DataFrame, settings: Sequence[str] = ()) -> None:
    """Raise BadInputError where rows were measured under several norms, radii or on several data sets.

    A gap at 2/255 and one at 8/255 are different quantities: a rank correlation over both would tell which radius was
    used. A column that is named among the ``settings`` is told apart like any other: tau is given inside its levels.
    """
    for name in ("norm", RADIUS, "dataset"):
        if name not in table.columns or name in settings:
            continue
        texts = table[name].dropna().map(lambda value, name=name: _text(name, value))
        counts = texts.value_counts()
        if len(counts) > 1:
            told = ", ".join(f"{value} for {n} models" for value, n in counts.items())
            ways = f"choose some with --where, or name {name} in --settings"
            ways = f"choose one with --radius, or analyse each with --by radius; or {ways}" if name == RADIUS else ways
            raise BadInputError("the table", f"models of one {name}", told, ways)


def _text(name: str, value: Any) -> str:
    number = _exact(value) if name == RADIUS else None
    return str(value) if number is None else radius_text(number)


def superseded(table: pd.DataFrame) -> dict[int, str]:
    """Return the rows of a model and threat model after its first that have another configuration, with the reason.

    Tables of results list the latest configuration of a model first.
    """
    if not {"model_id", "config_digest"} <= set(table.columns):
        return {}
    first: dict[tuple[str, str], Any] = {}
    found = {}
    keys = zip(table.index, table["model_id"], _threats(table), table["config_digest"], strict=True)
    for index, model, threat, digest in keys:
        latest = first.setdefault((model, threat), digest)
        if isinstance(digest, str) and isinstance(latest, str) and digest != latest:
            found[int(index)] = f"measured again later under another configuration than {digest}"
    return found


def rows_shown(table: pd.DataFrame, radius: str | float | None) -> pd.DataFrame:
    """Return the rows that a page of one threat model shows: those of a radius, each model's latest configuration."""
    kept = table.drop(index=list(of_radius(table, radius)))
    return kept.drop(index=list(superseded(kept)))

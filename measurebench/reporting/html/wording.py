"""Numbers and names as a reader sees them: percent, points, intervals, plain lists."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from measurebench.core.columns import describe
from measurebench.core.info import MeasureInfo

__all__ = [
    "DASH",
    "MINUS",
    "MISSING",
    "axis_title",
    "compact",
    "count",
    "defined",
    "fixed",
    "interval",
    "listed",
    "measure_name",
    "p_text",
    "percent",
    "points",
    "setting_name",
    "signed",
    "target_name",
]

MINUS = "\u2212"
DASH = "\u2013"
MISSING = "\u2013"


def defined(value: Any) -> bool:
    """Say whether a value is a finite number."""
    return isinstance(value, (int, float)) and math.isfinite(value)


def fixed(value: Any, digits: int = 2) -> str:
    """Return a number with a true minus sign, "–" where there is none, and no negative zero."""
    if not defined(value):
        return MISSING
    text = f"{value:.{digits}f}"
    text = text.lstrip("-") if float(text) == 0 else text
    return text.replace("-", MINUS)


def signed(value: Any, digits: int = 2) -> str:
    """Return a number with its sign in front, plus or minus."""
    text = fixed(value, digits)
    return f"+{text}" if defined(value) and value > 0 and float(f"{value:.{digits}f}") != 0 else text


def percent(value: Any, digits: int = 1) -> str:
    """Return a fraction as percent."""
    return f"{fixed(value * 100, digits)}\u00a0%" if defined(value) else MISSING


def points(value: Any, digits: int = 1) -> str:
    """Return a difference of fractions in percentage points, without the unit."""
    return fixed(value * 100, digits) if defined(value) else MISSING


def compact(value: Any) -> str:
    """Return a number with four significant digits, "–" where there is none."""
    return f"{value:.4g}".replace("-", MINUS) if defined(value) else MISSING


def interval(low: Any, high: Any, digits: int = 2) -> str:
    """Return "[−0.12, 0.40]", or "no interval" where resampling could not give one."""
    if not (defined(low) and defined(high)):
        return "no interval"
    return f"[{fixed(low, digits)}, {fixed(high, digits)}]"


def p_text(value: Any) -> str:
    """Return a p-value: three digits, "< 0.001" below that."""
    if not defined(value):
        return MISSING
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def count(n: int, singular: str, plural: str = "") -> str:
    """Return "1 model", "2 models", "1,344 models"."""
    return f"{n:,} {singular if n == 1 else plural or singular + 's'}"


def listed(names: Sequence[str], limit: int = 6) -> str:
    """Return "a, b and c"; beyond the limit "a, b and 3 more"."""
    names = list(names)
    if len(names) > limit:
        return f"{', '.join(names[:limit])} and {len(names) - limit} more"
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else "none"


def setting_name(column: str) -> str:
    """Return a setting's plain name: ``setting_batch_size`` is "batch size"."""
    return describe(column).label


def target_name(column: str) -> str:
    """Return what is predicted, in words."""
    return describe(column).title


def measure_name(measure: str, infos: Mapping[str, MeasureInfo]) -> str:
    """Return a measure's title from its info, or its column name where nobody described it."""
    return infos[measure].title if measure in infos else measure


def axis_title(measure: str, infos: Mapping[str, MeasureInfo]) -> str:
    """Return the title of an axis: the measure and its unit."""
    unit = infos[measure].unit if measure in infos else ""
    return (
        f"{measure_name(measure, infos)} ({unit})" if unit and unit not in {"1", "-"} else measure_name(measure, infos)
    )

"""Formats numbers and names for a reader: percent, points, intervals, lists."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from measurebench.core.columns import describe
from measurebench.core.info import MeasureInfo
from measurebench.core.intervals import p_value_text

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
    "run_command",
    "setting_name",
    "signed",
    "target_name",
]

MINUS = "\u2212"
DASH = "\u2013"
MISSING = "\u2013"


def defined(value: Any) -> bool:
    """Tell whether a value is a finite number.

    >>> defined(0.5), defined(None), defined(float("nan")), defined("0.5")
    (True, False, False, False)
    """
    return isinstance(value, (int, float)) and math.isfinite(value)


def fixed(value: Any, digits: int = 2) -> str:
    """Return a number with a true minus sign (U+2212), "–" where there is none, and no negative zero.

    >>> fixed(-0.125, 2), fixed(-0.001), fixed(None)
    ('−0.12', '0.00', '–')
    """
    if not defined(value):
        return MISSING
    text = f"{value:.{digits}f}"
    text = text.lstrip("-") if float(text) == 0 else text
    return text.replace("-", MINUS)


def signed(value: Any, digits: int = 2) -> str:
    """Return a number with its sign in front, plus or minus; what rounds to zero has none.

    >>> signed(0.2), signed(-0.2), signed(0.001)
    ('+0.20', '−0.20', '0.00')
    """
    text = fixed(value, digits)
    return f"+{text}" if defined(value) and value > 0 and float(f"{value:.{digits}f}") != 0 else text


def percent(value: Any, digits: int = 1) -> str:
    """Return a fraction as percent, with a space before the sign that does not break the line.

    >>> percent(0.5128).replace("\u00a0", " ")
    '51.3 %'
    """
    return f"{fixed(value * 100, digits)}\u00a0%" if defined(value) else MISSING


def points(value: Any, digits: int = 1) -> str:
    """Return a difference of fractions in percentage points, without the unit.

    >>> points(-0.0325, 2)
    '−3.25'
    """
    return fixed(value * 100, digits) if defined(value) else MISSING


def compact(value: Any) -> str:
    """Return a number with four significant digits, "–" where there is none.

    >>> compact(1234567.0), compact(0.000123456)
    ('1.235e+06', '0.0001235')
    """
    return f"{value:.4g}".replace("-", MINUS) if defined(value) else MISSING


def interval(low: Any, high: Any, digits: int = 2) -> str:
    """Return an interval in brackets, or "no interval" where either end is missing.

    >>> interval(-0.12, 0.4), interval(float("nan"), 0.4)
    ('[−0.12, 0.40]', 'no interval')
    """
    if not (defined(low) and defined(high)):
        return "no interval"
    return f"[{fixed(low, digits)}, {fixed(high, digits)}]"


def p_text(value: Any) -> str:
    """Return a p-value with three digits, "< 0.001" for a smaller one, and a dash for one that is missing.

    >>> p_text(0.0421), p_text(0.00004)
    ('0.042', '< 0.001')
    """
    return p_value_text(value) if defined(value) else MISSING


def count(n: int, singular: str, plural: str = "") -> str:
    """Return a number with its noun, in the plural where it is not one.

    >>> count(1, "model"), count(1344, "model"), count(2, "entry", "entries")
    ('1 model', '1,344 models', '2 entries')
    """
    return f"{n:,} {singular if n == 1 else plural or singular + 's'}"


def listed(names: Sequence[str], limit: int = 6) -> str:
    """Return names as a list in words; beyond ``limit`` the rest is counted.

    >>> listed(["a", "b", "c"]), listed(["a", "b", "c", "d"], limit=2), listed([])
    ('a, b and c', 'a, b and 2 more', 'none')
    """
    names = list(names)
    if len(names) > limit:
        return f"{', '.join(names[:limit])} and {len(names) - limit} more"
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else "none"


def setting_name(column: str) -> str:
    """Return a setting's plain name.

    >>> setting_name("setting_batch_size"), setting_name("setting_weight_decay")
    ('batch size', 'weight decay')
    """
    return describe(column).label


def target_name(column: str) -> str:
    """Return the name of a target column in words.

    >>> target_name("robust_gap_pgd"), target_name("pgd_accuracy_test")
    ('robust generalization gap (PGD)', 'PGD test accuracy')
    """
    return describe(column).title


def measure_name(measure: str, infos: Mapping[str, MeasureInfo]) -> str:
    """Return a measure's title from its info, or its column name where nobody described it."""
    return infos[measure].title if measure in infos else measure


def axis_title(measure: str, infos: Mapping[str, MeasureInfo]) -> str:
    """Return the title of an axis: the measure and its unit, where it has one.

    >>> axis_title("my_measure", {})
    'my_measure'
    """
    unit = infos[measure].unit if measure in infos else ""
    return (
        f"{measure_name(measure, infos)} ({unit})" if unit and unit not in {"1", "-"} else measure_name(measure, infos)
    )


def run_command(run: Mapping[str, Any]) -> str:
    """Return the command line of a run as its provenance holds it: a list of arguments or a text.

    >>> run_command({"command": ["__main__.py", "run", "digits:*"]})
    'python -m measurebench run digits:*'
    """
    line = run.get("command") or run.get("command_line") or run.get("argv") or ""
    text = " ".join(map(str, line)) if isinstance(line, list) else str(line)
    return text.replace("__main__.py", "python -m measurebench", 1) if text.startswith("__main__.py") else text

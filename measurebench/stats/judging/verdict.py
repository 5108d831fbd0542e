"""Decides what is said of one measure, from its rows, its power and what it adds to the settings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from measurebench.core.intervals import ALPHA, Z
from measurebench.stats.judging.power import can_show, chance_to_show, detectable_tau
from measurebench.stats.judging.significance import ALONE, Row, shown_inside, significant

__all__ = [
    "EFFECT",
    "GAIN",
    "HALF",
    "MARGIN",
    "SLOPE_COST",
    "VERDICTS",
    "Evidence",
    "is_small",
    "opposite_inside",
    "row_words",
    "sign",
    "verdict",
    "verdict_words",
]

MARGIN = 0.1
"""|tau| up to which an association counts as small; the caller may state another margin."""

EFFECT = 0.5
"""The tau by which a table is called underpowered."""

HALF = 0.5
"""A table that shows a tau of ``EFFECT`` less often than this is underpowered."""

GAIN = 0.1
"""A share of the squared error beside the settings: a measure that may lower it by this, and by nothing, is open."""

SLOPE_COST = 2.0
"""Divided by the units, what is added to the upper end of a gain before it is called too small to matter.

What the measure enters by is estimated from so many units: a line costs about 1 / units of the error. Without the
allowance, a measure with a tau of 0.3 was said to tell what the settings tell in 14 % of tables of 24 runs.
"""

_PERFECT = 0.9  # a tau^2 beyond which the interval says little of other values of tau

# Below this a gain is that of rounding alone.
_NO_GAIN = 1e-9

VERDICTS = {
    "holds_everywhere": "holds over all models and inside every defense",
    "holds_overall": "holds over all models, and inside some defenses",
    "holds_undivided": "holds over all models, not divided by defense",
    "holds_untested_inside": "holds over all models, but each defense alone has too few models to show it",
    "between_defenses_only": "holds over all models, but is shown inside no defense",
    "within_defenses_only": "is shown inside defenses, but not over all models",
    "turns_with_defense": "changes sign between defenses",
    "turns_with_train_accuracy": "has the opposite sign with train robust accuracy, which is a part of the gap, held "
    "fixed",
    "explained_by_train_accuracy": "keeps less than half of tau with train robust accuracy, which is a part of the "
    "gap, held fixed",
    "tells_settings": "lowers the squared error beside the settings by less than "
    f"{100 * GAIN:.0f} %, if at all, with one curve for all models",
    "untested_beside_settings": "is associated with the target, but may only reflect the training settings",
    "small": "shows that any association is small",
    "unknown": "shows no association beyond chance, and does not rule one out",
    "underpowered": f"shows nothing, but on too few models to show a tau of {EFFECT:g} in more than about half of such "
    "tables",
    "too_few": "cannot be judged on so few models",
    "undetermined": "cannot be judged",
}


@dataclass(frozen=True)
class Evidence:
    """All that a judgement rests on.

    ``total`` is tau_b over all models, ``inside`` tau in each defense, ``held`` the tau of residuals given train
    robust accuracy, ``added`` what the measure adds to the settings on held-out runs (None without settings).
    ``units`` says how many independent units there are over all models ("") and in each defense, empty where that is
    unknown;
    ``alpha``, ``alpha_inside`` and ``alpha_alone`` are the p-values, before adjustment, at which one more association
    would be shown: over all models, inside each defense, and there where nothing is shown over all models.
    ``least_p`` are the smallest that the permutations can give, over all models ("") and in each defense.
    """

    total: Row | None
    inside: Sequence[dict[str, Any]]
    held: Row | None
    added: Row | None = None
    units: Mapping[str, int] = field(default_factory=dict)
    alpha: float = ALPHA
    margin: float = MARGIN
    alpha_inside: Mapping[str, float] = field(default_factory=dict)
    alpha_alone: Mapping[str, float] = field(default_factory=dict)
    least_p: Mapping[str, float] = field(default_factory=dict)

    @property
    def has_total(self) -> bool:
        """Whether a rank correlation over all models exists."""
        return self.total is not None and bool(np.isfinite(self.total["estimate"]))

    def n_units(self, row: Row, level: str = "") -> int | None:
        """Return how many units a row rests on, or may rest on at most; None where that is unknown."""
        known = row.get("n_units")
        if known is not None and np.isfinite(known):
            return int(known)
        return min(self.units[level], int(row["n_models"])) if level in self.units else None

    @property
    def overall(self) -> bool:
        """Whether an association over all models is shown."""
        return self.total is not None and significant(self.total)

    def shown(self, row: Row) -> bool:
        """Say whether the association inside a defense counts (``shown_inside``)."""
        return shown_inside(row, self.total)

    def level_of_test(self, level: str = "") -> float:
        """Return the p-value that an association would have to reach over all models, or inside a defense."""
        if not level:
            return self.alpha
        return self._inside(level) if self.overall else self.alpha_alone.get(level, ALONE)

    def _inside(self, level: str) -> float:
        return self.alpha_inside.get(level, ALPHA)

    def detectable(self, row: Row, level: str = "") -> float:
        """Return the tau that would be shown four times in five; NaN where that cannot be said (``detectable_tau``)."""
        n = self.n_units(row, level)
        if n is None or self.too_coarse(level):
            return float("nan")
        return detectable_tau(n, self.level_of_test(level), error=_error(row))

    def too_coarse(self, level: str = "") -> bool:
        """Say whether so few permutations cannot give the p-value that an association would have to reach."""
        return self.least_p.get(level, 0.0) > self.level_of_test(level)

    def too_few(self, row: Row, level: str = "") -> bool:
        """Say whether so few units could have shown nothing at all, even a perfect order.

        Inside a defense at the level of an association that is shown by itself, whatever is shown over all models.
        """
        n = self.n_units(row, level)
        return n is not None and not significant(row) and not can_show(n, self._inside(level) if level else self.alpha)

    def blind(self, row: Row, level: str) -> bool:
        """Say whether tau over all models, if it held inside a defense, would be shown there less than 4 times in 5.

        A defense of fewer than 12 units, of which that cannot be said, counts as blind.
        """
        if self.total is None or self.n_units(row, level) is None:
            return False
        return not self.detectable(row, level) <= abs(self.total["estimate"])

    @property
    def determined(self) -> bool:
        """Whether the settings determine the measure, so that it adds nothing and no resample says otherwise."""
        if self.added is None or not np.isfinite(self.added["gain"]):
            return False
        ends = self.added["ci_low"], self.added["ci_high"]
        return ends == (0, 0) or (not np.isfinite(ends).any() and abs(self.added["gain"]) < _NO_GAIN)

    @property
    def adds(self) -> bool:
        """Whether the measure is shown to lower the error beside the settings, by however little.

        As an association is shown: by an interval, and by a p-value adjusted for the number of measures.
        """
        if self.added is None or not self.added["ci_low"] > 0:
            return False
        return not self.added.get("p_adjusted", 0.0) > ALPHA

    @property
    def adds_too_little(self) -> bool:
        """Whether the measure lowers the error beside the settings by less than ``GAIN``, if at all."""
        if self.added is None or self.adds:
            return False
        return self.determined or bool(self.added["ci_high"] < self.least_gain)

    @property
    def least_gain(self) -> float:
        """What the upper end of a gain must lie below for the measure to add too little."""
        n = self.n_units(self.total) if self.total else None
        return GAIN - (SLOPE_COST / n if n else 0.0)

    def underpowered(self, row: Row) -> bool:
        """Say whether a tau of 0.5 over all models would have been shown less than half of the time."""
        n = self.n_units(row)
        return n is not None and chance_to_show(EFFECT, n, self.alpha) < HALF


def _error(row: Row) -> float:
    """Return the standard error of arctanh(tau) that its interval tells; 0 without one, or near a perfect order."""
    low, high, tau = (float(row.get(key, float("nan"))) for key in ("ci_low", "ci_high", "estimate"))
    if not np.isfinite([low, high, tau]).all() or tau * tau > _PERFECT:
        return 0.0
    return (high - low) / (2 * Z * (1 - tau * tau))


def verdict(of: Evidence) -> tuple[str, bool]:
    """Return the verdict, and whether several defenses contradict all models together (a Simpson reversal).

    The verdicts are tried in a fixed order, and the first that fits is given: no tau; opposite signs; shown inside
    defenses only; not shown; the settings; train robust accuracy; where it holds.
    """
    if not of.has_total or of.total is None:
        return ("too_few" if of.total is not None and of.too_few(of.total) else "undetermined"), False
    shown = [row for row in of.inside if of.shown(row)]
    opposite = opposite_inside(of)
    if opposite or len({sign(row["estimate"]) for row in shown}) == 2:
        return "turns_with_defense", len(opposite) > 1
    if shown and not of.overall:
        return "within_defenses_only", False
    return (_shown(of, of.total, shown) if of.overall else _not_shown(of, of.total)), False


def opposite_inside(of: Evidence) -> list[str]:
    """Return the defenses that show the sign opposite to that over all models.

    None where nothing is shown over all models, or where another defense shows the sign over all models.
    """
    shown = [row for row in of.inside if of.shown(row)]
    if not of.overall or of.total is None or sign(of.total["estimate"]) in {sign(row["estimate"]) for row in shown}:
        return []
    return [str(row["level"]) for row in shown]


def _not_shown(of: Evidence, total: Row) -> str:
    if of.too_few(total):
        return "too_few"
    if is_small(total, of.margin):
        return "small"
    return "underpowered" if of.underpowered(total) else "unknown"


def is_small(row: Row, margin: float = MARGIN) -> bool:
    """Say whether the 95 % interval lies within the margin: two one-sided tests at 2.5 % each (Schuirmann 1987).

    >>> is_small({"ci_low": -0.04, "ci_high": 0.09}), is_small({"ci_low": -0.2, "ci_high": 0.09})
    (True, False)
    """
    low, high = row.get("ci_low"), row.get("ci_high")
    return low is not None and high is not None and bool(low > -margin and high < margin)


def _shown(of: Evidence, total: Row, shown: list[dict[str, Any]]) -> str:
    if of.adds_too_little:
        return "tells_settings"
    if of.added is not None and not of.adds:
        return "untested_beside_settings"
    if fixed := _with_train_accuracy(total, of.held):
        return fixed
    if not of.inside:
        return "holds_undivided"
    judged = [row for row in of.inside if np.isfinite(row["estimate"])]
    if len(judged) > 1 and len(shown) == len(judged) == len(of.inside):
        return "holds_everywhere"
    if shown:
        return "holds_overall"
    untested = all(of.blind(row, str(row["level"])) for row in of.inside)
    return "holds_untested_inside" if untested else "between_defenses_only"


def _with_train_accuracy(total: Row, held: Row | None) -> str:
    """Return the verdict where tau is shown to change sign with train accuracy held fixed, or falls below half.

    Below half counts only where it is not shown any more.
    """
    if held is None or not np.isfinite(held["estimate"]) or not np.isfinite(held["ci_low"]):
        return ""
    left = held["estimate"] * np.sign(total["estimate"])
    if significant(held):
        return "turns_with_train_accuracy" if left < 0 else ""
    return "explained_by_train_accuracy" if left < abs(total["estimate"]) / 2 else ""


def verdict_words(code: str, opposite: str = "") -> str:
    """Return a verdict in words.

    ``opposite`` names, between commas, the defenses that show the sign opposite to that over all models.

    >>> verdict_words("turns_with_defense"), verdict_words("turns_with_defense", "TRADES")
    ('changes sign between defenses', 'has the opposite sign inside TRADES')
    """
    return f"has the opposite sign inside {' and '.join(opposite.rsplit(', ', 1))}" if opposite else VERDICTS[code]


def row_words(row: Mapping[str, Any]) -> str:
    """Return the verdict of a judgement in words, as they follow the measure's name.

    A judgement of an earlier version has no column ``opposite``; its ``reversal`` says that the sign is opposite.

    >>> row_words({"verdict": "turns_with_defense", "reversal": True, "opposite": "AT, TRADES"})
    'has the opposite sign inside AT and TRADES'
    """
    opposite = row.get("opposite")
    if not isinstance(opposite, str):
        opposite = "defenses" if bool(row.get("reversal", False)) else ""
    return verdict_words(str(row["verdict"]), opposite)


def sign(value: float) -> str:
    """Return "+", "-", or nothing for 0.

    >>> sign(0.5), sign(-0.5), sign(0.0)
    ('+', '-', '')
    """
    return "+" if value > 0 else "-" if value < 0 else ""

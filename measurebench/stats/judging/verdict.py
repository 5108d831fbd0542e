"""Decides what is said of one measure, from its rows, its power and what it adds to the settings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from measurebench.stats.judging.power import chance_to_show, detectable_tau
from measurebench.stats.judging.significance import ALPHA, Row, shown_inside, significant

__all__ = [
    "EFFECT",
    "GAIN",
    "HALF",
    "MARGIN",
    "SLOPE_COST",
    "VERDICTS",
    "Evidence",
    "is_small",
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

The slope of the measure is estimated from so many units, which costs about 1 / units of the error; without the
allowance, a measure with a tau of 0.3 was said to tell what the settings tell in 14 % of tables of 24 runs.
"""

VERDICTS = {
    "holds_everywhere": "holds over all models and inside every defense",
    "holds_overall": "holds over all models, and inside some defenses",
    "holds_undivided": "holds over all models, not divided by defense",
    "holds_untested_inside": "holds over all models, while each defense has too few models to show as much",
    "between_defenses_only": "holds over all models, but is shown inside no defense",
    "within_defenses_only": "is shown inside defenses, but not over all models",
    "turns_with_defense": "changes sign from one defense to another",
    "explained_by_train_accuracy": "is explained by train robust accuracy",
    "tells_settings": "tells what the settings tell",
    "untested_beside_settings": "is associated with the target, but may tell no more than the settings",
    "small": "shows that any association is small",
    "unknown": "shows no association that differs from chance, and does not rule one out",
    "underpowered": "shows nothing, but is known on too few models to show even a strong association",
    "too_few": "cannot be judged on so few models",
    "undetermined": "cannot be judged",
}


@dataclass(frozen=True)
class Evidence:
    """All that a judgement rests on.

    ``total`` is tau_b over all models, ``inside`` tau in each defense, ``held`` the partial tau given train robust
    accuracy, ``added`` what the measure adds to the settings on held-out runs (None without settings). ``units`` says
    how many independent units there are over all models ("") and in each defense, empty where that is unknown;
    ``alpha`` is the level that one measure among many must reach.
    """

    total: Row | None
    inside: Sequence[dict[str, Any]]
    held: Row | None
    added: Row | None = None
    units: Mapping[str, int] = field(default_factory=dict)
    alpha: float = ALPHA
    margin: float = MARGIN

    @property
    def has_total(self) -> bool:
        """Whether a rank correlation over all models exists."""
        return self.total is not None and bool(np.isfinite(self.total["estimate"]))

    def n_units(self, row: Row, level: str = "") -> int | None:
        """Return how many units a row rests on at most; None where that is unknown."""
        return min(self.units[level], int(row["n_models"])) if level in self.units else None

    @property
    def overall(self) -> bool:
        """Whether an association over all models is shown."""
        return self.total is not None and significant(self.total)

    def shown(self, row: Row) -> bool:
        """Say whether the association inside a defense counts (``shown_inside``)."""
        return shown_inside(row, self.total)

    def too_few(self, row: Row, level: str = "") -> bool:
        """Say whether so few units could have shown nothing at all, even a perfect order."""
        n = self.n_units(row, level)
        return n is not None and not significant(row) and bool(np.isnan(detectable_tau(n, self.alpha)))

    def blind(self, row: Row, level: str) -> bool:
        """Say whether a defense would have shown tau over all models, if that held inside, less than 4 times in 5."""
        n = self.n_units(row, level)
        if n is None or self.total is None:
            return False
        tau = detectable_tau(n, self.alpha)
        return bool(np.isnan(tau) or tau > abs(self.total["estimate"]))

    def adds_too_little(self, added: Row) -> bool:
        """Say whether the measure surely lowers the error beside the settings by less than ``GAIN``."""
        determined = added["ci_low"] == added["ci_high"] == 0
        return determined or bool(added["ci_high"] < self.least_gain)

    @property
    def least_gain(self) -> float:
        """What the upper end of a gain must lie below for the measure to add too little."""
        n = self.n_units(self.total) if self.total else None
        return GAIN - (SLOPE_COST / n if n else 0.0)

    def underpowered(self, row: Row, level: str = "") -> bool:
        """Say whether a tau of 0.5 would have been shown less than half of the time."""
        n = self.n_units(row, level)
        return n is not None and chance_to_show(EFFECT, n, self.alpha) < HALF


def verdict(of: Evidence) -> tuple[str, bool]:
    """Return the verdict, and whether all models together contradict every defense (a Simpson reversal)."""
    if not of.has_total or of.total is None:
        return ("too_few" if of.total is not None and of.too_few(of.total) else "undetermined"), False
    shown = [row for row in of.inside if of.shown(row)]
    signs = {sign(row["estimate"]) for row in shown}
    reversal = of.overall and bool(signs) and sign(of.total["estimate"]) not in signs
    if len(signs) == 2 or reversal:
        return "turns_with_defense", reversal
    if shown and not of.overall:
        return "within_defenses_only", False
    return (_shown(of, of.total, shown) if of.overall else _not_shown(of, of.total)), False


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
    if of.added is not None and not of.added["ci_low"] > 0:
        return "tells_settings" if of.adds_too_little(of.added) else "untested_beside_settings"
    if _explained(total, of.held):
        return "explained_by_train_accuracy"
    if not of.inside:
        return "holds_undivided"
    judged = [row for row in of.inside if np.isfinite(row["estimate"])]
    if len(judged) > 1 and len(shown) == len(judged) == len(of.inside):
        return "holds_everywhere"
    if shown:
        return "holds_overall"
    untested = all(of.blind(row, str(row["level"])) for row in of.inside)
    return "holds_untested_inside" if untested else "between_defenses_only"


def _explained(total: Row, held: Row | None) -> bool:
    """Say whether tau changes sign with train accuracy held fixed, or falls below half and is not shown any more."""
    if held is None or not np.isfinite(held["estimate"]) or not np.isfinite(held["ci_low"]):
        return False
    turned = sign(held["estimate"]) != sign(total["estimate"])
    return turned or (not significant(held) and abs(held["estimate"]) < abs(total["estimate"]) / 2)


def verdict_words(code: str, reversal: bool = False) -> str:
    """Return a verdict in words; with ``reversal`` the sign turns against that over all models, not between defenses.

    >>> verdict_words("turns_with_defense", reversal=True)
    'has the opposite sign inside defenses'
    """
    return "has the opposite sign inside defenses" if reversal else VERDICTS[code]


def sign(value: float) -> str:
    """Return "+", "-", or nothing for 0.

    >>> sign(0.5), sign(-0.5), sign(0.0)
    ('+', '-', '')
    """
    return "+" if value > 0 else "-" if value < 0 else ""

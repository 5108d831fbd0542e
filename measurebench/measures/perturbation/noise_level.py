"""Searches for the noise level at which a decreasing curve has fallen by a given amount, on common random numbers."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from measurebench.measures.value import UndefinedMeasureError

__all__ = ["Curve", "Displacement", "DisplacementSearch"]

Curve = Callable[[float, int], float | Tensor]


@dataclass(frozen=True)
class Displacement:
    """The noise level at which the mean curve has fallen by the target.

    ``log_slope`` is the fall per unit of the level's natural logarithm near the level, ``standard_error`` that of the
    mean curve's fall across draws, and ``n_evaluations`` the number of evaluations of single curves.
    """

    level: float
    log_slope: float
    standard_error: float
    n_evaluations: int

    @property
    def log_level_error(self) -> float:
        """The standard error of the level's natural logarithm: that of the fall divided by the slope."""
        return self.standard_error / self.log_slope


@dataclass
class DisplacementSearch:
    """Searches for the level at which the mean over draws of ``curve(level, draw)`` lies ``target`` below ``start``.

    The curve may return a scalar tensor, which is read only when all draws of a level are on their way.

    The levels 2^-k ``largest``, k = 0 .. ``n_octaves``, are bisected with the first two draws. The octave found is
    confirmed with all draws and narrowed by the Illinois rule, in the logarithm of the level, until its ends differ by
    at most ``tolerance`` (relative). Between the ends the curve is taken to be linear. Each draw is the same at every
    level, so the mean curve is a fixed function, and its crossing does not depend on the path of the search.

    >>> search = DisplacementSearch(lambda level, draw: 1 - level**2, start=1.0, target=0.25, n_draws=1)
    >>> round(search.find().level, 3)
    0.5
    """

    curve: Curve
    start: float
    target: float
    largest: float = 2.0
    n_draws: int = 10
    n_octaves: int = 24
    tolerance: float = 1e-3
    _values: dict[tuple[float, int], float] = field(default_factory=dict, repr=False)

    def fall(self, level: float, n_draws: int | None = None) -> float:
        """Return how far the mean over draws lies below the start.

        It is rounded to twelve digits: accuracies are fractions, so a fall often equals the target up to rounding.
        """
        return round(float(self.falls(level, self.n_draws if n_draws is None else n_draws).mean()), 12)

    def falls(self, level: float, n_draws: int) -> Tensor:
        """Return the fall of each draw, float64 [draws]."""
        missing = [draw for draw in range(n_draws) if (level, draw) not in self._values]
        found = [torch.as_tensor(self.curve(level, draw), dtype=torch.float64) for draw in missing]
        if found:
            self._values.update(zip([(level, draw) for draw in missing], torch.stack(found).tolist(), strict=True))
        values = [self._values[level, draw] for draw in range(n_draws)]
        return self.start - torch.tensor(values, dtype=torch.float64)

    def find(self) -> Displacement:
        """Return the displacement; raises UndefinedMeasureError with the reason if no level reaches the target."""
        if self.start < self.target:
            raise UndefinedMeasureError(
                f"accuracy {self.start:.4g} cannot fall by {self.target:g}, since it starts below that"
            )
        low, high = self._octave(self._coarse())
        octave = low, high
        low, high = self._narrowed(low, high)
        below, above = self.fall(low), self.fall(high)
        share = (self.target - below) / (above - below)
        falls = self.falls(high, self.n_draws)
        error = float(falls.std(correction=1)) / math.sqrt(self.n_draws) if self.n_draws > 1 else 0.0
        level = low * (high / low) ** share
        return Displacement(level, self._log_slope(level, *octave), error, len(self._values))

    def halved(self, depth: int, tolerance: float) -> Displacement:
        """Return the displacement by plain bisection of [0, largest], as the public code searches.

        It ends after ``depth`` halvings, or as soon as the fall is within ``tolerance`` of the target. Raises
        UndefinedMeasureError if no level reaches the target, or the start lies below it.
        """
        if self.start < self.target:
            raise UndefinedMeasureError(
                f"accuracy {self.start:.4g} cannot fall by {self.target:g}, since it starts below that"
            )
        low, high, level = 0.0, self.largest, self.largest
        for _ in range(depth):
            level = (low + high) / 2
            fall = self.fall(level)
            if abs(fall - self.target) < tolerance:
                break
            low, high = (low, level) if fall > self.target else (level, high)
        if self.fall(level) < self.target - tolerance and high == self.largest:
            raise UndefinedMeasureError(self._saturated())
        falls = self.falls(level, self.n_draws)
        error = float(falls.std(correction=1)) / math.sqrt(self.n_draws) if self.n_draws > 1 else 0.0
        # a tenth to either side, where the noise of a few draws does not hide the slope
        slope = (self.fall(level * 1.1) - self.fall(level / 1.1)) / (2 * math.log(1.1))
        return Displacement(level, slope if slope > 0 else math.nan, error, len(self._values))

    def _log_slope(self, level: float, low: float, high: float) -> float:
        """Return the slope of the fall in the logarithm of the level, from the parabola through a level on each side.

        These are the nearest evaluated levels at least 5 % away: closer ones may differ by a single example. If both
        are within 3 %, the parabola is not stable and the slope between them is taken.
        """
        levels = [known for known, draw in self._values if draw == self.n_draws - 1]
        low = max([known for known in levels if known <= level / 1.05], default=low)
        high = min([known for known in levels if known >= level * 1.05], default=high)
        left, right = math.log(level / low), math.log(high / level)
        if min(left, right) < 0.03:
            return (self.fall(high) - self.fall(low)) / (left + right)
        before, after = (self.target - self.fall(low)) / left, (self.fall(high) - self.target) / right
        return (before * right + after * left) / (left + right)

    def _level(self, octave: int) -> float:
        return self.largest * 2.0**-octave

    def _coarse(self) -> int:
        """Bisect the octaves with two draws and return the number of the largest level known to fall short."""
        reached, short = 0, self.n_octaves
        while short - reached > 1:
            middle = (reached + short) // 2
            if self.fall(self._level(middle), min(2, self.n_draws)) >= self.target:
                reached = middle
            else:
                short = middle
        return short

    def _octave(self, short: int) -> tuple[float, float]:
        """Move from the octave found with two draws to the one that brackets the target with all draws."""
        while self.fall(self._level(short)) >= self.target:
            short += 1
            if short > self.n_octaves:
                raise UndefinedMeasureError(
                    f"the smallest noise, {self._level(self.n_octaves):.3g}, already lowers accuracy by"
                    f" {self.target:g} or more"
                )
        while self.fall(self._level(short - 1)) < self.target:
            short -= 1
            if short == 0:
                raise UndefinedMeasureError(self._saturated())
        return self._level(short), self._level(short - 1)

    def _saturated(self) -> str:
        """Return the reason why the largest level does not reach the target."""
        fall = self.fall(self.largest)
        if fall < 0:
            return f"noise raises accuracy ({-fall:.4g} at the largest level {self.largest:g}) instead of lowering it"
        return (
            f"accuracy {self.start:.4g} falls by {fall:.4g} at the largest level {self.largest:g}, short of"
            f" {self.target:g}: it levels off near chance"
        )

    def _narrowed(self, low: float, high: float) -> tuple[float, float]:
        """Return a narrower bracket; each point is moved towards the farther end, so that both ends close in."""
        f_low, f_high = self.fall(low) - self.target, self.fall(high) - self.target
        w_low, w_high = f_low, f_high  # the Illinois rule: an end that stays twice counts half
        width, last = math.log1p(self.tolerance), ""
        for _ in range(60):  # a bisection would need fewer than 60 steps for any float64 tolerance
            a, b = math.log(low), math.log(high)
            if b - a <= width or f_high == 0:
                break
            point = (a * w_high - b * w_low) / (w_high - w_low)
            point += width / 2 if point < (a + b) / 2 else -width / 2
            level = math.exp(min(max(point, a + width / 4), b - width / 4))
            f = self.fall(level) - self.target
            if f >= 0:
                high, f_high, w_high = level, f, f
                w_low, last = (w_low / 2 if last == "high" else f_low), "high"
            else:
                low, f_low, w_low = level, f, f
                w_high, last = (w_high / 2 if last == "low" else f_high), "low"
        return low, high

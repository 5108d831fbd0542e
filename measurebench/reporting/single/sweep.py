"""Draws the accuracy of one model against the radius of the attack, as a plain SVG without a library."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from measurebench.core.columns import accuracy_column, attack_title, describe
from measurebench.core.threat import radius_text
from measurebench.reporting.html.wording import percent
from measurebench.reporting.single.profile import Rate, rates_of
from measurebench.stats.population.threats import RADIUS, radius_number

__all__ = ["HEIGHT", "WIDTH", "Line", "Mark", "Sweep", "sweep_of"]

# Of the area between the axes, in the units of the drawing.
WIDTH = 600.0
HEIGHT = 220.0


@dataclass(frozen=True)
class Mark:
    """An accuracy at a radius: texts to read, and its place in the drawing; ``low`` and ``high`` end its interval."""

    radius: str
    rate: Rate
    x: float
    y: float
    low: float
    high: float

    @property
    def value(self) -> str:
        """The accuracy in percent."""
        return percent(self.rate.value)

    @property
    def interval(self) -> str:
        """The 95 % interval in percent, where the number of images is known."""
        rate = self.rate
        return "" if rate.low is None or rate.high is None else f"{percent(rate.low)} to {percent(rate.high)}"


@dataclass(frozen=True)
class Line:
    """One attack: its accuracies from small to large radii, after that on clean images at radius 0."""

    title: str
    color: str
    marks: tuple[Mark, ...]

    @property
    def path(self) -> str:
        """The points of the line."""
        return " ".join(f"{mark.x:g},{mark.y:g}" for mark in self.marks)


@dataclass(frozen=True)
class Sweep:
    """The lines of all attacks, and the radii with their places on the axis."""

    lines: tuple[Line, ...]
    ticks: tuple[tuple[str, float], ...]

    @property
    def sentence(self) -> str:
        """What the first line shows, in words."""
        marks = self.lines[0].marks
        told = ", ".join(f"{mark.value} at {mark.radius}" for mark in marks)
        return f"Accuracy on test images under {self.lines[0].title}: {told}."


def sweep_of(rows: pd.DataFrame) -> Sweep | None:
    """Return the curves of a model's rows, one for each radius; None where no attack was run at two radii."""
    points = [(radius_number(row[RADIUS]), radius_text(row[RADIUS]), rates_of(row, None)) for _, row in rows.iterrows()]
    known = sorted(((r, text, rates) for r, text, rates in points if r is not None), key=lambda point: point[0])
    if len({radius for radius, _, _ in known}) < 2:
        return None
    largest = known[-1][0]
    found = dict.fromkeys(r.column for _, _, rates in known for r in rates if describe(r.column).split == "test")
    clean = accuracy_column("clean", "test")
    lines: list[Line] = []
    for name in (name for name in found if name != clean):
        marks = _marks(known, clean, largest)[:1] + _marks(known, name, largest, at_zero=False)
        if len({mark.x for mark in marks}) > 2 - (clean not in found):
            lines.append(Line(attack_title(describe(name).attack), f"s{len(lines) % 8 + 1}", tuple(marks)))
    ticks = [("0", 0.0)] if clean in found else []
    ticks += [(text, round(WIDTH * radius / largest, 2)) for radius, text, _ in known]
    return Sweep(tuple(lines), tuple(dict.fromkeys(ticks))) if lines else None


def _marks(
    known: Sequence[tuple[float, str, list[Rate]]], name: str, largest: float, at_zero: bool = True
) -> list[Mark]:
    """Return the accuracies of a column; those on clean images belong to radius 0."""
    found = []
    for radius, text, rates in known:
        for rate in rates:
            if rate.column == name:
                x = 0.0 if at_zero else round(WIDTH * radius / largest, 2)
                low, high = (rate.value if end is None else end for end in (rate.low, rate.high))
                found.append(Mark("0" if at_zero else text, rate, x, _y(rate.value), _y(low), _y(high)))
    return found


def _y(share: float) -> float:
    return round(HEIGHT * (1 - share), 2)

"""What is predicted, as a reader sees it: words, scale and axis of a gap, of an accuracy or of any other number."""

from dataclasses import dataclass
from typing import Any

from measurebench.core.columns import describe, is_gap
from measurebench.reporting.figures.figure import NUMBER_LABEL, POINTS_LABEL
from measurebench.reporting.html.wording import compact, percent, points, target_name

__all__ = ["Target", "value_format"]


def value_format(column: str) -> str:
    """Return how a column's numbers are shown: gaps in points, accuracies in percent, counts whole."""
    kind = describe(column).format
    return "number" if kind == "text" else kind


@dataclass(frozen=True)
class Target:
    """The column that is predicted."""

    column: str

    @property
    def is_gap(self) -> bool:
        """Whether it is a robust generalization gap."""
        return is_gap(self.column)

    @property
    def format(self) -> str:
        """The format of its values: points, percent or number."""
        kind = value_format(self.column)
        return kind if kind in {"points", "percent"} else "number"

    @property
    def name(self) -> str:
        """What it is, with the attack where that is known."""
        return target_name(self.column)

    @property
    def long(self) -> str:
        """What it is, without the attack: "robust generalization gap"."""
        return "robust generalization gap" if self.is_gap else self.name

    @property
    def short(self) -> str:
        """One word for it where there is one: "gap"."""
        return "gap" if self.is_gap else self.name

    @property
    def the(self) -> str:
        """The same inside a sentence: "the gap"."""
        return "the gap" if self.is_gap else self.name

    @property
    def subject(self) -> str:
        """The same at the start of a sentence: "The gap"."""
        return "The gap" if self.is_gap else self.name

    @property
    def many(self) -> str:
        """Several of them: "gaps"."""
        return "gaps" if self.is_gap else f"values of {self.name}"

    @property
    def unit(self) -> str:
        """The unit in words, empty where it is not known."""
        return {"points": "percentage points", "percent": "percent"}.get(self.format, "")

    @property
    def axis_title(self) -> str:
        """The title of its axis."""
        return self.titled(self.name)

    def titled(self, name: str) -> str:
        """Return the title of an axis with the target's unit."""
        return f"{name} ({self.unit})" if self.unit else name

    @property
    def axis_label(self) -> str:
        """The expression that writes a tick of its axis."""
        return NUMBER_LABEL if self.format == "number" else POINTS_LABEL

    @property
    def tooltip(self) -> str:
        """The format of a tooltip's number."""
        return ".4~g" if self.format == "number" else ".1%"

    def text(self, value: Any) -> str:
        """Return a value as it is shown, a gap without its unit."""
        return {"points": points, "percent": percent}.get(self.format, compact)(value)

    def told(self, value: Any) -> str:
        """Return a value with its unit."""
        return f"{self.text(value)} points" if self.is_gap else self.text(value)

    def span(self, low: Any, high: Any) -> str:
        """Return "from 1.0 to 2.0 percentage points"; other units stand with the numbers."""
        return f"from {self.text(low)} to {self.text(high)}" + (" percentage points" if self.is_gap else "")

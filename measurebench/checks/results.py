"""What a check finds, as data, and how much it tries."""

from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["CheckLine", "Effort", "ModelCheck", "Verdict"]

Verdict = Literal["ok", "hint", "WRONG"]


@dataclass(frozen=True)
class CheckLine:
    """One result of a check: the verdict, what was looked at, and what was found or what to do about it.

    ``ok`` states a fact, ``hint`` something to look into, ``WRONG`` a reason why the model cannot be measured.
    """

    verdict: Verdict
    subject: str
    text: str


@dataclass(frozen=True)
class ModelCheck:
    """All results for one model, in the order in which they were found.

    >>> check = ModelCheck("net.pt", "net", (CheckLine("WRONG", "loading", "no such file"),))
    >>> check.is_sound, [line.text for line in check.wrong]
    (False, ['no such file'])
    """

    reference: str
    id: str
    lines: tuple[CheckLine, ...]

    @property
    def wrong(self) -> tuple[CheckLine, ...]:
        """The reasons why the model cannot be measured."""
        return tuple(line for line in self.lines if line.verdict == "WRONG")

    @property
    def is_sound(self) -> bool:
        """Tell whether nothing is wrong."""
        return not self.wrong

    def to_json(self) -> dict[str, Any]:
        """Return the results as plain JSON values."""
        lines = [{"verdict": line.verdict, "subject": line.subject, "text": line.text} for line in self.lines]
        return {"reference": self.reference, "id": self.id, "lines": lines}


@dataclass(frozen=True)
class Effort:
    """How much a check tries: images, attacked images, AutoAttack; and the device, threat model and classes to use."""

    examples: int = 1000
    attack_examples: int = 32
    autoattack: bool = False
    device: str = "cpu"
    offline: bool = False
    norm: str | None = None
    radius: str | float | None = None
    classes: int | None = None

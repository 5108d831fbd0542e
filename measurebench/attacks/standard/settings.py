"""What the attacks of the standard evaluation do: which of them, how long, and what they return."""

from dataclasses import dataclass
from typing import Literal

from measurebench.core.errors import BadInputError, near_names

__all__ = ["ATTACKS", "LEAST_CLASSES", "VERSION", "StandardSettings", "n_targets", "published_passes"]

ATTACKS = ("apgd-ce", "apgd-t", "fab-t", "square")
VERSION = 2  # of the verdicts: stored searches and records of another version are not taken
LEAST_CLASSES = 4  # the targeted loss of APGD-T is a ratio of the four largest logits
_LEAST_SIDE = 5


@dataclass(frozen=True)
class StandardSettings:
    """The settings of AutoAttack's standard version, as published unless changed.

    ``attacks`` run in their order, each on the examples that withstood those before it. ``apgd_steps``,
    ``fab_steps`` and ``square_queries`` are iterations; ``targets`` is how many classes the targeted attacks try at
    most. ``returns`` says which adversarial image counts: "published", the last one of APGD and the nearest one of
    FAB, or "first", the first one found, which is cheaper where much is broken; verdicts are the same. ``slots`` is
    how many searches run side by side and ``candidates`` how many of a row's candidates Square tries at once; both
    are chosen by the number of pixels where they are None, and no result depends on them.
    """

    attacks: tuple[str, ...] = ATTACKS
    apgd_steps: int = 100
    fab_steps: int = 100
    square_queries: int = 5000
    targets: int = 9
    rho: float = 0.75
    returns: Literal["published", "first"] = "published"
    slots: int | None = None
    candidates: int | None = None

    def __post_init__(self) -> None:
        for attack in self.attacks:
            if attack not in ATTACKS:
                raise BadInputError("attacks", ", ".join(ATTACKS), repr(attack), near_names(attack, ATTACKS))
        if not self.attacks or len(set(self.attacks)) < len(self.attacks):
            raise BadInputError("attacks", "each attack once, at least one", repr(self.attacks))
        if self.returns not in ("published", "first"):
            raise BadInputError("returns", "published or first", repr(self.returns))
        for name in ("apgd_steps", "fab_steps", "square_queries", "targets", "slots", "candidates"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise BadInputError(name, "a positive integer", repr(value))

    def check_images(self, shape: tuple[int, ...], n_classes: int) -> None:
        """Raise BadInputError where images of ``shape`` [n, C, H, W] or so few classes cannot be attacked."""
        if len(shape) != 4:
            raise BadInputError("images", "shape [n, channels, height, width]", str(shape))
        if "square" in self.attacks and min(shape[2:]) < _LEAST_SIDE:
            raise BadInputError("images", f"at least {_LEAST_SIDE} pixels a side for square", str(shape[2:]))
        if n_classes < LEAST_CLASSES:
            raise BadInputError("classes", f"at least {LEAST_CLASSES} (targeted DLR loss)", str(n_classes))


def n_targets(attack: str, settings: StandardSettings, n_classes: int) -> int:
    """Return how many searches an example has: one, or one for each target, of which there are as many as can be."""
    return min(settings.targets, n_classes - 1) if attack in ("apgd-t", "fab-t") else 1


def published_passes(attack: str, settings: StandardSettings, n_targets: int) -> int:
    """Return how many passes, forward and backward, the published attack makes for an image that withstands it.

    >>> [published_passes(attack, StandardSettings(), 9) for attack in ATTACKS]
    [203, 1827, 2700, 5000]
    """
    if attack == "square":
        return settings.square_queries
    if attack == "fab-t":
        return n_targets * 3 * settings.fab_steps
    ascent = 2 * (settings.apgd_steps + 1) + 1
    return n_targets * ascent if attack == "apgd-t" else ascent

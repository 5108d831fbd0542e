"""What a measure says of itself: the one source for code, documentation, axis titles and the page's glossary."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

from measurebench.core.errors import BadInputError, near_names

__all__ = ["FAMILIES", "INPUTS", "PROPERTIES", "Examples", "Family", "MeasureInfo", "Split", "Tier", "check_info"]

Family = Literal["weights", "margins", "smoothness", "flatness", "gradients", "robustness", "calibration"]
Examples = Literal["clean", "pgd"]
Split = Literal["train", "test"]
Tier = Literal["core", "extended", "new", "accuracy"]

FAMILIES: tuple[Family, ...] = (
    "weights",
    "margins",
    "smoothness",
    "flatness",
    "gradients",
    "robustness",
    "calibration",
)

INPUTS = ("weights", "initial_weights", "clean", "pgd", "gradient")
"""What a measure may read."""

_ID = re.compile(r"[A-Za-z][A-Za-z0-9_]*")  # the name of a column: nothing that a table or an option would split


# What a measure may declare; the contract test shows that what is declared holds and what is not does not.
# Logit properties are for measures that read examples; the others leave the function as it is.
PROPERTIES: Mapping[str, str] = {
    "logit_scale_invariant": "unchanged when all logits are multiplied by a > 0 (adversarial examples fixed)",
    "logit_scale_equivariant": "multiplied by a when all logits are multiplied by a > 0 (examples fixed)",
    "logit_shift_invariant": "unchanged when any function of the image is added to all of its logits",
    "rescale_invariant": "unchanged when one layer is multiplied by c > 0 and the next one divided by it (ReLU)",
}


@dataclass(frozen=True)
class MeasureInfo:
    """Identity, definition and declared properties of a measure.

    ``formula`` is plain text for the terminal; ``latex`` is the same formula for the documentation and the page, which
    show the plain text where ``latex`` is empty. ``hypothesis`` is the sign of the association with the robust
    generalization gap that folklore predicts ("+": larger value, larger gap; "-": the opposite; "": none). ``inputs``
    names what is read: weights, initial_weights, clean, pgd, gradient (the shared backward pass). ``cost`` counts
    passes over the n examples (F forward, B backward). ``properties`` (names of PROPERTIES) are enforced by
    tests/measures/test_contract.py; ``variants`` maps the name of a published behaviour that departs from the
    definition to one sentence.
    """

    id: str
    title: str
    family: Family
    unit: str
    formula: str
    source: str
    hypothesis: Literal["+", "-", ""]
    inputs: tuple[str, ...]
    cost: str
    version: int = 1
    tier: Tier = "extended"
    explanation: str = ""
    splits: tuple[Split, ...] = ("train",)
    properties: tuple[str, ...] = ()
    variants: Mapping[str, str] = field(default_factory=dict)
    departures: str = ""
    latex: str = ""

    def on(self, examples: Examples, tier: Tier | None = None) -> "MeasureInfo":
        """Return this info for clean images (the plain id) or PGD examples (suffix ``_pgd``)."""
        if examples == "clean":
            return replace(self, inputs=_with(self.inputs, "clean"), tier=tier or self.tier)
        return replace(
            self,
            id=f"{self.id}_pgd",
            title=f"{self.title} (PGD)",
            inputs=_with(self.inputs, "pgd"),
            tier=tier or self.tier,
        )

    def as_variant(self, variant: str) -> "MeasureInfo":
        """Return the info of a named variant, its id ending in ``:variant``; itself for the definition."""
        if variant == "definition":
            return self
        return replace(self, id=f"{self.id}:{variant}", title=f"{self.title}, {variant}", variants={})


def _with(inputs: tuple[str, ...], examples: str) -> tuple[str, ...]:
    """Put the kind of examples in place of the marker ``examples``."""
    return tuple(examples if name == "examples" else name for name in inputs)


def check_info(info: MeasureInfo) -> MeasureInfo:
    """Return the info of a measure that is about to be registered.

    Raises BadInputError, which names the field, for an id that cannot be a column, and for a family, tier, hypothesis,
    input, split or property that there is not.
    """
    subject = f"measure {info.id!r}"
    if not _ID.fullmatch(info.id):
        raise BadInputError(f"{subject}: id", "letters, digits and _, beginning with a letter", repr(info.id))
    if info.hypothesis not in ("+", "-", ""):
        raise BadInputError(f"{subject}: hypothesis", '"+", "-" or ""', repr(info.hypothesis))
    for name, values, known in (
        ("family", (info.family,), FAMILIES),
        ("tier", (info.tier,), get_args(Tier)),
        ("inputs", info.inputs, INPUTS),
        ("splits", info.splits, get_args(Split)),
        ("properties", info.properties, tuple(PROPERTIES)),
    ):
        _check_known(f"{subject}: {name}", values, known)
    return info


def _check_known(subject: str, values: Iterable[str], known: Iterable[str]) -> None:
    for value in values:
        if value not in known:
            raise BadInputError(subject, ", ".join(known), repr(value), near_names(value, known))

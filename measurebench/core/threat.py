"""The threat model: which perturbations of an image an attack may use."""

import math
from dataclasses import dataclass, field
from enum import StrEnum
from fractions import Fraction

from measurebench.core.errors import BadInputError

__all__ = ["Norm", "ThreatModel", "radius_text"]


class Norm(StrEnum):
    """Norm of the perturbation."""

    LINF = "Linf"
    L2 = "L2"

    @classmethod
    def parse(cls, text: str, subject: str = "norm") -> "Norm":
        """Return the norm of this name in upper or lower case. Raises BadInputError for another name.

        >>> Norm.parse("linf")
        <Norm.LINF: 'Linf'>
        """
        for norm in cls:
            if text.lower() == norm.value.lower():
                return norm
        hint = "attacks and measures are defined for these two norms" if text.upper() in ("L0", "L1") else ""
        raise BadInputError(subject, "Linf or L2", repr(text), hint)


_SHORT = 6  # characters: 0.5 and 0.0314 are decimals that somebody wrote, 0.03137254901960784 is 8/255
# Anything larger is surely not in pixel units: at Linf 1 every image is reachable from every other, and L2 64 exceeds
# the diameter of 32x32 colour images, sqrt(3072) = 55.4.
_LARGEST = {Norm.LINF: Fraction(1), Norm.L2: Fraction(64)}


@dataclass(frozen=True)
class ThreatModel:
    """A ball of ``radius`` (pixel units, images in [0, 1]) in ``norm``, inside the box [0, 1].

    ``fraction`` is the radius exactly, ``text`` as its author wrote it ("8/255"), ``radius`` as a float.
    """

    norm: Norm
    fraction: Fraction
    text: str = field(compare=False)

    @property
    def radius(self) -> float:
        """The radius as a float, in pixel units."""
        return float(self.fraction)

    def __str__(self) -> str:
        return f"{self.norm.value} {radius_text(self.text)}"

    @classmethod
    def parse(cls, norm: str, radius: str | float, subject: str = "radius") -> "ThreatModel":
        """Return the threat model of a norm and a radius such as "8/255", "0.5" or 0.031, in pixel units.

        Raises BadInputError, which names ``subject``, for a radius that is no number, not above 0, or too large.

        >>> ThreatModel.parse("Linf", "8/255").radius == 8 / 255
        True
        >>> ThreatModel.parse("Linf", 8)
        Traceback (most recent call last):
        measurebench.core.errors.BadInputError: radius: expected a Linf radius ... got '8'; did you mean 8/255?
        """
        kind = Norm.parse(norm, subject.replace("radius", "norm"))
        fraction = _fraction(str(radius), subject)
        if not 0 < fraction <= _LARGEST[kind]:
            raise BadInputError(
                subject,
                f"a {kind.value} radius in pixel units, above 0 and at most {_LARGEST[kind]} (images lie in [0, 1])",
                repr(str(radius)),
                f"did you mean {radius}/255?" if fraction > 0 else "",
            )
        return cls(kind, fraction, str(radius))


def radius_text(radius: str | float) -> str:
    """Return a radius as a reader writes it: a multiple of 1/255 as such, unless it is a short decimal.

    A text with a fraction bar stays as it is, and so does a short decimal, which somebody wrote: 0.0314 is not 8/255.
    A number that is nothing of the kind has six digits.

    >>> radius_text(8 / 255), radius_text("0.00784313725490196"), radius_text(0.5), radius_text("3/20")
    ('8/255', '2/255', '0.5', '3/20')
    >>> radius_text(4.5 / 255), radius_text("0.0314")
    ('4.5/255', '0.0314')
    >>> radius_text(1.0), radius_text(0.12345678)
    ('1', '0.123457')
    """
    text = str(radius).strip()
    try:
        value = float(text)
    except ValueError:
        return text
    halves = round(2 * value * 255) if math.isfinite(value) else 0
    if len(text) > _SHORT and halves > 0 and math.isclose(halves / 510, value, rel_tol=1e-7):
        return f"{halves / 2:g}/255"
    return f"{value:.6g}" if math.isfinite(value) else text


def _fraction(text: str, subject: str) -> Fraction:
    """Parse "8/255", "2.2/255" or "0.031"."""
    try:
        numerator, denominator = text.replace(" ", "").split("/") if "/" in text else (text.strip(), "1")
        return _exact(numerator) / _exact(denominator)
    except (ValueError, ZeroDivisionError):
        raise BadInputError(subject, 'a number or a fraction such as "8/255"', repr(text)) from None


def _exact(text: str) -> Fraction:
    """Read one number exactly; as a float first, since an exact 1e999999999 would fill the memory."""
    rough = float(text)
    if not math.isfinite(rough):
        raise ValueError(text)
    return Fraction(text) if rough else Fraction(0)

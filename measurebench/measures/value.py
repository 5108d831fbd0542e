"""The result of a measure: a number with its uncertainty, or the reason why there is none."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor

from measurebench.core.errors import BadInputError, MeasurebenchError
from measurebench.core.records import Diagnostic

__all__ = ["MeasureValue", "UndefinedMeasureError"]


class UndefinedMeasureError(MeasurebenchError):
    """The measure has no value for this network and these examples; the message gives the reason."""


@dataclass(frozen=True)
class MeasureValue:
    """A value with its standard error, the values of single examples, and diagnostics.

    ``value`` and ``standard_error`` are None where there is none; ``per_example`` is float64 [n] on the CPU.
    ``reason`` says why an undefined measure has no value. ``n`` is the number of examples read; 0 if only weights were.

    >>> MeasureValue.mean(torch.tensor([1.0, 2.0, 3.0])).value
    2.0
    >>> MeasureValue.undefined("no layer").status
    'undefined'
    """

    value: float | None
    standard_error: float | None = None
    per_example: Tensor | None = field(default=None, repr=False)
    diagnostics: Mapping[str, Diagnostic] = field(default_factory=dict)
    n: int | None = None
    reason: str = ""

    @property
    def status(self) -> Literal["measured", "undefined"]:
        """``measured`` if there is a value, else ``undefined``."""
        return "undefined" if self.value is None else "measured"

    @classmethod
    def undefined(cls, reason: str, **diagnostics: Diagnostic) -> "MeasureValue":
        """Return a result without a value, with the reason."""
        return cls(None, diagnostics=diagnostics, reason=reason)

    @classmethod
    def mean(cls, per_example: Tensor, **diagnostics: Diagnostic) -> "MeasureValue":
        """Return the mean over examples [n] with its standard error s / sqrt(n), which is None for n = 1.

        Raises BadInputError for a tensor that does not have one value for each example.
        """
        if per_example.ndim != 1:
            raise BadInputError("MeasureValue.mean", "one value for each example, [n]", str(tuple(per_example.shape)))
        values = per_example.detach().to("cpu", torch.float64)
        n = len(values)
        error = float(values.std(correction=1)) / math.sqrt(n) if n > 1 else None
        return cls(float(values.mean()), error, values, diagnostics, n).checked()

    def checked(self) -> "MeasureValue":
        """Return itself, or an undefined result if the value is not finite.

        A standard error that is not finite becomes None, a diagnostic that is not finite becomes text.
        """
        error = self.standard_error
        diagnostics = {
            name: str(item) if isinstance(item, float) and not math.isfinite(item) else item
            for name, item in self.diagnostics.items()
        }
        if self.value is not None and not math.isfinite(self.value):
            return MeasureValue.undefined(f"the value is not finite ({self.value})", **diagnostics)
        finite = error if error is not None and math.isfinite(error) else None
        return replace(self, standard_error=finite, diagnostics=diagnostics)

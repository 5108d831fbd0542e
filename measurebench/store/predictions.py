"""How well the seconds of blocks of work were predicted, from lines of ``costs.jsonl``."""

import statistics
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypeGuard

__all__ = ["Predictions", "cost_times", "is_amount", "predictions", "predictions_text"]

_SMALLEST, _LARGEST = 1e-30, 1e30  # seconds, or operations: what is outside was not measured


@dataclass(frozen=True)
class Predictions:
    """How well the seconds of blocks were predicted.

    ``ratio`` is the median of real over predicted seconds. At least 90 % of the blocks took between the predicted
    seconds over ``factor_90`` and the predicted seconds times ``factor_90``.
    """

    n_blocks: int
    predicted_seconds: float
    seconds: float
    ratio: float
    factor_90: float

    def to_json(self) -> dict[str, Any]:
        """Return the figures as plain values for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        return predictions_text(self.n_blocks, self.ratio, self.factor_90)


def predictions_text(n_blocks: int, ratio: float, factor_90: float) -> str:
    """Return in words how well blocks were predicted.

    >>> predictions_text(240, 1.1, 1.8)
    'measured over predicted seconds: median 1.1, 90 % within a factor of 1.8, over 240 blocks'
    """
    words = "block" if n_blocks == 1 else "blocks"
    told = f"median {_short(ratio)}, 90 % within a factor of {_short(factor_90)}"
    return f"measured over predicted seconds: {told}, over {n_blocks} {words}"


def _short(number: float) -> str:
    return f"{number:.2g}" if number < 100 else f"{number:.0f}"


def is_amount(value: Any) -> TypeGuard[float]:
    """Tell whether what a line of ``costs.jsonl`` says are seconds or operations that something took.

    >>> [is_amount(value) for value in (2.0, 0, "2", None)]
    [True, False, False, False]
    """
    return type(value) in (int, float) and _SMALLEST < value < _LARGEST


def cost_times(line: Mapping[str, Any]) -> tuple[float, float] | None:
    """Return the predicted and the real seconds of a line of ``costs.jsonl``, None where one of them is no time.

    >>> cost_times({"predicted": 2.0, "seconds": 3.0})
    (2.0, 3.0)
    """
    predicted, seconds = line.get("predicted"), line.get("seconds")
    return (predicted, seconds) if is_amount(predicted) and is_amount(seconds) else None


def predictions(lines: Iterable[Mapping[str, Any]]) -> Predictions | None:
    """Return how well the blocks of lines of ``costs.jsonl`` were predicted, None where no block has both times.

    >>> predictions([{"predicted": 2.0, "seconds": 3.0}]).ratio
    1.5
    """
    pairs = [pair for line in lines if (pair := cost_times(line))]
    if not pairs:
        return None
    ratios = [seconds / predicted for predicted, seconds in pairs]
    off = sorted(max(ratio, 1 / ratio) for ratio in ratios)
    return Predictions(
        n_blocks=len(pairs),
        predicted_seconds=sum(predicted for predicted, _ in pairs),
        seconds=sum(seconds for _, seconds in pairs),
        ratio=statistics.median(ratios),
        factor_90=off[(9 * len(off) + 9) // 10 - 1],
    )

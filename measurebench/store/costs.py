"""How well the seconds of a run's blocks were predicted, from what its results folder has on record."""

import math
import statistics
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

from measurebench.store.folder import ResultsFolder

__all__ = ["PredictionErrors", "prediction_errors"]

_LONGEST = 1e15  # seconds; what is longer is no time that a block took


@dataclass(frozen=True)
class PredictionErrors:
    """Predicted and real seconds of the blocks of one kind (attack, measures, mixed) on one kind of device.

    ``typical_factor`` is by what factor a prediction is typically off, whichever way: the exponential of the median of
    the absolute logarithms. ``bias`` is the median of real over predicted seconds: above 1 where blocks take longer.
    """

    kind: str
    device: str
    n_blocks: int
    predicted_seconds: float
    seconds: float
    typical_factor: float
    bias: float


def prediction_errors(folder: str | Path) -> list[PredictionErrors]:
    """Return the errors of the predictions on record, by kind of block and of device; empty before any block ended.

    Raises BadInputError where the folder is no results folder.
    """
    grouped = defaultdict[tuple[str, str], list[tuple[float, float]]](list)
    for line in ResultsFolder.open(Path(folder)).costs.read():
        predicted, seconds = line.get("predicted"), line.get("seconds")
        if _is_time(predicted) and _is_time(seconds):
            grouped[str(line.get("kind")), str(line.get("device"))].append((predicted, seconds))
    return [_errors(*key, pairs) for key, pairs in sorted(grouped.items())]


def _is_time(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and 0 < value < _LONGEST


def _errors(kind: str, device: str, pairs: list[tuple[float, float]]) -> PredictionErrors:
    ratios = [real / predicted for predicted, real in pairs]
    return PredictionErrors(
        kind=kind,
        device=device,
        n_blocks=len(pairs),
        predicted_seconds=sum(predicted for predicted, _ in pairs),
        seconds=sum(real for _, real in pairs),
        typical_factor=math.exp(statistics.median(abs(math.log(ratio)) for ratio in ratios)),
        bias=statistics.median(ratios),
    )

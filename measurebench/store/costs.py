"""How well the seconds of a run's blocks were predicted, from what its results folder has on record."""

import math
import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from measurebench.store.folder import ResultsFolder
from measurebench.store.predictions import cost_times

__all__ = ["PredictionErrors", "latest_costs", "prediction_errors"]

_LATEST_BYTES = 1 << 19  # of a file: about a thousand blocks, read in 20 ms


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


def latest_costs(folder: ResultsFolder) -> list[dict[str, Any]]:
    """Return the last lines of each file of costs of a folder; lines that are damaged are left out."""
    return [value for journal in folder.costs.parts for value in journal.last(_LATEST_BYTES)]


def prediction_errors(folder: str | Path) -> list[PredictionErrors]:
    """Return the errors of the predictions on record, by kind of block and of device; empty before any block ended.

    Raises BadInputError where the folder is no results folder.
    """
    grouped = defaultdict[tuple[str, str], list[tuple[float, float]]](list)
    for line in ResultsFolder.open(Path(folder)).costs.read():
        if pair := cost_times(line):
            grouped[str(line.get("kind")), str(line.get("device"))].append(pair)
    return [_errors(*key, pairs) for key, pairs in sorted(grouped.items())]


def _errors(kind: str, device: str, pairs: Sequence[tuple[float, float]]) -> PredictionErrors:
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

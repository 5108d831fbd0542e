"""The sampling error of the target itself: how well a gap is known from so many images."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from measurebench.core.columns import Column, accuracy_column, count_columns, describe
from measurebench.stats.population.population import Population
from measurebench.stats.resampling.draws import Floats

__all__ = ["Proportion", "TargetError", "gap_error", "level_reliability", "target_error"]

NAN = float("nan")


@dataclass(frozen=True)
class Proportion:
    """One proportion of the target: ``accuracy`` [models] in [0, 1] over ``n`` [models] images, added with ``sign``."""

    accuracy: Floats
    n: Floats
    sign: int


@dataclass(frozen=True)
class TargetError:
    """The proportions that the target is made of, NaN where a model does not have them."""

    parts: tuple[Proportion, ...]

    @property
    def standard_error(self) -> Floats:
        """The binomial standard error of the target: sqrt(sum of p(1-p)/n), [models]."""
        return np.asarray(np.sqrt(sum(p.accuracy * (1 - p.accuracy) / p.n for p in self.parts)))

    @property
    def inverse_n(self) -> Floats:
        """The sum of 1/n over the proportions: [models]."""
        return np.asarray(sum(1 / p.n for p in self.parts))

    def redrawn(self, draws: int, seed: int) -> Floats:
        """Draw the target again from binomial counts with the accuracies found: [draws, models]."""
        rng = np.random.default_rng(seed)
        total = np.zeros((draws, len(self.parts[0].n)))
        for part in self.parts:
            counts = rng.binomial(part.n.astype(np.int64), part.accuracy, size=(draws, len(part.n)))
            total += part.sign * counts / part.n
        return total


def target_error(population: Population) -> TargetError | None:
    """Return what the target is made of, or None where the table lacks the accuracies or the numbers of images."""
    parts = []
    for column, sign in _accuracies(population.target):
        accuracy = population.column(column.name)
        counts = count_columns(column.attack, column.split)
        n = next((found for name in counts if (found := population.column(name)) is not None), None)
        if accuracy is None or n is None:
            return None
        usable = (accuracy >= 0) & (accuracy <= 1) & (n >= 1)
        parts.append(Proportion(np.where(usable, accuracy, NAN), np.where(usable, np.floor(n), NAN), sign))
    return TargetError(tuple(parts)) if parts else None


def _accuracies(target: str) -> list[tuple[Column, int]]:
    """Return the accuracies whose sum, each with its sign, is the target: of a gap both, of an accuracy itself."""
    column = describe(target)
    if column.role == "gap" and column.attack:
        signs = (("train", 1), ("test", -1))
        return [(describe(accuracy_column(column.attack, split)), sign) for split, sign in signs]
    return [(column, 1)] if column.role == "outcome" else []


def gap_error(error: TargetError | None, y: Floats) -> dict[str, Any]:
    """Return how well the target y [n] is known, and how many pairs of models differ by less than two standard errors.

    Models of unknown error are left out; ``share_indistinct`` is None without a pair.
    """
    if error is None:
        return {"known": False, "reason": "the table has no accuracies and numbers of images for this target"}
    se = error.standard_error
    known = np.flatnonzero(np.isfinite(se))
    pairs = len(known) * (len(known) - 1) // 2
    values, variances = y[known], se[known] ** 2
    indistinct = 0
    for k in range(len(known) - 1):  # row by row: all pairs of 10,000 models at once would take gigabytes
        close = np.abs(values[k] - values[k + 1 :]) < 2 * np.sqrt(variances[k] + variances[k + 1 :])
        indistinct += int(np.count_nonzero(close))
    return {
        "known": bool(len(known)),
        "n_models": len(known),
        "median_standard_error": _median(se[known]),
        "n_pairs": pairs,
        "n_indistinct": indistinct,
        "share_indistinct": indistinct / pairs if pairs else None,
    }


def level_reliability(
    population: Population, error: TargetError | None, held_out_error: float = NAN
) -> list[dict[str, Any]]:
    """Return how reliable the target is over all models and inside each level of each setting.

    ``reliability`` is 1 - error_variance / target_variance: the mean binomial variance of the target, and its variance
    between the models. It is an estimate and may fall below 0, where the target varies less than its error alone would
    let it. Models that are measured on the same images share a part of that error, so that it is a lower bound. All
    three are NaN where the error is unknown, for fewer than two models, and where the target does not vary.

    ``reliability_held_out``, over all models alone, is a lower bound of the share that is no error of a model's own:
    1 - ``held_out_error`` / variance, with the mean squared error of a prediction of models that it has not seen. Such
    a prediction knows nothing of the error of their targets that is independent of other runs, so that this error is no
    larger than its own. An error that models share may be predicted: it bounds no ``reliability``.
    """
    total = float(population.y.var(ddof=1)) if len(population.y) > 1 and np.ptp(population.y) > 0 else NAN
    scopes: list[tuple[str, str, Floats]] = [("", "", np.ones(len(population.y), dtype=bool))]
    for axis, names in population.levels.items():
        own = np.array(names, dtype=object)
        scopes += [(axis, str(level), own == level) for level in sorted(set(names))]
    variance = np.full(len(population.y), NAN) if error is None else error.standard_error**2
    found = [_reliability(population, axis, level, inside, variance) for axis, level, inside in scopes]
    return [row | {"reliability_held_out": NAN if row["axis"] else 1 - held_out_error / total} for row in found]


def _reliability(population: Population, axis: str, level: str, inside: Floats, variance: Floats) -> dict[str, Any]:
    known = np.flatnonzero(inside & np.isfinite(variance))
    varies = len(known) > 1 and np.ptp(population.y[known]) > 0
    total, error = (float(population.y[known].var(ddof=1)), float(variance[known].mean())) if varies else (NAN, NAN)
    return {
        "axis": axis,
        "level": level,
        "n_models": int(inside.sum()),
        "n_units": len(np.unique(population.units[inside])),
        "target_variance": total,
        "error_variance": error,
        "reliability": 1 - error / total,
    }


def _median(values: Floats) -> float | None:
    return float(np.median(values)) if len(values) else None

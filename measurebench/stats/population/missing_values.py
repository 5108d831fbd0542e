"""Says which measures lack values, for how many models, and in which defense."""

import numpy as np

from measurebench.stats.population.population import Population
from measurebench.stats.resampling.draws import Bools

__all__ = ["missing_notes"]

_FEW = 5
"""Fewer missing values lie in one defense by chance too easily to be told."""


def missing_notes(population: Population) -> list[str]:
    """Return a sentence for each measure that has no value for some models.

    It names the defense in which values are missing, if at least half of them are missing there, and twice as often as
    in the other models. Infinite values, and those above 1e300, count as missing.
    """
    notes = []
    for name, values in population.measures.items():
        absent = ~np.isfinite(values)
        if not absent.any():
            continue
        n = int(absent.sum())
        infinite = int(population.table[name].notna().sum()) - (len(values) - n)
        text = f"{name} has no value for {n} of {len(values)} models"
        text += f" ({infinite} infinite, or above 1e+300)" if infinite > 0 else ""
        notes.append(f"{text}{_concentrated(population, absent)}.")
    return notes


def _concentrated(population: Population, absent: Bools) -> str:
    """Say of ``absent`` [n] in which defense most of it lies; nothing where it is spread."""
    n = int(absent.sum())
    if n < _FEW or population.defense is None:
        return ""
    names = np.array(population.levels[population.defense], dtype=object)
    levels = sorted(set(names.tolist()))
    inside = max((names == level for level in levels), key=lambda own: int(absent[own].sum()))
    there, size = int(absent[inside].sum()), int(inside.sum())
    elsewhere = (n - there) / max(1, len(names) - size)
    if size == len(names) or 2 * there < n or there / size < 2 * elsewhere:
        return ""
    level = str(names[inside][0])
    left = f"fewer {level} models" if there < size else f"no {level} model"
    return (
        f"; {there:,} of the {n:,} models without a value are {level}, which has {size:,} models in all: what is said "
        f"over all models is said of {left}"
    )

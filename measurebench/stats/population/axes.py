"""Which settings can be judged, and why the others cannot."""

from dataclasses import replace

from measurebench.stats.population.population import UNSTATED, Population

__all__ = ["usable_settings"]


def usable_settings(population: Population) -> Population:
    """Return the population with the settings that vary, each once; the notes say what was left out and why.

    Left out: a setting with one level, one that divides the models exactly as an earlier one does, and one with more
    levels than half the models (hardly any pair would then share one). The defense comes first, so that it is never the
    one left out as a repetition.
    """
    notes = list(population.notes)
    kept: dict[str, list[str]] = {}
    order = sorted(population.levels, key=lambda axis: axis != population.defense)
    for axis in order:
        reason = _unusable(population.levels[axis], kept)
        if reason:
            notes.append(f"Setting {axis} is left out: {reason}.")
        else:
            kept[axis] = population.levels[axis]
            if missing := population.levels[axis].count(UNSTATED):
                notes.append(f"Setting {axis} is not stated for {missing} models; those count as one level of it.")
    if not kept:
        notes.append("No setting varies: psi, pi and the sign error cannot be computed.")
    defense = population.defense if population.defense in kept else None
    levels = {axis: kept[axis] for axis in population.levels if axis in kept}
    return replace(population, levels=levels, defense=defense, notes=notes)


def _unusable(names: list[str], kept: dict[str, list[str]]) -> str:
    n_levels = len(set(names))
    if n_levels < 2:
        return f"every model has {names[0]!r}"
    if n_levels > len(names) / 2:
        return f"{n_levels} levels for {len(names)} models"
    for other, levels in kept.items():
        if n_levels == len(set(levels)) == len(set(zip(names, levels, strict=True))):
            return f"it divides the models exactly as {other} does"
    return ""

"""The population that a single model is placed in: models of a shipped study with the same task and defense."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from measurebench.core.errors import BadInputError
from measurebench.core.paths import data_folder
from measurebench.core.threat import radius_text
from measurebench.stats.population.threats import radius_number

__all__ = ["LEAST", "Population", "reference_population", "shipped_studies"]

LEAST = 20  # below so many models a percentile says little


@dataclass(frozen=True)
class Population:
    """Models to compare with: the name of their study, which of its models they are, and their table."""

    study: str
    description: str
    table: pd.DataFrame = field(repr=False)

    def percentile(self, name: str, value: Any) -> tuple[float, int] | None:
        """Return the share of models, in percent, whose value is smaller (ties count half), and their number.

        None where fewer than ``LEAST`` models have this column.
        """
        if name not in self.table.columns or not isinstance(value, int | float) or not np.isfinite(value):
            return None
        known = pd.to_numeric(self.table[name], errors="coerce").dropna().to_numpy(dtype=float)
        if len(known) < LEAST:
            return None
        share = (np.sum(known < value) + np.sum(known == value) / 2) / len(known)
        return 100 * float(share), len(known)


def shipped_studies() -> dict[str, pd.DataFrame]:
    """Return the tables of models that are part of measurebench, by the name of their study."""
    try:
        files = sorted(data_folder().glob("*/models.parquet"))
    except BadInputError:
        return {}
    return {file.parent.name: pd.read_parquet(file) for file in files}


def reference_population(row: "pd.Series[Any]", studies: dict[str, pd.DataFrame] | None = None) -> Population | None:
    """Return the models of a study that share data set, norm and radius with this one, and its defense if it has one.

    The model itself, told by its file, is none of them. Where too few models share its defense, all defenses
    count; None where no study fits. ``studies`` maps names to tables of models; by default they are the shipped ones.
    """
    for name, table in (shipped_studies() if studies is None else studies).items():
        same = _of_the_same_task(table, row)
        if len(same) < LEAST:
            continue
        defense = row.get("defense")
        alike = same[same["defense"] == defense] if isinstance(defense, str) and "defense" in same.columns else same[:0]
        kept, whose = (alike, f"trained with {defense}") if len(alike) >= LEAST else (same, "of all its defenses")
        task = f"{row['dataset']}, {row['norm']} {radius_text(row['radius'])}"
        return Population(name, f"{len(kept):,} models {whose} in the study {name} ({task})", kept)
    return None


def _of_the_same_task(table: pd.DataFrame, row: "pd.Series[Any]") -> pd.DataFrame:
    """Return the measured models of a table with this model's data set and threat model, without the model itself."""
    if not all(name in table.columns and pd.notna(row.get(name)) for name in ("dataset", "norm", "radius")):
        return table[:0]
    same = (table["dataset"] == row["dataset"]) & (table["norm"] == row["norm"])
    radii = table["radius"].map(radius_number).astype(float)
    same &= np.isclose(radii, radius_number(row["radius"]) or np.nan, rtol=1e-6)
    if "file_sha256" in table.columns and isinstance(row.get("file_sha256"), str):
        same &= table["file_sha256"] != row["file_sha256"]
    kept: pd.DataFrame = table[same]
    return kept

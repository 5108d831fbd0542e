"""The contract of a statistic: what its rows in the table of an analysis promise."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from measurebench.stats import analyze
from measurebench.stats.analysis import Analysis
from measurebench.testing.promises import demand, run_promises

__all__ = ["STATISTIC_PROMISES", "StatisticCase", "check_statistic", "study_table"]

_OPTIONS: Mapping[str, Any] = {"bootstrap": 40, "permutations": 39, "partial": ("size",)}
_ROW = ["measure", "target", "statistic", "axis", "level"]
_EXACT = 1e-9


def study_table(n: int = 24, seed: int = 0) -> pd.DataFrame:
    """Return a table of n models, n a multiple of 12: settings, accuracies with their gap, and measures.

    Some measures follow the gap, one has holes, and one does not vary.
    """
    generator = np.random.default_rng(seed)
    test, gap = generator.uniform(0.3, 0.5, n), generator.uniform(0.05, 0.4, n)
    holes = gap + 0.1 * generator.normal(size=n)
    holes[::5] = np.nan
    return pd.DataFrame(
        {
            "model_id": [f"model{i:02d}" for i in range(n)],
            "defense": ["AT", "TRADES"] * (n // 2),
            "setting_batch_size": np.repeat([32, 64, 128], n // 3),
            "setting_width": [8, 8, 16, 16] * (n // 4),
            "n_train": 500,
            "n_test": 900,
            "pgd_accuracy_train": test + gap,
            "pgd_accuracy_test": test,
            "robust_gap_pgd": gap,
            "size": generator.permutation(n),
            "follows": gap + 0.1 * generator.normal(size=n),
            "opposes": -gap + 0.1 * generator.normal(size=n),
            "has_holes": holes,
            "constant": np.ones(n),
        }
    )


@dataclass(frozen=True)
class StatisticCase:
    """A statistic by its name, and what the column ``statistic`` of its rows says."""

    name: str
    names: tuple[str, ...]

    @cached_property
    def analysis(self) -> Analysis:
        """The analysis of the table."""
        return analyze(study_table(), **_OPTIONS)

    def rows(self, analysis: Analysis | None = None) -> pd.DataFrame:
        """Return the statistic's rows of an analysis, from both tables that it may stand in, in one order."""
        found = analysis or self.analysis
        table = pd.concat([found.correlations, found.supplement])
        return table[table["statistic"].isin(self.names)].sort_values(_ROW).reset_index(drop=True)

    def demand(self, kept: bool, promise: str, detail: str = "") -> None:
        """Raise ContractError, which names the statistic, unless a promise is kept."""
        demand(kept, f"statistic {self.name!r}", promise, detail)


def check_statistic(statistic: str | Any, *, promises: Iterable[str] | None = None) -> None:
    """Check a registered statistic, by its name or itself, in analyses of a made-up study.

    ``promises`` are names in STATISTIC_PROMISES, by default all. Raises ContractError, an AssertionError, at the first
    promise that is broken.
    """
    name = statistic if isinstance(statistic, str) else str(statistic.name)
    names = (name,) if isinstance(statistic, str) else tuple(statistic.names)
    run_promises(STATISTIC_PROMISES, promises, StatisticCase(name, names), "a statistic")


def rows_for_every_measure(case: StatisticCase) -> None:
    """Check that every measure has a row, and that a missing number has a reason."""
    found = case.rows()
    lacking = sorted({"follows", "opposes", "has_holes", "constant"} - set(found["measure"]))
    case.demand(not lacking, "every measure has a row", f"none for {', '.join(lacking)}")
    reasons = case.analysis.undefined
    told = set(zip(reasons["measure"], reasons["statistic"], strict=True))
    silent = [row for row in found[found["estimate"].isna()].itertuples() if (row.measure, row.statistic) not in told]
    detail = ", ".join(str(row.measure) for row in silent)
    case.demand(not silent, "a missing estimate has a reason", f"none for {detail}")


def intervals(case: StatisticCase) -> None:
    """Check that intervals are in order, and that p-values are probabilities."""
    found = case.rows()
    turned = found[found["ci_low"] > found["ci_high"]]
    case.demand(turned.empty, "ci_low is at most ci_high", str(turned[["ci_low", "ci_high"]].head(1).values.tolist()))
    p = found["p_value"].dropna()
    case.demand(bool(((p >= 0) & (p <= 1)).all()), "p-values lie in [0, 1]", str(p.tolist()[:4]))


def reproducible(case: StatisticCase) -> None:
    """Check that the same table and seed give the same rows, to the last bit."""
    again = case.rows(analyze(study_table(), **_OPTIONS))
    case.demand(case.rows().equals(again), "the same table and seed give the same rows")


def order_of_models(case: StatisticCase) -> None:
    """Check that the order of the models in the table does not matter for the estimates."""
    other = case.rows(analyze(study_table().sample(frac=1, random_state=1), **_OPTIONS))
    a, b = (rows["estimate"].to_numpy(dtype=float) for rows in (case.rows(), other))
    kept = a.shape == b.shape and np.allclose(a, b, rtol=_EXACT, atol=_EXACT, equal_nan=True)
    case.demand(kept, "its estimates do not depend on the order of models", f"{a.tolist()[:4]} and {b.tolist()[:4]}")


STATISTIC_PROMISES: Mapping[str, Callable[[StatisticCase], None]] = {
    "rows_for_every_measure": rows_for_every_measure,
    "intervals": intervals,
    "reproducible": reproducible,
    "order_of_models": order_of_models,
}

"""How sure a ranking is: intervals, ties, and the ranks that each entry could hold."""

import numpy as np
import pandas as pd

from measurebench.core.errors import BadInputError
from measurebench.core.intervals import wilson_interval

__all__ = ["TEST_IMAGES", "frontier", "frontiers_by_year", "papers", "ranked"]

TEST_IMAGES = 10_000  # of CIFAR-10, on which RobustBench evaluates


def ranked(
    table: pd.DataFrame,
    accuracy: str = "robust_accuracy",
    n: "int | pd.Series[float]" = TEST_IMAGES,
    at_most: "pd.Series[bool] | None" = None,
) -> pd.DataFrame:
    """Return the table with ``rank`` (ties share the smallest), ``low`` and ``high``, ``rank_best`` and ``rank_worst``.

    ``n`` counts the test images, of all entries or of each [m]; an entry without a number has no interval and certainly
    beats none. ``at_most`` [m] marks accuracies that are upper bounds: such an entry certainly beats none either.

    An entry certainly beats another where Newcombe's 95 % interval of the difference of two independent proportions
    excludes zero (Newcombe 1998, method 10). All were measured on the same images, so this errs on the careful side.
    Raises BadInputError for a table without the column ``accuracy``.
    """
    if accuracy not in table.columns:
        raise BadInputError(accuracy, "a column of the leaderboard", "none")
    p = table[accuracy].astype(float)
    low, high = (pd.Series(end, p.index) for end in wilson_interval(p * n, n))
    better = _certainly_greater(p.to_numpy(), low.to_numpy(), high.to_numpy())
    if at_most is not None:
        better &= ~at_most.to_numpy(dtype=bool)[:, None]
    count = int(p.notna().sum())
    return table.assign(
        rank=p.rank(ascending=False, method="min"),
        low=low,
        high=high,
        rank_best=np.where(p.notna(), 1 + better.sum(axis=0), np.nan),
        rank_worst=np.where(p.notna(), count - better.sum(axis=1), np.nan),
    )


def _certainly_greater(p: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Return [i, j]: is i's proportion above j's with the lower end of the difference above zero?"""
    difference = p[:, None] - p[None, :]
    below = np.sqrt((p - low)[:, None] ** 2 + (high - p)[None, :] ** 2)
    return np.asarray(difference - below > 0)


def frontier(table: pd.DataFrame) -> pd.DataFrame:
    """Return the entries that no other beats in clean and robust accuracy at once, by clean accuracy."""
    ordered = table.dropna(subset=["clean_accuracy", "robust_accuracy"]).sort_values(
        ["clean_accuracy", "robust_accuracy"], ascending=[False, False]
    )
    best_before = ordered["robust_accuracy"].cummax().shift(fill_value=-1.0)
    return ordered[ordered["robust_accuracy"] > best_before].iloc[::-1].reset_index(drop=True)


def frontiers_by_year(table: pd.DataFrame) -> pd.DataFrame:
    """Return the frontier of all entries up to each year, with a column ``until``."""
    years = sorted(table["year"].dropna().astype(int).unique())
    parts = [frontier(table[table["year"] <= year]).assign(until=str(year)) for year in years]
    return pd.concat(parts, ignore_index=True) if parts else frontier(table).assign(until="")


def papers(table: pd.DataFrame) -> pd.DataFrame:
    """Return one row per paper: its best entry, how many entries it has, and their range of robust accuracy."""
    grouped = table.groupby("paper_key", sort=False)
    best = table.loc[grouped["robust_accuracy"].idxmax().dropna().astype(int)].set_index("paper_key")
    best["n_entries"] = grouped.size()
    best["weakest"] = grouped["robust_accuracy"].min()
    return (
        best.reset_index().sort_values(["robust_accuracy", "model_id"], ascending=[False, True]).reset_index(drop=True)
    )

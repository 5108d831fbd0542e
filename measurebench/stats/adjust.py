"""Many tests: Holm for the primary family, Benjamini-Hochberg for all the rest."""

import numpy as np
import pandas as pd

PRIMARY = "tau_b"


def adjusted(correlations: pd.DataFrame) -> pd.DataFrame:
    """Return the correlations with p_adjusted filled in.

    The primary family is tau_b over all models, one test per measure: Holm (1979), valid under any dependence.
    tau_a and Spearman over all models restate it and take Holm within their own statistic. All other p-values
    together: Benjamini-Hochberg (1995).
    """
    table = correlations.copy()
    whole = (table["axis"] == "") & table["statistic"].isin([PRIMARY, "tau_a", "spearman"])
    for statistic in (PRIMARY, "tau_a", "spearman"):
        _fill(table, whole & (table["statistic"] == statistic), "holm")
    _fill(table, ~whole, "fdr_bh")
    return table


def _fill(table: pd.DataFrame, chosen: pd.Series, method: str) -> None:
    from statsmodels.stats.multitest import multipletests

    rows = np.flatnonzero(chosen.to_numpy(dtype=bool) & table["p_value"].notna().to_numpy())
    if len(rows):
        values = table["p_value"].to_numpy(dtype=float)[rows]
        table.loc[table.index[rows], "p_adjusted"] = multipletests(values, method=method)[1]

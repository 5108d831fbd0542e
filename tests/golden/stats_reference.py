"""Make the golden table of the statistics and its expected values with pandas, scipy and statsmodels loops alone.

    python tests/golden/stats_reference.py

writes stats_table.csv and stats_expected.csv beside this file. Nothing of measurebench is imported.
"""

import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import statsmodels.formula.api as smf
from scipy.stats import kendalltau, spearmanr

HERE = Path(__file__).parent
AXES = ["architecture", "defense", "setting_augmentation", "setting_batch_size"]
MEASURES = ["smooth", "tied", "gappy"]
TARGET = "robust_gap_pgd"


def make_table() -> pd.DataFrame:
    """Return 72 models: 3 x 3 x 2 x 4 settings, ties in a measure and in the target, missing values in another."""
    rng = np.random.default_rng(20230)
    rows = []
    for k, levels in enumerate(
        itertools.product(("plain", "residual", "wide"), ("AT", "MART", "TRADES"), (0, 1), (32, 64, 128, 256))
    ):
        latent = rng.normal() + 0.6 * levels[2]
        rows.append(
            dict(zip(AXES, levels, strict=True))
            | {
                "model_id": f"m{k:02d}",
                TARGET: round(0.1 + 0.03 * latent, 2),
                "smooth": latent + rng.normal() + (levels[1] == "AT") * 1.5,
                "tied": int(np.clip(round(2 * latent + rng.normal()), -2, 2)),
                "gappy": np.nan if rng.random() < 0.15 else -latent + rng.normal(),
            }
        )
    return pd.DataFrame(rows)


def pairs_mean(group: pd.DataFrame, measure: str, axis: str | None) -> float:
    """Return the mean of sign products over pairs, only of unlike levels where an axis is given."""
    signs = [
        np.sign(a[measure] - b[measure]) * np.sign(a[TARGET] - b[TARGET])
        for (_, a), (_, b) in itertools.combinations(group.iterrows(), 2)
        if axis is None or a[axis] != b[axis]
    ]
    return float(np.mean(signs)) if signs else float("nan")


def expected(table: pd.DataFrame) -> list[tuple[str, str, str, str, float]]:
    """Return measure, statistic, axis, level, value."""
    rows: list[tuple[str, str, str, str, float]] = []
    for measure in MEASURES:
        known = table[table[measure].notna()]
        x, y = known[measure], known[TARGET]
        rows.append((measure, "tau_b", "", "", kendalltau(x, y).statistic))
        rows.append((measure, "tau_a", "", "", pairs_mean(known, measure, None)))
        rows.append((measure, "spearman", "", "", spearmanr(x, y).statistic))
        psis, pis = [], []
        for axis in AXES:
            others = [a for a in AXES if a != axis]
            psis.append(np.nanmean([pairs_mean(g, measure, axis) for _, g in known.groupby(others)]))
            taus = {str(v): kendalltau(g[measure], g[TARGET]).statistic for v, g in known.groupby(axis)}
            pis.append(float(np.mean(list(taus.values()))))
            rows += [(measure, "tau_within", axis, level, tau) for level, tau in taus.items()]
            rows += [(measure, "psi", axis, "", float(psis[-1])), (measure, "pi", axis, "", pis[-1])]
        rows += [(measure, "psi_mean", "", "", float(np.mean(psis))), (measure, "pi_mean", "", "", float(np.mean(pis)))]
        dummies = " + ".join(f"C({a})" for a in AXES)
        for model, formula in (("simple", measure), ("settings_plus_measure", f"{dummies} + {measure}")):
            fitted = smf.ols(f"{TARGET} ~ {formula}", known).fit()
            rows.append((measure, f"r2:{model}", "", "", fitted.rsquared))
            rows.append((measure, f"slope:{model}", "", "", fitted.params[measure] * x.std(ddof=1)))
            robust = fitted.get_robustcov_results("HC3", use_t=True)
            rows.append((measure, f"p:{model}", "", "", float(robust.pvalues[-1])))
    return rows


if __name__ == "__main__":
    made = make_table()
    made.to_csv(HERE / "stats_table.csv", index=False)
    columns = ["measure", "statistic", "axis", "level", "value"]
    pd.DataFrame(expected(made), columns=columns).to_csv(HERE / "stats_expected.csv", index=False)

from pathlib import Path

import pandas as pd
import pytest

from measurebench.stats import analyze

GOLDEN = Path(__file__).parent.parent / "golden"


def test_the_golden_table_gives_the_values_of_independent_loops() -> None:
    # stats_reference.py, beside the tables, made them with pandas, scipy and statsmodels alone.
    analysis = analyze(pd.read_csv(GOLDEN / "stats_table.csv"), bootstrap=40, permutations=19)
    expected = pd.read_csv(GOLDEN / "stats_expected.csv", keep_default_na=False)
    found = analysis.correlations.set_index(["measure", "statistic", "axis", "level"])["estimate"]
    fits = analysis.regressions.set_index(["measure", "model", "level"])
    columns = {"r2": "r2", "slope": "slope", "p": "p_value"}
    for measure, statistic, axis, level, value in expected.itertuples(index=False):
        kind, _, model = statistic.partition(":")
        if model:
            came = fits.loc[(measure, model, ""), columns[kind]]
        else:
            came = found.loc[(measure, statistic, axis, str(level))]
        assert came == pytest.approx(float(value), rel=1e-9, abs=1e-12), (measure, statistic, axis, level)
    assert len(expected) > 90

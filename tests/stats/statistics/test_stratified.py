"""tau inside a defense with the settings that divide runs held fixed, beside a plain loop over pairs."""

import numpy as np
import pandas as pd
import pytest

from measurebench.stats import analyze
from measurebench.stats.population.population import read_population
from measurebench.stats.statistics.stratified import dividing_settings
from tests.stats.tables import grid

QUICK = {"bootstrap": 400, "permutations": 999}


def by_loop(x: np.ndarray, y: np.ndarray, kind: np.ndarray) -> float:
    together, untied_x, untied_y = 0.0, 0, 0
    for i in range(len(x)):
        for j in range(i):
            if kind[i] == kind[j]:
                together += np.sign(x[i] - x[j]) * np.sign(y[i] - y[j])
                untied_x += x[i] != x[j]
                untied_y += y[i] != y[j]
    return float(together / np.sqrt(untied_x * untied_y))


def checkpoints(seed: int, shared: float) -> pd.DataFrame:
    """Return 40 runs a defense, a best and a last checkpoint each: the last has a larger gap and a larger measure.

    Inside AT measure and gap share nothing else but ``shared``; inside TRADES they have the opposite sign.
    """
    rng, rows = np.random.default_rng(seed), []
    for defense in ("AT", "TRADES"):
        for run in range(40):
            own, gap = rng.normal(), rng.normal()
            for last in (0, 1):
                size = shared * gap + own if defense == "AT" else own - 1.5 * gap
                rows.append(
                    {
                        "defense": defense,
                        "run": f"{defense}-{run}",
                        "setting_early_stopping": ("best", "last")[last],
                        "gap": gap + 0.8 * last + 0.05 * rng.normal(),
                        "m": size + (1.5 * last if defense == "AT" else 0) + 0.05 * rng.normal(),
                    }
                )
    return pd.DataFrame(rows)


def test_it_counts_the_pairs_inside_a_defense_of_one_kind_of_checkpoint() -> None:
    table = grid()
    found = analyze(table, measures=["signal"], **QUICK)
    rows = found.supplement[found.supplement["statistic"] == "tau_stratified"].set_index("level")
    assert sorted(rows.index) == ["AT", "MART", "TRADES"]
    for defense, own in table.groupby("defense"):
        columns = (own[c].to_numpy() for c in ("signal", "robust_gap_pgd", "setting_stop"))
        assert rows.loc[defense, "estimate"] == pytest.approx(by_loop(*columns), abs=1e-12)
    assert rows["ci_low"].isna().all()  # eight runs a defense
    assert rows["n_pairs"].tolist() == [2 * 28] * 3


def test_only_settings_that_divide_runs_are_held_fixed() -> None:
    roles = {name: name for name in ("defense", "run", "cluster")}
    population = read_population(grid(), target="robust_gap_pgd", measures=["signal"], settings=None, **roles)
    assert dividing_settings(population) == ["setting_stop"]
    whole = analyze(grid().drop(columns="setting_stop"), measures=["signal"], **QUICK)
    assert "tau_stratified" not in set(whole.supplement["statistic"])


def test_what_the_last_checkpoint_does_to_both_is_no_sign_of_a_defense() -> None:
    options = {"target": "gap", "measures": ["m"], **QUICK}
    found = analyze(checkpoints(0, 0.0), **options)
    inside = found.select_within("m", "defense").set_index("level")
    assert inside.loc["AT", "p_adjusted"] < 0.05
    assert inside.loc["AT", "ci_low"] > 0
    tests = found.tests.query("measure == 'm' and axis == 'defense'").set_index("level")
    assert tests.loc["AT", "stratified_low"] < 0 < tests.loc["AT", "stratified_high"]
    verdict = found.judgements.iloc[0]
    assert verdict["verdict"] != "turns_with_defense"
    assert "(not shown with the settings that divide runs held fixed)" in verdict["sentence"]
    assert analyze(checkpoints(0, 1.5), **options).judgements["verdict"].iloc[0] == "turns_with_defense"

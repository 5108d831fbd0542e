"""Negative controls: judged like measures, shown beside them, and never found to hold."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.multitest import multipletests

from measurebench.stats import analyze, read_analysis, write_analysis
from measurebench.stats.judging.adjustment import benjamini_hochberg
from measurebench.stats.judging.controls import RANDOM, control_columns
from measurebench.stats.population.axes import usable_settings
from measurebench.stats.population.population import read_population
from tests.stats.regressions.test_added import made
from tests.stats.tables import grid

QUICK = {"bootstrap": 100, "permutations": 99}
ALL = "control: all settings"


def population(table: pd.DataFrame, target: str = "robust_gap_pgd"):
    read = read_population(
        table, target=target, measures=None, settings=None, defense="defense", run="run", cluster="cluster"
    )
    return usable_settings(read)


def test_there_are_random_numbers_and_a_proxy_for_each_setting_and_for_all() -> None:
    columns = control_columns(population(grid()), 0)
    axes = ["setting_augmentation", "setting_batch_size", "setting_stop", "architecture", "defense"]
    assert list(columns) == [RANDOM, *(f"control: {axis}" for axis in axes), ALL]
    other = control_columns(population(grid()), 1)
    assert not np.array_equal(columns[RANDOM], other[RANDOM])


def test_no_proxy_has_seen_the_target_of_its_own_run() -> None:
    table = grid()
    changed = table.copy()
    run = table["run"].iloc[10]
    changed.loc[changed["run"] == run, "robust_gap_pgd"] += 0.5
    before, after = (control_columns(population(t), 0) for t in (table, changed))
    own = (population(table).table["run"] == run).to_numpy()
    for name in before:
        np.testing.assert_array_equal(before[name][own], after[name][own])
    assert not np.array_equal(before[ALL][~own], after[ALL][~own])


def test_the_proxy_of_one_setting_orders_its_levels_as_their_means() -> None:
    table = made(200, 0)
    found = population(table, "gap")
    proxy = control_columns(found, 0)["control: setting_a"]
    means = found.table.groupby("setting_a")["gap"].mean().rank() - 1
    np.testing.assert_array_equal(proxy, found.table["setting_a"].map(means))


@pytest.mark.parametrize("curved", [False, True])
@pytest.mark.parametrize("n_runs", [24, 120])  # with 120 the gain is known well enough to be called none
def test_no_control_ever_holds_however_strong_it_is(n_runs: int, curved: bool) -> None:
    analysis = analyze(made(n_runs, n_runs, curved), target="gap", measures=["carrier"], **QUICK)
    judged = analysis.control_judgements.set_index("measure")
    assert not judged["verdict"].str.startswith("holds").any()
    if n_runs > 24:
        assert abs(judged.loc[ALL, "tau_b"]) > 0.3
        assert judged.loc[ALL, "verdict"] == "tells_settings"
    assert judged.loc[RANDOM, "verdict"] in {"unknown", "small", "underpowered"}


def test_controls_move_no_number_of_the_measures_and_take_their_correction() -> None:
    analysis = analyze(grid(), **QUICK)
    assert set(analysis.correlations["measure"]) == set(analysis.measures)
    row = analysis.controls.query("statistic == 'tau_b' and axis == ''").iloc[0]
    p = analysis.select("tau_b")["p_value"].to_numpy(float)
    assert row["p_adjusted"] == pytest.approx(multipletests([*p, row["p_value"]], method="holm")[1][-1])


def test_the_files_mark_the_controls_and_an_older_analysis_is_still_read(tmp_path: Path) -> None:
    analysis = analyze(grid(), measures=["signal"], **QUICK)
    write_analysis(analysis, tmp_path)
    table = pd.read_csv(tmp_path / "correlations.csv")
    assert set(table.loc[table["control"], "measure"]) == set(analysis.controls["measure"])
    assert set(table.loc[~table["control"], "measure"]) == {"signal"}
    assert read_analysis(tmp_path).controls.equals(analysis.controls)
    path = tmp_path / "analysis.json"
    plain = json.loads(path.read_text())
    for name in ("added", "controls", "control_judgements"):
        del plain[name]
    path.write_text(json.dumps(plain))
    assert read_analysis(tmp_path).controls.empty


def test_the_settings_alone_have_the_same_error_beside_controls_and_measures() -> None:
    table = made(24, 0).assign(other=lambda t: t["carrier"].where(t.index > 5))
    rows = analyze(table, target="gap", measures=["carrier", "other"], **QUICK).added
    rows = rows[(rows["variant"] == "runs") & rows["mse_settings"].notna()]
    whole = rows[rows["n_models"] == len(table)]
    assert set(whole["measure"]) > {"carrier", RANDOM, ALL}
    np.testing.assert_allclose(whole["mse_settings"], whole["mse_settings"].iloc[0], rtol=1e-12)


def test_a_control_is_adjusted_as_one_more_of_the_family_of_tau_inside_defenses() -> None:
    found = analyze(grid(), measures=["signal", "noise"], **QUICK)
    whole = (found.correlations["axis"] == "") & found.correlations["statistic"].isin(["tau_b", "tau_a", "spearman"])
    rest = found.correlations[~whole & ~found.correlations["statistic"].isin(["sign_error_max", "residual_tau"])]
    p = rest["p_value"].dropna().to_numpy()
    row = found.controls.query("statistic == 'tau_within'").iloc[0]
    assert row["p_adjusted"] == pytest.approx(benjamini_hochberg(np.r_[p, row["p_value"]])[-1])

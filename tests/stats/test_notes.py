"""What an analysis says of itself: notes, options, digests, and the direction in which signs are judged."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from measurebench.core.digests import digest_json
from measurebench.core.infos import measure_infos
from measurebench.stats import Analysis, analyze
from tests.stats.tables import grid

QUICK: dict[str, Any] = {"bootstrap": 20, "permutations": 19, "measures": ["signal"]}


def notes(table: pd.DataFrame, **options: Any) -> str:
    return "\n".join(analyze(table, **(QUICK | options)).notes)


@pytest.fixture(scope="module")
def found() -> Analysis:
    return analyze(grid(), **QUICK)


def test_the_unit_of_resampling_is_noted(found: Analysis) -> None:
    assert "Resampled by run: 24 units for 48 models." in found.notes
    assert (found.unit, found.n_units, found.n_models) == ("run", 24, 48)


def test_missing_and_infinite_values_are_counted_apart() -> None:
    table = grid()
    table.loc[[0, 1], "signal"] = np.nan
    table.loc[2, "signal"] = np.inf
    assert "signal has no value for 3 of 48 models (1 infinite, or above 1e+300)." in notes(table)
    table.loc[2, "signal"] = np.nan
    assert "signal has no value for 3 of 48 models." in notes(table)


def test_what_is_not_known_of_the_target_or_the_defenses_is_noted() -> None:
    assert "The sampling error of robust_gap_pgd is unknown" in notes(grid().drop(columns="n_test"))
    assert "No defenses to compare" in notes(grid().drop(columns="defense"))


def test_models_of_two_versions_or_configurations_are_noted() -> None:
    table = grid().assign(config_digest=["a", "b"] * 24, measurebench_version="1")
    told = notes(table)
    assert "The models were measured under 2 values of config_digest." in told
    assert "measurebench_version" not in told


def test_the_options_and_the_table_are_on_record(found: Analysis) -> None:
    options = analyze(grid(), seed=5, where='defense == "AT"', exclude_standard=True, **QUICK).provenance
    assert options["seed"] == 5
    assert options["where"] == 'defense == "AT"'
    assert options["exclude_standard"] is True
    assert (options["bootstrap"], options["permutations"]) == (20, 19)
    assert found.provenance["table_digest"] == digest_json(grid().to_csv(index=False))
    assert found.provenance["table_digest"] == options["table_digest"]
    changed = analyze(grid().assign(noise=0.0), **QUICK).provenance
    assert changed["table_digest"] != options["table_digest"]


def test_versions_of_what_computed_it_are_on_record_and_no_time_is(found: Analysis) -> None:
    assert {"python", "numpy", "pandas", "scipy", "statsmodels", "scikit-learn"} <= set(found.provenance)
    assert not [name for name in found.provenance if "time" in name or "date" in name]


def test_what_the_models_share_is_on_record() -> None:
    table = grid().assign(dataset="digits", norm="Linf", radius=[0.1, 0.2] * 24)
    provenance = analyze(table, **QUICK, settings=["radius"]).provenance
    assert provenance["table_dataset"] == ["digits"]
    assert provenance["table_radius"] == ["0.1", "0.2"]


@pytest.mark.parametrize(("target", "orientation"), [("robust_gap_pgd", "-"), ("pgd_accuracy_test", "+")])
def test_sign_errors_take_the_direction_of_the_hypothesis_about_the_gap(target: str, orientation: str) -> None:
    infos = measure_infos()
    name = next(name for name, info in infos.items() if info.hypothesis == "-" and info.tier == "core")
    table = grid().assign(**{name: lambda t: t["signal"]})
    found = analyze(table, **(QUICK | {"measures": [name, "noise"]}), target=target, infos=infos)
    signs = found.environments.groupby("measure")["orientation"].unique()
    assert signs[name].tolist() == [orientation]
    assert signs["noise"].tolist() == ["+"]


def test_further_columns_can_be_held_fixed_and_the_target_cannot(found: Analysis) -> None:
    more = analyze(grid(), partial=["tied", "pgd_accuracy_train", "robust_gap_pgd"], **QUICK)
    assert more.correlations.query("statistic == 'partial_tau'")["axis"].tolist() == ["pgd_accuracy_train", "tied"]
    assert found.correlations.query("statistic == 'partial_tau'")["axis"].tolist() == ["pgd_accuracy_train"]


def test_an_empty_control_is_not_held_fixed() -> None:
    found = analyze(grid().assign(average_ce_pgd=np.nan), **QUICK)
    assert "average_ce_pgd" not in set(found.correlations["axis"])
    without = analyze(grid().drop(columns=["pgd_accuracy_train"]), **QUICK)
    assert "not in the table, so the association was not controlled for it" in without.judgements["sentence"].iloc[0]


def test_a_few_runs_keep_their_estimates_and_lose_everything_else() -> None:
    table = grid().assign(run=[f"r{k // 16}" for k in range(48)])
    found, usual = analyze(table, **QUICK), analyze(grid(), **QUICK)
    np.testing.assert_allclose(found.correlations["estimate"], usual.correlations["estimate"])
    for frame in (found.correlations, found.supplement):
        assert frame[["ci_low", "ci_high", "p_value", "p_adjusted"]].isna().all(axis=None)
    assert len(found.undefined) >= len(found.correlations)

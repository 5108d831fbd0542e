"""Every registered statistic keeps the rules of one, and one from outside takes part like any other."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import somersd

from measurebench.core.errors import BadInputError
from measurebench.core.registry import Registry
from measurebench.stats import Analysis, Asked, Estimate, Sample, Statistic, analyze
from measurebench.stats.statistics import registry
from measurebench.stats.statistics.estimates import n_pairs
from measurebench.stats.statistics.registry import all_statistics, find_statistic, register_statistic, statistic
from tests.stats.tables import grid

QUICK = {"bootstrap": 20, "permutations": 19}


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a test register what it likes, and forget it afterwards."""
    copy: Registry[Statistic] = Registry("statistic")
    for name, item in all_statistics().items():
        copy.add(name, item)
    monkeypatch.setattr(registry, "_STATISTICS", copy)


def somers_d(sample: Sample, asked: Asked) -> list[Estimate]:
    if sample.flaw:
        return [sample.missing("somers_d", sample.flaw)]
    value = float(somersd(sample.x, sample.cohort.y).statistic)
    return [Estimate("somers_d", "", "", sample.n, n_pairs(sample.n), value, p_value=0.2, reason="no interval")]


def add_somers_d() -> Statistic:
    statistic("somers_d", title="Somers' D", explanation="tau over the pairs that differ in the measure.")(somers_d)
    return find_statistic("somers_d")


@pytest.fixture(scope="module")
def found() -> Analysis:
    table = grid()
    table.loc[table["defense"] == "MART", "defense"] = "Standard"
    return analyze(table.assign(flat=1.0), **QUICK)


def test_the_statistics_of_the_folder_are_found_by_name_and_by_what_they_write() -> None:
    names = set(all_statistics())
    assert {"overall", "partial_tau", "conditional", "granulated", "sign_error", "cmi", "weighted_tau", "r2"} <= names
    assert find_statistic("psi_mean").name == "granulated"
    assert find_statistic("spearman").name == "overall"
    assert find_statistic("pi") is find_statistic("conditional")


def test_an_unknown_statistic_gets_near_names() -> None:
    with pytest.raises(BadInputError, match="statistic: expected one of .* got 'granulate'; did you mean 'granulated'"):
        find_statistic("granulate")


@pytest.mark.parametrize("name", sorted(all_statistics()))
def test_every_statistic_says_what_it_is(name: str) -> None:
    item = find_statistic(name)
    assert item.name == name
    assert item.title
    assert item.explanation.endswith(".")
    assert item.names


@pytest.mark.parametrize("name", sorted(all_statistics()))
def test_rows_of_a_statistic_keep_its_names_axes_and_range(name: str, found: Analysis) -> None:
    item = find_statistic(name)
    table: pd.DataFrame = getattr(found, item.table)
    rows = table[table["statistic"].isin(item.names)]
    if item.table == "supplement":
        rows = rows[rows["target"].eq(found.target) | (name == "variants")]
    assert set(rows["measure"]) == {"signal", "noise", "tied", "flat"}
    allowed = {"none": {"", "without"}, "setting": {"", *found.settings}, "control": {"pgd_accuracy_train"}}
    if item.axes != "setting":
        rows = rows[~rows["axis"].isin(found.settings)]
    else:
        rows = rows[rows["axis"].str.split(" + ", regex=False).map(lambda parts: set(parts) <= allowed["setting"])]
    if item.axes == "control":
        rows = rows[rows["axis"] != ""]
        assert set(rows["axis"]) <= allowed["control"]
    assert len(rows)
    assert rows["estimate"].dropna().between(-1, 1).all()
    assert (rows["ci_low"].fillna(-9) <= rows["ci_high"].fillna(9)).all()
    assert rows["p_value"].dropna().between(0, 1).all()


@pytest.mark.parametrize("name", sorted(all_statistics()))
def test_every_number_that_a_statistic_leaves_out_has_its_reason(name: str, found: Analysis) -> None:
    item = find_statistic(name)
    table: pd.DataFrame = getattr(found, item.table)
    rows = table[table["statistic"].isin(item.names)]
    missing = rows[rows[["estimate", "ci_low", "p_value"]].isna().any(axis=1)]
    keys = ["measure", "statistic", "axis", "level"]
    assert set(map(tuple, missing[keys].to_numpy())) <= set(map(tuple, found.undefined[keys].to_numpy()))


def test_the_correlations_come_in_the_order_of_the_contract(found: Analysis) -> None:
    rows = found.correlations.query("measure == 'signal'")
    whole = rows.loc[rows["axis"].isin(["", "pgd_accuracy_train"]), "statistic"].tolist()
    overall = ["tau_b", "tau_a", "spearman", "partial_tau", "pi_mean", "psi_mean"]
    assert whole == [*overall, "sign_error_mean", "sign_error_max", "residual_tau"]
    inside = rows[rows["axis"] == "defense"]["statistic"].tolist()
    assert inside == ["tau_within", "tau_a"] * 3 + ["pi", "psi", "sign_error_mean", "sign_error_max"]


@pytest.mark.usefixtures("own")
def test_a_statistic_from_outside_stands_behind_those_of_the_contract_and_moves_no_other_number() -> None:
    table = grid()
    before = analyze(table, **QUICK).correlations
    add_somers_d()
    after = analyze(table, **QUICK).correlations
    rows = after[after["statistic"] == "somers_d"]
    assert rows["measure"].tolist() == ["signal", "noise", "tied"]
    assert after[after["measure"] == "signal"]["statistic"].iloc[-1] == "somers_d"
    expected = [somersd(table[name], table["robust_gap_pgd"]).statistic for name in rows["measure"]]
    assert rows["estimate"].to_numpy() == pytest.approx(expected)
    assert rows["p_adjusted"].to_numpy() == pytest.approx([0.2] * 3)  # three equal p-values in a family of their own
    rest = after[after["statistic"] != "somers_d"].reset_index(drop=True)
    pd.testing.assert_frame_equal(rest, before)


@pytest.mark.usefixtures("own")
def test_a_statistic_from_outside_may_write_to_the_supplement_and_to_disk(tmp_path) -> None:
    from measurebench.stats import read_analysis, write_analysis

    register_statistic(Statistic("somers_d", "Somers' D", "tau.", somers_d, table="supplement"))
    analysis = analyze(grid(), **QUICK)
    assert analysis.supplement["statistic"].eq("somers_d").sum() == 3
    assert not analysis.correlations["statistic"].eq("somers_d").any()
    write_analysis(analysis, tmp_path)
    assert read_analysis(tmp_path).supplement["statistic"].eq("somers_d").sum() == 3


@pytest.mark.usefixtures("own")
def test_names_are_taken_once() -> None:
    add_somers_d()
    with pytest.raises(
        BadInputError, match="rows called 'somers_d' are made twice: by statistic 'somers_d' of .*rename one of them"
    ):
        add_somers_d()
    with pytest.raises(
        BadInputError, match="'tau_b' are made twice: by statistic 'overall' of measurebench and 'mine' of"
    ):
        register_statistic(Statistic("mine", "Mine", "Mine.", somers_d, writes=("tau_b",)))
    with pytest.raises(ValueError, match="'overall' is registered twice"):
        register_statistic(Statistic("overall", "Mine", "Mine.", somers_d, writes=("mine",)))


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize(
    ("row", "message"),
    [
        (Estimate("other", "", "", 1, 1, 0.5), "writes 'mine', but made a row of 'other'"),
        (Estimate("mine", "", "", 1, 1, float("nan")), "has no value for 'signal' and does not say why"),
    ],
)
def test_rows_that_break_the_rules_are_refused_with_the_name_of_the_statistic(row: Estimate, message: str) -> None:
    def broken(sample: Sample, asked: Asked) -> list[Estimate]:
        return [row]

    register_statistic(Statistic("mine", "Mine", "Mine.", broken))
    with pytest.raises(ValueError, match=f"statistic 'mine' {message}"):
        analyze(grid(), **QUICK)


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize(
    ("made", "got"),
    [
        (lambda: 0.5, "0.5"),
        (lambda: [0.5], r"\[0.5\]"),
        (lambda: None, "None"),
        (lambda: 1 / 0, "ZeroDivisionError: div"),
    ],
)
def test_a_statistic_that_fails_is_an_error_in_words(made: Callable[[], Any], got: str) -> None:
    def broken(sample: Sample, asked: Asked) -> Any:
        return made()

    register_statistic(Statistic("mine", "Mine", "Mine.", broken))
    with pytest.raises(BadInputError, match=f"statistic 'mine' of 'signal': expected a list of Estimate, got {got}"):
        analyze(grid(), **QUICK)


@pytest.mark.usefixtures("own")
def test_what_measures_of_the_same_models_share_is_computed_once() -> None:
    calls: list[int] = []

    def shared(asked: Asked) -> int:
        calls.append(len(asked.samples))
        return len(asked.samples)

    def counted(sample: Sample, asked: Asked) -> list[Estimate]:
        return [Estimate("mine", "", "", sample.n, 0, float(asked.shared(shared)), reason="no test")]

    register_statistic(Statistic("mine", "Mine", "Mine.", counted))
    table = grid()
    table.loc[0, "tied"] = np.nan
    rows = analyze(table, **QUICK).select("mine").set_index("measure")
    assert calls == [2, 1]  # two measures on 48 models, one on 47
    assert rows["estimate"].to_dict() == {"signal": 2, "noise": 2, "tied": 1}
    assert rows["n_models"].to_dict() == {"signal": 48, "noise": 48, "tied": 47}

import inspect

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from measurebench.cli.analyze import analyze as command
from measurebench.core.errors import BadInputError
from measurebench.core.infos import measure_infos
from measurebench.stats import analyze, read_analysis, write_analysis
from measurebench.stats.analysis import CORRELATIONS, TABLES
from measurebench.stats.judging.verdict import MARGIN
from tests.stats.tables import grid, pair_tau

QUICK = {"bootstrap": 60, "permutations": 39}
STATISTICS = {
    "tau_b",
    "tau_a",
    "spearman",
    "psi",
    "psi_mean",
    "pi",
    "pi_mean",
    "tau_within",
    "partial_tau",
    "residual_tau",
    "sign_error_mean",
    "sign_error_max",
}


@pytest.fixture(scope="module")
def found():
    table = grid()
    return table, analyze(table, **QUICK)


def test_the_correlations_have_the_columns_and_statistics_of_the_contract(found) -> None:
    _, analysis = found
    assert tuple(analysis.correlations.columns) == CORRELATIONS
    assert set(analysis.correlations["statistic"]) == STATISTICS


def test_an_analysis_read_back_is_the_one_written(found, tmp_path) -> None:
    _, analysis = found
    paths = write_analysis(analysis, tmp_path)
    assert sorted(p.name for p in paths) == ["analysis.json", "correlations.csv", "regressions.csv"]
    again = read_analysis(tmp_path)
    for name in TABLES:
        pd.testing.assert_frame_equal(getattr(again, name), getattr(analysis, name), check_dtype=False)
    assert (again.filters, again.notes, again.measures) == (analysis.filters, analysis.notes, analysis.measures)


def test_a_margin_of_one_s_own_is_on_record_and_the_command_s_default_is_python_s(found) -> None:
    table, plain = found
    assert "margin" not in plain.provenance
    assert analyze(table, margin=0.4, **QUICK).provenance["margin"] == 0.4
    assert inspect.signature(command).parameters["margin"].default == MARGIN


def test_the_same_table_gives_the_same_bytes(found, tmp_path) -> None:
    table, analysis = found
    write_analysis(analysis, tmp_path / "a")
    write_analysis(analyze(table, **QUICK), tmp_path / "b")
    for name in ("correlations.csv", "regressions.csv", "analysis.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_every_missing_number_has_a_reason(found) -> None:
    _, analysis = found
    rows = analysis.correlations
    missing = rows[rows[["estimate", "ci_low", "p_value"]].isna().any(axis=1)]
    keys = ["measure", "statistic", "axis", "level"]
    explained = set(map(tuple, analysis.undefined[keys].to_numpy()))
    assert set(map(tuple, missing[keys].to_numpy())) <= explained


def test_the_order_of_rows_changes_nothing(found) -> None:
    table, analysis = found
    again = analyze(table.sample(frac=1, random_state=1), **QUICK)
    pd.testing.assert_frame_equal(again.correlations, analysis.correlations)


def test_a_monotone_transformation_changes_no_rank_statistic(found) -> None:
    table, analysis = found
    changed = table.assign(signal=np.exp(3 * table["signal"]))
    again = analyze(changed, **QUICK)
    pd.testing.assert_frame_equal(
        again.correlations.query("measure == 'signal'"), analysis.correlations.query("measure == 'signal'")
    )


def test_the_negative_of_a_measure_turns_every_tau(found) -> None:
    table, analysis = found
    again = analyze(table.assign(signal=-table["signal"]), **QUICK)
    for statistic in ("tau_b", "tau_a", "spearman", "psi_mean", "pi_mean"):
        a, b = (x.select(statistic).set_index("measure").loc["signal", "estimate"] for x in (analysis, again))
        assert a == pytest.approx(-b, abs=1e-12)


def test_names_of_levels_change_no_estimate(found) -> None:
    table, analysis = found
    names = {"AT": "z", "TRADES": "a", "MART": "m"}
    again = analyze(table.assign(defense=table["defense"].map(names)), **QUICK)
    for statistic in ("psi", "pi"):
        a = analysis.select(statistic, "defense")["estimate"].to_numpy()
        assert again.select(statistic, "defense")["estimate"].to_numpy() == pytest.approx(a)


@settings(max_examples=6, deadline=None)
@given(st.integers(0, 10_000))
def test_taus_of_random_tied_tables_equal_pair_counting(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(4, 20))
    table = pd.DataFrame(
        {"gap": rng.integers(0, 5, n) / 10, "m": rng.integers(0, 4, n), "defense": rng.choice(["a", "b"], n)}
    )
    rows = analyze(table, target="gap", bootstrap=20, permutations=19).correlations.set_index("statistic")
    x, y = table["m"].to_numpy(float), table["gap"].to_numpy(float)
    expected = pair_tau(x, y)
    assert rows.loc["tau_b", "estimate"] == pytest.approx(expected, abs=1e-12, nan_ok=True)


def test_holm_and_benjamini_hochberg_are_those_of_statsmodels(found) -> None:
    from statsmodels.stats.multitest import multipletests

    _, analysis = found
    primary = analysis.select("tau_b")
    expected = multipletests(primary["p_value"], method="holm")[1]
    assert primary["p_adjusted"].to_numpy() == pytest.approx(expected)
    rest = analysis.correlations.query("not (statistic in ['tau_b', 'tau_a', 'spearman'] and axis == '')")
    rest = rest.dropna(subset="p_value")
    inside = (rest["statistic"] == "tau_within") & (rest["axis"] == "defense")
    by_themselves = rest["statistic"].isin(["tau_a", "residual_tau"])
    families = ("inside " + rest["level"]).where(inside, rest["statistic"].where(by_themselves, "rest"))
    assert set(families) == {"inside AT", "inside MART", "inside TRADES", "tau_a", "residual_tau", "rest"}
    for _, rows in rest.groupby(families):
        assert rows["p_adjusted"].to_numpy() == pytest.approx(multipletests(rows["p_value"], method="fdr_bh")[1])


def test_intervals_resample_runs_not_rows() -> None:
    # Each run doubled: with the run as unit the interval keeps its width, by rows it would shrink.
    table = grid().query("setting_stop == 'best'").reset_index(drop=True)
    double = pd.concat([table, table.assign(model_id=table["model_id"] + "-again")])
    double["signal"] += np.r_[np.zeros(24), np.full(24, 1e-6)]

    def width(t: pd.DataFrame, **options) -> float:
        row = analyze(t, measures=["signal"], bootstrap=400, permutations=19, **options).select("tau_b").iloc[0]
        return row["ci_high"] - row["ci_low"]

    assert width(double) == pytest.approx(width(table), rel=0.2)
    assert width(double.drop(columns="run")) < 0.85 * width(table)


def test_sampling_error_of_the_gap_is_told(found) -> None:
    table, analysis = found
    p, q = table["pgd_accuracy_train"], table["pgd_accuracy_test"]
    se = np.sqrt(p * (1 - p) / 1000 + q * (1 - q) / 1000)
    assert analysis.gap_error["median_standard_error"] == pytest.approx(np.median(se))
    g = table["robust_gap_pgd"].to_numpy()
    close = sum(abs(g[i] - g[j]) < 2 * np.hypot(se[i], se[j]) for i in range(len(g)) for j in range(i + 1, len(g)))
    assert analysis.gap_error["n_indistinct"] == close
    noise = analysis.supplement.query("statistic == 'tau_b_gap_noise' and measure == 'signal'").iloc[0]
    total = analysis.supplement.query("statistic == 'tau_b_total_error' and measure == 'signal'").iloc[0]
    assert noise["ci_high"] - noise["ci_low"] < total["ci_high"] - total["ci_low"]


def test_the_partial_tau_of_a_control_is_scipys_taus_combined(found) -> None:
    from scipy.stats import kendalltau

    table, analysis = found
    x, y, z = (table[c] for c in ("signal", "robust_gap_pgd", "pgd_accuracy_train"))
    xy, xz, yz = (kendalltau(a, b).statistic for a, b in ((x, y), (x, z), (y, z)))
    expected = (xy - xz * yz) / np.sqrt((1 - xz**2) * (1 - yz**2))
    row = analysis.select("partial_tau", "pgd_accuracy_train").set_index("measure").loc["signal"]
    assert row["estimate"] == pytest.approx(expected)


def test_filters_count_and_name_what_they_leave_out() -> None:
    table = grid()
    table.loc[0, "robust_gap_pgd"] = np.nan
    table["reason"] = ["out of memory"] + [""] * 47
    table.loc[1, "pgd_accuracy_train"] = 0.1
    table.loc[2:4, "defense"] = "Standard"
    table.loc[2, "pgd_accuracy_train"] = 0.0
    table = pd.concat([table, table.tail(1)])
    steps = {s.name: s for s in analyze(table, exclude_standard=True, measures=["signal"], **QUICK).filters}
    assert steps["no target"].left_out == ((table["model_id"].iloc[0], "no robust_gap_pgd: out of memory"),)
    assert [s.n_after for s in steps.values()] == [49, 48, 47, 46, 43]
    assert steps["not converged"].left_out[0][0] == table["model_id"].iloc[1]


def test_the_table_without_standard_models_is_reported_beside() -> None:
    table = grid()
    table.loc[table["defense"] == "MART", "defense"] = "Standard"
    analysis = analyze(table, measures=["signal"], **QUICK)
    row = analysis.supplement.query("axis == 'without'").iloc[0]
    robust = table[table["defense"] != "Standard"]
    expected = pair_tau(robust["signal"].to_numpy(), robust["robust_gap_pgd"].to_numpy())
    assert (row["n_models"], row["estimate"]) == (32, pytest.approx(expected))


def test_a_foreign_table_needs_a_target_and_one_measure() -> None:
    table = pd.DataFrame({"name": list("abcdefgh"), "gap": range(8), "score": [3, 1, 4, 1, 5, 9, 2, 6]})
    analysis = analyze(table, target="gap", **QUICK)
    assert analysis.measures == ("score",)
    assert analysis.defense is None
    assert analysis.judgements["sentence"].str.contains("no defenses").all()


def test_a_leaderboard_resamples_papers_and_needs_no_settings() -> None:
    rng = np.random.default_rng(0)
    n = 40
    table = pd.DataFrame(
        {
            "model_id": [f"Author{i}" for i in range(n)],
            "clean_accuracy": rng.uniform(0.8, 0.95, n),
            "architecture": rng.choice(["WRN-28-10", "WRN-34-10", "RN-18"], n),
            "venue": rng.choice(["ICLR", "NeurIPS", "arXiv"], n),
            "defense": [f"method {i}" for i in range(n)],
            "cluster": [f"paper {i // 2}" for i in range(n)],
        }
    )
    table["autoattack_accuracy"] = table["clean_accuracy"] - 0.3 + rng.normal(0, 0.02, n)
    analysis = analyze(table, target="autoattack_accuracy", settings=["venue", "architecture", "defense"], **QUICK)
    assert (analysis.unit, analysis.n_units) == ("cluster", 20)
    assert analysis.settings == ("venue", "architecture")
    assert any("defense is left out" in note for note in analysis.notes)
    row = analysis.supplement.query("statistic == 'weighted_tau'").iloc[0]
    assert row["ci_low"] < row["estimate"] < row["ci_high"]


def test_the_top_weighted_tau_equals_a_loop_over_pairs(found) -> None:
    table, analysis = found
    x, y = table["tied"].to_numpy(), table["robust_gap_pgd"].to_numpy()
    h = 1 / pd.Series(y).rank().to_numpy()
    parts = np.zeros(3)
    for i in range(48):
        for j in range(i):
            a, b, w = np.sign(x[i] - x[j]), np.sign(y[i] - y[j]), h[i] + h[j]
            parts += w * np.array([a * b, a != 0, b != 0])
    row = analysis.supplement.query("statistic == 'weighted_tau' and measure == 'tied'").iloc[0]
    assert row["estimate"] == pytest.approx(parts[0] / np.sqrt(parts[1] * parts[2]))


@pytest.mark.parametrize(
    ("change", "options", "expected"),
    [
        ({"t": "abc"}, {"measures": ["t"]}, "measure 't': expected numbers, got 'abc'"),
        ({}, {"measures": ["sgnal"]}, "did you mean 'signal'"),
        ({}, {"target": "robust_gap"}, "did you mean 'robust_gap_pgd'"),
        ({}, {"where": 'defens == "AT"'}, "did you mean 'defense'"),
        ({}, {"where": "signal + 1"}, "true or false for each model"),
        ({}, {"where": "@exit()"}, "an expression over columns"),
        ({"model_id": "same"}, {}, "each model once, got 'same'"),
        ({"robust_gap_pgd": np.nan}, {}, "at least two models, got 0 after the filters; no target left out 48"),
        ({}, {"bootstrap": 3}, "bootstrap: expected at least 20 draws, got 3"),
        ({}, {"measures": ["robust_gap_pgd"]}, "a column other than the target"),
        ({}, {"model": "AT-plain"}, "one of the models that are analysed"),
    ],
)
def test_bad_input_ends_with_one_sentence(change: dict, options: dict, expected: str) -> None:
    with pytest.raises(BadInputError) as caught:
        analyze(grid().assign(**change), **(QUICK | options))
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        {"signal": 1.0},
        {"robust_gap_pgd": 0.1},
        {"defense": "AT"},
        {"run": "one"},
        {"signal": np.nan},
        {"signal": [np.inf, -np.inf] + [0.5] * 23 + list(range(23))},
        {"setting_batch_size": None},
        {"n_train": np.nan},
        {"tied": [0.0, 1.0] * 24, "robust_gap_pgd": [0.0, 0.1, 0.1] * 16},
    ],
    ids=[
        "constant measure",
        "constant target",
        "one defense",
        "one run",
        "empty measure",
        "infinite",
        "no setting",
        "no counts",
        "all ties",
    ],
)
def test_degenerate_tables_explain_every_missing_number(change: dict) -> None:
    analysis = analyze(grid().assign(**change), **QUICK)
    rows, keys = analysis.correlations, ["measure", "statistic", "axis", "level"]
    missing = rows[rows[["estimate", "ci_low", "p_value"]].isna().any(axis=1)]
    explained = set(map(tuple, analysis.undefined[keys].to_numpy()))
    assert set(map(tuple, missing[keys].to_numpy())) <= explained
    assert len(analysis.judgements) == len(analysis.measures)


@pytest.mark.parametrize("n", [2, 3, 4])
def test_tiny_tables_are_judged_with_the_words_that_n_allows(n: int) -> None:
    analysis = analyze(grid().iloc[:: 48 // n].head(n), measures=["signal"], **QUICK)
    assert analysis.judgements["verdict"].iloc[0] == "too_few"
    assert "too few" in analysis.power["sentence"].iloc[0]


def test_power_grows_with_the_number_of_runs() -> None:
    from measurebench.stats.judging.power import detectable_tau, null_deviation

    assert null_deviation(1344) == pytest.approx(0.0182, abs=5e-5)  # the study's 1,344 models
    assert detectable_tau(1344, 0.05) < detectable_tau(48, 0.05) < 0.4


def test_holm_leaves_room_for_up_to_200_measures_and_permutations_are_capped_beyond() -> None:
    from measurebench.stats.analyze import enough_permutations

    for n_measures in (1, 18, 132, 200):
        assert n_measures / (1 + enough_permutations(n_measures)) <= 0.01
    assert [enough_permutations(n_measures) for n_measures in (200, 201, 1000, 20_000)] == [20_000] * 4


def test_more_measures_than_the_permutations_can_tell_apart_are_told() -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"model_id": [f"m{i}" for i in range(30)], "robust_gap_pgd": rng.normal(size=30)})
    for n_measures, told in ((4, False), (5, False), (6, True)):
        noise = {f"noise{i}": rng.normal(size=30) for i in range(n_measures)}
        notes = analyze(table.assign(**noise), bootstrap=20, permutations=99).notes
        words = f"99 permutations cannot give a p-value that is shown among {n_measures} measures; name fewer."
        assert (words in notes) is told


def test_fewer_than_four_runs_allow_no_inference() -> None:
    rng = np.random.default_rng(0)
    level = rng.normal(size=(2, 3))
    run = np.repeat(np.arange(3), 20)
    table = pd.DataFrame(
        {
            "model_id": [f"m{i}" for i in range(60)],
            "run": run,
            "robust_gap_pgd": level[0][run] + 0.1 * rng.normal(size=60),
            "noise": level[1][run] + 0.1 * rng.normal(size=60),
        }
    )
    analysis = analyze(table, bootstrap=50, permutations=99)
    assert analysis.correlations[["ci_low", "ci_high", "p_value", "p_adjusted"]].isna().all(axis=None)
    assert analysis.judgements["verdict"].tolist() == ["too_few"]
    reasons = set(analysis.undefined.query("statistic == 'tau_b'")["reason"])
    assert reasons == {"3 values of run are too few to resample: no intervals and no p-values"}


def test_what_holds_inside_defenses_is_shown_in_large_tables_too() -> None:
    rng = np.random.default_rng(1)
    n = 300
    gap, defense = rng.normal(size=n), np.arange(n) % 5
    noise = {f"noise{i}": rng.normal(size=n) for i in range(4)}
    table = pd.DataFrame(
        {"model_id": range(n), "defense": defense, "robust_gap_pgd": gap, "signal": gap + 0.05 * noise["noise0"]}
    )
    table = table.assign(
        model_id=lambda t: "m" + t["model_id"].astype(str), defense=lambda t: "d" + t["defense"].astype(str)
    )
    analysis = analyze(table.assign(**noise), bootstrap=60)
    verdicts = analysis.judgements.set_index("measure")["verdict"]
    assert verdicts["signal"] == "holds_everywhere"
    assert verdicts["noise3"] == "unknown"


def test_papers_of_unlike_size_are_exchanged_inside_defenses() -> None:
    rng = np.random.default_rng(2)
    sizes = rng.permutation(np.arange(1, 15))
    papers = [(defense, i, size) for defense in ("AT", "TRADES") for i, size in enumerate(sizes)]
    defense, paper = (np.repeat([p[k] for p in papers], [p[2] for p in papers]) for k in (0, 1))
    cluster = np.char.add(defense, paper.astype(str))
    level = dict(zip(np.unique(cluster), rng.normal(size=28), strict=True))
    gap = np.array([level[c] for c in cluster]) + 0.1 * rng.normal(size=len(cluster))
    table = pd.DataFrame({"defense": defense, "cluster": cluster, "robust_gap_pgd": gap})
    table["model_id"] = [f"m{i}" for i in range(len(table))]
    table["signal"] = gap + 0.1 * rng.normal(size=len(table))
    analysis = analyze(table, bootstrap=100, permutations=999)
    inside = analysis.select_within("signal", "defense")
    assert (inside["p_value"] < 0.01).all()
    assert analysis.judgements["verdict"].tolist() == ["holds_everywhere"]


def test_settings_named_keep_the_defense_and_a_column_named_must_be_there() -> None:
    analysis = analyze(grid(), settings=["setting_batch_size"], measures=["signal"], bootstrap=50, permutations=19)
    pi = analysis.correlations.query("statistic == 'pi'")
    assert set(pi["axis"]) == {"setting_batch_size", "defense"}
    assert "Inside the defenses" in analysis.judgements["sentence"].iloc[0]
    for option in ("defense", "run", "cluster"):
        with pytest.raises(BadInputError, match=f"{option} 'misspelt': expected a column of the table"):
            analyze(grid(), bootstrap=50, permutations=19, **{option: "misspelt"})


def test_hypotheses_are_about_gaps() -> None:
    table = grid().assign(x_grad_norm_pgd=lambda t: t["signal"])
    info = {"x_grad_norm_pgd": measure_infos()["x_grad_norm_pgd"]}
    for target, hypothesis in (("robust_gap_pgd", info["x_grad_norm_pgd"].hypothesis), ("pgd_accuracy_test", "")):
        judged = analyze(
            table, target=target, measures=["x_grad_norm_pgd"], bootstrap=50, permutations=19, infos=info
        ).judgements.iloc[0]
        assert judged["hypothesis"] == hypothesis
        assert ("hypothesis" in judged["sentence"]) == bool(hypothesis)


def test_extreme_numbers_are_judged_like_any_others() -> None:
    table = grid()
    usual = analyze(table, measures=["signal"], bootstrap=50, permutations=19)
    for factor in (2.0**-700, 2.0**700):
        scaled = table.assign(signal=table["signal"] * factor)
        analysis = analyze(scaled, measures=["signal"], bootstrap=50, permutations=19)
        np.testing.assert_array_equal(analysis.regressions["r2"], usual.regressions["r2"])
        np.testing.assert_array_equal(analysis.correlations["estimate"], usual.correlations["estimate"])


def test_a_number_that_names_the_models_is_no_measure() -> None:
    table = grid().drop(columns="model_id").assign(id=range(48), **{"Unnamed: 0": range(48)})
    assert analyze(table, bootstrap=50, permutations=19).measures == ("signal", "noise", "tied")


def test_a_negative_seed_is_refused() -> None:
    with pytest.raises(BadInputError, match="seed: expected a whole number of at least 0, got -1"):
        analyze(grid(), seed=-1, bootstrap=50, permutations=19)

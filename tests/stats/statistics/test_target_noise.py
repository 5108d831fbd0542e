"""How well the target is known: standard errors and redraws against the binomial distribution."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from measurebench.stats import analyze
from measurebench.stats.population.target_error import Proportion, TargetError, gap_error
from measurebench.store.folder import ResultsFolder
from measurebench.store.tables import export
from tests.stats.tables import grid
from tests.store.test_folder import record
from tests.store.test_tables import ENTRY

QUICK = {"bootstrap": 20, "permutations": 19}


def test_a_gap_of_64_training_and_1000_test_images_is_known_as_well_as_both_say(tmp_path: Path) -> None:
    with ResultsFolder.writing(tmp_path / "out", "0") as out:
        for k in range(4):
            name = f"m{k}"
            out.add_model(ENTRY | {"model_id": name, "n_train": 1000, "n_test": 1000, "settings": {}, "cluster": None})
            for split, value, n in (("train", 0.746, 64), ("test", 0.36, 1000)):
                shown = record(model_id=name, measure="autoattack_accuracy", split=split, value=value, n=n)
                out.add_record(shown)
            out.add_record(record(model_id=name, value=float(k)))
    table = export(ResultsFolder.open(tmp_path / "out"))
    assert set(table["n_autoattack_train"]) == {64}
    error = analyze(table, target="robust_gap_autoattack", **QUICK).gap_error["median_standard_error"]
    assert error == pytest.approx(np.sqrt(0.746 * 0.254 / 64 + 0.36 * 0.64 / 1000))
    assert f"{error:.4f}" == "0.0565"
    # Without the column the 1,000 test images would have been taken for both splits.
    without = analyze(table.drop(columns="n_autoattack_train"), target="robust_gap_autoattack", **QUICK)
    assert f"{without.gap_error['median_standard_error']:.4f}" == "0.0205"


@pytest.mark.parametrize(
    ("counts", "n_train", "n_test"),
    [({"n_square": 100, "n_square_train": 50}, 50, 100), ({}, 1000, 1000), ({"n_square": 100}, 1000, 100)],
)
def test_the_gap_of_a_plugin_attack_is_known_from_its_own_images_or_all(
    counts: dict, n_train: int, n_test: int
) -> None:
    table = grid().rename(columns=lambda name: name.replace("pgd", "square")).assign(**counts)
    found = analyze(table, target="robust_gap_square", measures=["signal"], **QUICK)
    p, q = table["square_accuracy_train"], table["square_accuracy_test"]
    expected = np.median(np.sqrt(p * (1 - p) / n_train + q * (1 - q) / n_test))
    assert found.gap_error["median_standard_error"] == pytest.approx(expected)
    assert len(found.select("partial_tau", "square_accuracy_train")) == 1
    assert "square_accuracy_test" in set(found.supplement["target"])


@pytest.mark.parametrize("target", ["pgd_accuracy_train", "pgd_accuracy_test"])
def test_an_accuracy_as_the_target_is_one_proportion(target: str) -> None:
    table = grid()
    found = analyze(table, target=target, measures=["signal"], **QUICK)
    p = table[target]
    assert found.gap_error["median_standard_error"] == pytest.approx(np.median(np.sqrt(p * (1 - p) / 1000)))


@pytest.mark.parametrize(
    ("target", "change"),
    [
        ("gap", {"gap": lambda t: t["robust_gap_pgd"]}),
        ("robust_gap", {"robust_gap": lambda t: t["robust_gap_pgd"]}),
        ("robust_gap_pgd", {"n_test": np.nan}),
        ("autoattack_accuracy_test", {"autoattack_accuracy_test": lambda t: t["pgd_accuracy_test"]}),
    ],
)
def test_a_target_of_unknown_origin_has_no_error(target: str, change: dict) -> None:
    found = analyze(grid().assign(**change), target=target, measures=["signal"], **QUICK)
    assert not found.gap_error["known"]


def test_impossible_accuracies_and_counts_leave_the_error_unknown_for_their_model_alone() -> None:
    table = grid()
    table.loc[[0, 1], "pgd_accuracy_test"] = [1.5, -0.1]
    table.loc[2, "n_test"] = 0
    found = analyze(table, measures=["signal"], **QUICK)
    assert found.gap_error["n_models"] == 45
    assert any("3 models has no known sampling error" in note for note in found.notes)


def test_redrawn_targets_have_the_mean_and_error_of_the_binomial() -> None:
    p, q, n = np.array([0.9, 0.5]), np.array([0.6, 0.5]), np.array([64.0, 400.0])
    error = TargetError((Proportion(p, n, 1), Proportion(q, n, -1)))
    drawn = error.redrawn(20_000, 1)
    assert drawn.shape == (20_000, 2)
    # 5 standard errors of a mean of 20,000 draws; the deviation is known to 0.5 %.
    assert drawn.mean(axis=0) == pytest.approx(p - q, abs=5 * error.standard_error.max() / np.sqrt(20_000))
    assert drawn.std(axis=0) == pytest.approx(error.standard_error, rel=0.03)
    assert error.inverse_n == pytest.approx(2 / n)
    np.testing.assert_array_equal(drawn, error.redrawn(20_000, 1))
    assert not np.array_equal(drawn, error.redrawn(20_000, 2))


def test_pairs_that_differ_by_less_than_two_errors_are_counted() -> None:
    p = np.full(4, 0.5)
    error = TargetError((Proportion(p, np.full(4, 100.0), 1),))  # standard error 0.05, of a difference 0.0707
    found = gap_error(error, np.array([0.0, 0.1, 0.2, np.nan]))
    assert (found["n_pairs"], found["n_indistinct"]) == (6, 2)
    assert found["share_indistinct"] == pytest.approx(2 / 6)
    assert gap_error(None, p) == {
        "known": False,
        "reason": "the table has no accuracies and numbers of images for this target",
    }


def test_a_single_model_has_no_pairs_to_tell_apart() -> None:
    found = gap_error(TargetError((Proportion(np.array([0.5]), np.array([100.0]), 1),)), np.array([0.1]))
    assert (found["n_pairs"], found["share_indistinct"], found["median_standard_error"]) == (0, None, 0.05)


def test_measuring_again_moves_tau_less_where_more_images_are_seen() -> None:
    def width(n: int) -> float:
        table = grid().assign(n_train=n, n_test=n)
        rows = analyze(table, measures=["signal"], **QUICK).supplement
        row = rows[rows["statistic"] == "tau_b_gap_noise"].iloc[0]
        return float(row["ci_high"] - row["ci_low"])

    assert width(100_000) < width(1000) / 3 < width(50) / 3


def test_one_model_without_error_leaves_the_noise_of_all_unknown_with_the_reason() -> None:
    table = grid()
    table.loc[0, "n_train"] = np.nan
    found = analyze(table.assign(flat=1.0), measures=["signal", "flat"], **QUICK)
    rows = found.supplement[
        found.supplement["statistic"].str.startswith("tau_b_gap") & (found.supplement["axis"] == "")
    ]
    assert rows["estimate"].isna().all()
    reasons = found.undefined.set_index(["measure", "statistic"])["reason"].groupby(level=[0, 1]).first()
    assert reasons["signal", "tau_b_gap_noise"] == "some models lack accuracies or numbers of images"
    assert reasons["flat", "tau_b_total_error"] == "the measure is constant"


def test_the_range_of_tau_under_noise_holds_what_redraws_by_hand_give() -> None:
    table = grid(strength=3.0)
    found = analyze(table, measures=["signal"], bootstrap=20, permutations=19)
    row = found.supplement[found.supplement["statistic"] == "tau_b_gap_noise"].iloc[0]
    rng = np.random.default_rng(5)
    counts = [rng.binomial(1000, table[f"pgd_accuracy_{s}"], (400, 48)) / 1000 for s in ("train", "test")]
    taus = [pd.Series(table["signal"]).corr(pd.Series(g), method="kendall") for g in counts[0] - counts[1]]
    # 200 against 400 draws of a deviation of about 0.03: their means agree to 4 standard errors.
    assert row["estimate"] == pytest.approx(np.mean(taus), abs=4 * np.std(taus) * np.sqrt(1 / 200 + 1 / 400))
    assert (row["ci_low"], row["ci_high"]) == pytest.approx(tuple(np.quantile(taus, [0.025, 0.975])), abs=0.02)

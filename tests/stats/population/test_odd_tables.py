"""Tables that were judged wrongly, or not at all, without a word."""

import re

import numpy as np
import pytest

from measurebench.core.errors import BadInputError
from measurebench.core.threat import radius_text
from measurebench.stats import analyze
from tests.stats.tables import grid

QUICK = {"bootstrap": 20, "permutations": 19}


@pytest.mark.parametrize("scale", [1e-320, 1e200])
def test_a_target_that_cannot_be_squared_is_refused(scale: float) -> None:
    table = grid()
    with pytest.raises(BadInputError, match="values from 1e-100 to"):
        analyze(table.assign(robust_gap_pgd=table["robust_gap_pgd"] * scale), **QUICK)


@pytest.mark.parametrize("scale", [1e-320, 1e299])
def test_a_measure_of_any_size_is_judged_as_the_same_in_other_units(scale: float) -> None:
    table = grid()
    rank = table["signal"].rank(method="first")
    found = [analyze(grid().assign(m=rank * k), measures=["m"], **QUICK).select("tau_b") for k in (1, scale / 48)]
    assert found[0]["estimate"].iloc[0] == pytest.approx(found[1]["estimate"].iloc[0], abs=0.02)


def test_a_measure_near_the_end_of_the_range_counts_as_infinite() -> None:
    table = grid()
    table["huge"] = np.where(table["noise"] > 0, 1.7e308, -1.7e308)
    table.loc[:9, "huge"] = table.loc[:9, "noise"]
    analysis = analyze(table, measures=["huge"], **QUICK)
    assert any("huge has no value for 38 of 48 models" in note for note in analysis.notes)


def test_accuracies_in_percent_are_told_and_give_the_numbers_of_fractions() -> None:
    table = grid()
    percent = table.copy()
    for name in ("pgd_accuracy_train", "pgd_accuracy_test", "robust_gap_pgd"):
        percent[name] = percent[name] * 100
    a, b = (analyze(t, measures=["signal"], **QUICK) for t in (table, percent))
    assert a.gap_error["median_standard_error"] == pytest.approx(b.gap_error["median_standard_error"])
    np.testing.assert_allclose(
        a.regressions["slope"].to_numpy(float), b.regressions["slope"].to_numpy(float), rtol=1e-9
    )
    assert any("were taken for percent" in note for note in b.notes)
    assert not any("percent" in note for note in a.notes)


def test_a_column_that_is_nearly_numbers_is_told() -> None:
    table = grid()
    table["european"] = table["noise"].map(lambda v: f"{v:.4f}".replace(".", ","))
    table["marked"] = table["noise"].astype(str).where(table.index != 3, "n/a?")
    table["remark"] = "kept"
    notes = " ".join(analyze(table, **QUICK).notes)
    assert "Column european was not judged: 48 of 48 entries are no numbers" in notes
    assert "write decimals with a point" in notes
    assert "Column marked was not judged: 1 of 48 entries are no numbers, such as 'n/a?'" in notes
    assert "remark" not in notes


def test_a_target_that_is_missing_is_called_so() -> None:
    table = grid()
    table.loc[3, "robust_gap_pgd"] = np.nan
    assert [step.name for step in analyze(table, **QUICK).filters if step.left_out] == ["no target"]


@pytest.mark.parametrize(("column", "values"), [("radius", (2 / 255, 8 / 255)), ("norm", ("Linf", "L2"))])
def test_threat_models_are_never_pooled_silently(column: str, values: tuple) -> None:
    table = grid()
    table[column] = np.where(np.arange(48) % 2 == 0, *values) if column == "norm" else np.resize(values, 48)
    with pytest.raises(BadInputError, match=f"models of one {column}.*for 24 models"):
        analyze(table, **QUICK)
    kept = analyze(table, where=f"{column} == {values[0]!r}", **QUICK)
    assert kept.n_models == 24
    apart = analyze(table, settings=["setting_batch_size", column], measures=["signal"], **QUICK)
    assert len(apart.select("tau_within", column)) == 2


@pytest.mark.parametrize(
    ("value", "text"), [(8 / 255, "8/255"), (0.0314, "0.0314"), (1.5 / 255, "1.5/255"), (0.5, "0.5"), ("a", "a")]
)
def test_a_radius_is_written_as_a_fraction(value: object, text: str) -> None:
    assert radius_text(value) == text


@pytest.mark.parametrize(("size", "told"), [(1e308, "1e+308"), (np.inf, "inf"), (1e-320, "9.99989e-321")])
def test_a_target_that_cannot_be_squared_is_named_with_the_sizes_that_can(size: float, told: str) -> None:
    table = grid()
    table["robust_gap_pgd"] = size
    expected = r"target 'robust_gap_pgd': expected values from 1e-100 to 1e\+100 in size, or zero, got "
    with pytest.raises(BadInputError, match=expected + re.escape(told)):
        analyze(table, measures=["signal"], **QUICK)

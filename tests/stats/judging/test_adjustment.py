import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from measurebench.stats.analyze import adjusted_supplement
from measurebench.stats.judging.adjustment import adjusted, benjamini_hochberg, holm, realised_levels
from tests.stats.judging.handmade import NAN, inside, row, total

P_VALUES = st.lists(st.integers(0, 1000).map(lambda k: k / 1000), min_size=1, max_size=40)


@pytest.mark.parametrize("n", [1, 2, 7, 40, 200])
def test_both_corrections_equal_statsmodels_with_ties_and_large_values(n: int) -> None:
    p = np.random.default_rng(n).integers(0, 30, n) / 30
    assert np.array_equal(holm(p), multipletests(p, method="holm")[1])
    assert np.array_equal(benjamini_hochberg(p), multipletests(p, method="fdr_bh")[1])


@settings(max_examples=60, deadline=None)
@given(P_VALUES)
def test_corrections_keep_the_order_and_lower_nothing(p_values: list[float]) -> None:
    p = np.array(p_values)
    order = np.argsort(p, kind="stable")
    for corrected in (holm(p), benjamini_hochberg(p)):
        assert (corrected >= p - 1e-12).all()
        assert (corrected <= 1).all()
        assert (np.diff(corrected[order]) >= -1e-12).all()
    assert (benjamini_hochberg(p) <= holm(p) + 1e-12).all()


def test_each_family_is_corrected_by_itself() -> None:
    rows = [total(m, 0.5, p=p) for m, p in (("a", 0.01), ("b", 0.04))]
    rows += [row(m, "tau_a", 0.5, p=p) for m, p in (("a", 0.02), ("b", 0.03))]
    rows += [inside("a", "AT", 0.5, p=0.01), row("a", "tau_a", 0.5, axis="defense", level="AT", p=0.03)]
    rows += [row("a", "psi_mean", 0.5, p=NAN), row("a", "foreign", 0.5, p=0.04), row("b", "foreign", 0.5, p=0.04)]
    found = adjusted(pd.DataFrame(rows).assign(p_adjusted=NAN), "defense")["p_adjusted"].tolist()
    assert found[:4] == pytest.approx([0.02, 0.04, 0.04, 0.04])  # Holm of two and two
    assert found[4:6] == pytest.approx([0.01, 0.03])  # tau inside AT, and tau_a, by themselves
    assert np.isnan(found[6])
    assert found[7:] == pytest.approx([0.04, 0.04])


def test_a_table_without_p_values_stays_without() -> None:
    found = adjusted(pd.DataFrame([total("a", 0.5, p=NAN)]))
    assert found["p_adjusted"].isna().all()


def test_the_supplement_is_corrected_within_statistic_target_and_axis() -> None:
    rows = [row("a", "tau_b", 0.5, axis=axis, p=p) for axis, p in (("x", 0.01), ("x", 0.04), ("y", 0.04))]
    rows.append(row("a", "tau_b", 0.5, axis="x", p=NAN))
    found = adjusted_supplement(pd.DataFrame(rows).assign(p_adjusted=NAN))["p_adjusted"].tolist()
    assert found[:3] == pytest.approx([0.02, 0.04, 0.04])
    assert np.isnan(found[3])


def test_the_realised_level_is_the_one_at_which_one_more_test_is_shown() -> None:
    # Three of five measures are shown; of five tests inside A four, and two inside B.
    whole = [total(f"m{k}", 0.5, p=p) for k, p in enumerate((0.001, 0.002, 0.003, 0.4, 0.6))]
    within = [inside(f"m{k}", "A", 0.5, p=p) for k, p in enumerate([0.0001] * 3 + [0.02, 0.5])]
    within += [inside(f"m{k}", "B", 0.5, p=p) for k, p in enumerate([0.0001] * 2 + [0.5] * 3)]
    levels = realised_levels(adjusted(pd.DataFrame([*whole, *within]), "defense"), "defense")
    assert levels.overall == pytest.approx(0.05 / 2)
    assert levels.inside == pytest.approx({"A": 0.05, "B": 0.05 * 3 / 5})
    assert levels.alone == pytest.approx({"A": 0.001 * 4 / 5, "B": 0.001 * 3 / 5})
    # One more measure, one more association inside a defense: just below the level they are shown, above they are not.
    for level, column, place in ((levels.overall, whole, 3), (levels.inside["B"], within, 7)):
        for p, shown in ((level * 0.99, True), (level * 1.01, False)):
            rows = [dict(row) for row in column]
            rows[place] |= {"p_value": p}
            assert (adjusted(pd.DataFrame(rows), "defense").loc[place, "p_adjusted"] <= 0.05) == shown


def test_what_other_defenses_show_carries_nothing_inside_a_defense() -> None:
    """Of 18 tests inside one defense p = 0.03 is not shown, however much is shown inside three others."""
    rows = [inside(f"m{k}", d, 0.5, p=1e-9) for k in range(18) for d in ("AT", "MART", "TRADES")]
    rows += [inside("m0", "Standard", 0.5, p=0.03), *(inside(f"m{k}", "Standard", 0.1, p=0.5) for k in range(1, 18))]
    assert adjusted(pd.DataFrame(rows), "defense").loc[54, "p_adjusted"] == pytest.approx(0.5)
    assert adjusted(pd.DataFrame(rows)).loc[54, "p_adjusted"] < 0.05  # all in one family


def test_without_p_values_the_levels_are_those_of_single_tests() -> None:
    rows = pd.DataFrame([total("m", 0.5, p=NAN), inside("m", "A", 0.5, p=NAN)])
    levels = realised_levels(adjusted(rows, "defense"), "defense")
    assert (levels.overall, levels.inside, levels.alone) == (0.05, {}, {})

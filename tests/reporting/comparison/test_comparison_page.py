import math

import pytest
from scipy.stats import norm

from measurebench.core.errors import BadInputError
from measurebench.reporting.comparison.comparison_page import change, comparison, comparison_page, comparison_sentence
from measurebench.reporting.subject.study import Study
from measurebench.stats import analyze
from measurebench.stats.judging.differences import difference_interval
from tests.reporting.study.test_study_page import data_of
from tests.reporting.synthetic import study_table


def row(estimate: float, low: float, high: float, p: float = 0.001) -> dict:
    return {"estimate": estimate, "ci_low": low, "ci_high": high, "p_adjusted": p}


@pytest.mark.parametrize(
    ("a", "b", "code"),
    [
        (row(0.5, 0.3, 0.7), row(-0.5, -0.7, -0.3), "turned"),
        (row(0.1, -0.1, 0.3), row(0.5, 0.3, 0.7), "gained"),
        (row(0.5, 0.3, 0.7), row(0.5, 0.3, 0.7, p=0.4), "lost"),
        (row(0.2, 0.1, 0.3), row(0.6, 0.5, 0.7), "apart"),
        (row(0.5, 0.3, 0.7), row(0.6, 0.4, 0.8), "same"),
        (row(0.1, -0.2, 0.4), row(-0.1, -0.4, 0.2), "neither"),
        (row(0.5, 0.3, 0.7), {}, "one side"),
    ],
)
def test_a_conclusion_changes_only_with_certainty(a: dict, b: dict, code: str) -> None:
    assert change(a, b) == code


def test_the_interval_of_a_difference_is_that_of_normal_estimates_where_both_are_even() -> None:
    """Errors of 0.3 and 0.4 make one of 0.5: the difference of 0.25 is half a standard error, p = 0.617."""
    z = 1.959963984540054
    a, b = row(0.1, 0.1 - 0.3 * z, 0.1 + 0.3 * z), row(0.35, 0.35 - 0.4 * z, 0.35 + 0.4 * z)
    low, high, p = difference_interval(a, b)
    assert (low, high) == pytest.approx((0.25 - 0.5 * z, 0.25 + 0.5 * z))
    assert p == pytest.approx(2 * norm.sf(0.5), abs=1e-12)


def test_a_lopsided_interval_is_judged_by_its_side_towards_zero() -> None:
    low, high, p = difference_interval(row(0.0, -0.3, 0.4), row(0.8, 0.5, 0.9))
    assert low == pytest.approx(0.8 - 0.5)
    assert high == pytest.approx(0.8 + (0.1**2 + 0.3**2) ** 0.5)
    assert p < 0.05
    assert math.isnan(difference_interval(row(0.1, 0.0, 0.2), {})[2])
    assert math.isnan(difference_interval(row(0.1, 0.0, 0.2), {"estimate": 0.3, "ci_low": None, "ci_high": None})[0])


def test_shown_in_one_study_only_is_no_difference(study: Study) -> None:
    assert difference_interval(row(0.3, 0.25, 0.35), row(0.2, -0.1, 0.5))[2] > 0.5
    assert not comparison(study, study)["differs"].any()


def test_a_study_compared_with_itself_has_not_changed(study: Study) -> None:
    table = comparison(study, study)
    assert set(table["change"]) == {"same", "neither"}
    assert table["agreement"].min() == pytest.approx(1.0)
    assert set(table["shared"]) == {36}


def test_a_measure_turned_round_is_found_and_the_page_says_so(study: Study) -> None:
    table = study.table.drop(columns=["_i", "_target", "_defense"])
    other = table.assign(x_grad_norm_pgd=-table["x_grad_norm_pgd"])
    again = Study.of("turned", other, analyze(other, bootstrap=60, permutations=199))
    found = comparison(study, again).set_index("measure")
    assert found.loc["x_grad_norm_pgd", "change"] == "turned"
    assert found.loc["x_grad_norm_pgd", "agreement"] == pytest.approx(-1.0)
    page = comparison_page(study, again)
    assert "1 of 6 associations differs by more than chance" in page
    assert data_of(page)["datasets"]["models"]["n"] == len(found)


def test_tables_without_a_common_measure_are_refused(study: Study) -> None:
    table = study_table(12).rename(
        columns=lambda name: (
            f"other_{name}" if name.endswith("_pgd") and "acc" not in name and "gap" not in name else name
        )
    )
    kept = [name for name in table.columns if name not in study.ranked]
    other = Study.of("other", table[kept], analyze(table[kept], bootstrap=20, permutations=19))
    with pytest.raises(BadInputError, match="at least one measure in common"):
        comparison(study, other)


def test_what_too_few_models_cannot_judge_is_told(study: Study) -> None:
    table = study_table(3)
    table = table[[name for name in table.columns if name in study.table.columns]]
    few = Study.of("few", table, analyze(table, bootstrap=20, permutations=19))
    found = comparison(study, few)
    assert found["difference_p"].isna().all()
    assert "cannot be judged, since too few models give no interval" in comparison_sentence(found)

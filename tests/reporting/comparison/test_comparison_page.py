import pytest

from measurebench.core.errors import BadInputError
from measurebench.reporting.comparison.comparison_page import change, comparison, comparison_page
from measurebench.reporting.subject.study import Study
from measurebench.stats import analyze
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
        (row(0.1, -0.2, 0.4), row(-0.1, -0.4, 0.2), "same"),
        (row(0.5, 0.3, 0.7), {}, "one side"),
    ],
)
def test_a_conclusion_changes_only_with_certainty(a: dict, b: dict, code: str) -> None:
    assert change(a, b) == code


def test_a_study_compared_with_itself_has_not_changed(study: Study) -> None:
    table = comparison(study, study)
    assert set(table["change"]) == {"same"}
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
    assert "1 conclusion of" in page
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

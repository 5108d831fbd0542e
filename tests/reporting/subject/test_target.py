"""Words, scale and axes fit what is predicted, a gap or anything else."""

from typing import Any

import pandas as pd
import pytest

from measurebench.reporting.charts import gap, scatter
from measurebench.reporting.study.finding import finding
from measurebench.reporting.study.study_page import sections, study_page
from measurebench.reporting.subject.study import Study
from measurebench.reporting.subject.target import Target, value_format
from measurebench.stats import analyze
from tests.reporting.study.test_study_page import data_of
from tests.reporting.synthetic import study_table

QUICK: dict[str, Any] = {"bootstrap": 20, "permutations": 19, "measures": ["x_grad_norm_pgd", "local_lip"]}


def study_of(table: pd.DataFrame, target: str = "robust_gap_pgd") -> Study:
    return Study.of("x", table, analyze(table, target=target, **QUICK))


@pytest.fixture(scope="module")
def errors() -> Study:
    table = study_table(24).drop(columns=["robust_gap_pgd"])
    return study_of(table.assign(err=[4.344 + 80 * i / 23 for i in range(24)]), "err")


def statements(study: Study) -> str:
    found = finding(study)
    told = [found.sentence, found.lead, *(f"{n.label} {n.value} {n.detail}" for n in found.numbers)]
    for section in sections(study):
        told += [section.title, section.intro]
        told += [f"{figure.title} {figure.summary} {figure.reading}" for figure in section.figures]
    return "\n".join([*told, *(scatter.sentence(study, name) for name in study.ranked)])


def test_a_target_that_is_no_gap_is_called_by_its_name_and_not_scaled(errors: Study) -> None:
    assert "from 4.344 to 84.34 over 24 models" in finding(errors).lead
    assert "err" in finding(errors).sentence
    told = statements(errors)
    assert "434" not in told
    assert "percentage points" not in told
    assert "gap" not in told.replace("robust generalization gap", "")


def test_the_widest_gap_is_told_of_a_gap_only() -> None:
    told = gap.figure(study_of(study_table(24), "pgd_accuracy_test"))
    assert "gap" not in told.title
    assert "PGD test accuracy is highest under" in told.title
    assert "%" in told.title
    assert "The gap is widest under" in gap.figure(study_of(study_table(24))).title


@pytest.mark.parametrize(
    ("column", "short", "unit", "shown"),
    [
        ("robust_gap_pgd", "gap", "percentage points", "12.3"),
        ("autoattack_accuracy_test", "AutoAttack test accuracy", "percent", "12.3\u00a0%"),
        ("err", "err", "", "0.1234"),
    ],
)
def test_words_unit_and_scale_come_from_the_target(column: str, short: str, unit: str, shown: str) -> None:
    target = Target(column)
    assert (target.short, target.unit, target.text(0.1234)) == (short, unit, shown)


def test_axes_and_tables_show_a_plain_target_as_it_is(errors: Study) -> None:
    for figure in (gap.figure(errors), scatter.figure(errors, "local_lip")):
        assert "* 100" not in str(figure.spec)
        assert "percent" not in str(figure.spec)
        assert {c.format for c in figure.columns if c.key == "_target"} == {"number"}


@pytest.mark.parametrize("train", [[None] * 24, [float("nan")] * 24])
def test_train_accuracy_that_was_not_measured_is_not_spoken_of(train: list[Any]) -> None:
    study = study_of(study_table(24).assign(pgd_accuracy_train=train))
    assert study.accuracies is None
    assert "more robust on training" not in statements(study)
    assert "accuracy" not in data_of(study_page(study))["figures"]


def test_accuracies_are_compared_where_both_were_measured() -> None:
    table = study_table(24)
    table.loc[:3, "pgd_accuracy_train"] = float("nan")
    figure = next(f for section in sections(study_of(table)) for f in section.figures if f.id == "accuracy")
    assert "of 20 models" in figure.title


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        ("robust_gap_pgd", "points"),
        ("robust_gap_square", "points"),
        ("square_accuracy_test", "percent"),
        ("n_square", "integer"),
        ("n_parameters", "integer"),
        ("path_norm", "number"),
        ("setting_steps", "number"),
    ],
)
def test_a_column_of_numbers_is_shown_as_what_it_holds(column: str, expected: str) -> None:
    assert value_format(column) == expected


def test_a_gap_has_short_words_and_another_target_its_name() -> None:
    gap_of, other = Target("robust_gap_square"), Target("square_accuracy_test")
    assert (gap_of.is_gap, other.is_gap) == (True, False)
    assert (gap_of.the, gap_of.subject, gap_of.many) == ("the gap", "The gap", "gaps")
    assert (other.the, other.subject, other.many) == ("square test accuracy",) * 2 + ("values of square test accuracy",)
    assert (gap_of.long, gap_of.name) == ("robust generalization gap", "robust generalization gap (square)")
    assert gap_of.axis_title == "robust generalization gap (square) (percentage points)"
    assert other.axis_title == "square test accuracy (percent)"
    assert Target("err").axis_title == "err"


def test_a_span_names_its_unit_once() -> None:
    assert Target("robust_gap_pgd").span(0.01, 0.2) == "from 1.0 to 20.0 percentage points"
    assert Target("pgd_accuracy_test").span(0.01, 0.2) == "from 1.0\u00a0% to 20.0\u00a0%"
    assert Target("err").span(1, 2) == "from 1 to 2"
    assert Target("robust_gap_pgd").told(0.2) == "20.0 points"
    assert Target("err").told(0.25) == "0.25"


def test_ticks_and_tooltips_fit_the_scale() -> None:
    assert Target("robust_gap_pgd").tooltip == Target("pgd_accuracy_test").tooltip == ".1%"
    assert Target("err").tooltip == ".4~g"
    assert Target("robust_gap_pgd").axis_label == Target("pgd_accuracy_test").axis_label != Target("err").axis_label

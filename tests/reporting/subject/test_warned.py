"""Warnings of attacks: whose they are, which columns they are about, and where a page shows them."""

import json
import re
from typing import Any

import pandas as pd
import pytest

from measurebench.core.columns import describe
from measurebench.reporting.charts import accuracies, gap
from measurebench.reporting.html.theme import LIGHT
from measurebench.reporting.study.model_table import table_columns
from measurebench.reporting.study.study_page import study_page
from measurebench.reporting.subject.study import Study
from measurebench.reporting.subject.warned import warning_columns, warning_sentence, warnings_in
from measurebench.stats import analyze
from tests.reporting.charts.drawn import drawn
from tests.reporting.synthetic import study_table

HOSTILE = 'Square is better <script>alert(1)</script> & "more"'


def flagged_table() -> pd.DataFrame:
    table = study_table(24, 3)
    table["autoattack_accuracy_test"] = table["pgd_accuracy_test"] - 0.01
    table["autoattack_flags"] = [HOSTILE, *[None] * 22, "the outputs change"]
    table["pgd_flags"] = ["", "", "the output is NaN for 3 of 40 images", *[float("nan")] * 21]
    return table


def study_of(table: pd.DataFrame, **options: Any) -> Study:
    return Study.of("flagged", table, analyze(table, bootstrap=20, permutations=19, **options))


@pytest.fixture(scope="module")
def flagged() -> Study:
    return study_of(flagged_table())


def test_every_warning_is_found_with_its_model_and_attack(flagged: Study) -> None:
    ids = flagged.table["model_id"]
    found = [(each.model, each.attack, each.text) for each in warnings_in(flagged.table)]
    assert found == [
        (ids[0], "AutoAttack", HOSTILE),
        (ids[23], "AutoAttack", "the outputs change"),
        (ids[2], "PGD", "the output is NaN for 3 of 40 images"),
    ]
    assert warning_sentence(warnings_in(flagged.table), 24).startswith("AutoAttack and PGD warn about 3 of 24 models:")
    assert warning_sentence([], 24) == ""


def test_warnings_are_about_the_accuracies_and_the_gap_of_their_attack(flagged: Study) -> None:
    assert warning_columns(flagged.table) == {
        "autoattack_accuracy_test": "autoattack_flags",
        "pgd_accuracy_train": "pgd_flags",
        "pgd_accuracy_test": "pgd_flags",
        "robust_gap_pgd": "pgd_flags",
    }
    columns = {column["key"]: column for column in table_columns(flagged)}
    assert columns["pgd_accuracy_test"]["warning"] == "pgd_flags"
    assert columns["pgd_flags"]["shown"]
    assert not columns["autoattack_flags"]["shown"]  # its accuracy is not shown at first either
    assert "warning" not in columns["clean_accuracy_test"]


def test_a_column_of_warnings_is_one_only_where_the_attack_is_known() -> None:
    assert describe("square_flags").role == "measure"
    assert describe("square_flags", ["square_accuracy_test"]).role == "status"
    assert describe("square_flags", ["square_accuracy_test"]).label == "square's warnings"
    assert describe("autoattack_flags").label == "AutoAttack's warnings"


def test_the_page_says_them_at_its_head_lists_them_and_escapes_them(flagged: Study) -> None:
    page = study_page(flagged)
    html = re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    assert "AutoAttack and PGD warn about 3 of 24 models" in html
    assert 'href="#warnings"' in html
    section = html[html.index('id="warnings"') :]
    assert section.index("Square is better &lt;script&gt;alert(1)&lt;/script&gt; &amp; &#34;more&#34;") > 0
    assert section.index("the output is NaN for 3 of 40 images") > 0
    assert "<script>alert(1)" not in page
    data = json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)[1])  # type: ignore[index]
    assert data["datasets"]["models"]["columns"]["autoattack_flags"]


def test_a_page_without_warnings_does_not_mention_any() -> None:
    page = study_page(study_of(study_table(24, 3)))
    html = re.sub(r"<script.*?</script>|<style.*?</style>", "", page, flags=re.DOTALL)
    assert "arning" not in html
    empty = flagged_table().assign(autoattack_flags=None, pgd_flags=float("nan"))
    assert warnings_in(empty) == []
    assert study_of(empty).n_warned == 0


@pytest.mark.parametrize("chart", [accuracies, gap])
def test_charts_ring_the_models_that_the_attack_of_the_target_warns_about(flagged: Study, chart: Any) -> None:
    figure = chart.figure(flagged)
    symbols = drawn(figure).of("symbol")
    rings = [mark for mark in symbols if mark.items and mark.items[0].get("stroke") == LIGHT["bad"]]
    assert [len(mark.items) for mark in rings] == [1]
    assert "1 ringed model has a warning of the attack (see Warnings)." in figure.reading
    assert "_warning" in {column.key for column in figure.columns}
    plain = chart.figure(study_of(study_table(24, 3)))
    assert "ringed" not in plain.reading
    assert "_warning" not in json.dumps(plain.spec)

from dataclasses import replace

import pytest
from markupsafe import Markup

from measurebench.core.infos import measure_infos
from measurebench.core.mathematics import SYMBOLS, mathml, mathml_parts
from measurebench.reporting.study.methods import glossary, symbols
from measurebench.reporting.study.study_page import study_page
from measurebench.reporting.subject.study import Study

HOSTILE = [
    "</math><script>alert(1)</script>",
    r"\text{</math><script>alert(1)</script>}",
    r"\text{&lt;script&gt;alert(1)&lt;/script&gt;}",
    r"\frac{1}{<script>alert(1)</script>",
]


def with_info(study: Study, name: str, **changes: str) -> Study:
    return replace(study, infos={**study.infos, name: replace(study.infos[name], **changes)})


def formula_of(study: Study, name: str) -> str:
    return next(row["formula"] for row in glossary(study) if row["id"] == name)


def test_a_formula_is_set_as_mathematics(study: Study) -> None:
    changed = with_info(study, "path_norm", latex=r"\frac{1}{n},\quad n = 2")
    found = formula_of(changed, "path_norm")
    assert isinstance(found, Markup)
    assert found == Markup(mathml(r"\frac{1}{n},") + " " + mathml("n = 2"))
    assert str(found) in study_page(changed)


@pytest.mark.parametrize("latex", ["", r"\frac{1}{", r"\notacommand", r"\href{https://example.org}{x}"])
def test_what_cannot_be_set_is_shown_as_escaped_text(study: Study, latex: str) -> None:
    changed = with_info(study, "path_norm", latex=latex, formula="1 < n & <b>n</b>")
    assert not isinstance(formula_of(changed, "path_norm"), Markup)
    assert ">1 &lt; n &amp; &lt;b&gt;n&lt;/b&gt;</td>" in study_page(changed)


@pytest.mark.parametrize("latex", HOSTILE)
def test_a_hostile_formula_adds_no_element_to_the_page(study: Study, page: str, latex: str) -> None:
    text = study_page(with_info(study, "path_norm", latex=latex, formula=latex))
    for tag in ("<script", "</script>"):
        assert text.count(tag) == page.count(tag)
    body = text[text.index("<body") : text.index('<script type="application/json"')]
    assert "alert(1)" not in body or "&lt;script&gt;alert(1)" in body


def test_the_symbols_of_the_formulas_are_explained(page: str) -> None:
    assert [str(symbol) for symbol, _ in symbols()] == [mathml(latex) for latex, _ in SYMBOLS]
    for symbol, meaning in symbols():
        assert f"{symbol} is {meaning}".replace("'", "&#39;") in page


def test_formulas_of_all_measures_add_little_to_a_page() -> None:
    total = sum(len(part) for info in measure_infos().values() for part in mathml_parts(info.latex))
    assert total < 150_000  # bytes, of about a megabyte


def test_no_formula_of_a_known_measure_is_left_as_text(study: Study) -> None:
    rows = glossary(replace(study, infos=measure_infos()))
    assert len(rows) == len(study.analysis.measures)
    assert all(row["formula"].startswith("<math>") for row in rows)

"""No name from a file breaks a chart: all of them draw, and none meets an expression as it is."""

import ast
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import vl_convert

from measurebench.reporting.figures.figure_files import standalone
from measurebench.reporting.html.bundle import VEGA_LITE
from measurebench.reporting.study.report import static_figures
from measurebench.reporting.study.study_page import study_page
from measurebench.reporting.subject.drawable import drawable
from measurebench.reporting.subject.study import load_study

REPORTING = Path(__file__).parents[3] / "measurebench" / "reporting"
NAMES = {
    "line separator": "a\u2028b\u2029c",
    "line break": "spec\nnorm\r\x85",
    "null": "a\x00b",
    "backslash and quote": 'say \\"x\\" it\'s',
    "escape and direction": "\x1b[2J\u202eb\ufffe",
    "markup": "</script><!-- ${a} `b` {{c}} lr.max[0]",
}


def table(name: str) -> pd.DataFrame:
    n, generator = 16, np.random.default_rng(0)
    train, test = 0.5 + 0.2 * generator.random(n), 0.3 + 0.2 * generator.random(n)
    return pd.DataFrame(
        {
            "model_id": [f"m{i}{name}" for i in range(n)],
            "defense": [("AT", f"TR{name}")[i % 2] for i in range(n)],
            f"setting_{name}": [(f"x{name}", "y")[(i // 2) % 2] for i in range(n)],
            name: generator.random(n),
            "m2": generator.random(n),
            "clean_accuracy_train": generator.random(n),
            "clean_accuracy_test": generator.random(n),
            "pgd_accuracy_train": train,
            "pgd_accuracy_test": test,
            "n_train": 1000,
            "n_test": 1000,
            "robust_gap_pgd": train - test,
        }
    )


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_every_chart_draws_whatever_measures_settings_levels_and_models_are_called(name: str) -> None:
    study = load_study(table(name), options={"bootstrap": 20})
    figures = static_figures(study)
    assert len(figures) >= 9
    for figure in figures:
        drawn = vl_convert.vegalite_to_svg(standalone(figure), vl_version=VEGA_LITE)
        assert drawn.startswith("<svg")


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_the_page_comes_out_whole(name: str) -> None:
    page = study_page(load_study(table(name), name=name, options={"bootstrap": 20}))
    page.encode()
    assert "\x00" not in page
    assert "\u2028" not in page


def test_a_usual_table_is_left_as_it_is() -> None:
    plain = table("größe")
    pd.testing.assert_frame_equal(drawable(plain), plain)


def test_texts_of_any_nesting_are_changed_and_numbers_are_not() -> None:
    found = drawable({"a\n": [("b\x00", 1), None, 2.5], "c": {"d\\": True}})
    assert json.dumps(found, ensure_ascii=False) == '{"a\u2424": [["b\u2400", 1], null, 2.5], "c": {"d\uff3c": true}}'
    changed = drawable(pd.DataFrame({"x\n": ["a\n", None], "y": [1.0, None]}))
    assert list(changed.columns) == ["x\u2424", "y"]
    assert changed["x\u2424"].dropna().tolist() == ["a\u2424"]
    assert changed["y"].dropna().tolist() == [1.0]


def test_no_expression_of_a_chart_holds_more_than_constants_of_its_module() -> None:
    """Vega's expressions are the texts that name ``datum``; what goes into one must not come from a table."""
    found = []
    for path in [*(REPORTING / "charts").rglob("*.py"), *(REPORTING / "figures").glob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr) and "datum" in ast.unparse(node):
                parts = [ast.unparse(part.value) for part in node.values if isinstance(part, ast.FormattedValue)]
                found += [(path.name, part) for part in parts if not part.strip("_").split(" ")[0].isupper()]
    assert found == [("encoding.py", "name")]  # of columns that the leaderboard's charts name themselves

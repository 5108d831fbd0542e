"""Matrices of estimates as LaTeX tables."""

import pandas as pd

from measurebench.reporting.charts import accuracies, heatmap
from measurebench.reporting.figures.figure import Figure
from measurebench.reporting.figures.latex import latex_table
from measurebench.reporting.subject.study import Study


def test_a_matrix_is_a_table_with_what_is_shown_in_bold() -> None:
    rows = [
        {"title": "a_b", "group": "expected sign", "estimate": None, "sign": "+", "sure": False},
        {"title": "a_b", "group": "all models", "estimate": 0.514, "sign": "", "sure": True},
        {"title": "a_b", "group": "A&T", "estimate": -0.2, "sign": "", "sure": False},
        {"title": "c", "group": "all models", "estimate": float("nan"), "sign": "", "sure": False},
    ]
    figure = Figure("x", "50 % of\nall", "", {}, {"tau": pd.DataFrame(rows)}, "tau", ())
    assert latex_table(figure) == (
        "% 50 % of all\n\\begin{tabular}{lrr}\n\\toprule\nmeasure & all models & A\\&T \\\\\n\\midrule\n"
        "a\\_b & $\\mathbf{0.51}$ & $-0.20$ \\\\\nc & -- & -- \\\\\n\\bottomrule\n\\end{tabular}\n"
    )


def test_the_heat_map_has_a_row_for_each_measure_and_a_scatter_has_no_table(study: Study) -> None:
    text = latex_table(heatmap.figure(study))
    assert text
    assert text.count(" " + 2 * chr(92) + "\n") == 1 + len(study.ranked) + len(study.controls)
    chart = accuracies.figure(study)
    assert chart
    assert latex_table(chart) is None


def test_a_table_has_no_sign_that_latex_lacks() -> None:
    rows = [
        {
            "title": "spec\u2424norm (\u2113\u221e)",
            "group": "all models, \u03c4",
            "estimate": 0.5,
            "sign": "",
            "sure": True,
        },
        {"title": "a \u2212 b", "group": "mean \u03c8", "estimate": 0.5, "sign": "", "sure": False},
    ]
    text = latex_table(Figure("x", "plain", "", {}, {"tau": pd.DataFrame(rows)}, "tau", ()))
    assert text
    assert text.isascii()
    assert r"measure & all models, $\tau$ & mean $\psi$ \\" in text
    assert r"spec norm ($\ell$$\infty$)" in text

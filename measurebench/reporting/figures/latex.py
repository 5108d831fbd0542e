"""Writes matrices of estimates as LaTeX tables in the style of booktabs."""

from typing import Any

import pandas as pd

from measurebench.reporting.figures.figure import Figure

__all__ = ["latex_table"]

_NEEDED = frozenset({"title", "group", "estimate", "sign", "sure"})
_ESCAPED = str.maketrans(
    {c: f"\\{c}" for c in "&%$#_{}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
)


_MARKS = {
    "\u03c4": r"$\tau$",
    "\u03c8": r"$\psi$",
    "\u03c0": r"$\pi$",
    "\u2212": "--",
    "\u221e": r"$\infty$",
    "\u2113": r"$\ell$",
}


def latex_table(figure: Figure) -> str | None:
    """Return the matrix of a figure as a table: a row per measure, a column per group, shown estimates in bold.

    None for a figure that is no matrix. The table needs the package booktabs.
    """
    rows = figure.data[figure.dataset] if figure.dataset in figure.data else pd.DataFrame()
    if not set(rows.columns) >= _NEEDED:
        return None
    cells = rows[rows["sign"] == ""].to_dict("records")
    groups, titles = (list(dict.fromkeys(str(cell[key]) for cell in cells)) for key in ("group", "title"))
    found = {(str(cell["title"]), str(cell["group"])): _cell(cell) for cell in cells}
    lines = [_line([name, *(found.get((name, group), "--") for group in groups)], 1) for name in titles]
    return "\n".join(
        [
            f"% {' '.join(figure.title.split())}",
            rf"\begin{{tabular}}{{l{'r' * len(groups)}}}",
            r"\toprule",
            _line(["measure", *groups], len(groups) + 1),
            r"\midrule",
            *lines,
            r"\bottomrule",
            r"\end{tabular}",
            "",
        ]
    )


def _line(cells: list[str], n_texts: int) -> str:
    """Return a row; the first cells are texts of the table, whose signs LaTeX would take for its own."""
    texts = [_text(cell) for cell in cells[:n_texts]]
    return " & ".join([*texts, *cells[n_texts:]]) + r" \\"


def _text(text: str) -> str:
    r"""Return a text as LaTeX prints it, on any engine: the Greek letters of the statistics as formulas.

    Pictures of control signs, which stand for line ends in names, become spaces.

    >>> print(_text("all models, \u03c4"), _text("50 %"), _text("spec\u2424norm"))
    all models, $\tau$ 50 \% spec norm
    """
    plain = "".join(" " if "\u2400" <= sign <= "\u2426" else sign for sign in text)
    escaped = " ".join(plain.split()).translate(_ESCAPED)
    return "".join(_MARKS.get(sign, sign) for sign in escaped)


def _cell(cell: dict[Any, Any]) -> str:
    value = cell["estimate"]
    if value is None or value != value:
        return "--"
    return rf"$\mathbf{{{value:.2f}}}$" if cell["sure"] is True else f"${value:.2f}$"

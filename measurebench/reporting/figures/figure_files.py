"""Writes charts as files, at the width of a paper's text."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from measurebench.core.errors import BadInputError
from measurebench.core.file_sets import write_set
from measurebench.reporting.figures.figure import Figure
from measurebench.reporting.html.bundle import VEGA_LITE
from measurebench.reporting.html.embedding import columns as embedded
from measurebench.reporting.html.theme import resolved, vega_config

__all__ = ["FORMATS", "PNG_SCALE", "WIDTH", "check_formats", "file_name", "standalone", "wrapped", "write_figures"]

FORMATS = ("svg", "png", "pdf")
WIDTH = 620  # CSS pixels: 6.5 inches, the text width of a page
PNG_SCALE = 2.5  # about 240 dots per inch at that width


def check_formats(formats: Sequence[str]) -> tuple[str, ...]:
    """Return the formats, each once and in the given order. Raises BadInputError for an unknown one.

    >>> check_formats(["png", "svg", "png"])
    ('png', 'svg')
    """
    for name in formats:
        if name not in FORMATS:
            raise BadInputError("format", "svg, png or pdf", repr(name))
    return tuple(dict.fromkeys(formats))


def write_figures(figures: Iterable[Figure], folder: Path, formats: Sequence[str] = ("svg", "png")) -> list[Path]:
    """Write ``folder/ID.svg`` and so on for each figure and return the paths.

    Raises BadInputError for an unknown format and for a folder that cannot be written to.
    """
    chosen = check_formats(formats)
    try:
        return write_set(
            folder,
            {f"{figure.id}.{kind}": _drawn(standalone(figure), kind) for figure in figures for kind in chosen},
        )
    except OSError as error:
        raise BadInputError(str(folder), "a folder that can be written to", error.strerror or str(error)) from error


def file_name(name: str) -> str:
    """Return a measure's name as part of a file's name.

    >>> file_name("local_lip:reference")
    'local_lip-reference'
    """
    return "".join(c if c.isalnum() or c in "-_" else "-" for c in name)


def standalone(figure: Figure) -> dict[str, Any]:
    """Return a figure's specification with its data, title, size and the light colours.

    A chart of many rows shows the first ones only (``Figure.limit``), and is as much lower.
    """
    spec: dict[str, Any] = resolved({**figure.spec, "config": vega_config()})
    spec["title"] = {"text": wrapped(figure.title), "anchor": "start", "fontSize": 13, "offset": 10}
    spec["background"] = "#ffffff"
    spec["padding"] = 8
    if spec.get("width") == "container":
        spec["width"] = WIDTH
    if figure.limit < figure.rows:
        spec["height"] = spec["height"] * figure.limit / figure.rows
    spec["datasets"] = {
        **spec.get("datasets", {}),
        **{name: _rows(table, figure) for name, table in figure.data.items()},
    }
    return spec


def wrapped(text: str, width: int = 88) -> list[str]:
    """Return a title in lines of at most ``width`` characters, broken between words.

    >>> wrapped("one two three", 8)
    ['one two', 'three']
    """
    import textwrap

    return textwrap.wrap(text, width, break_long_words=False)


def _rows(table: pd.DataFrame, figure: Figure) -> list[dict[str, Any]]:
    if figure.limit < figure.rows and "order" in table.columns:
        table = table[table["order"] < figure.limit]
    plain: Mapping[str, Any] = embedded(table)["columns"]
    values = {
        name: column if isinstance(column, list) else [None if c < 0 else column["levels"][c] for c in column["codes"]]
        for name, column in plain.items()
    }
    return [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]


def _drawn(spec: dict[str, Any], kind: str) -> bytes:
    """Return a chart as the content of a file of this kind."""
    import vl_convert

    if kind == "svg":
        return vl_convert.vegalite_to_svg(spec, vl_version=VEGA_LITE).encode()
    if kind == "png":
        return bytes(vl_convert.vegalite_to_png(spec, vl_version=VEGA_LITE, scale=PNG_SCALE))
    return bytes(vl_convert.vegalite_to_pdf(spec, vl_version=VEGA_LITE))

"""Options that every command takes that reads a table: which of its columns is what."""

import csv
import io
from typing import Annotated, Any

import typer

__all__ = ["Defense", "Id", "Measures", "Settings", "Target", "chosen_columns", "column_names"]

Target = Annotated[str, typer.Option(metavar="COLUMN", help="Column to predict. [default: robust_gap_pgd]")]
Measures = Annotated[str, typer.Option(metavar="NAME,NAME", help="Columns to judge. [default: every measure]")]
Settings = Annotated[
    str,
    typer.Option(
        metavar="NAME,NAME", help="Setting columns. [default: setting_*, lr, seed, ..., architecture, defense]"
    ),
]
Defense = Annotated[str, typer.Option(metavar="COLUMN", help="Column of the defense. [default: defense, or alike]")]
Id = Annotated[str, typer.Option(metavar="COLUMN", help="Column that names the models. [default: model_id, or alike]")]


def chosen_columns(target: str, measures: str, settings: str, defense: str, id: str) -> dict[str, Any]:
    """Return what was asked for as options of ``analyze``; what was not asked for is left out.

    >>> chosen_columns("gap", "a, b", "", "", "")
    {'target': 'gap', 'measures': ['a', 'b']}
    """
    asked: dict[str, Any] = {
        "target": target,
        "measures": column_names(measures),
        "settings": column_names(settings),
        "defense": defense,
        "id": id,
    }
    return {name: value for name, value in asked.items() if value}


def column_names(text: str) -> list[str]:
    """Return the names of a list with commas between; a name that holds a comma stands in double quotes.

    >>> column_names('"Norm, l2", margin')
    ['Norm, l2', 'margin']
    """
    found = next(csv.reader(io.StringIO(text, newline=""), skipinitialspace=True)) if '"' in text else text.split(",")
    return [name.strip() for name in found if name.strip()]

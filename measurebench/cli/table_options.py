"""Options that every command takes that reads a table: which of its columns is what."""

from typing import Annotated, Any

import typer

__all__ = ["Defense", "Id", "Measures", "Settings", "Target", "chosen_columns"]

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
        "measures": _names(measures),
        "settings": _names(settings),
        "defense": defense,
        "id": id,
    }
    return {name: value for name, value in asked.items() if value}


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]

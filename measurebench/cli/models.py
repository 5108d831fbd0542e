"""``measurebench models``: lists models that can be measured, and how each is referred to."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from measurebench.cli.consoles import console_for_tables
from measurebench.cli.printing import printable

__all__ = ["models"]


def models(
    source: Annotated[
        str,
        typer.Argument(metavar="SOURCE", help="digits, robustbench, architectures, a folder, or any model reference."),
    ] = "digits",
    dataset: Annotated[str, typer.Option(metavar="NAME", help="For robustbench: cifar10 or cifar100.")] = "cifar10",
    as_json: Annotated[bool, typer.Option("--json", help="Print one list of objects.")] = False,
) -> int:
    """List models; the reference of a model is what `run` and `check` take."""
    from measurebench.models.listing import list_models

    rows = list_models(source, dataset)
    if as_json:
        typer.echo(json.dumps(rows, indent=1))
    else:
        _print(rows, source)
    return 0


_COLUMNS = {
    "reference": "reference",
    "architecture": "architecture",
    "image_shape": "images",
    "defense": "defense",
    "norm": "norm",
    "radius": "radius",
    "clean_accuracy": "clean",
    "robust_accuracy": "robust",
    "n_parameters": "parameters",
    "cached": "cached",
    "source": "source",
    "origin": "origin",
    "paper": "paper",
}


def _print(rows: list[dict[str, Any]], source: str) -> None:
    """Print a table, without the columns that are empty for all rows."""
    from rich.markup import escape
    from rich.table import Table

    columns = [key for key in _COLUMNS if any(row.get(key) is not None for row in rows)]
    table = Table(box=None, pad_edge=False, header_style="bold")
    for key in columns:
        table.add_column(_COLUMNS[key], overflow="fold", no_wrap=key == "reference")
    for row in rows:
        table.add_row(*(escape(_cell(key, row.get(key))) for key in columns))
    console = console_for_tables()
    console.print(table)
    others = [name for name in ("robustbench", "digits", "architectures") if name != source]
    console.print(f"{len(rows)} in {escape(source)}; see also {', '.join(others)}, or a folder with a models.toml")


def _cell(key: str, value: Any) -> str:
    """Return a value as people read it."""
    if value is None:
        return ""
    if key.endswith("_accuracy"):
        return f"{100 * value:.2f} %"
    if key == "n_parameters":
        return f"{value:,}"
    if key == "cached":
        return "yes" if value else "no"
    text = Path(value).name if key == "architecture" and "/" in str(value) else str(value)
    return printable(text)

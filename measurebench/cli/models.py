"""``measurebench models``: lists models that can be measured, and how each is referred to."""

from pathlib import Path
from typing import Annotated, Any

import typer

from measurebench.cli.printing import say, say_json, say_table

__all__ = ["models"]


def models(
    source: Annotated[
        str,
        typer.Argument(metavar="SOURCE", help="digits, robustbench, architectures, a folder, or any model reference."),
    ] = "digits",
    dataset: Annotated[
        str, typer.Option(metavar="NAME", help="For robustbench: cifar10, cifar100 or imagenet.")
    ] = "cifar10",
    as_json: Annotated[bool, typer.Option("--json", help="Print one list of objects.")] = False,
) -> int:
    """List models; the reference of a model is what `run` and `check` take."""
    from measurebench.models.listing import list_models

    rows = list_models(source, dataset)
    if as_json:
        say_json(rows)
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
    columns = [key for key in _COLUMNS if any(row.get(key) is not None for row in rows)]
    cells = [[_cell(key, row.get(key)) for key in columns] for row in rows]
    say_table([_COLUMNS[key] for key in columns], cells, whole=["reference"])
    others = [name for name in ("robustbench", "digits", "architectures") if name != source]
    say(f"{len(rows)} in {source}; see also {', '.join(others)}, or a folder with a models.toml")


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
    return Path(value).name if key == "architecture" and "/" in str(value) else str(value)

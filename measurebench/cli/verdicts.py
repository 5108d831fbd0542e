"""``measurebench verdicts``: writes what attacks found, image by image."""

from pathlib import Path
from typing import Annotated

import typer

from measurebench.cli.printing import say

__all__ = ["verdicts"]


def verdicts(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A results folder.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="FILE.parquet, FILE.csv or FILE.json.")],
) -> int:
    """Write one row per model, attack and image: label, verdicts, the attack that broke it, its step, the margin."""
    from measurebench.store.verdicts import write_verdicts

    table = write_verdicts(folder, out)
    say(f"{len(table)} verdicts, {len(table.columns)} columns: {out}")
    return 0

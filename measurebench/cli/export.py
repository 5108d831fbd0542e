"""``measurebench export``: writes the table of models."""

from pathlib import Path
from typing import Annotated

import typer

from measurebench.cli.printing import say

__all__ = ["export"]


def export(
    folders: Annotated[
        list[Path],
        typer.Argument(metavar="DIR", help="Results folders, such as the shards of a study, joined in one table."),
    ],
    out: Annotated[Path, typer.Option(metavar="FILE", help="FILE.csv, FILE.parquet or FILE.json.")],
) -> int:
    """Write one row per model: identity, settings, accuracies, gaps, measures, provenance and status."""
    from measurebench.store.joining import export_table

    table = export_table(folders, out)
    say(f"{len(table)} models, {len(table.columns)} columns: {out}")
    return 0

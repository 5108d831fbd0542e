"""``measurebench export``: the table of models."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["export"]


def export(
    folders: Annotated[
        list[Path],
        typer.Argument(metavar="DIR...", help="Results folders; shards of one study go into one table."),
    ],
    out: Annotated[Path, typer.Option(help="FILE.csv, FILE.parquet or FILE.json.")],
) -> int:
    """Write one row per model: identity, settings, accuracies, gaps, measures, provenance and status."""
    import pandas as pd

    from measurebench.core.errors import BadInputError
    from measurebench.store.folder import ResultsFolder
    from measurebench.store.infos import write_infos_beside
    from measurebench.store.tables import export as table_of
    from measurebench.store.tables import write_table

    tables = [table_of(ResultsFolder.open(folder)) for folder in folders]
    table = pd.concat([t.dropna(axis=1, how="all") for t in tables]) if len(tables) > 1 else tables[0]
    repeated = table["model_id"][table["model_id"].duplicated()]
    if len(repeated):
        raise BadInputError("folders", "each model in one of them", f"{repeated.iloc[0]!r} in several")
    if len(tables) > 1:
        table = table.reindex(columns=list(dict.fromkeys(column for t in tables for column in t.columns)))
    write_table(table, out)
    write_infos_beside(out, folders)
    typer.echo(f"{len(table)} models, {len(table.columns)} columns: {out}")
    return 0

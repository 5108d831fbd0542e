"""``measurebench export``: writes the table of models, or results in a format of another project."""

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
    out: Annotated[
        Path,
        typer.Option(
            metavar="FILE|DIR", help="FILE.csv, FILE.parquet or FILE.json; a folder for results of other formats."
        ),
    ],
    format: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="table; croissant: metadata of a study's folder; every-eval-ever or huggingface: results, a file per model.",
        ),
    ] = "table",
    organization: Annotated[
        str, typer.Option(metavar="NAME", help="For every-eval-ever: who ran the evaluation. [default: unknown]")
    ] = "",
    hub_dataset: Annotated[
        str,
        typer.Option(
            metavar="OWNER/NAME",
            help="For huggingface: the data set on the Hub. [default: known for CIFAR and ImageNet]",
        ),
    ] = "",
) -> int:
    """Write one row per model: identity, settings, accuracies, gaps, measures, provenance and status.

    With --format, write the same results as other projects read them.
    """
    if format == "table":
        from measurebench.store.joining import export_table

        table = export_table(folders, out)
        say(f"{len(table)} models, {len(table.columns)} columns: {out}")
        return 0
    from measurebench.store.formats import export_format

    written = export_format(format, folders, out, organization=organization, hub_dataset=hub_dataset)
    say(f"{len(written)} {'file' if len(written) == 1 else 'files'}: {out}")
    return 0

"""``measurebench report``: writes the web page of a study."""

from pathlib import Path
from typing import Annotated, Any

import typer

from measurebench.cli.printing import say

__all__ = ["report"]


def report(
    source: Annotated[
        Path, typer.Argument(metavar="DIR|TABLE", help="A results folder or a table (.csv, .parquet, .json).")
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for index.html.")],
    name: Annotated[str, typer.Option(metavar="TEXT", help="Name of the study. [default: the folder's]")] = "",
    target: Annotated[
        str, typer.Option(metavar="COLUMN", help="Column to predict; the table is then analysed again.")
    ] = "",
    where: Annotated[
        str, typer.Option(metavar="CONDITION", help="Only models for which this holds, such as 'defense == \"AT\"'.")
    ] = "",
    radius: Annotated[
        str, typer.Option(metavar="R", help="Only models measured at this radius, where there are several.")
    ] = "",
    analysis: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder that `analyze` wrote. [default: the table's folder]")
    ] = None,
    figures: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder for each chart as a file.")] = None,
    format: Annotated[
        str, typer.Option(metavar="NAME,NAME", help="File formats of the charts: svg, png, pdf.")
    ] = "svg,png",
) -> int:
    """Write index.html, one self-contained page with the findings, charts, all models, methods and provenance.

    A table without an analysis beside it is analysed first.
    """
    from measurebench.reporting import write_report

    options: dict[str, Any] = {
        key: value for key, value in {"target": target, "where": where, "radius": radius}.items() if value
    }
    formats = tuple(part.strip() for part in format.split(",") if part.strip())
    page = write_report(
        source, out, name=name, figures=figures, formats=formats, analysis=analysis, options=options or None
    )
    say(f"{page} ({page.stat().st_size / 1e6:.2f} MB)")
    return 0

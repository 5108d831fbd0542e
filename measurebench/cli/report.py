"""``measurebench report``: the page of a study."""

from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = ["report"]


def report(
    source: Annotated[
        Path, typer.Argument(metavar="DIR|TABLE", help="A results folder, or a table (.csv, .parquet, .json).")
    ],
    out: Annotated[Path, typer.Option(help="Folder for index.html.")],
    name: Annotated[str, typer.Option(help="The study's name; the folder's where not given.")] = "",
    target: Annotated[str, typer.Option(help="Column to predict; then the table is analysed anew.")] = "",
    where: Annotated[str, typer.Option(help="Only models for which this holds, such as 'defense == \"AT\"'.")] = "",
    analysis: Annotated[Path | None, typer.Option(help="Folder that `analyze` wrote; else beside the table.")] = None,
    figures: Annotated[Path | None, typer.Option(help="Folder for every chart as a file of its own.")] = None,
    format: Annotated[str, typer.Option(help="Formats of the figures: svg, png, pdf; commas between.")] = "svg,png",
) -> int:
    """Write DIR/index.html, one self-contained page: finding, charts, every model, methods and provenance.

    The table is analysed here where no analysis of it lies beside it.
    """
    from measurebench.reporting import write_report

    options: dict[str, Any] = {key: value for key, value in {"target": target, "where": where}.items() if value}
    formats = tuple(part.strip() for part in format.split(",") if part.strip())
    page = write_report(
        source, out, name=name, figures=figures, formats=formats, analysis=analysis, options=options or None
    )
    typer.echo(f"{page} ({page.stat().st_size / 1e6:.2f} MB)")
    return 0

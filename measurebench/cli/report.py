"""``measurebench report``: writes the web page of a study."""

from pathlib import Path
from typing import Annotated, Any

import typer

from measurebench.cli.printing import say
from measurebench.cli.table_options import Defense, Id, Measures, Settings, Target, chosen_columns

__all__ = ["report"]


def report(
    sources: Annotated[
        list[Path],
        typer.Argument(metavar="DIR|TABLE", help="A results folder, several of them, or any table (.csv, .xlsx, ...)."),
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for index.html.")],
    name: Annotated[str, typer.Option(metavar="TEXT", help="Name of the study. [default: the folder's]")] = "",
    target: Target = "",
    measures: Measures = "",
    settings: Settings = "",
    defense: Defense = "",
    id: Id = "",
    where: Annotated[
        str, typer.Option(metavar="CONDITION", help="Only models for which this holds, such as 'defense == \"AT\"'.")
    ] = "",
    radius: Annotated[
        str, typer.Option(metavar="R", help="Only models measured at this radius, where there are several.")
    ] = "",
    analysis: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder that `analyze` wrote. [default: the table's folder]")
    ] = None,
    figures: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder for each chart as a file; matrices also as LaTeX.")
    ] = None,
    format: Annotated[
        str, typer.Option(metavar="NAME,NAME", help="File formats of the charts: svg, png, pdf.")
    ] = "svg,png",
) -> int:
    """Write index.html, one self-contained page with the findings, charts, all models, methods and provenance.

    A table without an analysis beside it is analysed first, and so is any table where columns are named. Several
    results folders are joined, as `export` joins them.
    """
    from measurebench.reporting import write_report

    options: dict[str, Any] = {
        **chosen_columns(target, measures, settings, defense, id),
        **{key: value for key, value in {"where": where, "radius": radius}.items() if value},
    }
    formats = tuple(part.strip() for part in format.split(",") if part.strip())
    page = write_report(
        sources, out, name=name, figures=figures, formats=formats, analysis=analysis, options=options or None
    )
    say(f"{page} ({page.stat().st_size / 1e6:.2f} MB)")
    return 0

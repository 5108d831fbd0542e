"""``measurebench leaderboard``: RobustBench's leaderboard analysis."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["leaderboard"]


def leaderboard(
    out: Annotated[Path, typer.Option(help="Folder for index.html.")],
    norm: Annotated[str, typer.Option(help="Linf or L2.")] = "Linf",
    model_info: Annotated[
        Path | None, typer.Option(help="RobustBench's folder model_info, for reported and best known accuracy.")
    ] = None,
    records: Annotated[
        Path | None, typer.Option(help="A results folder or table whose measures join by model id.")
    ] = None,
    figures: Annotated[Path | None, typer.Option(help="Folder for every chart as a file of its own.")] = None,
    format: Annotated[str, typer.Option(help="Formats of the figures: svg, png, pdf; commas between.")] = "svg,png",
) -> int:
    """Write DIR/index.html: the ranking with intervals, claims against findings, frontier, parameters, papers.

    Works offline, from the tables inside the installed robustbench package.
    """
    from measurebench.core.threat import Norm
    from measurebench.reporting import write_leaderboard

    formats = tuple(part.strip() for part in format.split(",") if part.strip())
    page = write_leaderboard(
        out, norm=Norm.parse(norm).value, model_info=model_info, records=records, figures=figures, formats=formats
    )
    typer.echo(f"{page} ({page.stat().st_size / 1e6:.2f} MB)")
    return 0

"""``measurebench leaderboard``: writes the web page that analyses RobustBench's leaderboard."""

from pathlib import Path
from typing import Annotated

import typer

from measurebench.cli.printing import say

__all__ = ["leaderboard"]


def leaderboard(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for index.html.")],
    norm: Annotated[
        str, typer.Option(metavar="Linf|L2|corruptions", help="Norm of the leaderboard, or corruptions.")
    ] = "Linf",
    dataset: Annotated[
        str, typer.Option(metavar="NAME", help="Data set of the leaderboard: cifar10, cifar100 or imagenet.")
    ] = "cifar10",
    model_info: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="RobustBench's folder model_info, for reported and best known accuracies."),
    ] = None,
    records: Annotated[
        Path | None,
        typer.Option(metavar="DIR|TABLE", help="Results folder or table whose measures are added, by model id."),
    ] = None,
    figures: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder for each chart as a file.")] = None,
    format: Annotated[
        str, typer.Option(metavar="NAME,NAME", help="File formats of the charts: svg, png, pdf.")
    ] = "svg,png",
) -> int:
    """Write index.html: the ranking with intervals, reported against found accuracies, sizes of models, and papers.

    Works offline, from the tables of the installed robustbench package.
    """
    from measurebench.reporting import write_leaderboard

    formats = tuple(part.strip() for part in format.split(",") if part.strip())
    page = write_leaderboard(
        out,
        norm=norm,
        dataset=dataset,
        model_info=model_info,
        records=records,
        figures=figures,
        formats=formats,
    )
    say(f"{page} ({page.stat().st_size / 1e6:.2f} MB)")
    return 0

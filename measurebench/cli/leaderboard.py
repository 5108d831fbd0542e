"""``measurebench leaderboard``: writes the page that ranks results, or analyses RobustBench's leaderboard."""

from pathlib import Path
from typing import Annotated, Any

import typer

from measurebench.cli.printing import say
from measurebench.cli.table_options import column_names

__all__ = ["leaderboard"]


def leaderboard(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for index.html.")],
    results: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="DIR|TABLE", help="Results folders or a table to rank. [default: RobustBench's entries]"
        ),
    ] = None,
    norm: Annotated[
        str,
        typer.Option(
            metavar="Linf|L2|corruptions",
            help="Norm of the leaderboard; corruptions are a board of RobustBench's. [default: Linf; of results, theirs]",
        ),
    ] = "",
    accuracies: Annotated[
        str,
        typer.Option(
            metavar="NAME,NAME", help="Of results: columns of robust accuracy. [default: <attack>_accuracy_test]"
        ),
    ] = "",
    dataset: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Of RobustBench: cifar10, cifar100 or imagenet. [default: cifar10] Of results: only this data set.",
        ),
    ] = "",
    radius: Annotated[str, typer.Option(metavar="R", help="Of results: only models measured at this radius.")] = "",
    name: Annotated[str, typer.Option(metavar="TEXT", help="Of results: name of the leaderboard.")] = "",
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
    """Write index.html: the ranking of results with intervals, or the analysis of RobustBench's leaderboard.

    With results, their models are ranked by the strongest attack that was run, and leaderboard.csv is written too.
    Without, the tables of the installed robustbench package are read. Works offline.
    """
    from measurebench.core.threat import Norm
    from measurebench.reporting import write_leaderboard, write_own_leaderboard

    formats = tuple(part.strip() for part in format.split(",") if part.strip())
    columns = column_names(accuracies)
    files: dict[str, Any] = {"figures": figures, "formats": formats}
    if results:
        _without("results folders", {"--model-info": model_info, "--records": records})
        task = {"norm": Norm.parse(norm).value if norm else "", "dataset": dataset, "radius": radius}
        page = write_own_leaderboard(results, out, accuracies=columns, **task, name=name, **files)
    else:
        _without("RobustBench's entries", {"--accuracies": columns, "--radius": radius, "--name": name})
        files |= {"model_info": model_info, "records": records}
        page = write_leaderboard(out, norm=norm or "Linf", dataset=dataset or "cifar10", **files)
    say(f"{page} ({page.stat().st_size / 1e6:.2f} MB)")
    return 0


def _without(what: str, options: dict[str, Any]) -> None:
    """Refuse options that were given and mean nothing here. Raises BadInputError."""
    from measurebench.core.errors import BadInputError

    if given := [option for option, value in options.items() if value]:
        hint = "`measurebench leaderboard DIR` ranks a results folder" if "RobustBench" in what else ""
        raise BadInputError("leaderboard", f"{what} without {', '.join(options)}", ", ".join(given), hint)

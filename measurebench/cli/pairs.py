"""``measurebench pairs``: compares models in pairs by their verdicts on the same images."""

from pathlib import Path
from typing import Annotated, Any

import typer

from measurebench.cli.printing import say, say_json, say_table

__all__ = ["pairs"]


def pairs(
    sources: Annotated[
        list[Path],
        typer.Argument(
            metavar="SOURCE",
            help="Results folders, or files that `measurebench verdicts` wrote; all their models are compared.",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder for index.html, ranking.csv, pairs.csv and pairs.json."),
    ] = None,
    attack: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Attack whose verdicts count. [default: autoattack if all models have its verdicts, else pgd]",
        ),
    ] = "",
    split: Annotated[str, typer.Option(metavar="train|test", help="Images whose verdicts count.")] = "test",
    radius: Annotated[str, typer.Option(metavar="R", help="Count only verdicts at this radius, such as 8/255.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print ranking and pairs as one object.")] = False,
) -> int:
    """Rank models by robust accuracy, and say which of them cannot be told apart.

    Only images that all models were attacked on count. Two models are compared on the images that one withstands
    and the other does not (McNemar's exact test), which takes far fewer images than a comparison of two accuracies.
    p-values are adjusted by Holm over all pairs. No model of a tier can be told apart from the best model of that tier.
    Models without verdicts of the attack are named, not ranked.
    Exit status: 0, or 2 if the verdicts cannot be compared.
    """
    from measurebench.reporting.pairs import pairs_page

    ranking = pairs_page.rank_in_pairs(sources, attack=attack, split=split, radius=radius)
    if as_json:
        say_json(pairs_page.as_json(ranking))
    else:
        rows = [_cells(row) for row in ranking.entries.to_dict("records")]
        say_table(["rank", "tier", "model", "robust", "to the first", "95 % interval"], rows, whole=["model"])
        say(f"{pairs_page.tiers_sentence(ranking)}. {pairs_page.neighbours_sentence(ranking)}.")
        if left_out := pairs_page.left_out_sentence(ranking):
            say(f"{left_out}.")
    if out is not None:
        written = pairs_page.write_pairs(ranking, out)
        say(f"Written: {', '.join(str(path) for path in written)}", err=as_json)
    return 0


def _cells(row: dict[Any, Any]) -> list[str]:
    """Return one line of the table; the first model has no difference to itself."""
    cells = [str(row["rank"]), str(row["tier"]), str(row["model_id"]), f"{100 * row['accuracy']:.2f} %"]
    if row["to_first"] != row["to_first"]:
        return [*cells, "", ""]
    low, high = 100 * row["to_first_low"], 100 * row["to_first_high"]
    return [*cells, f"{100 * row['to_first']:+.1f} points", f"{low:+.1f} to {high:+.1f}"]

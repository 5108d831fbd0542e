"""``measurebench compare``: compares the conclusions of two tables."""

from pathlib import Path
from typing import Annotated, Any

import typer

from measurebench.cli.printing import say
from measurebench.cli.table_options import Defense, Id, Measures, Settings, Target, chosen_columns

__all__ = ["compare"]


def compare(
    first: Annotated[Path, typer.Argument(metavar="A", help="A results folder or a table.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="Another one: of another version, data set or seed.")],
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder for index.html. [default: print a table]")
    ] = None,
    target: Target = "",
    measures: Measures = "",
    settings: Settings = "",
    defense: Defense = "",
    id: Id = "",
) -> int:
    """Show for each measure its association with the gap in both studies, and whether the two differ.

    An association that is shown in one study only need not differ: the other may have too few models to show it. So
    the difference itself is judged, by its interval, adjusted for the number of measures.
    """
    from measurebench.reporting.comparison.comparison_page import (
        CHANGES,
        comparison,
        comparison_sentence,
        write_comparison,
    )
    from measurebench.reporting.html.wording import fixed
    from measurebench.reporting.subject.study import load_study

    options: dict[str, Any] | None = chosen_columns(target, measures, settings, defense, id) or None
    if out is not None:
        page = write_comparison(first, second, out, options=options)
        say(f"{page} ({page.stat().st_size / 1e6:.2f} MB)")
        return 0
    table = comparison(load_study(first, options=options), load_study(second, options=options))
    for row in table.to_dict("records"):
        told = CHANGES[row["change"]] + ("; the two differ" if row["differs"] else "")
        say(f"{row['measure']:32} {fixed(row['tau_a']):>6} {fixed(row['tau_b']):>6}  {told}")
    say(f"{comparison_sentence(table)}.", err=True)
    return 0

"""``measurebench verdicts``: writes what attacks did to each image."""

from pathlib import Path
from typing import Annotated

import typer

from measurebench.cli.printing import say

__all__ = ["verdicts"]


def verdicts(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A results folder.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="File to write: .parquet, .csv or .json.")],
) -> int:
    """Write one row for each model, configuration, attack and image: the label, and what the attack did.

    The columns correct and robust say whether the model is right without and with the attack. For AutoAttack, other
    columns name the attack that broke the image, its step, and the smallest margin of the logits.
    """
    from measurebench.store.verdicts import write_verdicts

    table = write_verdicts(folder, out)
    say(f"{len(table)} verdicts, {len(table.columns)} columns: {out}")
    return 0

"""``measurebench verify``: reads everything that is stored in a folder and says what is damaged."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from measurebench.cli.printing import say, say_json

__all__ = ["verify"]


def verify(
    folder: Annotated[
        Path,
        typer.Argument(metavar="DIR", help="A results folder, a folder of trained models, or a cache of downloads."),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print one list of objects.")] = False,
) -> int:
    """Read everything that is stored in a folder, compare it with its checksums, and say what is damaged.

    For each fault it says what the same command will measure, train or fetch again. Nothing is changed. Exit status:
    0 if all is whole, 1 if something is damaged or missing, 2 for another folder.
    """
    from measurebench.checks.stored import kind_of_folder, verify_folder

    kind, faults = kind_of_folder(folder), verify_folder(folder)
    if as_json:
        say_json([asdict(fault) for fault in faults])
    else:
        for fault in faults:
            say(str(fault))
        found = "all is whole" if not faults else f"{len(faults)} fault{'s' if len(faults) > 1 else ''}"
        say(f"{folder}: {kind}, {found}")
    return 1 if faults else 0

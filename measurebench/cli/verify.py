"""``measurebench verify``: reads everything that is stored in a folder and says what is damaged or of no use."""

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
    """Read everything that is stored in a folder, and say what is damaged, missing or of no use.

    Files and lines are compared with their checksums. Lines and arrays that are whole but that no command can use are
    told too. For each fault it says what mends it: most are measured, trained or fetched again when the command that
    wrote the folder is run again. Nothing is changed. Exit status: 0 if there is no fault, 1 if there is one, 2 if
    measurebench did not write the folder.
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

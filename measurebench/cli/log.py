"""``measurebench log``: shows what the runs on a results folder did, and when."""

from pathlib import Path
from typing import Annotated

import typer

from measurebench.cli.printing import say, say_json
from measurebench.core.errors import BadInputError

__all__ = ["log"]


def log(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A results folder.")],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on showing new events, until Ctrl-C.")] = False,
    last: Annotated[int, typer.Option(metavar="N", help="Show only the last N events; 0 for all.")] = 0,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the events as one list of objects; not with --follow.")
    ] = False,
) -> int:
    """Show the log of a results folder: when runs began and ended, which models were loaded, values and failures.

    Each event is one line that begins with its time. Lines of the log that are no events are left out.
    """
    from measurebench.store.folder import ResultsFolder
    from measurebench.store.run_log import follow_log, log_line, read_log

    _check(last, follow and as_json)
    ResultsFolder.open(folder)
    events = read_log(folder)
    if as_json:
        say_json(events[-last:])
        return 0
    if not follow:
        for event in events[-last:]:
            say(log_line(event))
        return 0
    for n, event in enumerate(follow_log(folder)):
        if not last or n >= len(events) - last:
            say(log_line(event))
    return 0


def _check(last: int, both: bool) -> None:
    """Refuse options that contradict themselves."""
    if last < 0:
        raise BadInputError("--last", "a whole number from 0", repr(last))
    if both:
        raise BadInputError("--json", "no --follow beside it", "both")

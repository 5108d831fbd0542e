"""Prints lines, tables and JSON. All that a command prints goes through here, since parts of it come from files."""

import json
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import typer

from measurebench.core.errors import DamageWarning

__all__ = ["plain_warnings", "say", "say_json", "say_lines", "say_table", "shown_again"]

_WIDTH = 240  # characters, where stdout is no terminal: a table in a file is not broken into a terminal's lines


def say(text: str, *, err: bool = False) -> None:
    """Print a text as one line on stdout, or on stderr."""
    from measurebench.core.foreign import for_terminal

    typer.echo(for_terminal(text), err=err)


def say_lines(lines: Iterable[str]) -> None:
    """Print each text as one line on stdout, all at once: a line at a time is slow where there are many thousands."""
    from measurebench.core.foreign import for_terminal

    if text := "\n".join(map(for_terminal, lines)):
        typer.echo(text)


def say_json(value: Any) -> None:
    """Print a value as JSON in ASCII, so that whatever its texts hold does nothing to a terminal."""
    typer.echo(json.dumps(value, indent=1).replace("\x7f", "\\u007f"))


def say_table(heads: Sequence[str], rows: Sequence[Sequence[str]], *, whole: Collection[str] = ()) -> None:
    """Print a table; columns of ``whole`` are not broken over lines."""
    from rich.table import Table
    from rich.text import Text

    from measurebench.core.foreign import for_terminal

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in heads:
        table.add_column(Text(for_terminal(name)), overflow="fold", no_wrap=name in whole)
    for row in rows:
        table.add_row(*(Text(for_terminal(cell)) for cell in row))  # Text: rich reads no markup in it
    _console().print(table)


@contextmanager
def shown_again() -> Iterator[Callable[[Sequence[str]], None]]:
    """Yield a way to show lines that take the place of those shown before; in a file, only lines that changed."""
    console = _console()
    if not console.is_terminal:
        shown: list[str] = []

        def printed(lines: Sequence[str]) -> None:
            for line in lines:
                if line not in shown:
                    say(line)
            shown[:] = lines

        yield printed
        return
    from rich.live import Live
    from rich.text import Text

    from measurebench.core.foreign import for_terminal

    with Live(console=console, auto_refresh=False) as live:
        yield lambda lines: live.update(Text("\n".join(map(for_terminal, lines))), refresh=True)


def _console() -> Any:
    """Return rich's console, which raises BrokenPipeError where the reader has gone, as any other output does."""
    from rich.console import Console

    class Piped(Console):
        def on_broken_pipe(self) -> None:  # rich's own ends the program with status 1
            raise BrokenPipeError

    console = Piped()
    return console if console.is_terminal else Piped(width=_WIDTH)


@contextmanager
def plain_warnings() -> Iterator[None]:
    """Show each warning as one line on stderr, and every warning about a package or a damaged file."""
    from measurebench.core.plugins import PluginWarning

    with warnings.catch_warnings():
        for told in (PluginWarning, DamageWarning):
            warnings.filterwarnings("always", category=told)
        warnings.showwarning = _shown(PluginWarning, DamageWarning)
        yield


def _shown(*ours: type[Warning]) -> Callable[..., None]:
    """Return a way to show warnings that says of those of libraries where they come from."""

    def shown(message: Warning | str, category: type[Warning], filename: str, lineno: int, *_rest: Any) -> None:
        where = "" if issubclass(category, ours) else f"{filename}:{lineno}: {category.__name__}: "
        say(f"measurebench: warning: {where}{message}", err=True)

    return shown

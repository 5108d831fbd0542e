"""Prints tables on the terminal."""

from typing import Any

__all__ = ["console_for_tables"]

_WIDTH = 240  # characters, where stdout is no terminal: a table in a file is not broken into a terminal's lines


def console_for_tables() -> Any:
    """Return rich's console, which raises BrokenPipeError where the reader has gone, as any other output does."""
    from rich.console import Console

    class Piped(Console):
        def on_broken_pipe(self) -> None:  # rich's own ends the program with status 1
            raise BrokenPipeError

    console = Piped()
    return console if console.is_terminal else Piped(width=_WIDTH)

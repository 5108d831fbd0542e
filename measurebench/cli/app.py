"""The command line's entrance: it names the commands, imports the one called, and turns errors into messages."""

import errno
import functools
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

import typer

from measurebench.cli.plugins import with_plugins
from measurebench.core.errors import BadInputError, MeasurebenchError, near_names

__all__ = ["COMMANDS", "run_command_line"]

# In the order of a study: what can be measured, measuring, analysing, publishing.
COMMANDS = {
    "models": "List what can be measured: robustbench, digits, a directory, architectures.",
    "measures": "List every measure with formula, source and hypothesis.",
    "plugins": "List what third-party packages and files add, and those that fail.",
    "check": "Load one model and say what is wrong with it, and how to mend it.",
    "convert": "Convert a checkpoint to safetensors with a manifest entry.",
    "run": "Measure models on a dataset; resumes by itself.",
    "status": "Tell what of a results folder is done, missing or failed.",
    "export": "Write the table of models, one row each.",
    "analyze": "Judge each measure as a predictor of the robust generalization gap.",
    "report": "Build the page of a study.",
    "compare": "Compare the conclusions of two tables.",
    "leaderboard": "Build RobustBench's leaderboard analysis.",
    "attack": "Attack one image and write the picture.",
    "train": "Train models, one or a grid, and write their manifest.",
}
_SETTINGS = {"help_option_names": ["--help", "-h"]}


def run_command_line(arguments: Sequence[str]) -> int:
    """Run a command and return its exit status: 0, 1 (something failed), 2 (bad input), 130 (Ctrl-C)."""
    if (here := os.getcwd()) not in sys.path:  # noqa: PTH109 - as python -m does, for module:callable references
        sys.path.append(here)
    called = arguments[0] if arguments else ""
    if called and not called.startswith("-") and called not in COMMANDS:
        hint = near_names(called, COMMANDS) or "see measurebench --help"
        return _say(str(BadInputError("command", f"one of {len(COMMANDS)} commands", repr(called), hint)), 2)
    try:
        _app(called)(args=list(arguments), prog_name="measurebench")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    return 0


def _app(called: str) -> typer.Typer:
    """Return the application with every command named and only the one called imported."""
    app = typer.Typer(
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings=_SETTINGS,
    )

    @app.callback(help="Measure what makes classifiers robust, and judge which measures can be trusted.")
    def options(
        _version: bool = typer.Option(
            False, "--version", callback=_show_version, is_eager=True, help="Show the version."
        ),
    ) -> None:
        pass

    for name, summary in COMMANDS.items():
        callback = _guarded(with_plugins(_command(name))) if name == called else _named
        app.command(name, short_help=summary, context_settings=_SETTINGS)(callback)
    return app


def _named() -> None:
    """Stand for a command that is listed, not called."""


def _command(name: str) -> Callable[..., Any]:
    command: Callable[..., Any] = getattr(importlib.import_module(f"measurebench.cli.{name}"), name)
    return command


def _show_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"measurebench {version('measurebench')}")
        raise typer.Exit


def _guarded(command: Callable[..., Any]) -> Callable[..., Any]:
    """Return the command with errors as messages and its result as exit status."""

    @functools.wraps(command)
    def guarded(*args: Any, **kwargs: Any) -> None:
        raise typer.Exit(_status(lambda: command(*args, **kwargs)))

    return guarded


def _status(call: Callable[[], Any]) -> int:
    try:
        result = call()
    except KeyboardInterrupt:
        return _say("stopped; what was recorded stays, the same command goes on from there", 130)
    except MeasurebenchError as error:
        return _say(str(error), error.exit_status)
    except BrokenPipeError:
        # The reader went away (``| head``); flushing at exit must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        return _say(_system_message(error), 2)
    return result if isinstance(result, int) else 0


def _system_message(error: OSError) -> str:
    where = f"{error.filename}: " if error.filename else ""
    hint = {
        errno.ENOSPC: "; the disk is full: make room, and the same command goes on from the last record",
        errno.EACCES: "; choose a place that can be written to",
        errno.EROFS: "; choose a place that can be written to",
    }.get(error.errno or 0, "")
    return f"{where}{error.strerror or error}{hint}"


def _say(message: str, status: int) -> int:
    sys.stderr.write(f"measurebench: {message}\n")
    return status

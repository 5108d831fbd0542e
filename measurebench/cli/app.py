"""Entry of the command line: lists the commands, imports the one that is called, and turns errors into messages."""

import errno
import functools
import importlib
import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any

import typer

from measurebench.cli.plugins import with_plugins
from measurebench.core.errors import BadInputError, MeasurebenchError, near_names

__all__ = ["COMMANDS", "run_command_line"]

# In the order of a study: what can be measured, measuring, analysing, publishing.
COMMANDS = {
    "models": "List the models of RobustBench, the digits zoo, a folder or a manifest.",
    "measures": "List all measures with formula, source and hypothesis.",
    "plugins": "List what third-party packages and files add, and those that fail.",
    "check": "Load a model, test it, and say what is wrong and how to fix it.",
    "agreement": "Compare AutoAttack's verdicts with pyautoattack's on a model.",
    "convert": "Convert a checkpoint to safetensors with a manifest.",
    "run": "Measure models on a data set, or resume an interrupted run.",
    "submit": "Submit a run to a Slurm cluster as a job array.",
    "status": "Show what is done, missing and failed in results folders, and the time left.",
    "log": "Show what the runs on a results folder did, and when.",
    "verify": "Read everything that is stored in a folder, and say what is damaged.",
    "export": "Write the table of models, one row per model.",
    "query": "Ask a results folder in SQL.",
    "pairs": "Compare models in pairs by their verdicts, and rank them in tiers.",
    "verdicts": "Write the verdicts of attacks, one row per image.",
    "analyze": "Test how well each measure predicts the robust generalization gap.",
    "report": "Write the web page of a study.",
    "compare": "Compare the conclusions of two tables.",
    "leaderboard": "Write the page that ranks results, or analyses RobustBench's leaderboard.",
    "attack": "Attack images and write pictures of the result.",
    "train": "Train one model, or a grid of models, and write their manifest.",
}
# What an interrupted command keeps; the others start afresh.
_KEPT = {"run": "Records", "train": "Checkpoints"}
_SETTINGS = {"help_option_names": ["--help", "-h"]}


def run_command_line(arguments: Sequence[str]) -> int:
    """Run a command and return its exit status: 0, 1 (something failed), 2 (bad input) or 130 (interrupted)."""
    called = arguments[0] if arguments else ""
    if called and not called.startswith("-") and called not in COMMANDS:
        hint = near_names(called, COMMANDS) or "measurebench --help lists them"
        return _say(str(BadInputError("command", f"one of {len(COMMANDS)} commands", repr(called), hint)), 2)
    try:
        status = _app(called)(args=list(arguments), prog_name="measurebench", standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        return _say("Interrupted.", 130)
    except Exception as error:  # noqa: BLE001 - raised again unless it is one of typer's or click's
        return _usage_status(error, called)
    return status if isinstance(status, int) else 0


def _usage_status(error: Exception, called: str) -> int:
    """Print what is wrong with the options and return the exit status; raise what is no error of usage.

    Such errors are recognised by their method: depending on typer's version their class is click's or a copy of it.
    """
    if not hasattr(error, "format_message"):
        raise error
    if not called or called.startswith("-"):
        error.show()  # type: ignore[attr-defined]
        return 2
    return _say(f"{called}: {error.format_message().rstrip('.')}; see measurebench {called} --help", 2)


def _app(called: str) -> typer.Typer:
    """Return the application: it lists all commands and imports only the one that is called."""
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
        callback = _guarded(with_plugins(_command(name)), name) if name == called else _named
        app.command(name, short_help=summary, context_settings=_SETTINGS)(callback)
    return app


def _named() -> None:
    """Take the place of a command that is listed but not called, so that it need not be imported."""


def _command(name: str) -> Callable[..., Any]:
    command: Callable[..., Any] = getattr(importlib.import_module(f"measurebench.cli.{name}"), name)
    return command


def _show_version(asked: bool) -> None:
    if asked:
        from measurebench.core.packages import own_version

        typer.echo(f"measurebench {own_version()}")
        raise typer.Exit


def _guarded(command: Callable[..., Any], name: str) -> Callable[..., Any]:
    """Return the command with errors turned into messages and its result into the exit status."""

    @functools.wraps(command)
    def guarded(*args: Any, **kwargs: Any) -> None:
        # Until now Ctrl-C ended the process at once (``__main__``); a command tells what it keeps.
        if getattr(signal.getsignal(signal.SIGINT), "__name__", "") == "leave_at_once":
            signal.signal(signal.SIGINT, signal.default_int_handler)
        raise typer.Exit(_status(lambda: command(*args, **kwargs), name))

    return guarded


def _status(call: Callable[[], Any], name: str) -> int:
    try:
        result = call()
    except KeyboardInterrupt:
        return _interrupted(name)
    except SystemExit as error:  # the commands themselves end with typer.Exit
        return _say(f"the code of a model, an attack or a plug-in ended the program: SystemExit({error.code!r})", 1)
    except MeasurebenchError as error:
        return _say(str(error), 1 if _fault(error) else error.exit_status)
    except MemoryError as error:
        return _say(_fault(error, name), 1)
    except BrokenPipeError:
        # The reader has gone (``| head``). Python flushes stdout once more at exit, which must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        return _say(fault, 1) if (fault := _fault(error)) else _say(_system_message(error), 2)
    except Exception as error:
        if _hides_interrupt(error):
            return _interrupted(name)
        raise
    return result if isinstance(result, int) else 0


def _fault(error: BaseException, where: str = "") -> str:
    """Return the fault of the machine behind an error, or an empty string for any other error."""
    from measurebench.core.machine_faults import machine_fault

    return str(machine_fault(error, where) or "")


def _interrupted(name: str) -> int:
    kept = f" {_KEPT[name]} are kept; run the same command again to resume." if name in _KEPT else ""
    return _say(f"Interrupted.{kept}", 130)


def _hides_interrupt(error: BaseException | None) -> bool:
    """Tell whether an error was made of Ctrl-C, as some modules do when it comes while they are imported."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


def _system_message(error: OSError) -> str:
    where = f"{error.filename}: " if error.filename else ""
    hint = "; choose a place that you can write to" if error.errno == errno.EACCES else ""
    return f"{where}{error.strerror or error}{hint}"


def _say(message: str, status: int) -> int:
    from measurebench.core.foreign import for_terminal

    sys.stderr.write(f"measurebench: {for_terminal(message)}\n")
    return status

"""Options of commands that are declared elsewhere, once: here they become options of the command line."""

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from measurebench.core.option_fields import Option, checked, options_of
from measurebench.engine.options import RunOptions

__all__ = ["ONE_RADIUS", "Command", "takes"]

Command = Callable[..., Any]
# For commands that take one radius, where a run measures several one after another: metavar and help.
ONE_RADIUS = {"radius": ("R", "Largest perturbation in pixel units, for images in [0, 1].")}


def takes(
    *names: str, of: Any = RunOptions, shown: Mapping[str, tuple[str, str]] | None = None, **notes: str
) -> Callable[[Command], Command]:
    """Return a decorator that gives a command the options of these names, as ``RunOptions`` or ``of`` declares them.

    The command gets them as keyword arguments, checked, and only those that the user gave. ``notes`` say in words what
    happens without an option, and ``shown`` are its metavar and help, where these differ from a run.
    """
    declared = [options_of(of)[name] for name in names]
    declared = [
        _shown(option, *shown[option.name]) if shown and option.name in shown else option for option in declared
    ]
    added = [_parameter(option, notes.get(option.name, "")) for option in declared]

    def decorate(command: Command) -> Command:
        own = [item for item in inspect.signature(command).parameters.values() if item.kind is not item.VAR_KEYWORD]

        @functools.wraps(command)
        def with_options(*args: Any, **kwargs: Any) -> Any:
            return command(*args, **_checked(declared, kwargs))

        with_options.__signature__ = inspect.Signature([*own, *added])  # type: ignore[attr-defined]
        with_options.__annotations__ = {item.name: item.annotation for item in (*own, *added)}
        return with_options

    return decorate


def _shown(option: Option, metavar: str, text: str) -> Option:
    """Return an option with another metavar and help."""
    return replace(option, kind=replace(option.kind, metavar=metavar), help=text)


def _parameter(option: Option, note: str) -> inspect.Parameter:
    """Return an option as a parameter that typer understands.

    Its default is None, which tells an option that was left alone from one that was given its default value: the
    former may be set by a configuration file. Numbers are read here, not by typer, so that all errors look alike.
    """
    kind, name = option.kind, f"--{option.name.replace('_', '-')}"
    default = note or option.note or ("" if option.is_required or kind.is_flag else _words(option.default))
    shown = f" [{default}]" if default.startswith("required") else f" [default: {default}]"
    info = typer.Option(
        name,
        help=option.help + (shown if default else ""),
        show_default=False,
        metavar=None if kind.is_flag else kind.metavar,
    )
    annotation: Any = bool | None if kind.is_flag else str | None
    return inspect.Parameter(
        option.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[annotation, info]
    )


def _words(default: Any) -> str:
    return str(default) if isinstance(default, str | int | Path) else ""


def _checked(declared: list[Option], given: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments without the options that were not given, the others checked."""
    left = {name: value for name, value in given.items() if name not in {option.name for option in declared}}
    for option in declared:
        if (value := given.get(option.name)) is not None:
            subject = f"--{option.name.replace('_', '-')}"
            left[option.name] = checked(option, value if option.kind.is_flag else option.kind.read(value), subject)
    return left

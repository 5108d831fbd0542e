"""``measurebench plugins``, which lists what can be named and where it comes from, and the option ``--plugin``."""

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from measurebench.cli.printing import plain_warnings, say, say_json, say_table
from measurebench.core.origins import GROUPS

__all__ = ["plugins", "with_plugins"]

_PLUGIN = typer.Option(
    "--plugin",
    metavar="FILE.py",
    help="Run a Python file that registers measures, data sets or the like. Only your own. May be repeated.",
)


def plugins(
    kinds: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[KIND]...", help=f"{', '.join(GROUPS)}; with built-in ones. All third-party ones without."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one list of objects.")] = False,
) -> int:
    """List what third-party packages and --plugin files add: kind, name and origin; and the packages that fail.

    Exit status: 0, or 1 where a package fails.
    """
    from measurebench.checks.plugin_listing import list_plugins, misspelt_groups
    from measurebench.core.plugins import broken_plugins

    rows = list_plugins(kinds or ())
    if as_json:
        say_json(rows)
    else:
        _print(rows, all_kinds=not kinds)
    misspelt = misspelt_groups()
    for sentence in misspelt:
        say(f"measurebench: warning: {sentence}", err=True)
    return 1 if broken_plugins() or misspelt else 0


def with_plugins(command: Callable[..., Any]) -> Callable[..., Any]:
    """Return the command with the option ``--plugin``, whose files it runs first."""
    signature = inspect.signature(command)
    taken = [item for item in signature.parameters.values() if item.kind is not item.VAR_KEYWORD]
    option = inspect.Parameter(
        "plugin", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[list[Path] | None, _PLUGIN]
    )

    @functools.wraps(command)
    def loading(*args: Any, plugin: list[Path] | None = None, **kwargs: Any) -> Any:
        from measurebench.core.plugins import load_plugins

        with plain_warnings():
            load_plugins(plugin or ())
            return command(*args, **kwargs)

    loading.__signature__ = signature.replace(parameters=[*taken, option])  # type: ignore[attr-defined]
    loading.__annotations__ = {**inspect.get_annotations(command), "plugin": option.annotation}
    return loading


def _print(rows: list[dict[str, str]], *, all_kinds: bool) -> None:
    """Print a table, one thing to a row."""
    heads = ("kind", "name", "origin")
    more = "; `measurebench plugins KIND` lists the built-in ones too" if all_kinds else ""
    if rows:
        say_table(heads, [[row[name] for name in heads] for row in rows])
        say(f"{len(rows)} listed{more}")
    else:
        say(f"no package and no --plugin file adds anything{more}")

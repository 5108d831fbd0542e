"""``measurebench plugins``, which lists what can be named and where it comes from, and the option ``--plugin``."""

import functools
import inspect
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from measurebench.cli.consoles import console_for_tables
from measurebench.cli.printing import say
from measurebench.core.errors import DamageWarning
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
        typer.echo(json.dumps(rows, indent=1, ensure_ascii=False))
    else:
        _print(rows, all_kinds=not kinds)
    misspelt = misspelt_groups()
    for sentence in misspelt:
        typer.echo(f"measurebench: warning: {sentence}", err=True)
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
        from measurebench.core.plugins import PluginWarning, load_plugins

        with warnings.catch_warnings():
            for told in (PluginWarning, DamageWarning):
                warnings.filterwarnings("always", category=told)
            warnings.showwarning = _shown(warnings.showwarning)
            load_plugins(plugin or ())
            return command(*args, **kwargs)

    loading.__signature__ = signature.replace(parameters=[*taken, option])  # type: ignore[attr-defined]
    loading.__annotations__ = {**inspect.get_annotations(command), "plugin": option.annotation}
    return loading


def _shown(show: Callable[..., None]) -> Callable[..., None]:
    """Return a way to show warnings in which those about packages and damaged files are one plain line."""
    from measurebench.core.plugins import PluginWarning

    def shown(message: Warning | str, category: type[Warning], *rest: Any, **more: Any) -> None:
        if issubclass(category, PluginWarning | DamageWarning):
            say(f"measurebench: warning: {message}", err=True)
        else:
            show(message, category, *rest, **more)

    return shown


def _print(rows: list[dict[str, str]], *, all_kinds: bool) -> None:
    """Print a table, one thing to a row."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("kind", "name", "origin"):
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(escape(row[name]) for name in ("kind", "name", "origin")))
    console = console_for_tables()
    more = "; `measurebench plugins KIND` lists the built-in ones too" if all_kinds else ""
    if rows:
        console.print(table)
        console.print(f"{len(rows)} listed{more}")
    else:
        console.print(f"no package and no --plugin file adds anything{more}")

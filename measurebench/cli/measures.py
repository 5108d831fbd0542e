"""``measurebench measures``: lists measures with formula, source and hypothesis."""

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from measurebench.core.info import MeasureInfo

__all__ = ["measures"]


def measures(
    ids: Annotated[
        list[str] | None, typer.Argument(metavar="ID", help="Measures to show in full. [default: a table of all]")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one list of objects.")] = False,
    write_docs: Annotated[
        Path | None, typer.Option(hidden=True, help="Repository whose docs/measures.md is written anew.")
    ] = None,
) -> int:
    """List all measures: id, family, unit, formula, source, hypothesis and cost."""
    if write_docs is not None:
        from measurebench.measures.documentation import write_documentation

        for path in write_documentation(write_docs):
            typer.echo(path)
        return 0
    infos = _chosen(ids or [])
    if as_json:
        typer.echo(json.dumps([asdict(info) for info in infos], indent=1, ensure_ascii=False))
    elif ids:
        typer.echo("\n\n".join(_card(info) for info in infos))
    else:
        _print(infos)
    return 0


def _chosen(ids: list[str]) -> list[MeasureInfo]:
    """Return the infos of these ids, or of all measures."""
    from measurebench.core.errors import BadInputError, near_names
    from measurebench.core.infos import measure_infos

    known = measure_infos()
    for name in ids:
        if name not in known:
            raise BadInputError("measure", f"one of {len(known)} known ids", repr(name), near_names(name, known))
    return [known[name] for name in ids] if ids else list(known.values())


def _card(info: MeasureInfo) -> str:
    """Return all that is known of a measure, a line for each fact."""
    rows: list[tuple[str, str]] = [
        ("title", info.title),
        ("family", f"{info.family}, {info.tier}"),
        ("unit", info.unit),
        ("formula", info.formula),
        ("reads", ", ".join(info.inputs)),
        ("hypothesis", info.hypothesis or "none"),
        ("cost", info.cost),
        ("source", info.source),
        ("meaning", info.explanation),
        ("properties", ", ".join(info.properties)),
        ("departures", info.departures),
        *((f"{info.id}:{name}", text) for name, text in info.variants.items()),
    ]
    width = max(len(name) for name, _ in rows)
    return "\n".join([info.id, *(f"  {name:<{width}}  {text}" for name, text in rows if text)])


_COLUMNS = ("id", "family", "unit", "formula", "source", "hypothesis", "cost")


def _print(infos: Iterable[MeasureInfo]) -> None:
    """Print a table with a row for each measure."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in _COLUMNS:
        table.add_column(name, overflow="fold", no_wrap=name == "id")
    count = 0
    for info in infos:
        values: list[Any] = [getattr(info, name) for name in _COLUMNS]
        table.add_row(*(escape(str(value)) for value in values))
        count += 1
    console = Console()
    if not console.is_terminal:
        console = Console(width=240)
    console.print(table)
    console.print(f"{count} measures; `measurebench measures ID` shows one in full")

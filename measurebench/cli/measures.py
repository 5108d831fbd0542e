"""``measurebench measures``: lists measures with formula, source and hypothesis."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from measurebench.cli.printing import say, say_json, say_table
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
    """List all measures, also those of third-party packages: id, family, unit, formula, source, cost, origin."""
    if write_docs is not None:
        from measurebench.measures.documentation import write_documentation

        for path in write_documentation(write_docs):
            say(str(path))
        return 0
    infos = _chosen(ids or [])
    if as_json:
        rows = [asdict(info) | {"origin": origin} for info, origin in infos]
        say_json(rows)
    elif ids:
        for number, (info, origin) in enumerate(infos):
            for line in [*([""] if number else []), *_card(info, origin)]:
                say(line)
    else:
        _print(infos)
    return 0


_LISTED = "`measurebench measures` lists them"


def _chosen(ids: list[str]) -> list[tuple[MeasureInfo, str]]:
    """Return the infos of these ids, or all, with their origin; torch is imported for third-party ones only."""
    from measurebench.core.errors import BadInputError, near_names
    from measurebench.core.infos import measure_infos, ordered
    from measurebench.core.origins import BUILT_IN
    from measurebench.core.plugins import has_plugins

    known, origins = dict(measure_infos()), {}
    if has_plugins("measures"):
        from measurebench.measures.registry import all_measures

        registry = all_measures()
        origins = {name: registry.origin(name) for name in registry if name not in known}
        known = {info.id: info for info in ordered([*known.values(), *(registry[name].info for name in origins)])}
    for name in ids:
        if name not in known:
            raise BadInputError(
                "measure", f"one of {len(known)} known ids", repr(name), near_names(name, known) or _LISTED
            )
    return [(known[name], str(origins.get(name, BUILT_IN))) for name in ids or known]


def _card(info: MeasureInfo, origin: str) -> list[str]:
    """Return all that is known of a measure, a line for each fact."""
    from measurebench.measures.registry import find_measure, parameters_of

    parameters = parameters_of(find_measure(info.id))
    rows: list[tuple[str, str]] = [
        ("title", info.title),
        ("family", f"{info.family}, {info.tier}"),
        ("unit", info.unit),
        ("formula", info.formula),
        ("reads", ", ".join(info.inputs)),
        ("hypothesis", info.hypothesis or "none"),
        ("cost", info.cost),
        ("source", info.source),
        ("origin", origin),
        ("meaning", info.explanation),
        ("properties", ", ".join(info.properties)),
        ("departures", info.departures),
        ("parameters", ", ".join(f"{name} = {_as_toml(value)}" for name, value in parameters.items())),
        *((f"{info.id}:{name}", text) for name, text in info.variants.items()),
    ]
    width = max(len(name) for name, _ in rows)
    return [info.id, *(f"  {name:<{width}}  {' '.join(text.split())}" for name, text in rows if text)]


def _as_toml(value: object) -> str:
    """Return a default as a configuration file has it.

    >>> _as_toml(0.75), _as_toml(""), _as_toml(None)
    ('0.75', '""', 'not set')
    """
    if value is None:
        return "not set"
    return f'"{value}"' if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else str(value)


_COLUMNS = ("id", "family", "unit", "formula", "source", "hypothesis", "cost")


def _print(infos: Sequence[tuple[MeasureInfo, str]]) -> None:
    """Print a table with a row for each measure, and its origin where it is not built in."""
    from measurebench.core.origins import BUILT_IN

    foreign = any(origin != str(BUILT_IN) for _, origin in infos)
    heads = [*_COLUMNS, *(["origin"] if foreign else [])]
    rows = [[str(getattr(info, name)) for name in _COLUMNS] + [origin] * foreign for info, origin in infos]
    say_table(heads, rows, whole=["id"])
    say(f"{len(infos)} measures; `measurebench measures ID` shows one in full")

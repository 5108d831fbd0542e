"""``measurebench query``: answers a question in SQL about a results folder."""

import json
from pathlib import Path
from typing import Annotated

import typer

from measurebench.cli.printing import say, say_json, say_table

__all__ = ["query"]

_Out = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Write the answer to a .csv, .parquet or .json file instead of printing it."),
]


def query(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A results folder.")],
    sql: Annotated[str, typer.Argument(metavar="SQL", help="One SELECT over records, models and verdicts.")],
    out: _Out = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one list of objects.")] = False,
) -> int:
    """Answer one SELECT over the tables records, models and verdicts; needs `pip install 'measurebench[query]'`.

    The table records has a row for each value, and for each value that is missing the reason. The table models is
    that of `measurebench export`, and verdicts that of `measurebench verdicts`. A query changes nothing, and it cannot
    read or write files.
    """
    from measurebench.store.query import query_results
    from measurebench.store.tables import write_table

    table = query_results(folder, sql)
    if out is not None:
        write_table(table, out)
        say(f"{len(table)} rows, {len(table.columns)} columns: {out}")
    elif as_json:
        say_json(json.loads(table.to_json(orient="records", date_format="iso", default_handler=str)))
    else:
        rows = table.astype(object).where(table.notna(), "").to_numpy().tolist()
        say_table([str(name) for name in table.columns], [[_cell(value) for value in row] for row in rows])
    return 0


def _cell(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)

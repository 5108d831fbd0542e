"""Questions in SQL about a results folder, answered by DuckDB, which is an optional dependency."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from measurebench.core.errors import BadInputError
from measurebench.core.reading import reading
from measurebench.store.folder import ResultsFolder

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["TABLES", "query_results"]

_DRAWING = re.compile(r"\n+LINE \d+:")  # what follows draws the place in the query, over several lines

TABLES = {
    "records": "one row per value or reason why there is none: the fields of a record",
    "models": "one row per model and configuration: the table that `export` writes",
    "verdicts": "one row per model, attack and image: the table that `verdicts` writes",
}
"""The tables that a query can name, and what their rows are."""


def query_results(folder: str | Path, sql: str) -> pd.DataFrame:
    """Return the answer to one SELECT over the tables ``records``, ``models`` and ``verdicts`` of a results folder.

    Nothing can be changed, and no file can be read or written by the query. Of several records with one key only the
    last is in ``records``. Raises BadInputError where duckdb is not installed, for anything but one SELECT, and for
    whatever DuckDB does not accept.
    """
    duckdb = _duckdb()
    if not sql.isascii():
        with reading("query", "text in UTF-8"):
            sql.encode()
    results = ResultsFolder.open(Path(folder))
    # Python's own variables are no tables, and the configuration is locked before the query is looked at.
    with duckdb.connect(config={"python_enable_replacements": False, "threads": 2}) as connection:
        for name in TABLES:
            if re.search(rf"\b{name}\b", sql, re.IGNORECASE):  # the others may take long to make
                connection.register(name, _MADE[name](results))
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")
        try:
            statements = duckdb.extract_statements(sql)
            if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
                kinds = ", ".join(str(each.type).rpartition(".")[2] for each in statements) or "nothing"
                raise BadInputError("query", "one SELECT", kinds)
            found: pd.DataFrame = connection.execute(sql).df()
        except duckdb.Error as error:
            tables = f"the tables are {', '.join(TABLES)}"
            raise BadInputError(
                "query", "SQL that DuckDB accepts", " ".join(_DRAWING.split(str(error))[0].split()), tables
            ) from None
    return found


def _duckdb() -> Any:
    try:
        import duckdb
    except ModuleNotFoundError:
        hint = "`pip install 'measurebench[query]'`"
        raise BadInputError("query", "the package duckdb, which answers SQL", "none installed", hint) from None
    return duckdb


def _records(results: ResultsFolder) -> Any:
    """Return the records as an Arrow table, in their order."""
    from measurebench.store.record_columns import RecordColumns, table_of

    found = results.records_by_model()
    if isinstance(found, RecordColumns):
        table = found.table
    else:
        records = list(found.in_order())
        table = table_of(records, range(len(records)))
    return table.drop_columns(["exact", "position"])


def _models(results: ResultsFolder) -> Any:
    from measurebench.store.tables import export

    return export(results)


def _verdicts(results: ResultsFolder) -> Any:
    from measurebench.store.verdicts import read_verdicts

    return read_verdicts(results.path)


_MADE: dict[str, Callable[[ResultsFolder], Any]] = {"records": _records, "models": _models, "verdicts": _verdicts}

"""Joins results folders into one table of models, such as the shards of a study that several machines measured."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from measurebench.core.errors import BadInputError
from measurebench.store.folder import ResultsFolder
from measurebench.store.recorded_infos import write_infos_beside
from measurebench.store.tables import export, write_table

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["export_table", "join_results"]


def join_results(folders: str | Path | Iterable[str | Path]) -> pd.DataFrame:
    """Return the table of models of one or several results folders, in the order of the folders.

    There is one row for each model and configuration.
    A column that only some folders have is empty for the models of the others. Raises BadInputError where no folder is
    named, one is no results folder, or a model is in several with the same configuration.
    """
    import pandas as pd

    given = [folders] if isinstance(folders, str | Path) else list(folders)
    if not given:
        raise BadInputError("folders", "at least one results folder", "none")
    tables = [export(ResultsFolder.open(Path(folder))) for folder in given]
    if len(tables) == 1:
        return tables[0]
    # Columns without any value have no type: left in, they would turn numbers of other folders into objects.
    joined = pd.concat([table.dropna(axis=1, how="all") for table in tables], ignore_index=True)
    repeated = joined["model_id"][joined.duplicated(["model_id", "config_digest"])]
    if len(repeated):
        raise BadInputError("folders", "each model in one of them", f"{repeated.iloc[0]!r} in several")
    return joined.reindex(columns=list(dict.fromkeys(column for table in tables for column in table.columns)))


def export_table(folders: str | Path | Iterable[str | Path], out: str | Path) -> pd.DataFrame:
    """Write the joined table of results folders as .csv, .parquet or .json, by the name's ending, and return it.

    What third-party measures say of themselves is written beside it, so that pages need no package but this one.
    Raises BadInputError for folders that cannot be joined and for another ending.
    """
    given = [Path(folders)] if isinstance(folders, str | Path) else [Path(folder) for folder in folders]
    table = join_results(given)
    write_table(table, Path(out))
    write_infos_beside(Path(out), given)
    return table

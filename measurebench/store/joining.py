"""Joins results folders into one table of models, such as the shards of a study that several machines measured."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from measurebench.core.errors import BadInputError
from measurebench.core.info import MeasureInfo
from measurebench.core.infos import measure_infos
from measurebench.store.folder import ResultsFolder
from measurebench.store.recorded_infos import recorded_infos, write_infos_beside
from measurebench.store.tables import export, read_provenance, read_table, write_table

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["export_table", "infos_of_sources", "join_results", "provenance_of_sources", "read_sources"]


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


def read_sources(sources: Sequence[str | Path]) -> pd.DataFrame:
    """Return the table of one results folder or file, or the joined table of several results folders.

    Raises BadInputError where there is none, for several of which one is no results folder, and as ``join_results``.
    """
    return read_table(sources[0]) if len(sources) == 1 else join_results(sources)


def infos_of_sources(sources: Sequence[str | Path]) -> dict[str, MeasureInfo]:
    """Return the infos of all measures of the sources: the built-in ones and the recorded ones."""
    recorded = {name: info for source in sources for name, info in recorded_infos(source).items()}
    return {**recorded, **measure_infos()}


def provenance_of_sources(sources: Sequence[str | Path]) -> dict[str, Any]:
    """Return how the sources came about, as ``read_provenance`` does for one; {} where all of them are files."""
    found = [told for source in sources if (told := read_provenance(source))]
    if len(found) < 2:
        return found[0] if found else {}
    by_digest = {
        name: list({line.get("digest"): line for told in found for line in told[name]}.values())
        for name in ("configs", "environments")
    }
    versions = {name: version for told in found for name, version in told["measure_versions"].items()}
    counts = {name: sum(told["n_records"][name] for told in found) for name in found[0]["n_records"]}
    runs = [run for told in found for run in told["runs"]]
    return {"runs": runs, **by_digest, "measure_versions": versions, "n_records": counts}


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

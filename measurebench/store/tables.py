"""Tables with one row per model: exported from a results folder, and read from and written to files."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from measurebench.core.columns import (
    accuracy_column,
    attacks_in,
    count_columns,
    describe,
    flags_column,
    gap_column,
    is_counted_apart,
    names_of,
    outcome_columns,
    own_count,
)
from measurebench.core.errors import BadInputError
from measurebench.core.infos import measure_infos
from measurebench.core.limits import TABLE_BYTES
from measurebench.core.reading import check_file, reading
from measurebench.core.records import ModelKey
from measurebench.store.csv_text import csv_text
from measurebench.store.folder import ResultsFolder, model_key
from measurebench.store.machines import machines
from measurebench.store.record_set import RecordSet
from measurebench.store.table_reading import as_numbers, check_size, read_csv, read_excel

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["CORE", "FORMATS", "export", "read_provenance", "read_table", "write_table"]

# Where core measures stand in a table: in the order of the study's own table. Which measures are core, their tier says.
_STUDY_ORDER = (
    "num_params",
    "path_norm",
    "log_prod_of_spec",
    "log_prod_of_fro",
    "euclid_init_norm",
    "average_ce_pgd",
    "inverse_margin_pgd",
    "prob_margin_pgd",
    "boundary_thickness",
    "kl_divergence_pgd",
    "local_lip",
    "pacbayes_flat_pgd",
    "pacbayes_mag_flat_pgd",
    "estimated_sharpness_pgd",
    "estimated_inv_sharpness_pgd",
    "average_flat_pgd",
    "x_grad_norm_pgd",
    "w_grad_norm_pgd",
)


def _core() -> tuple[str, ...]:
    """Return the core measures: the study's in its own order, then any other in the order of the list of measures."""
    core = [name for name, info in measure_infos().items() if info.tier == "core"]
    place = {name: k for k, name in enumerate(_STUDY_ORDER)}
    return tuple(sorted(core, key=lambda name: place.get(name, len(place))))


CORE = _core()
"""The measures of the core tier: the first measure columns of a table, in this order."""
FORMATS = (".csv", ".parquet", ".json")
_ANY = "a results folder or a table (.csv, .tsv, .txt, .xlsx, .parquet, .json; .csv.gz)"


def read_table(path: str | Path) -> pd.DataFrame:
    """Return the table of models of a results folder or of a .csv, .tsv, .xlsx, .parquet or .json file.

    Text may be separated by commas, semicolons or tabs, have decimal commas, be UTF-8, UTF-16 or Latin-1, and be
    compressed with gzip. Raises BadInputError for a file that is missing, of another kind, damaged or empty.
    """
    import pandas as pd

    source = Path(path)
    if source.is_dir():
        return export(ResultsFolder.open(source))
    if not source.exists():
        raise BadInputError(str(source), _ANY, "no such file")
    ending = source.name.lower().removesuffix(".gz").rpartition(".")[2]
    text = dict.fromkeys(("csv", "tsv", "txt"), read_csv)
    readers: dict[str, Any] = {**text, "xlsx": read_excel, "xlsm": read_excel}
    if source.suffix.lower() != ".gz":
        readers |= {"parquet": _read_parquet, "json": _read_json}
    if ending not in readers:
        raise BadInputError(str(source), _ANY, repr(source.suffix), "save an .xls as .xlsx" if ending == "xls" else "")
    with reading(source, f"a {ending} table"):
        check_file(source, TABLE_BYTES, _ANY)
        table = readers[ending](source)
    if isinstance(table, pd.DataFrame):
        check_size(len(table), list(map(str, table.columns)), source)
    if not isinstance(table, pd.DataFrame) or table.empty:
        raise BadInputError(str(source), "a table with a row per model", "an empty one")
    return table


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Write a table as .csv, .parquet or .json (a list of objects), by the name's ending.

    Raises BadInputError for a name with another ending.
    """
    from measurebench.core.files import write_atomically

    if path.suffix not in FORMATS:
        raise BadInputError(str(path), "a name that ends in .csv, .parquet or .json", repr(path.suffix or path.name))
    writers: dict[str, Any] = {
        ".csv": lambda: csv_text(table).encode(),
        ".parquet": lambda: _of_one_type(table).to_parquet(index=False),
        ".json": lambda: _json(table).encode() + b"\n",
    }
    write_atomically(path, writers[path.suffix]())


def _of_one_type(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with columns of mixed types, such as numbers and names, as text: Parquet wants one type each."""
    from pandas.api.types import infer_dtype

    kinds = {str(name): infer_dtype(column, skipna=True) for name, column in table.items()}
    mixed = [name for name, kind in kinds.items() if kind in ("mixed", "mixed-integer")]
    return table.assign(**{name: table[name].map(str, na_action="ignore") for name in mixed})


def _json(table: pd.DataFrame) -> str:
    """Return the table as a list of objects, with every digit of a number, and null for what is missing."""
    import json

    rows = [{name: _plain(value) for name, value in row.items()} for row in table.to_dict(orient="records")]
    return json.dumps(rows, indent=1, allow_nan=False, ensure_ascii=False)


def _plain(value: Any) -> Any:
    """Return a cell as a JSON value; None for what is missing or infinite."""
    import numpy as np
    import pandas as pd

    value = value.item() if isinstance(value, np.generic) else value
    if (pd.api.types.is_scalar(value) and pd.isna(value)) or (isinstance(value, float) and math.isinf(value)):
        return None
    return value if isinstance(value, str | bool | int | float) else str(value)


def _read_parquet(path: Path) -> pd.DataFrame:
    """Read a table whose size was looked at before: repeated values take no room in the file, but do in memory."""
    import pandas as pd
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(path) as file:
        check_size(file.metadata.num_rows, file.schema_arrow.names, path)
    return pd.read_parquet(path)


def _read_json(path: Path) -> pd.DataFrame:
    """Read a list of objects with plain values."""
    import json

    import pandas as pd

    text = path.read_text(encoding="utf-8")
    rows = json.loads(text)
    if "\\ud" in text.lower():  # half of a pair of escapes is no character: this raises UnicodeEncodeError
        json.dumps(rows, ensure_ascii=False).encode()
    others = [row for row in rows if not _is_plain_object(row)] if isinstance(rows, list) else [rows]
    if others:
        raise BadInputError(str(path), "a list of objects with plain values", repr(others[0])[:80])
    return as_numbers(pd.DataFrame.from_records(rows), typed=True)


def _is_plain_object(row: Any) -> bool:
    """Tell names with one number, text or truth value each from anything nested."""
    return isinstance(row, dict) and not any(isinstance(value, list | dict) for value in row.values())


def export(folder: ResultsFolder) -> pd.DataFrame:
    """Return one row per model and configuration: identity, settings, accuracies, gaps, measures, provenance, status.

    Rows are sorted by model, the latest configuration first; each model counts with its latest weights. Accuracies and
    gaps are fractions. A gap is train minus test accuracy, of every attack that has both. Empty means not measured;
    ``status`` and ``reason`` say why. ``n_<attack>`` and ``n_<attack>_train`` say on how many images an attack was run,
    where those are not all that other measures read. Raises BadInputError for a folder without a model.
    """
    import pandas as pd

    records = folder.records_by_model()
    rows = [_row(entry, records) for entry in folder.configurations()]
    if not rows:
        raise BadInputError(str(folder.path), "a results folder with at least one model", "no model yet")
    _leave_out_usual_counts(rows)
    table = pd.DataFrame.from_records(rows)
    return table.reindex(columns=_ordered(list(table.columns), records.pairs()))


def _ordered(names: list[str], pairs: Iterable[tuple[str, str]]) -> list[str]:
    """Return the columns of a table in the order of the contract."""
    settings = sorted(name for name in names if describe(name).role == "setting")
    known = [*names_of("identity"), *settings, *outcome_columns(names)]
    measures = [name for name in _measure_order(pairs) if name in names and name not in known]
    flags = [name for name in names if describe(name, names).role == "status" and name not in names_of("status")]
    return [*known, *measures, *names_of("provenance"), *flags, *names_of("status")]


def _measure_order(pairs: Iterable[tuple[str, str]]) -> list[str]:
    """Return measure columns in an order that does not depend on how a run went: the core list, then by id."""
    columns = sorted({_column(*pair) for pair in pairs})
    return [*(name for name in CORE if name in columns), *(name for name in columns if name not in CORE)]


@cache
def _column(measure: str, split: str) -> str:
    """Return the column of a record: accuracies name their split, other measures only where it is not train."""
    if measure.endswith("_accuracy"):
        return accuracy_column(measure.removesuffix("_accuracy"), split)
    return measure if split == "train" else f"{measure}_{split}"


@lru_cache(maxsize=1024)
def _attacks(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the attacks in columns of these names; the rows of a table have few different sets of them."""
    return tuple(attacks_in(names))


@cache
def _own_count(measure: str, split: str) -> str:
    """Return the column with the number of images of an attack's accuracy; an empty text for other measures."""
    column = describe(_column(measure, split))
    counted = column.role == "outcome" and column.attack != "clean"
    return own_count(column.attack, column.split) if counted else ""


def _row(entry: Mapping[str, Any], records: RecordSet) -> dict[str, Any]:
    row: dict[str, Any] = {name: entry.get(name) for name in names_of("identity")}
    row |= {f"setting_{name}": value for name, value in entry.get("settings", {}).items()}
    row |= {name: entry.get(name) for name in names_of("count", "provenance")}
    columns = records.columns(model_key(entry), "measure", "split", "status", "value", "n")
    for measure, split, status, value, n in zip(*columns, strict=True):
        if measure == "load":
            continue
        name = _column(measure, split)
        # Of two AutoAttack runs over different numbers of examples the larger counts.
        if name not in row or status == "measured":
            row[name] = value
        if status == "measured" and (count := _own_count(measure, split)):
            row[count] = n
    row |= _flags(records, model_key(entry))
    row |= dict.fromkeys(names_of("gap"))
    for attack in _attacks(tuple(row)):
        train, test = (row.get(accuracy_column(attack, split)) for split in ("train", "test"))
        if train is not None and test is not None:
            row[gap_column(attack)] = train - test
    return row | _status(entry, records)


def _flags(records: RecordSet, key: ModelKey) -> dict[str, str]:
    """Return the warnings of each attack by column, each once; nothing where there are none."""
    told: dict[str, list[str]] = {}
    for measure, split, diagnostics in zip(*records.columns(key, "measure", "split", "diagnostics"), strict=True):
        if (text := str(diagnostics.get("flags", ""))) and (attack := describe(_column(measure, split)).attack):
            told.setdefault(flags_column(attack), []).append(text)
    return {name: "; ".join(dict.fromkeys(texts)) for name, texts in told.items()}


def _leave_out_usual_counts(rows: list[dict[str, Any]]) -> None:
    """Drop an attack's numbers of images where every model was attacked on all images that other measures read.

    AutoAttack keeps its own, as the contract says: a table without it is read as one of an unknown number.
    """
    for attack in dict.fromkeys(attack for row in rows for attack in _attacks(tuple(row))):
        pairs = [(own_count(attack, split), count_columns(attack, split)[-1]) for split in ("train", "test")]
        own = any(row.get(name, row.get(usual)) != row.get(usual) for row in rows for name, usual in pairs)
        if not own and not is_counted_apart(attack):
            for row in rows:
                for name, _ in pairs:
                    row.pop(name, None)


def _status(entry: Mapping[str, Any], records: RecordSet) -> dict[str, str]:
    """Return ``failed`` with every reason, ``missing`` where nothing was measured, or ``measured``.

    Undefined measures do not make a model fail; their reasons are listed all the same.
    """
    measures, statuses, told = records.columns(model_key(entry), "measure", "status", "reason")
    reasons = [
        f"{name}: {why}" for name, status, why in zip(measures, statuses, told, strict=True) if status != "measured"
    ]
    if entry.get("failure"):
        return {"status": "failed", "reason": str(entry["failure"])}
    status = "failed" if "failed" in statuses else "measured" if statuses else "missing"
    return {"status": status, "reason": "; ".join(reasons)}


def read_provenance(path: str | Path) -> dict[str, Any]:
    """Return how a results folder came about: runs with their command lines, configurations, environments, machines.

    A file does not know: {}.
    """
    if not Path(path).is_dir():
        return {}
    folder = ResultsFolder.open(Path(path))
    records = folder.records_by_model()
    return {
        "runs": folder.runs.read(),
        "configs": folder.configs.read(),
        "environments": folder.environments.read(),
        "machines": [asdict(machine) for machine in machines(records, folder.environments.read())],
        "measure_versions": records.versions(),
        "n_records": records.n_by_status(),
    }

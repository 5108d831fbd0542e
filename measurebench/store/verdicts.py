"""The verdicts of attacks, example by example, as a table: read from a results folder, or from a file of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from measurebench.core.errors import BadInputError
from measurebench.store.examples import read_arrays, verdict_path
from measurebench.store.folder import ResultsFolder, model_key
from measurebench.store.tables import read_table, write_table

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd

__all__ = ["BROKEN_BY", "check_verdicts", "load_verdicts", "read_verdicts", "verdict_fault", "write_verdicts"]

BROKEN_BY = ("apgd-ce", "apgd-t", "fab-t", "square")
"""The attacks of the standard evaluation, in the order of the numbers that verdicts are stored with."""

_NEEDED = ("model_id", "split", "measure", "index", "label", "robust")
# Arrays that a file of verdicts holds, each with the kinds of its dtype; the last three are not in every file.
_KINDS = {"index": "iu", "label": "iu", "correct": "b", "robust": "b", "broken_by": "i", "margin": "f", "distance": "f"}
_ALWAYS = ("index", "label", "correct", "robust")
_NOT_PER_IMAGE = ("input_digest",)
_WORDS = {"iu": "whole numbers", "i": "whole numbers", "b": "truth values", "f": "floats"}


def load_verdicts(source: str | Path) -> pd.DataFrame:
    """Return the verdicts of a results folder, or of a file that ``measurebench verdicts`` wrote.

    Raises BadInputError for a folder without verdicts, and for a file that lacks a column or a value, or holds values
    of another kind.
    """
    if Path(source).is_dir():
        return read_verdicts(source)
    table = read_table(source)
    check_verdicts(table, str(source))
    return table


def check_verdicts(table: pd.DataFrame, where: str) -> None:
    """Return nothing if a table holds verdicts: all needed columns, and a value of the right kind in every row.

    Raises BadInputError, which names ``where`` and the column, for any other table.
    """
    if missing := [name for name in _NEEDED if name not in table.columns]:
        expected = f"verdicts as `measurebench verdicts` writes them, with the columns {', '.join(_NEEDED)}"
        raise BadInputError(where, expected, f"a table without {', '.join(missing)}")
    for name in _NEEDED:
        empty = table[name].isna().to_numpy()
        if n := int(empty.sum()):
            got = f"{n:,} without one, the first of them row {int(empty.argmax()) + 1:,}"
            raise BadInputError(
                f"{where}: column {name!r}", "a value in every row", got, "complete or remove these rows"
            )
    for name, kinds, expected in (("robust", "b", "true or false"), ("index", "iu", "whole numbers")):
        if table[name].dtype.kind not in kinds:
            raise BadInputError(f"{where}: column {name!r}", expected, f"a column of {table[name].dtype}")


def read_verdicts(
    folder: str | Path, config_digest: str | None = None, measure: str | None = None, split: str | None = None
) -> pd.DataFrame:
    """Return one row per model, configuration, split, measure and image of the folder.

    ``config_digest``, ``measure`` and ``split`` keep the rows of one configuration, one measure or one split.

    ``correct`` and ``robust`` are verdicts without and with the attack, ``distance`` is that of the adversarial image.
    For AutoAttack and its attacks ``broken_by`` names the attack that broke the image, ``step`` its step, ``margin``
    is the least margin of the logits that was seen, and ``withstood_<attack>`` says what each attack left. Raises
    BadInputError for a folder without such verdicts, and for a file of verdicts that holds other arrays.
    """
    import pandas as pd

    results = ResultsFolder.open(Path(folder))
    tables, by_model = [], results.records_by_model()
    for entry in results.configurations():
        if config_digest not in (None, entry["config_digest"]):
            continue
        model, records = entry["model_id"], by_model[model_key(entry)]
        told = {"model_id": model, **{name: entry.get(name) for name in ("dataset", "norm", "radius", "config_digest")}}
        for attack, part in sorted({(r.measure, r.split) for r in records if r.measure.endswith("_accuracy")}):
            if measure not in (None, attack) or split not in (None, part):
                continue
            file = verdict_path(results.path, model, entry["config_digest"], part, attack)
            arrays = read_arrays(file)
            if arrays is not None:
                if fault := verdict_fault(arrays):
                    raise BadInputError(f"{file}: {fault}; `measurebench verify {folder}` lists such files")
                tables.append(pd.DataFrame({**told, "split": part, "measure": attack, **_columns(arrays)}))
    if not tables:
        raise BadInputError(str(folder), "a results folder with verdicts of an attack", "one without")
    return pd.concat(tables, ignore_index=True)


def verdict_fault(arrays: Mapping[str, npt.NDArray[Any]]) -> str:
    """Return why arrays are no verdicts: one that is missing, or not [n], or of another kind; empty where they are.

    >>> import numpy as np
    >>> verdict_fault({"index": np.arange(2), "label": np.arange(2), "correct": np.array([True, True])})
    "no array 'robust'"
    """
    if missing := [name for name in _ALWAYS if name not in arrays]:
        return f"no array {missing[0]!r}"
    n = arrays["index"].size
    for name, values in arrays.items():
        if name not in _NOT_PER_IMAGE and values.shape != (n,):
            return f"{name}: expected one value for each of {n} images, got shape {list(values.shape)}"
        if values.dtype.kind not in _KINDS.get(name, values.dtype.kind):
            return f"{name}: expected {_WORDS[_KINDS[name]]}, got {values.dtype}"
    by = arrays.get("broken_by")
    if by is not None and by.size and not -1 <= by.min() <= by.max() < len(BROKEN_BY):
        return f"broken_by: expected numbers from -1 to {len(BROKEN_BY) - 1}, got {by.min()} to {by.max()}"
    return ""


def _columns(arrays: dict[str, Any]) -> dict[str, Any]:
    """Return the arrays of one value per image, with the name of the attack that broke it."""
    columns = {name: values for name, values in arrays.items() if name not in _NOT_PER_IMAGE}
    if "broken_by" in columns:
        columns["broken_by"] = [BROKEN_BY[place] if place >= 0 else None for place in columns["broken_by"]]
    first = ("index", "label", "correct", "robust", "broken_by", "step", "margin", "distance")
    return {name: columns[name] for name in (*first, *sorted(set(columns) - set(first))) if name in columns}


def write_verdicts(folder: str | Path, out: str | Path) -> pd.DataFrame:
    """Write the table of ``read_verdicts`` as .parquet, .csv or .json, and return it."""
    table = read_verdicts(folder)
    write_table(table, Path(out))
    return table

"""An analysis on disk: correlations.csv, regressions.csv and analysis.json."""

import json
import math
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from measurebench.core.errors import BadInputError
from measurebench.core.file_sets import finish_set, write_set
from measurebench.core.limits import JSON_BYTES
from measurebench.core.reading import parse_json, reading
from measurebench.stats.analysis import TABLES, Analysis, FilterStep, tidy
from measurebench.store.csv_text import csv_text

__all__ = ["FORMAT", "read_analysis", "to_json", "write_analysis"]

FORMAT = 1  # raised when an analysis can no longer be read by an older version
_TEXT = frozenset(
    {
        "measure",
        "target",
        "statistic",
        "axis",
        "level",
        "model",
        "title",
        "verdict",
        "sentence",
        "hypothesis",
        "found",
        "reason",
        "level_from",
        "level_to",
        "orientation",
        "model_id",
        "method",
        "note",
        "scope",
        "edge",
        "opposite",
        "variant",
    }
)


def write_analysis(
    analysis: Analysis, folder: Path | str, claims: pd.DataFrame | None = None, *, audit: bool = False
) -> list[Path]:
    """Write the three files of the contract into ``folder`` (made where missing) and return their paths.

    With judged ``claims`` there is claims.csv too, with ``audit`` fragility.csv; without, those of an earlier analysis
    are removed. All files are replaced at once or not at all.

    The same analysis gives the same bytes. A missing number is an empty field in a CSV and null in the JSON.
    Raises BadInputError for a folder that cannot be written to.
    """
    folder = Path(folder)
    tables = {"correlations": _with_controls(analysis), "regressions": analysis.regressions}
    contents = {f"{name}.csv": csv_text(table) for name, table in tables.items()}
    contents["analysis.json"] = _indented(to_json(analysis)) + "\n"
    if claims is not None:
        contents["claims.csv"] = csv_text(claims)
    if audit:
        contents["fragility.csv"] = csv_text(analysis.fragility)
    optional = ("claims.csv", "fragility.csv")
    try:
        return write_set(folder, {name: content.encode() for name, content in contents.items()}, optional)
    except OSError as error:
        raise BadInputError(str(folder), "a folder that can be written", error.strerror or str(error)) from error


def _with_controls(analysis: Analysis) -> pd.DataFrame:
    """Return the correlations of the measures, then those of the negative controls, told apart by a last column."""
    measures, controls = analysis.correlations.assign(control=False), analysis.controls.assign(control=True)
    return pd.concat([measures, controls], ignore_index=True) if len(controls) else measures


def to_json(analysis: Analysis) -> dict[str, Any]:
    """Return an analysis as plain JSON values: tables as lists of objects, missing numbers as None."""
    plain: dict[str, Any] = {"format": FORMAT}
    for each in fields(analysis):
        value = getattr(analysis, each.name)
        if isinstance(value, pd.DataFrame):
            plain[each.name] = _records(value)
            continue
        if each.name == "filters":
            value = [asdict(step) for step in value]
        plain[each.name] = _plain(value)
    return plain


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of a table as objects, made column by column."""
    columns = []
    for name in table.columns:
        values = table[name]
        if values.dtype == np.float64:
            known = np.isfinite(values.to_numpy()).tolist()
            columns.append([v if ok else None for v, ok in zip(values.tolist(), known, strict=True)])
        else:
            columns.append([v if type(v) is str else _plain(v) for v in values.tolist()])
    names = [str(name) for name in table.columns]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def _indented(plain: dict[str, Any]) -> str:
    """Return what ``json.dumps`` with an indent of 1 gives, in a tenth of its time for tables.

    With an indent the encoder is plain Python; rows, which hold no lists, are written by the compiled one.
    """
    parts = []
    for name, value in plain.items():
        if isinstance(value, list) and value and _are_flat(value):
            rows = [json.dumps(row, separators=(",\n   ", ": "), allow_nan=False)[1:-1] for row in value]
            text = "[\n  " + ",\n  ".join(f"{{\n   {row}\n  }}" for row in rows) + "\n ]"
        else:
            text = json.dumps(value, indent=1, allow_nan=False).replace("\n", "\n ")
        parts.append(f" {json.dumps(name)}: {text}")
    return "{\n" + ",\n".join(parts) + "\n}"


def _are_flat(rows: list[Any]) -> bool:
    """Say whether all rows are objects, none of them empty, without lists or objects inside."""
    if not all(isinstance(row, dict) and row for row in rows):
        return False
    return not any(issubclass(kind, (list, dict)) for kind in {type(value) for row in rows for value in row.values()})


def read_analysis(folder: Path | str) -> Analysis:
    """Return the analysis that ``write_analysis`` wrote into a folder.

    Raises BadInputError, which names the file, for one that is missing, damaged or of another format.
    """
    path = Path(folder) / "analysis.json"
    with reading(path, "an analysis"):
        finish_set(Path(folder))
    plain = parse_json(path, JSON_BYTES, "an analysis", "" if path.exists() else "run `measurebench analyze` first")
    if not isinstance(plain, dict) or plain.get("format") != FORMAT:
        came = plain.get("format") if isinstance(plain, dict) else type(plain).__name__
        raise BadInputError(str(path), f"an analysis of format {FORMAT}", repr(came), "another version wrote it")
    with reading(path, "every part of an analysis"):
        return _from_json(plain)


def _from_json(plain: dict[str, Any]) -> Analysis:
    later = {
        "added",
        "stability",
        "fragility",
        "controls",
        "control_judgements",
        "levels",
        "tests",
    }  # tables that analyses of the first release lack
    values: dict[str, Any] = {each.name: plain[each.name] for each in fields(Analysis) if each.name not in later}
    values |= {name: plain.get(name, []) for name in later}
    for name, columns in TABLES.items():
        values[name] = _numbers(tidy(values[name], columns))
    values["filters"] = tuple(
        FilterStep(s["name"], s["n_before"], s["n_after"], tuple((a, b) for a, b in s["left_out"]))
        for s in values["filters"]
    )
    for name in ("measures", "settings", "notes"):
        values[name] = tuple(values[name])
    return Analysis(**values)


def _numbers(table: pd.DataFrame) -> pd.DataFrame:
    """Give the columns of numbers their type again: JSON's null is NaN there."""
    for name in table.columns:
        if name not in _TEXT and name not in {
            "agrees",
            "reversal",
            "kept",
            "converged",
            "computable",
            "too_few",
            "may_be_best",
        }:
            table[name] = pd.to_numeric(table[name])
    return table


def _plain(value: Any) -> Any:
    """Return a value as JSON knows it; a number that is not finite becomes None."""
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, np.generic):
        value = value.item()
    if value is pd.NA or (isinstance(value, float) and not math.isfinite(value)):
        return None
    return value

"""What third-party measures say of themselves, kept beside their values: pages need it without their package.

A results folder holds it in ``measures.jsonl``, one line per measure; a table ``models.csv`` has it beside it in
``models.measures.json``, a list. Built-in measures are not in either file, since measurebench ships their infos.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from measurebench.core.digests import digest_json
from measurebench.core.errors import BadInputError
from measurebench.core.files import write_atomically
from measurebench.core.info import MeasureInfo
from measurebench.core.infos import info_from_json, measure_infos
from measurebench.core.limits import TEXT_BYTES
from measurebench.core.origins import Origin
from measurebench.core.reading import parse_json
from measurebench.store.joined import JoinedJournal

__all__ = ["FILE", "add_infos", "infos_of", "recorded_infos", "write_infos_beside"]

FILE = "measures.jsonl"


def add_infos(folder: Path, infos: Iterable[tuple[MeasureInfo, Origin]], writer: str = "") -> None:
    """Append the infos of third-party measures to a results folder, each with its origin, unless they are there.

    ``writer`` is the name under which this process shares the folder with others, if it does.
    """
    journal = JoinedJournal(folder / FILE, writer)
    known = {str(line.get("digest")) for line in journal.read()}
    for info, origin in infos:
        value = {"info": asdict(info), "origin": asdict(origin)}
        if (digest := digest_json(value)) not in known:
            journal.append({"digest": digest, **value})


def recorded_infos(source: str | Path) -> dict[str, MeasureInfo]:
    """Return the infos of third-party measures that lie in a results folder or beside a table, by id.

    Of several infos of one measure the last counts. Raises BadInputError for a file that does not hold infos.
    """
    path = Path(source)
    file = path / FILE if path.is_dir() else _beside(path)
    if not path.is_dir() and not file.is_file():
        return {}
    found = {}
    for number, row in enumerate(_rows(file), 1):
        if not isinstance(row, Mapping) or not isinstance(row.get("info"), Mapping):
            raise BadInputError(f"{file}, entry {number}", "an object with the info of a measure", repr(row)[:80])
        info = info_from_json(row["info"], f"{file}, entry {number}")
        found[info.id] = info
    return found


def infos_of(source: str | Path) -> dict[str, MeasureInfo]:
    """Return the infos of all measures of a results folder or a table: the built-in ones and the recorded ones."""
    return {**recorded_infos(source), **measure_infos()}


def write_infos_beside(table: Path, folders: Iterable[Path]) -> Path | None:
    """Write the recorded infos of results folders beside the table made from them; return the file, None for none."""
    infos = {name: info for folder in folders for name, info in recorded_infos(folder).items()}
    file = _beside(table)
    if not infos:
        file.unlink(missing_ok=True)  # of an earlier table of this name
        return None
    rows = [{"info": asdict(info)} for info in infos.values()]
    write_atomically(file, json.dumps(rows, indent=1, ensure_ascii=False).encode() + b"\n")
    return file


def _beside(table: Path) -> Path:
    return table.with_suffix(".measures.json")


def _rows(file: Path) -> list[Any]:
    if file.name == FILE:
        return JoinedJournal(file).read()
    rows = parse_json(file, TEXT_BYTES, "a list of infos of measures")
    return rows if isinstance(rows, list) else [rows]

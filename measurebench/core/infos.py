"""What every measure says of itself, read without torch from a file that is generated from the measures."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from measurebench.core.errors import BadInputError
from measurebench.core.info import FAMILIES, MeasureInfo

__all__ = ["INFOS_FILE", "info_from_json", "infos_text", "measure_infos", "ordered"]

INFOS_FILE = Path(__file__).parent.parent / "measures" / "measure_infos.json"
_TIERS = ("accuracy", "core", "extended", "new")


def measure_infos() -> Mapping[str, MeasureInfo]:
    """Return the info of every built-in measure by id: families in order, core measures first, then by name.

    >>> measure_infos()["path_norm"].family
    'weights'
    """
    rows = json.loads(INFOS_FILE.read_text(encoding="utf-8"))
    return {row["id"]: info_from_json(row, INFOS_FILE.name) for row in rows}


def ordered(infos: Iterable[MeasureInfo]) -> list[MeasureInfo]:
    """Return infos in the order in which they are listed everywhere."""
    return sorted(infos, key=lambda info: (FAMILIES.index(info.family), _TIERS.index(info.tier), info.id))


def infos_text(infos: Iterable[MeasureInfo]) -> str:
    """Return the content of the file that ``measure_infos`` reads."""
    rows = [asdict(info) for info in ordered(infos)]
    return json.dumps(rows, indent=1, ensure_ascii=False) + "\n"


def info_from_json(row: Mapping[str, Any], where: str) -> MeasureInfo:
    """Return the info that ``dataclasses.asdict`` made a JSON object of; lists become tuples again.

    Raises BadInputError, which names ``where``, for a missing or unknown field and for an unknown family.
    """
    known = {field.name for field in fields(MeasureInfo)}
    if unknown := sorted(set(row) - known):
        raise BadInputError(where, "the fields of a measure", f"{unknown[0]!r} besides", "written by a later version?")
    try:
        values: dict[str, Any] = {key: tuple(item) if isinstance(item, list) else item for key, item in row.items()}
        info = MeasureInfo(**values)
    except TypeError as error:
        raise BadInputError(where, "the fields of a measure", str(error).partition("() ")[2]) from None
    if info.family not in FAMILIES or info.tier not in _TIERS:
        raise BadInputError(
            f"{where}: {info.id}",
            f"a family among {', '.join(FAMILIES)} and a tier among {', '.join(_TIERS)}",
            f"{info.family!r} and {info.tier!r}",
        )
    return info

"""What is known of every measure, without torch: written from the measures themselves, and tested to be up to date."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from measurebench.core.info import FAMILIES, MeasureInfo

__all__ = ["INFOS_FILE", "infos_text", "measure_infos", "ordered"]

INFOS_FILE = Path(__file__).parent.parent / "measures" / "measure_infos.json"
_TIERS = ("accuracy", "core", "extended", "new")


def measure_infos() -> Mapping[str, MeasureInfo]:
    """Return the info of every registered measure by id: families in order, core measures first, then by name."""
    rows = json.loads(INFOS_FILE.read_text(encoding="utf-8"))
    return {row["id"]: _info(row) for row in rows}


def ordered(infos: Iterable[MeasureInfo]) -> list[MeasureInfo]:
    """Return infos in the order in which they are listed everywhere."""
    return sorted(infos, key=lambda info: (FAMILIES.index(info.family), _TIERS.index(info.tier), info.id))


def infos_text(infos: Iterable[MeasureInfo]) -> str:
    """Return the content of the file that ``measure_infos`` reads."""
    rows = [asdict(info) for info in ordered(infos)]
    return json.dumps(rows, indent=1, ensure_ascii=False) + "\n"


def _info(row: dict[str, Any]) -> MeasureInfo:
    """Make lists tuples again."""
    fields: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in row.items()}
    return MeasureInfo(**fields)

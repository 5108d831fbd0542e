"""Writes Croissant metadata (version 1.0) of a study's folder: its files with their digests, and every column.

http://mlcommons.org/croissant/1.0. Data loaders and search engines read it as ``croissant.json`` beside the files.
"""

import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from measurebench.core.columns import describe
from measurebench.core.digests import digest_file
from measurebench.core.errors import BadInputError
from measurebench.core.files import write_atomically
from measurebench.core.infos import measure_infos
from measurebench.core.limits import TEXT_BYTES
from measurebench.core.reading import parse_json, read_text
from measurebench.store.tables import read_table

__all__ = ["FILE", "croissant", "write_croissant"]

FILE = "croissant.json"
"""The usual name of the file, inside the folder that it describes."""
_ENCODINGS = {
    ".parquet": "application/x-parquet",
    ".csv": "text/csv",
    ".toml": "application/toml",
    ".md": "text/markdown",
}
_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
# Columns of the other tables of a study, in the words of the data card.
_OTHERS = {
    "n": "number of test images",
    "clean": "images that are right without an attack",
    "pgd": "images that withstand PGD",
    "autoattack": "images that withstand AutoAttack",
    "epoch": "epoch of training, from 1",
    "loss": "training loss of the epoch",
    "seconds": "seconds of training",
    "verdict": "holds, does not hold, or not decided",
    "found": "what the verdict rests on",
}


def write_croissant(folder: Path, out: Path | None = None) -> Path:
    """Write the metadata of a study's folder as ``croissant.json`` inside it, or as ``out``; return the file.

    ``out`` must lie in the folder, since places of files are relative to it. Raises BadInputError otherwise, and for a
    folder without a table of models or without a README.md that names it. A file that is written again keeps its date
    of publication; a new one is of today.
    """
    place = out or folder / FILE
    if place.suffix != ".json" or place.resolve().parent != folder.resolve():
        raise BadInputError("--out", f"a .json file in {folder}, such as {folder / FILE}", str(place))
    found = croissant(folder, leave_out=place.name)
    found["datePublished"] = _date(place) or datetime.now(UTC).date().isoformat()
    content = json.dumps(found, indent=1, ensure_ascii=False)
    write_atomically(place, content.encode() + b"\n")
    return place


def croissant(folder: Path, leave_out: str = FILE) -> dict[str, Any]:
    """Return the metadata of a study's folder as plain values: title and summary from its README.md, files, columns.

    Where a table lies there both as .parquet and as .csv, the columns are those of the .parquet. Raises BadInputError
    for a folder without a table of models or without a README.md that begins with a heading and a paragraph.
    """
    if not (folder / "models.parquet").is_file():
        raise BadInputError(str(folder), "a study's folder with models.parquet and README.md", "no models.parquet")
    title, summary = _title(folder / "README.md")
    files = sorted(path for path in folder.iterdir() if path.suffix in _ENCODINGS and path.name != leave_out)
    models = read_table(folder / "models.parquet")
    version = max(map(str, models["measurebench_version"]), default="") if "measurebench_version" in models else ""
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": folder.resolve().name,
        "description": f"{title}. {summary}",
        "license": "https://spdx.org/licenses/MIT.html",
        "url": "https://pypi.org/project/measurebench/",
        "creator": {"@type": "sc:Organization", "name": "The measurebench developers"},
        "citeAs": _CITATION,
        "version": _semantic(version),
        "keywords": ["adversarial robustness", "robust generalization", "neural networks"],
        "distribution": [_file(path) for path in files],
        "recordSet": [_record_set(path) for path in _tables(files)],
    }


_CITATION = (
    "@software{measurebench, title = {measurebench: measuring what makes neural networks robust}, "
    "author = {{The measurebench developers}}}"
)


def _title(readme: Path) -> tuple[str, str]:
    """Return the first heading and the first paragraph of a data card, without marks and line breaks."""
    expected = "a data card that begins with a heading and a paragraph"
    try:
        text = read_text(readme, TEXT_BYTES, expected)
    except FileNotFoundError:
        raise BadInputError(str(readme), expected, "no such file") from None
    parts = [part for part in re.sub(r"<!--.*?-->", "", text).split("\n\n") if part.strip()]
    if len(parts) < 2 or not parts[0].startswith("# "):
        raise BadInputError(str(readme), expected, repr(text[:40]))
    return parts[0].removeprefix("# ").strip(), " ".join(parts[1].split())


def _date(place: Path) -> str | None:
    """Return the date of publication in an earlier file of the same place, None where there is none."""
    if not place.is_file():
        return None
    earlier = parse_json(place, TEXT_BYTES, "Croissant metadata")
    date = earlier.get("datePublished") if isinstance(earlier, dict) else None
    return date if isinstance(date, str) else None


def _semantic(version: str) -> str:
    """Return a version as three numbers, which Croissant wants."""
    found = re.match(r"(\d+)\.(\d+)(?:\.(\d+))?", version)
    return ".".join(part or "0" for part in found.groups()) if found else "0.0.0"


def _file(path: Path) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": path.name,
        "name": path.name,
        "contentUrl": path.name,
        "contentSize": f"{path.stat().st_size} B",
        "encodingFormat": _ENCODINGS[path.suffix],
        "sha256": digest_file(path),
    }


def _tables(files: Sequence[Path]) -> list[Path]:
    """Return one file of each table that has rows: the .parquet where there are both."""
    kinds = (".csv", ".parquet")  # the later one wins
    found = {path.stem: path for kind in kinds for path in files if path.suffix == kind and _has_rows(path)}
    return [found[stem] for stem in sorted(found, key=lambda stem: (stem != "models", stem))]


def _has_rows(path: Path) -> bool:
    """Tell whether a table holds more than its header, as one of a study too small for its statistics may not."""
    if path.suffix != ".csv":
        return True
    with path.open(encoding="utf-8") as file:
        return sum(1 for _ in zip(file, range(2), strict=False)) > 1


def _record_set(path: Path) -> dict[str, Any]:
    table = read_table(path)
    found = {
        "@type": "cr:RecordSet",
        "@id": path.stem,
        "name": path.stem,
        "description": f"{len(table):,} rows of {path.name}",
        "field": [_field(path, str(name), str(table[name].dtype)) for name in table.columns],
    }
    keyed = "model_id" in table.columns and table["model_id"].is_unique
    return found | ({"key": {"@id": f"{path.stem}/model_id"}} if keyed else {})


def _field(path: Path, name: str, kind: str) -> dict[str, Any]:
    kinds = {"bool": "sc:Boolean", "int64": "sc:Integer", "float64": "sc:Float"}
    return {
        "@type": "cr:Field",
        "@id": f"{path.stem}/{name}",
        "name": name,
        "description": _description(name),
        "dataType": kinds.get(kind, "sc:Text"),
        "source": {"fileObject": {"@id": path.name}, "extract": {"column": name}},
    }


def _description(name: str) -> str:
    """Return what a column holds: the definition of a measure, or the title of another column."""
    info = measure_infos().get(name)
    if info is not None:
        return f"{info.title}: {info.formula}"
    return _OTHERS.get(name) or describe(name).title

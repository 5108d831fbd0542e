"""Reads tables as people keep them: CSV of any separator and encoding, compressed or not, and Excel workbooks.

What was changed on the way, such as a cell "n/a?" among numbers that was taken for missing, is told by ``notes_of``.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from measurebench.core.columns import NOTES, describe, names_of
from measurebench.core.errors import BadInputError
from measurebench.core.limits import COLUMNS, EXPANSION, NAME_LENGTH, TABLE_BYTES, TABLE_CELLS
from measurebench.core.reading import check_file
from measurebench.store.csv_text import without_marks

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["as_numbers", "check_size", "read_csv", "read_excel", "separator"]

_TEXTS = ("model_id", "run", "cluster", "config_digest")  # names that may look like numbers: 001 is not 1
_NAMES = {name for name in (*names_of("identity"), *_TEXTS) if describe(name).format == "text"}

_SEPARATORS = (",", ";", "\t", "|")
_SAMPLE_ROWS = 50  # enough to tell separators apart; a file may have millions of rows
_GZIP = b"\x1f\x8b"
_MARKS = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}
_NO_TEXT = re.compile(r"[\x00-\x08\x0e-\x1f]")  # control characters other than tabs and ends of lines

# What people write where they have no number; compared in lower case, without anything but letters and digits.
_MISSING_WORDS = frozenset(
    {
        "",
        "na",
        "nan",
        "none",
        "null",
        "missing",
        "unknown",
        "notavailable",
        "notmeasured",
        "tbd",
        "div0",
        "ref",
        "value",
    }
    | {"oom", "outofmemory", "failed", "diverged", "timeout", "error"}
)
_PLAIN = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_DECIMAL_COMMA = re.compile(r"[+-]?(\d+|\d{1,3}(\.\d{3})+),\d+([eE][+-]?\d+)?")
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+(\.\d+)?")
_POINT_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(\.\d{3}){2,}|[+-]?[1-9]\d{0,2}\.\d{3}")
_PERCENT = re.compile(r"(?P<number>.*\d)\s*%")


def _exactly(pandas_version: str) -> dict[str, str]:
    """Return the option by which pandas reads a number as Python does; before 3.1 it may miss the last digit.

    >>> _exactly("2.2.2"), _exactly("3.1.1")
    ({'float_precision': 'round_trip'}, {})
    """
    older = tuple(int(part) for part in pandas_version.split(".")[:2]) < (3, 1)
    return {"float_precision": "round_trip"} if older else {}


def read_csv(path: Path) -> pd.DataFrame:
    """Return a table of text: comma, semicolon, tab or bar between cells; UTF-8, UTF-16 or Latin-1; gzip or not.

    Names are read as they are written: a defense may be called None, and 001 is an id. Decimal commas and signs of
    percent are read as numbers. Raises BadInputError for what is no text, has two columns of one name, or is too large.
    """
    import pandas as pd

    text, told = _decoded(_content(path), path)
    _check_text(text, path)
    mark = separator(text)
    _check_names(_header(text, mark), path)
    texts = dict.fromkeys(_TEXTS, str)
    options: dict[str, Any] = {"sep": mark, "dtype": texts, **_exactly(pd.__version__)}
    table = pd.read_csv(io.StringIO(text, newline=""), keep_default_na=False, na_values=["", "nan", "NaN"], **options)
    usual = pd.read_csv(io.StringIO(text, newline=""), **options)  # NA and None are missing: right among numbers alone
    values = [name for name in map(str, usual.columns) if name not in _NAMES and _holds_values(usual[name])]
    table = without_marks(table.assign(**{name: usual[name] for name in values}))
    if not isinstance(table.index, pd.RangeIndex):
        raise BadInputError(
            str(path), "as many cells in each row as the first row has names", "more", f"separator {mark!r}"
        )
    table.columns = table.columns.map(lambda name: name.strip() if isinstance(name, str) else name)
    return _with_notes(as_numbers(table, european=mark == ";"), told)


def read_excel(path: Path) -> pd.DataFrame:
    """Return the first sheet of an Excel workbook that has any cell; its first row has the names.

    Raises BadInputError where openpyxl is missing or cannot read the file, for two columns of one name, and for a
    workbook that is too large.
    """
    try:
        import openpyxl
    except ModuleNotFoundError:
        raise BadInputError(
            str(path),
            "the package openpyxl, which reads Excel files",
            "none installed",
            "`pip install 'measurebench[excel]'`",
        ) from None
    import pandas as pd

    check_file(path, TABLE_BYTES, "an Excel workbook")
    content = path.read_bytes()
    _check_archive(content, path)
    try:
        book = openpyxl.load_workbook(io.BytesIO(content), read_only=True, data_only=True)
        sheets = [sheet.title for sheet in book.worksheets]
        name, rows = next(((s.title, found) for s in book.worksheets if (found := _rows(s, path))), ("", []))
    except BadInputError:
        raise
    except Exception as error:  # a broken workbook makes openpyxl raise whatever its XML meets
        raise BadInputError(str(path), "an Excel workbook", f"{type(error).__name__}: {error}") from error
    if len(rows) < 2:
        raise BadInputError(str(path), "a sheet with names in its first row and a row per model", "an empty one")
    heads = ["" if head is None else str(head).strip() for head in rows[0]]
    _check_names(heads, path)
    kept = [k for k, head in enumerate(heads) if head]
    table = pd.DataFrame({heads[k]: [row[k] for row in rows[1:]] for k in kept}).infer_objects()
    table = table.assign(**{n: table[n].map(_name_text, na_action="ignore") for n in _NAMES if n in table.columns})
    others = f"Read the sheet {name!r}, the first with cells of {len(sheets)} sheets." if len(sheets) > 1 else ""
    return _with_notes(as_numbers(table, typed=True), [others] if others else [])


def _name_text(value: Any) -> str:
    """Return a name as text; Excel keeps the run 3 as the number 3.0."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _rows(sheet: Any, path: Path) -> list[tuple[Any, ...]]:
    """Return the rows of a sheet that hold anything, without errors of formulas."""
    found, n_cells = [], 0
    for row in sheet.iter_rows(values_only=True):
        n_cells += len(row)
        COLUMNS.check(len(row), str(path))
        TABLE_CELLS.check(n_cells, str(path))
        if any(cell is not None and cell != "" for cell in row):
            found.append(tuple(None if cell == "" else cell for cell in row))
    return found


def _check_archive(content: bytes, path: Path) -> None:
    """Refuse a workbook that unpacks to far more than it holds."""
    import zipfile

    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            TABLE_BYTES.check(sum(entry.file_size for entry in archive.infolist()), str(path))
    except zipfile.BadZipFile:
        hint = "save an older file (.xls) as .xlsx or .csv"
        raise BadInputError(str(path), "an Excel workbook (.xlsx)", "another kind of file", hint) from None


def separator(text: str) -> str:
    r"""Return what stands between the cells of a text: the separator that gives every row as many cells as the first.

    Of several the one with most cells; a comma where none does.

    >>> separator("name;gap\nm1;0,5\nm2;0,3"), separator("name,gap\nm1,0.5"), separator("name\tgap\nm1\t0.5")
    (';', ',', '\t')
    """
    lines = text.split("\n", _SAMPLE_ROWS + 1)[: _SAMPLE_ROWS + 1]
    lines = lines[:-1] if len(lines) > _SAMPLE_ROWS else lines  # the last may be cut off in quotes
    widths = {mark: [len(row) for row in csv.reader(lines, delimiter=mark) if row] for mark in _SEPARATORS}
    several = {mark: found for mark, found in widths.items() if found and found[0] > 1}
    regular = {mark: found for mark, found in several.items() if len(set(found)) == 1}
    chosen = regular or several
    return max(chosen, key=lambda mark: chosen[mark][0]) if chosen else ","


def _header(text: str, mark: str) -> list[str]:
    return next((row for row in csv.reader(io.StringIO(text, newline=""), delimiter=mark) if row), [])


def _check_names(names: Sequence[str], path: Path) -> None:
    """Refuse a second column of one name: nobody could say which of them was judged."""
    counts = Counter(name.strip() for name in names if name.strip())
    if repeated := [name for name, n in counts.items() if n > 1]:
        raise BadInputError(str(path), "every column name once", f"{repeated[0]!r} {_times(counts[repeated[0]])}")


def _times(number: int) -> str:
    return "twice" if number == 2 else f"{number} times"


def _content(path: Path) -> bytes:
    """Return the bytes of a file, unpacked where it is compressed with gzip."""
    check_file(path, TABLE_BYTES, "a table of text")
    content = path.read_bytes()  # with a limit it would take room for as many bytes as the limit allows
    if not content.startswith(_GZIP):
        return content
    unpacking = zlib.decompressobj(wbits=31)
    try:
        found = unpacking.decompress(content, min(TABLE_BYTES.allowed, EXPANSION.allowed * len(content)) + 1)
    except zlib.error as error:
        raise BadInputError(str(path), "a file compressed with gzip", str(error)) from error
    TABLE_BYTES.check(len(found), str(path))
    EXPANSION.check(-(-len(found) // len(content)), str(path))
    if not unpacking.eof:
        raise BadInputError(str(path), "a whole file compressed with gzip", "one that ends too early")
    return found


def _decoded(content: bytes, path: Path) -> tuple[str, list[str]]:
    """Return the text of a file and notes; bytes that are no UTF-8 or UTF-16 are taken for Windows-1252."""
    encoding = next((name for mark, name in _MARKS.items() if content.startswith(mark)), "")
    if not encoding and len(content) > 3 and content[1::2][:50].count(0) * 2 > len(content[1::2][:50]):
        encoding = "utf-16-le"
    try:
        text, told = content.decode(encoding or "utf-8").removeprefix("\ufeff"), []
    except UnicodeDecodeError:
        text = content.decode("cp1252", errors="replace")
        told = ["The file is not UTF-8; it was read as Windows-1252, which includes Latin-1."]
    if found := _NO_TEXT.search(text):
        raise BadInputError(
            str(path), "a table of text", f"the character {found.group()!r}", "is it another kind of file?"
        )
    return text, told


def _check_text(text: str, path: Path) -> None:
    """Count columns and cells before anything makes a name and a type for each; separators in quotes count too."""
    first = text.partition("\n")[0]
    COLUMNS.check(max(map(first.count, _SEPARATORS)) + 1, str(path))
    TABLE_CELLS.check(max(map(text.count, _SEPARATORS)) + text.count("\n"), str(path))


def check_size(n_rows: int, names: Sequence[str], path: Path) -> None:
    """Refuse tables that are too large, and columns whose names are. Raises LimitError."""
    COLUMNS.check(len(names), str(path))
    TABLE_CELLS.check(n_rows * len(names), str(path))
    NAME_LENGTH.check(max(map(len, names), default=0), f"{path}: a column")


def _holds_values(column: pd.Series[Any]) -> bool:
    """Tell a column of numbers or truth values, some perhaps missing, from names and from an empty one."""
    from pandas.api.types import infer_dtype

    return infer_dtype(column, skipna=True) in ("integer", "floating", "boolean") and bool(column.notna().any())


def as_numbers(table: pd.DataFrame, *, european: bool = False, typed: bool = False) -> pd.DataFrame:
    """Return a table in which columns of text that hold numbers are numbers, with a note for each change.

    Understood are decimal commas, separated thousands, signs of percent (divided by 100, unless the name of the column
    has the sign too) and words for missing such as "n/a" and "-". A column with any other text stays as it is, and so
    do names. ``european`` says that commas are decimal where they might as well separate thousands; ``typed`` says that
    the file tells numbers from text, as JSON does: one number then makes a column one of numbers, while elsewhere more
    cells than not have to be numbers.

    >>> import pandas as pd
    >>> as_numbers(pd.DataFrame({"x": ["0,5", "n/a?", "1,25"]}))["x"].tolist()
    [0.5, nan, 1.25]
    """
    import pandas as pd
    from pandas.api.types import is_bool_dtype, is_numeric_dtype

    texts = {
        name: [cell.strip() if isinstance(cell, str) else cell for cell in table[name]]
        for name in map(str, table.columns)
        if name not in _NAMES
        and name in table.columns
        and not is_numeric_dtype(table[name].dtype)
        and not is_bool_dtype(table[name].dtype)
    }
    european = european or any(_is_european(cells) for cells in texts.values())
    told: list[str] = []
    changed = {name: found for name, cells in texts.items() if (found := _numbers(name, cells, european, typed, told))}
    new = {name: pd.Series(cells, index=table.index, dtype="float64") for name, cells in changed.items()}
    return _with_notes(table.assign(**new), told) if new else table


def _is_european(cells: Iterable[Any]) -> bool:
    """Say whether a cell has a comma that can only be a decimal one."""
    texts = [cell.removesuffix("%").strip() for cell in cells if isinstance(cell, str)]
    return any(_DECIMAL_COMMA.fullmatch(text) and not _THOUSANDS.fullmatch(text) for text in texts)


def _numbers(
    name: str, cells: Sequence[Any], european: bool, typed: bool, told: list[str]
) -> list[float | None] | None:
    """Return a column as numbers, or None where it is none of numbers; what was changed goes to ``told``."""
    n_typed = sum(isinstance(c, int | float) and c == c for c in cells)
    sure = typed and n_typed > 0
    written = [c for c in cells if isinstance(c, str) and (c or sure)]
    no_number = [
        c for c in written if not re.search(r"\d", c) and re.sub(r"[^a-z0-9]", "", c.lower()) in _MISSING_WORDS
    ]
    rest = [c for c in written if c not in set(no_number)]
    if any(not isinstance(c, str | int | float) and c is not None for c in cells) or any(
        isinstance(c, bool) for c in cells
    ):
        return None
    known = n_typed + len(rest)
    if not written or (known <= len(no_number) and not sure):
        return None
    percent = [found["number"].strip() for c in rest if (found := _PERCENT.fullmatch(c))]
    if percent and len(percent) != known:
        return None
    read = _reader(percent or rest, european)
    if read is None:
        return None
    divided = bool(percent) and "%" not in name  # a column called "gap (%)" holds what its name says
    told += _told(name, no_number, percent or rest, divided)
    scale = 100.0 if divided else 1.0
    missing = set(no_number) | {""}
    return [_cell(cell, missing, read, scale) for cell in cells]


def _cell(cell: Any, missing: set[str], read: Callable[[str], float], scale: float) -> float | None:
    if cell is None or cell in missing:
        return None
    return read(cell.rstrip("%").strip()) / scale if isinstance(cell, str) else float(cell)


def _reader(cells: Sequence[str], european: bool) -> Callable[[str], float] | None:
    """Return how to read the numbers of a column, or None where one of its cells is no number."""
    commas = [c for c in cells if "," in c]
    if european and (commas or all(map(_POINT_THOUSANDS.fullmatch, cells))):
        forms: tuple[re.Pattern[str], ...] = (_DECIMAL_COMMA, _PLAIN, _POINT_THOUSANDS)
        if all(any(form.fullmatch(c) for form in forms) for c in cells):
            return lambda c: float(c.replace(".", "").replace(",", ".") if "," in c or c.count(".") > 1 else c)
    if all(_PLAIN.fullmatch(c) or _THOUSANDS.fullmatch(c) for c in cells):
        return lambda c: float(c.replace(",", ""))
    return None


def _told(name: str, missing: Sequence[str], numbers: Sequence[str], percent: bool) -> list[str]:
    """Return notes on how a column was read."""
    notes = []
    if missing:
        words = ", ".join(repr(word) for word in dict.fromkeys(missing))
        entries = "1 entry" if len(missing) == 1 else f"{len(missing)} entries"
        notes.append(f"Column {name}: {entries} ({words}) taken for missing.")
    if commas := [c for c in numbers if "," in c]:
        notes.append(f"Column {name} was read with commas in its numbers, such as {commas[0]!r}.")
    if percent:
        notes.append(f"Column {name} has signs of percent; its numbers were divided by 100.")
    return notes


def _with_notes(table: pd.DataFrame, told: Sequence[str]) -> pd.DataFrame:
    """Return a table that carries notes on how it was read."""
    if told:
        table.attrs[NOTES] = [*told, *table.attrs.get(NOTES, [])]
    return table

"""Tables as people keep them: separators, encodings, decimal commas, signs of percent, words for missing, Excel."""

import gzip
from pathlib import Path

import pandas as pd
import pytest

from measurebench.core.columns import NOTES
from measurebench.core.errors import BadInputError
from measurebench.store.table_reading import as_numbers, separator
from measurebench.store.tables import read_table

PLAIN = "name,gap,path_norm\nMüller,0.5,1\nb,0.25,2.5\n"
VALUES = {"name": ["Müller", "b"], "gap": [0.5, 0.25], "path_norm": [1.0, 2.5]}
EUROPEAN = "name;gap;path_norm\nMüller;0,5;1\nb;0,25;2,5\n"


def read(path: Path, content: str | bytes) -> pd.DataFrame:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_table(path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.csv", PLAIN.encode()),
        ("T.CSV", PLAIN.encode()),
        ("t.csv", PLAIN.replace("\n", "\r\n").encode()),
        ("t.csv", b"\xef\xbb\xbf" + PLAIN.encode()),
        ("t.csv", PLAIN.encode("utf-16")),
        ("t.csv", PLAIN.encode("utf-16-le")),
        ("t.csv", b"\xfe\xff" + PLAIN.encode("utf-16-be")),
        ("t.csv", PLAIN.encode("latin-1")),
        ("t.csv", PLAIN.replace(",", ";").encode()),
        ("t.tsv", PLAIN.replace(",", "\t").encode()),
        ("t.txt", PLAIN.replace(",", "\t").encode()),
        ("t.csv", EUROPEAN.encode()),
        ("t.csv", EUROPEAN.encode("cp1252")),
        ("t.tsv", EUROPEAN.replace(";", "\t").encode("utf-16")),
        ("t.csv.gz", gzip.compress(PLAIN.encode(), mtime=0)),
        ("t.tsv.gz", gzip.compress(EUROPEAN.replace(";", "\t").encode(), mtime=0)),
        ("t.csv", gzip.compress(PLAIN.encode(), mtime=0)),
    ],
)
def test_every_form_of_a_table_of_text_holds_the_same_numbers(name: str, content: bytes, tmp_path: Path) -> None:
    table = read(tmp_path / name, content)
    assert table.to_dict("list") == VALUES


def test_latin_1_and_decimal_commas_are_told(tmp_path: Path) -> None:
    notes = read(tmp_path / "t.csv", EUROPEAN.encode("latin-1")).attrs[NOTES]
    assert notes == [
        "The file is not UTF-8; it was read as Windows-1252, which includes Latin-1.",
        "Column gap was read with commas in its numbers, such as '0,5'.",
        "Column path_norm was read with commas in its numbers, such as '2,5'.",
    ]
    assert NOTES not in read(tmp_path / "t.csv", PLAIN).attrs


@pytest.mark.parametrize(
    ("text", "mark"),
    [
        ("a,b\n1;2,3;4\n", ","),
        ("a;b\n1,5;2,5\n", ";"),
        ("a\tb\nx, y\tz\n", "\t"),
        ('a,"b;c;d"\n1,2\n', ","),
        ("a;b,c;d\n1;2;3\n", ";"),
        ("alone\n1\n", ","),
        ("", ","),
    ],
)
def test_the_separator_gives_every_row_as_many_cells_as_the_first(text: str, mark: str) -> None:
    assert separator(text) == mark


@pytest.mark.parametrize(
    ("cells", "numbers"),
    [
        (["0,5", "1,25"], [0.5, 1.25]),
        (["1.234,5", "0,5"], [1234.5, 0.5]),
        (["11,173,962", "1,024"], [11173962.0, 1024.0]),
        (["1,234.5", "12"], [1234.5, 12.0]),
        (["12.5%", "50 %"], [0.125, 0.5]),
        (["12,5 %", "50 %"], [0.125, 0.5]),
        (["-1,5e-3", "2"], [-0.0015, 2.0]),
        (["-", "1", "2"], [None, 1.0, 2.0]),
        (["n/a?", "1,5", "2"], [None, 1.5, 2.0]),
    ],
)
def test_numbers_written_in_other_ways_are_numbers(cells: list[str], numbers: list[float | None]) -> None:
    found = as_numbers(pd.DataFrame({"x": cells}))["x"]
    assert [None if pd.isna(value) else value for value in found] == numbers


def test_a_comma_before_three_digits_follows_the_rest_of_the_table() -> None:
    alone = pd.DataFrame({"x": ["1,234", "5,678"]})
    assert as_numbers(alone)["x"].tolist() == [1234.0, 5678.0]
    assert as_numbers(alone, european=True)["x"].tolist() == [1.234, 5.678]
    assert as_numbers(alone.assign(y=["0,5", "2,5"]))["x"].tolist() == [1.234, 5.678]


@pytest.mark.parametrize(
    "cells", [["1", "2", "large"], ["5%", "3", "2"], ["-", "none", "1"], ["2024-01-02", "1", "2"], ["1,2,3", "1", "2"]]
)
def test_a_column_with_any_other_text_stays_as_it_is(cells: list[str]) -> None:
    table = as_numbers(pd.DataFrame({"x": cells}))
    assert table["x"].tolist() == cells
    assert NOTES not in table.attrs


def test_names_stay_names() -> None:
    cells = {"model_id": ["1,5", "-"], "defense": ["0,5", "-"], "run": ["5%", "6%"]}
    assert as_numbers(pd.DataFrame(cells)).to_dict("list") == cells


def test_what_was_taken_for_missing_is_told_with_its_column_and_number(tmp_path: Path) -> None:
    table = read(tmp_path / "t.csv", "name,a,b\nm1,1,OOM\nm2,-,3\nm3,n/a?,4\nm4,2,5\nm5,2,5\n")
    assert table["a"].isna().tolist() == [False, True, True, False, False]
    assert table.attrs[NOTES] == [
        "Column a: 2 entries ('-', 'n/a?') taken for missing.",
        "Column b: 1 entry ('OOM') taken for missing.",
    ]


@pytest.mark.parametrize("name", ["t.csv", "t.tsv"])
def test_a_second_column_of_one_name_is_refused(name: str, tmp_path: Path) -> None:
    mark = "\t" if name.endswith(".tsv") else ","
    with pytest.raises(BadInputError, match="expected every column name once, got 'a' twice"):
        read(tmp_path / name, "name,a, a\nx,1,2\n".replace(",", mark))


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("t.csv", b"PK\x03\x04\x00\x00\x00", "expected a table of text"),
        ("t.csv.gz", gzip.compress(PLAIN.encode(), mtime=0)[:-9], "one that ends too early"),
        ("t.csv.gz", b"\x1f\x8b\x08 broken", "compressed with gzip"),
        ("t.xls", b"", "save an .xls as .xlsx"),
        ("t.xlsx", b"no archive", "another kind of file|openpyxl"),
        ("t.parquet.gz", gzip.compress(b"", mtime=0), "expected a results folder or a table"),
    ],
)
def test_what_cannot_be_read_is_refused_in_words(name: str, content: bytes, told: str, tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=told):
        read(tmp_path / name, content)


def test_a_bomb_of_gzip_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="times its size when it is unpacked"):
        read(tmp_path / "t.csv.gz", gzip.compress(b"a,b\n" + b"0,0\n" * 2_000_000, mtime=0))


def workbook(path: Path, **sheets: list[list[object]]) -> Path:
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    book.remove(book.active)
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(row)
    book.save(path)
    return path


def test_an_excel_sheet_holds_the_same_numbers(tmp_path: Path) -> None:
    rows: list[list[object]] = [["name", "gap", "path_norm"], ["Müller", 0.5, 1], ["b", 0.25, 2.5], [None, None, None]]
    table = read_table(workbook(tmp_path / "t.xlsx", Read=[], Models=rows))
    assert table.to_dict("list") == VALUES
    assert table.attrs[NOTES] == ["Read the sheet 'Models', the first with cells of 2 sheets."]


def test_text_in_an_excel_sheet_is_read_as_in_csv(tmp_path: Path) -> None:
    rows: list[list[object]] = [["model_id", "gap", "x"], [1, "0,5", "-"], [2, "0,25", 3], [3, 0.1, 4]]
    table = read_table(workbook(tmp_path / "t.xlsx", Models=rows))
    assert table["model_id"].tolist() == ["1", "2", "3"]
    assert table["gap"].tolist() == [0.5, 0.25, 0.1]
    assert table["x"].isna().tolist() == [True, False, False]


def test_an_excel_sheet_with_two_columns_of_one_name_or_without_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="got 'a' twice"):
        read_table(workbook(tmp_path / "t.xlsx", A=[["a", "a"], [1, 2]]))
    with pytest.raises(BadInputError, match="a row per model, got an empty one"):
        read_table(workbook(tmp_path / "t.xlsx", A=[["a", "b"]]))


def test_without_openpyxl_it_is_said_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "openpyxl", None)
    with pytest.raises(BadInputError, match=r"expected the package openpyxl.*pip install 'measurebench\[excel\]'"):
        read(tmp_path / "t.xlsx", "")


def test_a_column_whose_name_has_the_sign_of_percent_stays_in_percent() -> None:
    table = as_numbers(pd.DataFrame({"Gap (%)": ["9.9 %", "12 %"], "gap": ["9.9 %", "12 %"]}))
    assert table["Gap (%)"].tolist() == [9.9, 12.0]
    assert table["gap"].tolist() == pytest.approx([0.099, 0.12])
    assert table.attrs["notes"] == ["Column gap has signs of percent; its numbers were divided by 100."]

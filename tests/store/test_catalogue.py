from pathlib import Path
from typing import Any

import pytest

from measurebench.core.columns import NOTES
from measurebench.core.errors import BadInputError
from measurebench.core.files import file_name
from measurebench.store.catalogue import checked_entry
from measurebench.store.tables import read_table

KEY = {"model_id": "a", "model_digest": "d", "config_digest": "c"}


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({}, "here: expected the field 'model_id', got an entry without it"),
        ({"model_id": "a"}, "here: expected the field 'model_digest', got an entry without it"),
        ({"model_id": "a", "model_digest": "d"}, "here: expected the field 'config_digest', got an entry without it"),
        (KEY | {"model_id": 5}, "here: model_id: expected text, got 5"),
        (KEY | {"settings": None}, "settings: expected an object, got None"),
        (KEY | {"settings": {"steps": 2**63}}, "steps: expected a finite number of at most 64 bits"),
        (KEY | {"settings": {"steps": [1]}}, "settings: steps: expected text, a number"),
        (KEY | {"notes": [1]}, "notes: expected a list of text, got 1"),
        (KEY | {"radius": "8/255"}, "radius: expected a number or null, got '8/255'"),
        (KEY | {"n_train": True}, "n_train: expected a whole number or null, got True"),
        (KEY | {"defense": "\ud800"}, "defense: expected text in UTF-8"),
    ],
)
def test_an_entry_with_a_wrong_field_is_named(entry: dict[str, Any], words: str) -> None:
    with pytest.raises(BadInputError) as caught:
        checked_entry(entry, "here")
    assert words in str(caught.value)


def test_fields_of_later_versions_pass() -> None:
    entry = KEY | {"something": {"new": [1]}, "n_train": 5, "radius": 0.1, "settings": {"steps": 10}}
    assert checked_entry(entry, "here") is entry


def test_long_ids_have_file_names_that_a_disk_takes_and_that_differ() -> None:
    names = {file_name("é" * 100 + end) for end in ("", "a", "b")} | {file_name("x" * 5000)}
    assert len(names) == 4
    assert max(len(name.encode()) for name in names) <= 180
    assert file_name("a" * 180) == "a" * 180
    assert "%FF" in file_name("n\udcff")


@pytest.mark.parametrize("word", ["N/A", "", " NA ", "nan", "-"])
def test_words_for_a_missing_number_in_a_json_table_are_missing(word: str, tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text(f'[{{"model_id": "NA", "x": 1.5}}, {{"model_id": "b", "x": "{word}"}}]')
    table = read_table(tmp_path / "t.json")
    assert table["x"].dtype == float
    assert table["x"].isna().tolist() == [False, True]
    assert table["model_id"].tolist() == ["NA", "b"]
    assert table.attrs[NOTES] == [f"Column x: 1 entry ({word.strip()!r}) taken for missing."]


def test_other_words_in_a_json_table_stay(tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text('[{"x": 1.5, "y": "N/A"}, {"x": "broken", "y": "N/A"}]')
    table = read_table(tmp_path / "t.json")
    assert table["x"].tolist() == [1.5, "broken"]
    assert table["y"].tolist() == ["N/A", "N/A"]

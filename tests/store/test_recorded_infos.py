from dataclasses import replace
from pathlib import Path

import pytest

from measurebench.core.errors import BadInputError
from measurebench.core.info import MeasureInfo
from measurebench.core.infos import measure_infos
from measurebench.core.origins import Origin
from measurebench.store.recorded_infos import FILE, add_infos, infos_of, recorded_infos, write_infos_beside

MINE = replace(measure_infos()["local_lip"], id="mine", title="Mine", variants={})
ORIGIN = Origin("other-package", "1.0", sha256="ab" * 32)


def infos(*added: MeasureInfo) -> list[tuple[MeasureInfo, Origin]]:
    return [(info, ORIGIN) for info in added]


def test_a_folder_keeps_what_a_measure_says_of_itself(tmp_path: Path) -> None:
    add_infos(tmp_path, infos(MINE))
    assert recorded_infos(tmp_path) == {"mine": MINE}
    assert infos_of(tmp_path) == {"mine": MINE, **measure_infos()}


def test_the_same_info_is_written_once_and_a_new_one_supersedes_it(tmp_path: Path) -> None:
    for _ in range(2):
        add_infos(tmp_path, infos(MINE))
    assert len((tmp_path / FILE).read_text().splitlines()) == 1
    add_infos(tmp_path, infos(replace(MINE, title="Renamed")))
    assert recorded_infos(tmp_path)["mine"].title == "Renamed"


def test_a_folder_or_table_without_third_party_measures_has_none(tmp_path: Path) -> None:
    assert recorded_infos(tmp_path) == {}
    assert recorded_infos(tmp_path / "models.csv") == {}
    assert infos_of(tmp_path) == measure_infos()


def test_a_third_party_info_does_not_replace_a_built_in_one(tmp_path: Path) -> None:
    add_infos(tmp_path, infos(replace(MINE, id="path_norm")))
    assert infos_of(tmp_path)["path_norm"] == measure_infos()["path_norm"]


def test_a_table_gets_the_infos_of_all_its_folders(tmp_path: Path) -> None:
    other = replace(MINE, id="other")
    for name, info in (("a", MINE), ("b", other)):
        (tmp_path / name).mkdir()
        add_infos(tmp_path / name, infos(info))
    table = tmp_path / "models.parquet"
    assert write_infos_beside(table, [tmp_path / "a", tmp_path / "b"]) == tmp_path / "models.measures.json"
    assert recorded_infos(table) == {"mine": MINE, "other": other}


def test_a_table_without_third_party_measures_loses_the_infos_of_an_earlier_one(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    add_infos(tmp_path / "a", infos(MINE))
    table = tmp_path / "models.csv"
    write_infos_beside(table, [tmp_path / "a"])
    (tmp_path / "b").mkdir()
    assert write_infos_beside(table, [tmp_path / "b"]) is None
    assert recorded_infos(table) == {}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[1]", "entry 1: expected an object with the info of a measure, got 1"),
        ('[{"info": {"id": "x"}}]', "entry 1: expected the fields of a measure"),
        ("{", "expected a list of infos of measures"),
        ('{"a": 1}', "expected an object with the info of a measure"),
    ],
)
def test_a_damaged_file_is_an_error_that_names_the_entry(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "models.measures.json").write_text(content)
    with pytest.raises(BadInputError, match=message):
        recorded_infos(tmp_path / "models.csv")

"""The status of a results folder: counts that add up, reasons that are kept."""

from pathlib import Path

import pytest

import measurebench
from measurebench.core.columns import describe
from measurebench.core.errors import BadInputError
from measurebench.store.folder import ResultsFolder
from measurebench.store.status import Flagged, Unmeasured, read_status
from measurebench.store.tables import read_table
from tests.store.test_folder import record
from tests.store.test_tables import ENTRY


def test_counts_and_reasons_of_each_model(tmp_path: Path) -> None:
    with ResultsFolder.writing(tmp_path / "out", "0") as folder:
        folder.add_model(ENTRY | {"model_id": "b"})
        folder.add_model(ENTRY | {"model_id": "a"})
        folder.add_record(record(model_id="a"))
        folder.add_record(record(model_id="a", measure="path_norm", status="undefined", value=None, reason="no start"))
        folder.add_record(record(model_id="b", measure="local_lip", status="failed", value=None, reason="no memory"))
    first, second = measurebench.read_status(tmp_path / "out")
    assert (first.id, first.measured, first.failed) == ("a", 1, ())
    assert first.undefined == (Unmeasured("path_norm", "train", "no start"),)
    assert first.done == (("average_ce", "train"), ("path_norm", "train"))
    assert first.missing == (("local_lip", "train"),)
    assert (second.id, second.measured, second.missing) == ("b", 0, first.done)
    assert second.failed == (Unmeasured("local_lip", "train", "no memory"),)


def test_a_model_that_cannot_be_loaded_says_so_first(tmp_path: Path) -> None:
    with ResultsFolder.writing(tmp_path / "out", "0") as folder:
        folder.add_model(ENTRY | {"failure": "ModelError: broken"})
        folder.add_record(record(measure="load", status="failed", value=None, reason="ModelError: broken"))
    (only,) = read_status(tmp_path / "out")
    assert only.failed == (Unmeasured("load", "", "ModelError: broken"),)
    assert (only.done, only.missing, only.measured) == ((), (), 0)


def test_every_configuration_of_a_model_counts_the_latest_first(tmp_path: Path) -> None:
    old_entry = ENTRY | {"config_digest": "old", "norm": "Linf", "radius": 2 / 255}
    with ResultsFolder.writing(tmp_path / "out", "0") as folder:
        folder.add_record(record(config_digest="old", measure="path_norm"))
        folder.add_model(old_entry)
        folder.add_record(record())
        folder.add_model(ENTRY)
    latest, old = read_status(tmp_path / "out")
    assert latest.done == (("average_ce", "train"),)
    assert (old.done, old.threat, old.config_digest) == ((("path_norm", "train"),), "Linf 2/255", "old")
    with ResultsFolder.writing(tmp_path / "out", "0") as folder:
        folder.add_model(old_entry)
    assert [status.config_digest for status in read_status(tmp_path / "out")] == ["old", latest.config_digest]


def test_a_configuration_of_earlier_weights_is_superseded(tmp_path: Path) -> None:
    with ResultsFolder.writing(tmp_path / "out", "0") as folder:
        folder.add_model(ENTRY | {"config_digest": "old", "model_digest": "earlier"})
        folder.add_model(ENTRY)
    (only,) = read_status(tmp_path / "out")
    assert only.config_digest != "old"


def test_json_has_a_key_for_each_fact(tmp_path: Path) -> None:
    with ResultsFolder.writing(tmp_path / "out", "0") as folder:
        folder.add_model(ENTRY)
    (only,) = read_status(tmp_path / "out")
    expected = {"id", "measured", "undefined", "failed", "done", "missing", "flagged", "threat", "config_digest"}
    assert set(only.to_json()) == expected


def test_a_folder_without_results_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="expected a results folder"):
        read_status(tmp_path)


def test_warnings_of_autoattack_stand_in_the_status_and_in_the_table(tmp_path: Path) -> None:
    told = record(measure="autoattack_accuracy", split="test", diagnostics={"flags": "its outputs differ"})
    with ResultsFolder.writing(tmp_path / "out", "0") as folder:
        folder.add_model(ENTRY)
        folder.add_record(told)
    (only,) = read_status(tmp_path / "out")
    assert only.flagged == (Flagged("autoattack_accuracy", "test", "its outputs differ"),)
    table = read_table(tmp_path / "out")
    assert table["autoattack_flags"].tolist() == ["its outputs differ"]
    assert describe("autoattack_flags").role == "status"


def test_warnings_of_any_attack_have_a_column(tmp_path: Path) -> None:
    with ResultsFolder.writing(tmp_path / "out", "0") as folder:
        folder.add_model(ENTRY)
        for attack, told in (("pgd", "its outputs are NaN"), ("square", ""), ("fgsm", "it left the ball")):
            folder.add_record(record(measure=f"{attack}_accuracy", split="test", diagnostics={"flags": told}))
    table = read_table(tmp_path / "out")
    assert table["pgd_flags"].tolist() == ["its outputs are NaN"]
    assert table["fgsm_flags"].tolist() == ["it left the ball"]
    assert "square_flags" not in table.columns

"""The published table of the digits study: what it must contain whichever part of the grid is measured so far."""

import runpy

import pandas as pd
import pytest

from measurebench.core.paths import data_folder
from measurebench.training.grid import read_grid

FOLDER = data_folder("digits-study")


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return pd.read_parquet(FOLDER / "models.parquet")


def test_every_row_is_a_checkpoint_of_the_grid(table: pd.DataFrame) -> None:
    planned = read_grid(data_folder("digits", "study.toml"), "digits")
    checkpoints = {f"{run.name}-{which}" for run in planned for which in run.checkpoints}
    assert len(checkpoints) == 1344
    assert table["model_id"].is_unique
    assert set(table["model_id"]) <= checkpoints
    assert set(table["run"]) <= {run.name for run in planned}


def test_every_row_was_measured_on_all_images_and_none_failed(table: pd.DataFrame) -> None:
    assert set(table["status"]) == {"measured"}
    assert set(table["n_train"]) == {500}
    assert set(table["n_test"]) == {940}
    assert table["pgd_accuracy_train"].notna().all()


def test_the_gap_is_the_difference_of_its_accuracies(table: pd.DataFrame) -> None:
    gap = table["pgd_accuracy_train"] - table["pgd_accuracy_test"]
    assert (gap - table["robust_gap_pgd"]).abs().max() < 1e-12


def test_both_files_hold_the_same_table(table: pd.DataFrame) -> None:
    text = pd.read_csv(FOLDER / "models.csv")
    assert list(text.columns) == list(table.columns)
    assert list(text["model_id"]) == list(table["model_id"])
    assert text["robust_gap_pgd"].to_numpy() == pytest.approx(table["robust_gap_pgd"].to_numpy(), abs=1e-12)


def test_adversarial_training_beats_standard_training_by_far(table: pd.DataFrame) -> None:
    robust = table.groupby("defense")["pgd_accuracy_test"].median()
    assert robust["AT"] > robust["Standard"] + 0.2


def test_a_row_compared_with_itself_differs_in_nothing_and_a_changed_one_is_seen(table: pd.DataFrame) -> None:
    compare = runpy.run_path(str(FOLDER / "again.py"))["compare"]
    row = table.set_index("model_id").iloc[0]
    changed = row.copy()
    changed["robust_gap_pgd"] = row["robust_gap_pgd"] + 0.01
    assert compare(row, row)["relative_difference"].max() == 0
    assert list(compare(row, changed).query("relative_difference > 0").index) == ["robust_gap_pgd"]

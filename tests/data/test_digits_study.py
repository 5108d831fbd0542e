"""The published digits study: complete, consistent, its weights its own, its card up to date, its rows repeatable."""

import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import measurebench
from measurebench.core.digests import digest_file
from measurebench.core.paths import data_folder
from measurebench.models import resolve
from measurebench.store.tables import read_table
from measurebench.studies.again import compare
from measurebench.studies.card import paired
from measurebench.training.grid import read_grid

FOLDER = data_folder("digits-study")


def script(name: str) -> dict[str, Any]:
    return runpy.run_path(str(FOLDER / f"{name}.py"))


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return pd.read_parquet(FOLDER / "models.parquet")


@pytest.fixture(scope="module")
def measured(table: pd.DataFrame) -> pd.DataFrame:
    return table[table["status"] == "measured"].set_index("model_id")


def test_the_rows_are_the_checkpoints_of_the_grid(table: pd.DataFrame) -> None:
    planned = read_grid(data_folder("digits", "study.toml"), "digits")
    assert len(table) == 1344
    assert table["model_id"].is_unique
    assert set(table["model_id"]) == {f"{run.name}-{which}" for run in planned for which in run.checkpoints}
    assert set(table["run"]) == {run.name for run in planned}


def test_what_was_not_measured_is_a_network_that_collapsed(table: pd.DataFrame) -> None:
    failed = table[table["status"] != "measured"]
    assert len(failed) <= 0.02 * len(table)
    assert set(failed["status"]) <= {"failed"}
    assert failed["reason"].str.contains("expected logits that depend on the image").all()
    assert set(failed["architecture"]) <= {"digits-plain"}
    assert set(failed["setting_optimizer"]) <= {"AWP"}


def test_every_model_was_measured_on_all_images(measured: pd.DataFrame) -> None:
    assert set(measured["n_train"]) == {500}
    assert set(measured["n_test"]) == {940}
    assert measured[["clean_accuracy_train", "pgd_accuracy_train", "pgd_accuracy_test"]].notna().all(axis=None)


def test_the_gap_is_the_difference_of_its_accuracies(measured: pd.DataFrame) -> None:
    gap = measured["pgd_accuracy_train"] - measured["pgd_accuracy_test"]
    assert (gap - measured["robust_gap_pgd"]).abs().max() < 1e-12


def test_both_files_hold_the_same_table(table: pd.DataFrame) -> None:
    text = pd.read_csv(FOLDER / "models.csv")
    assert list(text.columns) == list(table.columns)
    assert list(text["model_id"]) == list(table["model_id"])
    numbers = table.select_dtypes("number")
    np.testing.assert_allclose(text[numbers.columns].astype(float), numbers.astype(float), rtol=1e-12)


def test_autoattack_was_run_on_the_sampled_tenth(table: pd.DataFrame, measured: pd.DataFrame) -> None:
    sampled = script("sample")["sample"]()
    cells = table.set_index("model_id").loc[sampled].groupby(["architecture", "defense", "setting_steps"]).size()
    assert cells.tolist() == [7] * 21
    attacked = measured[measured["autoattack_accuracy_test"].notna()]
    assert set(attacked.index) == set(sampled) & set(measured.index)
    counts = pd.read_csv(FOLDER / "autoattack.csv").set_index("model_id")
    assert set(counts.index) == set(attacked.index)
    assert (counts["n"] == attacked["n_autoattack"].loc[counts.index]).all()
    assert (counts["autoattack"] <= counts["clean"]).all()
    assert (counts["pgd"] <= counts["clean"]).all()
    found = counts["autoattack"] / counts["n"]
    np.testing.assert_allclose(found, attacked["autoattack_accuracy_test"].loc[counts.index], rtol=1e-12)


def test_the_data_card_shows_the_files_beside_it() -> None:
    text = (FOLDER / "README.md").read_text()
    filled = script("card")["CARD"].filled
    assert filled(text) == text
    assert filled(text.replace("| TRADES, 10 steps |", "| TRADES, 9 steps |")) == text
    assert filled(text.replace("standard error of 0.011", "standard error of 0.1")) == text


def test_the_published_weights_are_those_of_the_table(measured: pd.DataFrame) -> None:
    specs = resolve([str(FOLDER)])
    assert len(specs) == 48
    assert {spec.defense for spec in specs} == {"Standard", "AT", "TRADES", "MART"}
    for spec in specs:
        assert spec.file_sha256 == measured.loc[spec.id, "file_sha256"] == digest_file(Path(spec.locator))


def test_published_networks_measure_as_their_rows_say(measured: pd.DataFrame, tmp_path: Path) -> None:
    names = ("resnet-trades-10-b64-s0-last", "plain-at-10-awp-b64-s0-best")
    asked = "average_ce_pgd,prob_margin_pgd,x_grad_norm_pgd"
    models = [f"{FOLDER}#{name}" for name in names]
    measurebench.run(models, "digits", tmp_path / "out", attacks="pgd", measures=asked)
    again = read_table(tmp_path / "out").set_index("model_id")
    for name in names:
        for accuracy in ("clean_accuracy_train", "clean_accuracy_test", "pgd_accuracy_train", "pgd_accuracy_test"):
            assert again.loc[name, accuracy] == pytest.approx(measured.loc[name, accuracy], abs=2.1 / 500)
        for measure in asked.split(","):
            assert again.loc[name, measure] == pytest.approx(measured.loc[name, measure], rel=1e-3)


def test_published_behaviour_shows(measured: pd.DataFrame) -> None:
    """Madry et al. 2018; Wu et al. 2020 (AWP); Rice et al. 2020 (early stopping); Carmon et al. 2019 (extra data)."""
    of_method = measured.groupby("defense")
    pgd, strong = of_method["pgd_accuracy_test"].median(), of_method["autoattack_accuracy_test"].median()
    for defense in ("AT", "TRADES", "MART"):
        assert pgd[defense] > pgd["Standard"] + 0.4
        assert strong[defense] > strong["Standard"] + 0.3
    card = script("card")["CARD"]
    for change in card.changes[:4]:
        told, n = paired(card.learned, card.settings, change, "robust_gap_pgd")
        mean, error = map(float, told.split(" ± "))
        assert n > 200
        assert mean + error < 0


def test_robust_overfitting_shows_in_the_curves() -> None:
    """Rice et al. 2020: late in training the gap goes on growing. AT without augmentation and extra data, SGD."""
    curves = pd.read_parquet(FOLDER / "curves.parquet")
    assert curves["run"].nunique() == 672
    planned = read_grid(data_folder("digits", "study.toml"), "digits")
    plain = {
        run.name: run.config.epochs
        for run in planned
        if (run.config.defense, run.config.optimizer) == ("AT", "SGD")
        and not (run.config.augmentation or run.config.extra_data)
    }
    gaps = curves.assign(gap=curves["train_pgd_accuracy"] - curves["validation_pgd_accuracy"])
    found = script("card")["CARD"].overfitting()
    assert set(found.index) == set(plain)
    assert len(found) == 24
    for name, epochs in plain.items():
        of_run = gaps[gaps["run"] == name].set_index("epoch")["gap"]
        growth = of_run[of_run.index > 0.8 * epochs].mean() - of_run[of_run.index < 0.4 * epochs].mean()
        assert found.loc[name, "growth"] == pytest.approx(growth, abs=1e-12)
    assert found["growth"].mean() > 0.05


def test_a_row_compared_with_itself_differs_in_nothing_and_a_changed_one_is_seen(measured: pd.DataFrame) -> None:
    row = measured.iloc[0]
    changed = row.copy()
    changed["robust_gap_pgd"] = row["robust_gap_pgd"] + 0.01
    assert compare(row, row)["relative_difference"].max() == 0
    assert list(compare(row, changed).query("relative_difference > 0").index) == ["robust_gap_pgd"]


@pytest.mark.slow
def test_a_row_comes_out_again(tmp_path: Path) -> None:
    """Trained and measured anew, to what another processor may change (see the data card)."""
    command = [sys.executable, str(FOLDER / "again.py"), "plain-at-1-b256-s0-last", "--tolerance", "0.2"]
    done = subprocess.run([*command, "--out", str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "31 values" in done.stdout  # AutoAttack was run on this one

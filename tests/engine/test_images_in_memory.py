"""Runs on images in memory, and on test images alone."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import TensorDataset

from measurebench import export_table, load_dataset, run
from measurebench.core.errors import BadInputError
from measurebench.store.folder import read_records

MODEL = "digits:plain-at-10-b64-s0-last"
DIGITS = load_dataset("digits")
TEST = TensorDataset(torch.from_numpy(DIGITS.test.images[:40]), torch.from_numpy(DIGITS.test.labels[:40]))


def table(out: Path) -> dict[str, str]:
    export_table(out, out / "table.csv")
    return next(csv.DictReader((out / "table.csv").read_text().splitlines()))


def test_items_in_memory_give_the_values_of_the_same_images_in_a_file(tmp_path: Path) -> None:
    train = TensorDataset(torch.from_numpy(DIGITS.train.images[:30]), torch.from_numpy(DIGITS.train.labels[:30]))
    part = DIGITS.reduced(30, 40)
    np.savez(
        tmp_path / "d.npz",
        x_train=part.train.images,
        y_train=part.train.labels,
        x_test=part.test.images,
        y_test=part.test.labels,
    )
    options = {"attacks": "pgd", "measures": ["average_ce_pgd"], "workers": 1}
    run(MODEL, {"train": train, "test": TEST}, tmp_path / "items", **options)
    run(MODEL, f"arrays:{tmp_path / 'd.npz'}", tmp_path / "file", **options)
    values = [
        {(record.measure, record.split): record.value for record in read_records(tmp_path / name)}
        for name in ("items", "file")
    ]
    assert values[0] == values[1]
    assert ("average_ce_pgd", "train") in values[0]
    assert table(tmp_path / "items")["dataset"] == "items:TensorDataset"


def test_a_data_set_of_ours_is_taken_as_it_is(tmp_path: Path) -> None:
    summary = run(MODEL, DIGITS, tmp_path, attacks="none", measures=["clean_accuracy"], test_examples=20, workers=1)
    assert (summary.n_recorded, summary.exit_status) == (2, 0)
    again = run(MODEL, "digits", tmp_path, attacks="none", measures=["clean_accuracy"], test_examples=20, workers=1)
    assert (again.n_recorded, again.n_resumed) == (0, 2)


def test_test_images_alone_give_accuracies_on_them_and_no_gap(tmp_path: Path) -> None:
    summary = run(MODEL, TEST, tmp_path, attacks="pgd", measures=["clean_accuracy"], workers=1)
    assert summary.exit_status == 0
    assert {(r.measure, r.split) for r in read_records(tmp_path)} == {
        ("clean_accuracy", "test"),
        ("pgd_accuracy", "test"),
    }
    row = table(tmp_path)
    assert float(row["pgd_accuracy_test"]) > 0
    assert (row["n_train"], row["pgd_accuracy_train"], row["robust_gap_pgd"]) == ("0", "", "")


def test_measures_on_test_images_alone_are_taken_with_the_split_that_there_is(tmp_path: Path) -> None:
    message = (
        "expected training images for the measures, got test images alone; --split test measures on the test images"
    )
    with pytest.raises(BadInputError, match=message):
        run(MODEL, TEST, tmp_path, attacks="pgd", measures=["average_ce_pgd"], workers=1)
    run(MODEL, TEST, tmp_path, attacks="pgd", measures=["average_ce_pgd", "path_norm"], split="test", workers=1)
    assert {r.split for r in read_records(tmp_path)} == {"test"}
    assert {"average_ce_pgd", "path_norm"} <= {r.measure for r in read_records(tmp_path) if r.status == "measured"}


def test_indices_of_training_images_that_are_not_there_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "rows.json").write_text(json.dumps({"train": [0]}))
    with pytest.raises(BadInputError, match="expected training images for the indices of .*rows.json"):
        run(MODEL, TEST, tmp_path / "out", attacks="none", examples_file=tmp_path / "rows.json", workers=1)

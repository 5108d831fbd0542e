"""An explicit subset of images, named by a file of indices."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from measurebench import load_dataset, run
from measurebench.core.errors import BadInputError
from measurebench.engine.options import RunOptions
from measurebench.engine.subset import chosen_examples, read_indices
from measurebench.store.tables import read_table
from measurebench.store.verdicts import read_verdicts

OPTIONS: dict[str, Any] = {"measures": "average_ce", "attacks": "pgd", "workers": 1, "radius": "1/8"}


def write(folder: Path, text: str) -> Path:
    (folder / "rows").write_text(text, encoding="utf-8")
    return folder / "rows"


def test_a_run_reads_exactly_the_images_of_the_file_in_its_order(
    manifest: Path, images_file: Path, tmp_path: Path
) -> None:
    path = write(tmp_path, '{"test": [31, 2, 17, 5], "train": [8, 3]}')
    model, data = f"{manifest}#net0", f"arrays:{images_file}"
    run(model, data, tmp_path / "out", examples_file=path, **OPTIONS)
    run(model, data, tmp_path / "whole", **OPTIONS)
    columns = ["split", "measure", "index"]
    few = read_verdicts(tmp_path / "out").set_index(columns)
    every = read_verdicts(tmp_path / "whole").set_index(columns)
    assert [index for _, _, index in few.loc[["test"]].index] == [31, 2, 17, 5]
    assert [index for _, _, index in few.loc[["train"]].index] == [8, 3]
    for row in few.index:  # PGD's noise belongs to an image, so that a subset is attacked as the whole is
        for name in ("label", "correct", "robust"):
            assert few.loc[row, name] == every.loc[row, name]
    table = read_table(tmp_path / "out")
    assert (table["n_train"].tolist(), table["n_test"].tolist()) == ([2], [4])
    assert table["config_digest"].tolist() != read_table(tmp_path / "whole")["config_digest"].tolist()


def test_lines_name_test_images_and_leave_the_other_split_alone(images_file: Path, tmp_path: Path) -> None:
    path = write(tmp_path, "7\n# a comment\n\n 3  # the second\n")
    data = load_dataset(f"arrays:{images_file}")
    options, chosen = chosen_examples(RunOptions("x", examples_file=path, train_examples=9, test_examples=1), data)
    assert chosen.test.indices.tolist() == [7, 3]
    assert (options.test_examples, options.train_examples) == (2, 9)
    assert chosen.train is data.train
    place = data.test.indices.tolist().index(3)
    assert np.array_equal(chosen.test.images[1], data.test.images[place])
    assert chosen.test.labels[1] == data.test.labels[place]
    plain = RunOptions("x")
    assert chosen_examples(plain, data) == (plain, data)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "test: expected at least one index, got none"),
        ("1\ntwo\n", "line 2: expected the index of an image, a whole number from 0, got 'two'"),
        ("-1", "line 1: expected the index of an image"),
        ("4\n4\n", "test: expected each image once, got 4 2 times"),
        ("40", "test: expected indices of the 40 images, 0 to 39, got 40"),
        ("{", 'expected {"train": [indices], "test": [indices]}'),
        ("{}", "got the keys none"),
        ('{"extra": [1]}', "got the keys 'extra'"),
        ('{"test": 3}', "test: expected a list of whole numbers from 0, got 3"),
        ('{"test": [true]}', "test: expected a list of whole numbers from 0, got [True]"),
        ('{"train": []}', "train: expected at least one index, got none"),
    ],
)
def test_a_file_of_anything_else_is_refused_before_anything_is_measured(
    text: str, expected: str, manifest: Path, images_file: Path, tmp_path: Path
) -> None:
    path = write(tmp_path, text)
    with pytest.raises(BadInputError) as caught:
        run(str(manifest), f"arrays:{images_file}", tmp_path / "out", examples_file=path, **OPTIONS)
    assert expected in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="none: expected a file of indices of images, got No such file"):
        read_indices(tmp_path / "none")
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadInputError, match="got bytes that are no text"):
        read_indices(tmp_path / "bytes")

"""A dataset of arrays: what may be in the file, and what is said of the rest."""

from pathlib import Path

import numpy as np
import pytest

from measurebench.core.errors import BadInputError
from measurebench.datasets import load_dataset

GENERATOR = np.random.default_rng(0)
GOOD = {
    "x_train": GENERATOR.integers(0, 256, (20, 1, 8, 8), dtype=np.uint8),
    "y_train": np.arange(20) % 4,
    "x_test": GENERATOR.random((12, 1, 8, 8)),
    "y_test": np.arange(12, dtype=np.int32) % 4,
}


def load(folder: Path, **changes: object):  # type: ignore[no-untyped-def]
    content = {key: value for key, value in (GOOD | changes).items() if value is not None}
    np.savez(folder / "data.npz", **content)  # type: ignore[arg-type]
    return load_dataset(f"arrays:{folder / 'data.npz'}")


def test_bytes_and_floats_become_float32_in_unit_range(tmp_path: Path) -> None:
    data = load(tmp_path)
    assert data.train.images.dtype == data.test.images.dtype == np.float32
    assert np.array_equal(data.train.images, GOOD["x_train"][data.train.indices].astype(np.float32) / 255)
    assert np.array_equal(data.test.labels, GOOD["y_test"][data.test.indices])
    assert (data.n_classes, data.name) == (4, "arrays:data.npz")


def test_every_prefix_is_class_balanced(tmp_path: Path) -> None:
    assert np.bincount(load(tmp_path).train.labels[:8]).tolist() == [2, 2, 2, 2]


def test_optional_splits_are_read(tmp_path: Path) -> None:
    data = load(tmp_path, x_validation=GOOD["x_test"], y_validation=GOOD["y_test"])
    assert len(data.split("validation")) == 12
    with pytest.raises(BadInputError, match="extra"):
        data.split("extra")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"x_test": None}, ["the key 'x_test'"]),
        ({"xtrain": GOOD["x_train"]}, ["'xtrain'", "did you mean 'x_train'"]),
        ({"x_validation": GOOD["x_test"]}, ["the key 'y_validation'"]),
        ({"x_train": GOOD["x_train"][:, 0]}, ["images [n, channels, height, width]", "[20, 8, 8]"]),
        ({"x_train": np.zeros((20, 8, 8, 3))}, ["transpose it with (0, 3, 1, 2)"]),
        ({"x_train": GOOD["x_train"].astype(float)}, ["divide by 255?"]),
        ({"x_train": GOOD["x_test"][:1].repeat(20, 0) * 4 - 2}, ["normalised already?"]),
        ({"x_train": np.full((20, 1, 8, 8), np.nan)}, ["[0, 1]", "nan"]),
        ({"x_train": GOOD["x_train"].astype(np.int64)}, ["uint8, or floats in [0, 1]", "int64"]),
        ({"x_train": GOOD["x_train"][:, :, :4]}, ["images of one shape"]),
        ({"x_train": GOOD["x_train"][:0], "y_train": GOOD["y_train"][:0]}, ["at least one"]),
        ({"y_train": GOOD["y_train"][:5]}, ["one integer label for each image"]),
        ({"y_train": GOOD["y_train"].astype(float)}, ["one integer label", "float64"]),
        ({"y_train": GOOD["y_train"] - 1}, ["labels from 0", "-1"]),
        ({"x_train": np.array([{"a": 1}], dtype=object)}, ["plain arrays"]),
    ],
)
def test_mistake_is_named(changes: dict[str, object], words: list[str], tmp_path: Path) -> None:
    with pytest.raises(BadInputError) as caught:
        load(tmp_path, **changes)
    assert "data.npz" in str(caught.value)
    assert [word for word in words if word not in str(caught.value)] == []


@pytest.mark.parametrize(("content", "word"), [(b"", "npz"), (b"PK\x03\x04broken", "npz"), (b"<html>", "npz")])
def test_file_of_another_kind_is_named(content: bytes, word: str, tmp_path: Path) -> None:
    (tmp_path / "x.npz").write_bytes(content)
    with pytest.raises(BadInputError, match=word):
        load_dataset(f"arrays:{tmp_path / 'x.npz'}")


def test_a_single_array_is_no_dataset(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", GOOD["x_train"])
    with pytest.raises(BadInputError, match=r"an \.npz file with x_train.*got a single array"):
        load_dataset(f"arrays:{tmp_path / 'x.npy'}")


def test_damage_in_compressed_arrays_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    np.savez_compressed(path, **GOOD)
    content = bytearray(path.read_bytes())
    content[100:130] = b"\xff" * 30
    path.write_bytes(bytes(content))
    with pytest.raises(BadInputError, match=r"x\.npz.*plain arrays"):
        load_dataset(f"arrays:{path}")


def test_damage_at_any_byte_is_told_or_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    whole = load(tmp_path)
    content = (tmp_path / "data.npz").read_bytes()
    told = 0
    for place in np.linspace(0, len(content) - 1, 400, dtype=int).tolist():
        path.write_bytes(content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :])
        try:
            found = load_dataset(f"arrays:{path}")
        except BadInputError:
            told += 1
        else:
            assert found.train.digest() == whole.train.digest()
    assert told > 200


def test_missing_file_and_unknown_dataset_are_named(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="no such file"):
        load_dataset(f"arrays:{tmp_path / 'none.npz'}")
    with pytest.raises(BadInputError, match="did you mean 'cifar10'"):
        load_dataset("cifar-10")


def test_a_file_without_the_prefix_gets_a_hint() -> None:
    with pytest.raises(BadInputError, match=r"got 'some/d.npz'; did you mean arrays:some/d.npz\?"):
        load_dataset("some/d.npz")


def test_the_highest_classes_may_be_missing_from_the_labels(tmp_path: Path) -> None:
    data = load(tmp_path)
    assert (data.n_classes, data.classes_known) == (4, False)
    assert data.with_classes(10).class_names == tuple("0123456789")
    assert load_dataset(f"arrays:{tmp_path / 'data.npz'}", classes=6).n_classes == 6


def test_the_file_may_state_its_number_of_classes(tmp_path: Path) -> None:
    data = load(tmp_path, n_classes=7)
    assert (data.n_classes, data.classes_known) == (7, True)
    assert data.reduced(4, 4).classes_known
    with pytest.raises(BadInputError, match="expected 7, as it has, got 9"):
        data.with_classes(9)


@pytest.mark.parametrize("stated", [3, 10**9, -1, 2.5, "ten", [4, 5], np.array([], dtype=int)])
def test_a_number_of_classes_that_cannot_be_is_refused(stated: object, tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=r"n_classes: expected one whole number from 4 to 100000, got"):
        load(tmp_path, n_classes=stated)
    with pytest.raises(BadInputError, match="at least 4, which its labels need, got 3"):
        load(tmp_path).with_classes(3)


@pytest.mark.parametrize("moved", [-3e-8, 3e-8, -9e-7])
def test_what_rounding_left_outside_the_box_is_clamped(moved: float, tmp_path: Path) -> None:
    images = GOOD["x_test"].round() + moved
    data = load(tmp_path, x_test=images)
    assert (float(data.test.images.min()), float(data.test.images.max())) == (max(0.0, np.float32(moved)), 1.0) or (
        float(data.test.images.min()) >= 0 and float(data.test.images.max()) <= 1
    )
    with pytest.raises(BadInputError, match="normalised already"):
        load(tmp_path, x_test=images - 1e-4)


@pytest.mark.parametrize(
    "changes",
    [
        {"y_train": np.array([str(i) for i in range(20)])},
        {"y_train": np.array([None] * 20)},
        {"y_train": np.array([[1]] * 20)},
        {"y_train": np.array([2**63] * 20, dtype=np.uint64)},
        {"y_train": np.array([10**9] * 20)},
        {"x_train": GOOD["x_train"][:, :, :0], "x_test": GOOD["x_test"][:, :, :0]},
        {"x_train": GOOD["x_train"][:, :0], "x_test": GOOD["x_test"][:, :0]},
        {"x_train": GOOD["x_test"].astype(np.complex128)},
        {"x_train": np.array(["a"] * 20)},
        {"x_train": np.zeros(20, dtype=[("a", float)])},
    ],
)
def test_arrays_that_are_no_images_or_labels_are_one_line(changes: dict[str, object], tmp_path: Path) -> None:
    with pytest.raises(BadInputError) as caught:
        load(tmp_path, **changes)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "name", ["x_train", "x_train.txt", "\udcff".encode("utf-8", "surrogateescape").decode("latin-1")]
)
def test_a_member_that_is_no_array_is_named(name: str, tmp_path: Path) -> None:
    load(tmp_path)
    import zipfile

    with zipfile.ZipFile(tmp_path / "data.npz") as archive:
        members = {entry: archive.read(entry) for entry in archive.namelist() if entry != "x_train.npy"}
    with zipfile.ZipFile(tmp_path / "other.npz", "w") as archive:
        for entry, content in {**members, name: b"no array"}.items():
            archive.writestr(entry, content)
    with pytest.raises(BadInputError, match="other.npz"):
        load_dataset(f"arrays:{tmp_path / 'other.npz'}")

"""Extra images from a file: known forms are read, others refused in words."""

import numpy as np
import pytest

from measurebench.core.errors import BadInputError
from measurebench.datasets import load_dataset
from measurebench.training.extra import with_extra_file

GENERATOR = np.random.default_rng(0)
IMAGES = GENERATOR.integers(0, 256, (6, 1, 8, 8), dtype=np.uint8)
LABELS = np.arange(6)


def _extra(tmp_path, **arrays):
    np.savez(tmp_path / "extra.npz", **arrays)
    return with_extra_file(load_dataset("digits"), str(tmp_path / "extra.npz")).extra


@pytest.mark.parametrize(
    ("image_key", "label_key"),
    [("images", "labels"), ("image", "label"), ("data", "extrapolated_targets"), ("x_extra", "y_extra")],
)
def test_known_names_are_read(tmp_path, image_key, label_key) -> None:
    split = _extra(tmp_path, **{image_key: IMAGES, label_key: LABELS})
    np.testing.assert_allclose(split.images, IMAGES / 255, rtol=1e-6)
    assert split.labels.tolist() == LABELS.tolist()


def test_channels_last_is_turned(tmp_path) -> None:
    split = _extra(tmp_path, images=IMAGES.transpose(0, 2, 3, 1), labels=LABELS)
    np.testing.assert_allclose(split.images, IMAGES / 255, rtol=1e-6)


def test_no_file_leaves_the_dataset_as_it_is() -> None:
    dataset = load_dataset("digits")
    assert with_extra_file(dataset, None) is dataset


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"images": IMAGES}, "an array called labels or label"),
        ({"images": IMAGES[:, :, :4], "labels": LABELS}, r"shape \[n, 1, 8, 8\], got \[6, 1, 4, 8\]"),
        ({"images": IMAGES.astype(float), "labels": LABELS}, r"uint8, or float in \[0, 1\]"),
        ({"images": IMAGES, "labels": LABELS[:3]}, "6 whole numbers"),
        ({"images": IMAGES[:0], "labels": LABELS[:0]}, r"shape \[n, 1, 8, 8\], got \[0, 1, 8, 8\]"),
        ({"images": IMAGES, "labels": LABELS + 7}, "classes 0 to 9, got 7 to 12"),
    ],
)
def test_other_files_are_refused_in_words(tmp_path, arrays, message) -> None:
    with pytest.raises(BadInputError, match=message):
        _extra(tmp_path, **arrays)


def test_a_file_that_is_not_there_or_no_archive_is_named(tmp_path) -> None:
    with pytest.raises(BadInputError, match="no such file"):
        with_extra_file(load_dataset("digits"), str(tmp_path / "none.npz"))
    (tmp_path / "bad.npz").write_text("<html>")
    with pytest.raises(BadInputError, match="an .npz file with images and labels"):
        with_extra_file(load_dataset("digits"), str(tmp_path / "bad.npz"))


def test_a_torn_archive_and_a_single_array_are_refused(tmp_path) -> None:
    np.savez(tmp_path / "torn.npz", images=IMAGES, labels=LABELS)
    whole = (tmp_path / "torn.npz").read_bytes()
    (tmp_path / "torn.npz").write_bytes(whole[: len(whole) // 2])
    np.save(tmp_path / "single.npy", IMAGES)
    for name in ("torn.npz", "single.npy"):
        with pytest.raises(BadInputError, match="an .npz file with images and labels"):
            with_extra_file(load_dataset("digits"), str(tmp_path / name))

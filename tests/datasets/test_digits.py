"""The embedded digits and their committed split."""

import json

import numpy as np

from measurebench.core.paths import data_folder
from measurebench.datasets import load_dataset
from measurebench.datasets.digits import load_digits_images, split_indices


def test_committed_split_is_what_its_rule_gives() -> None:
    _, labels = load_digits_images()
    assert json.loads(data_folder("digits", "split.json").read_text())["indices"] == split_indices(labels)


def test_images_are_those_that_scikit_learn_loads() -> None:
    from sklearn.datasets import load_digits

    images, labels = load_digits_images()
    bunch = load_digits()
    assert np.array_equal(images[:, 0] * 16, bunch.images)
    assert np.array_equal(labels, bunch.target)


def test_splits_are_disjoint_and_class_balanced() -> None:
    data = load_dataset("digits")
    rows = [data.split(name).indices for name in ("train", "extra", "validation", "test")]
    assert [len(part) for part in rows] == [500, 200, 100, 940]
    assert len(np.unique(np.concatenate(rows))) == sum(map(len, rows))
    for name in ("train", "extra", "validation", "test"):
        assert len(set(np.bincount(data.split(name).labels))) == 1


def test_pixels_are_grey_levels_of_sixteenths() -> None:
    images = load_dataset("digits").train.images
    assert images.shape[1:] == (1, 8, 8)
    assert images.dtype == np.float32
    assert np.array_equal(images * 16, np.rint(images * 16))
    assert (images.min(), images.max()) == (0.0, 1.0)

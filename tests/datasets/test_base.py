"""Subsets by rule: balanced prefixes, and digests that name exactly what was measured on."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from measurebench.datasets.base import ImageSplit, balanced_order


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=60), st.integers(0, 5))
def test_order_is_a_permutation_balanced_until_the_smallest_class_ends(labels: list[int], seed: int) -> None:
    array = np.array(labels)
    order = balanced_order(array, seed)
    assert sorted(order) == list(range(len(labels)))
    classes, counts = np.unique(array, return_counts=True)
    n = int(counts.min()) * len(classes)
    for length in range(1, n + 1):
        found = [int((array[order[:length]] == c).sum()) for c in classes]
        assert max(found) - min(found) <= 1


def test_order_depends_on_the_seed_only() -> None:
    labels = np.arange(100) % 10
    assert np.array_equal(balanced_order(labels, 1), balanced_order(labels, 1))
    assert not np.array_equal(balanced_order(labels, 1), balanced_order(labels, 2))


def test_digest_follows_pixels_labels_and_order() -> None:
    images = np.random.default_rng(0).random((6, 1, 2, 2)).astype(np.float32)
    labels = np.arange(6, dtype=np.int64) % 2
    rows = np.arange(6, dtype=np.int64)
    split = ImageSplit(images, labels, rows)
    assert split.digest() == ImageSplit(images.copy(), labels.copy(), rows.copy()).digest()
    others = [
        split.first(5),
        ImageSplit(images[::-1], labels[::-1], rows[::-1]),
        ImageSplit(images + np.float32(1e-6), labels, rows),
        ImageSplit(images, 1 - labels, rows),
    ]
    assert len({split.digest(), *(other.digest() for other in others)}) == 5

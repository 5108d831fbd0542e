"""Batches: every training image once per epoch, and extra images in their share."""

import pytest
import torch

from measurebench.core.errors import BadInputError
from measurebench.training.batches import Batches, LabelledImages


def _data(n: int, first: int = 0) -> LabelledImages:
    return LabelledImages(torch.zeros(n, 1, 2, 2), torch.arange(first, first + n))


def _epoch(batches: Batches, seed: int = 0) -> list[list[int]]:
    return [labels.tolist() for _, labels in batches.epoch(torch.Generator().manual_seed(seed))]


def test_every_image_comes_once_in_batches_that_differ_by_one_at_most() -> None:
    found = _epoch(Batches(_data(50), 16))
    assert sorted(label for batch in found for label in batch) == list(range(50))
    assert sorted(map(len, found)) == [12, 12, 13, 13]


def test_the_order_depends_on_the_generator() -> None:
    batches = Batches(_data(50), 16)
    assert _epoch(batches, 1) == _epoch(batches, 1)
    assert _epoch(batches, 1) != _epoch(batches, 2)


def test_half_of_every_batch_is_extra_and_the_number_of_updates_stays() -> None:
    batches = Batches(_data(50), 16, extra=_data(20, first=100))
    found = _epoch(batches)
    assert len(found) == len(Batches(_data(50), 16)) == 4
    assert all(sum(label >= 100 for label in batch) == 8 for batch in found)
    assert all(len(batch) == 16 for batch in found)


def test_extra_images_come_again_only_when_all_were_used() -> None:
    found = _epoch(Batches(_data(50), 16, extra=_data(20, first=100)))
    extra = [label for batch in found for label in batch if label >= 100]
    assert sorted(extra[:20]) == list(range(100, 120))


def test_the_extra_fraction_acts() -> None:
    found = _epoch(Batches(_data(50), 16, extra=_data(20, first=100), extra_fraction=0.25))
    assert all(sum(label >= 100 for label in batch) == 4 for batch in found)


def test_a_fraction_that_leaves_no_training_image_is_refused() -> None:
    with pytest.raises(BadInputError, match="leaves both kinds in a batch"):
        Batches(_data(50), 16, extra=_data(20), extra_fraction=1.0)


def test_batches_of_one_are_refused() -> None:
    with pytest.raises(BadInputError, match="batch_size: expected at least 2"):
        Batches(_data(50), 1)

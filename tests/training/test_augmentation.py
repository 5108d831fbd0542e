"""Augmentation: every shift occurs, nothing else does, and options act."""

import torch

from measurebench.training.augmentation import Augmentation, augmentation_for


def _single_pixel(n: int) -> torch.Tensor:
    images = torch.zeros(n, 1, 5, 5)
    images[:, 0, 2, 2] = 1
    return images


def test_a_pixel_moves_to_each_of_its_nine_neighbouring_places() -> None:
    moved = Augmentation(shift=1, flip=False)(_single_pixel(400), torch.Generator().manual_seed(0))
    places = {tuple(row) for row in moved[:, 0].nonzero()[:, 1:].tolist()}
    assert places == {(i, j) for i in (1, 2, 3) for j in (1, 2, 3)}
    assert torch.equal(moved.sum((1, 2, 3)), torch.ones(400))


def test_pixels_that_leave_the_image_are_lost_and_zeros_come_in() -> None:
    images = torch.ones(50, 2, 4, 4)
    moved = Augmentation(shift=1, flip=False)(images, torch.Generator().manual_seed(1))
    sums = {int(total) for total in moved[:, 0].sum((1, 2))}
    assert sums == {16, 12, 9}
    assert torch.equal(moved[:, 0], moved[:, 1])


def test_flip_mirrors_about_half_of_the_images() -> None:
    images = torch.arange(4.0).expand(300, 1, 4, 4).contiguous()
    mirrored = Augmentation(shift=0, flip=True)(images, torch.Generator().manual_seed(0))
    flipped = mirrored[:, 0, 0, 0] == 3
    assert 110 < int(flipped.sum()) < 190
    assert torch.equal(mirrored[flipped], images.flip(3)[flipped])
    assert torch.equal(mirrored[~flipped], images[~flipped])


def test_the_same_generator_gives_the_same_images_and_another_seed_others() -> None:
    images, augment = torch.rand(20, 3, 8, 8), Augmentation(shift=2, flip=True)
    first, second, other = (augment(images, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_datasets_have_their_own_augmentation() -> None:
    assert augmentation_for("digits", 8) == Augmentation(1, False)
    assert augmentation_for("cifar10", 32) == Augmentation(4, True)
    assert augmentation_for("arrays:x.npz", 32) == Augmentation(4, False)

import pytest
import torch
from torch import Tensor, nn

from measurebench.measures.robustness.augmented import AugmentedAccuracy, MixupAccuracy, partners, shifted_images
from measurebench.measures.value import UndefinedMeasureError
from tests.measures.cases import context, examples, linear_fixture, network


def test_a_shift_moves_pixels_and_lets_zeros_in() -> None:
    image = torch.arange(1.0, 10.0).reshape(1, 1, 3, 3).repeat(2, 2, 1, 1)
    moved = shifted_images(image, torch.tensor([1, 0]), torch.tensor([-1, 0]))
    assert moved[0, 1].tolist() == [[0, 0, 0], [2, 3, 0], [5, 6, 0]]
    assert torch.equal(moved[1], image[1])


def test_a_network_that_reads_the_place_of_a_spot_is_right_where_the_shift_keeps_it() -> None:
    # the spot lies in the last column of the left half; a third of the shifts (+1) moves it to the right half
    class Halves(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return torch.stack([images[..., :4].sum((1, 2, 3)), images[..., 4:].sum((1, 2, 3))], 1)

    images = torch.zeros(300, 1, 8, 8, dtype=torch.float64)
    images[:, 0, 4, 3] = torch.linspace(0.5, 1, 300, dtype=torch.float64)
    found = AugmentedAccuracy()(context(Halves(), images, torch.zeros(300, dtype=torch.int64)))
    assert found.value == pytest.approx(2 / 3, abs=0.035)  # four standard errors of 3000 draws


def test_flat_examples_have_no_shifts() -> None:
    net, images, labels, _ = linear_fixture()
    with pytest.raises(UndefinedMeasureError, match="height"):
        AugmentedAccuracy()(context(net, images, labels))


def test_partners_are_other_members_of_the_class_each_as_likely() -> None:
    labels, keys = torch.tensor([3, 0, 3, 3, 0, 1]), torch.tensor([50, 2, -7, 4, 9, 1])
    seen = torch.stack([partners(labels, keys, torch.full((6,), draw)) for draw in range(6)])
    assert bool((labels[seen] == labels).all())
    assert [sorted(set(column.tolist())) for column in seen.T] == [[2, 3], [4], [0, 3], [0, 2], [1], [5]]


def test_partners_do_not_depend_on_the_order() -> None:
    torch.manual_seed(0)
    labels, keys, drawn = torch.randint(3, (20,)), torch.randperm(20), torch.randint(1000, (20,))
    order = torch.randperm(20)
    plain, other = partners(labels, keys, drawn), partners(labels[order], keys[order], drawn[order])
    assert torch.equal(order[other], plain[order])


def test_mixtures_are_right_where_the_mean_of_two_images_is() -> None:
    # pixels 0, 0 and 3/4 of class 0, which ends at 1/4: the mean with 3/4 is 3/8, always wrong; that of zeros is right
    class Threshold(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return torch.stack([0.25 - images[:, 0], images[:, 0] - 0.25], 1)

    images = torch.tensor([[0.0], [1e-9], [0.75], [0.1]], dtype=torch.float64)
    found = MixupAccuracy(n_draws=200)(context(Threshold(), images, torch.tensor([0, 0, 0, 1])))
    assert found.diagnostics["n_alone"] == 1
    assert found.per_example.tolist() == pytest.approx([0.5, 0.5, 0.0], abs=0.15)


def test_classes_of_one_image_have_no_mixtures() -> None:
    net = network("wide")
    images, _ = examples(net, 3)
    with pytest.raises(UndefinedMeasureError, match="two images"):
        MixupAccuracy()(context(net, images, torch.arange(3)))

import pytest
import torch

from measurebench.attacks.geometry import distance
from measurebench.attacks.starts import GAUSSIAN_SIGMA, Drawn, Keyed, keyed_start, start_offset
from measurebench.core.threat import Norm

IMAGES = torch.full((2000, 1, 2, 2), 0.5)
KEYS = torch.arange(2000)


def test_no_start_is_the_image_itself() -> None:
    assert keyed_start("none", IMAGES, KEYS, Norm.L2, 0.1, "test") is IMAGES


@pytest.mark.parametrize("norm", list(Norm))
@pytest.mark.parametrize("random", [Keyed(KEYS, ("test",)), Drawn(torch.Generator().manual_seed(0))], ids=type)
def test_uniform_starts_fill_the_ball(norm: Norm, random: Keyed | Drawn) -> None:
    # In 4 dimensions a share of 2^-4 of either ball lies within half the radius: 125 of 2000, deviation 11.
    points = IMAGES + start_offset("uniform", IMAGES, norm, 0.2, random)
    lengths = distance(points, IMAGES, norm)
    assert float(lengths.max()) <= 0.2 + 1e-6
    assert abs(int((lengths <= 0.1).sum()) - 125) < 55


@pytest.mark.parametrize("random", [Keyed(KEYS, ("test",)), Drawn(torch.Generator().manual_seed(0))], ids=type)
def test_gaussian_starts_have_the_published_deviation(random: Keyed | Drawn) -> None:
    offset = start_offset("gaussian", IMAGES, Norm.LINF, 0.2, random)
    # The deviation of 8,000 draws is known to 0.8 %.
    assert float(offset.std()) == pytest.approx(GAUSSIAN_SIGMA, rel=0.04)


def test_a_gaussian_start_is_projected_to_a_smaller_ball() -> None:
    points = keyed_start("gaussian", IMAGES, KEYS, Norm.LINF, 1e-4, "test")
    assert float(distance(points, IMAGES, Norm.LINF).max()) <= 1e-4 + 1e-7


def test_starts_of_two_streams_differ_and_those_of_one_key_agree() -> None:
    a, b = (keyed_start("uniform", IMAGES, KEYS, Norm.LINF, 0.1, name) for name in "ab")
    assert not torch.equal(a, b)
    assert torch.equal(a[7:9], keyed_start("uniform", IMAGES[:2], KEYS[7:9], Norm.LINF, 0.1, "a"))

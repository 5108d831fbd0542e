import pytest
import torch
from torch import Tensor

from measurebench.attacks.ascent import Ascent, gradient_at
from measurebench.attacks.geometry import distance
from measurebench.core.threat import Norm

IMAGES = torch.full((3, 1, 2, 2), 0.5)
SLOPE = torch.tensor([[[1.0, -2.0], [0.0, 2.0]]])


def linear(points: Tensor) -> Tensor:
    return (points * SLOPE).flatten(1).sum(1)


def test_a_linear_objective_ends_at_the_corner_of_the_cube() -> None:
    ends = Ascent(Norm.LINF, 0.1, 0.025, 4)(linear, IMAGES, IMAGES)
    torch.testing.assert_close(ends, IMAGES + 0.1 * SLOPE.sign())


def test_a_linear_objective_ends_along_its_gradient_on_the_sphere() -> None:
    ends = Ascent(Norm.L2, 0.3, 0.1, 5)(linear, IMAGES, IMAGES)
    torch.testing.assert_close(ends, IMAGES + 0.3 * SLOPE / 3.0)


def test_descending_is_ascending_the_opposite() -> None:
    down = Ascent(Norm.L2, 0.3, 0.1, 5, sign=-1.0)(linear, IMAGES, IMAGES)
    torch.testing.assert_close(down, IMAGES - 0.3 * SLOPE / 3.0)


@pytest.mark.parametrize("norm", list(Norm))
def test_every_example_may_have_a_radius_and_a_step_of_its_own(norm: Norm) -> None:
    radii = torch.tensor([0.1, 0.2, 0.4], dtype=torch.float64)
    together = Ascent(norm, radii, radii / 4, 5)(linear, IMAGES, IMAGES)
    alone = [Ascent(norm, float(r), float(r) / 4, 5)(linear, IMAGES[:1], IMAGES[:1]) for r in radii]
    torch.testing.assert_close(together, torch.cat(alone))
    torch.testing.assert_close(distance(together, IMAGES, norm), radii, rtol=1e-6, atol=0)


def test_every_iterate_is_yielded_with_the_gradient_that_led_there() -> None:
    steps = list(Ascent(Norm.LINF, 0.1, 0.05, 3).iterates(linear, IMAGES, IMAGES))
    assert len(steps) == 3
    torch.testing.assert_close(steps[0].points, IMAGES + 0.05 * SLOPE.sign())
    assert all(torch.equal(step.gradient, SLOPE.expand(3, 1, 2, 2)) for step in steps)


def test_no_steps_return_the_start() -> None:
    assert torch.equal(Ascent(Norm.LINF, 0.1, 0.05, 0)(linear, IMAGES, IMAGES + 0.01), IMAGES + 0.01)


def test_gradients_that_are_not_finite_count_as_zero() -> None:
    def broken(points: Tensor) -> Tensor:  # the derivative of the root at 0 is infinite, times 0 is NaN
        return (points[:, :, 0, 0] - 0.5).sqrt().square().sum(1) + linear(points)

    assert not bool(gradient_at(broken, IMAGES).isfinite().all())
    ends = Ascent(Norm.LINF, 0.1, 0.1, 1)(broken, IMAGES, IMAGES)
    assert bool(ends.isfinite().all())
    torch.testing.assert_close(ends[:, :, 1], (IMAGES + 0.1 * SLOPE.sign())[:, :, 1])
    torch.testing.assert_close(ends[:, :, 0, 0], IMAGES[:, :, 0, 0])


def test_an_objective_that_does_not_depend_on_the_points_has_gradient_zero() -> None:
    weight = torch.ones(3, requires_grad=True)
    assert torch.equal(gradient_at(lambda _: torch.zeros(3), IMAGES), torch.zeros_like(IMAGES))
    assert torch.equal(gradient_at(lambda _: 2 * weight, IMAGES), torch.zeros_like(IMAGES))
    assert weight.grad is None

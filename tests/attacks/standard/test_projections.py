"""Newton's projections against a projection by sorting, written here as plain loops."""

import numpy as np
import pytest
import torch

from measurebench.attacks.standard.projections import move_to_hyperplane, root_of_bounded_sum
from measurebench.core.threat import Norm


def sorted_root(weights: np.ndarray, bounds: np.ndarray, total: float) -> float:
    """Return s with sum w min(s, p) = total by walking along the sorted bounds."""
    reached, free = 0.0, weights.sum()
    previous = 0.0
    for i in np.argsort(bounds):
        if free > 0 and reached + free * (bounds[i] - previous) >= total:
            return previous + (total - reached) / free
        reached += free * (bounds[i] - previous)
        free -= weights[i]
        previous = bounds[i]
    return np.inf


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-11), (torch.float32, 2e-5)])
def test_the_root_is_that_of_sorting(dtype: torch.dtype, tolerance: float) -> None:
    generator = torch.Generator().manual_seed(0)
    weights = torch.rand(40, 1, 60, generator=generator, dtype=torch.float64) ** 3
    bounds = torch.rand(40, 2, 60, generator=generator, dtype=torch.float64)
    bounds[:, :, ::7] = 0.0  # pixels that are black already
    share = torch.linspace(0.01, 1.2, 80, dtype=torch.float64).reshape(40, 2)
    total = share * (weights * bounds).sum(-1)
    roots = root_of_bounded_sum(weights.to(dtype), bounds.to(dtype), total.to(dtype))
    for i in range(40):
        for j in range(2):
            expected = sorted_root(weights[i, 0].numpy(), bounds[i, j].numpy(), float(total[i, j]))
            # Beyond the reach of all bounded terms the root is infinite; at it, rounding decides.
            if abs(float(share[i, j]) - 1) > 0.02:
                assert float(roots[i, j]) == pytest.approx(expected, rel=tolerance)


@pytest.mark.parametrize("norm", list(Norm))
def test_a_point_reaches_the_hyperplane_or_the_corner_of_the_box(norm: Norm) -> None:
    generator = torch.Generator().manual_seed(1)
    points = torch.rand(30, 2, 20, generator=generator, dtype=torch.float64)
    normals = torch.randn(30, 20, generator=generator, dtype=torch.float64)
    normals[:, 3] = 0.0
    reachable = torch.rand(30, 20, generator=generator, dtype=torch.float64)
    offsets = (normals * reachable).sum(1)
    moved = points + move_to_hyperplane(points, normals, offsets, norm)
    assert float(moved.min()) >= -1e-12
    assert float(moved.max()) <= 1 + 1e-12
    torch.testing.assert_close((moved * normals[:, None]).sum(-1), offsets[:, None].expand(30, 2))
    assert torch.equal(moved[..., 3], points[..., 3])
    beyond = move_to_hyperplane(points, normals, torch.full((30,), 1e6, dtype=torch.float64), norm)
    corner = torch.where(normals > 0, 1.0, 0.0)[:, None].expand(30, 2, 20)
    moving = normals[:, None].expand(30, 2, 20) != 0
    torch.testing.assert_close((points + beyond)[moving], corner.double()[moving])


@pytest.mark.parametrize("norm", list(Norm))
def test_it_equals_the_published_projection(norm: Norm) -> None:
    from pyautoattack import fab_projections

    generator = torch.Generator().manual_seed(2)
    points = torch.rand(50, 2, 48, generator=generator, dtype=torch.float64).mul(1.3).clamp(0, 1)
    normals = torch.randn(50, 48, generator=generator, dtype=torch.float64)
    offsets = (normals * torch.rand(50, 48, generator=generator, dtype=torch.float64)).sum(1)
    published = fab_projections.projection_linf if norm is Norm.LINF else fab_projections.projection_l2
    with_default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        expected = published(points.transpose(0, 1).reshape(100, 48), normals.repeat(2, 1), offsets.repeat(2))
    finally:
        torch.set_default_dtype(with_default)
    ours = move_to_hyperplane(points, normals, offsets, norm).transpose(0, 1).reshape(100, 48)
    # The published one works with float32 masks.
    torch.testing.assert_close(ours, expected.double(), atol=1e-12, rtol=0)


def test_no_slope_means_no_move() -> None:
    points = torch.full((1, 2, 4), 0.5)
    for norm in Norm:
        moves = move_to_hyperplane(points, torch.zeros(1, 4), torch.tensor([0.3]), norm)
        assert torch.equal(moves, torch.zeros_like(points))
